"""`make deploy-test`: deploys to an emulated account by the commands of docs/DEPLOY.md, and buys there.

    trial.py [--only STEP...]

Steps: bootstrap, deploy, buy, prescale (raises the live aliases and restores them), redrive, live (which changes move the alias `live`),
upgrade (two clients buy during it), rollback, undo (a release that fails its smoke test), teardown. The account is `ministack`, an
external project; the gateway is the sandbox; PostgreSQL accepts only TLS connections. The output of all programs goes to
target/deploy-test.
"""

import argparse
import contextlib
import datetime
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
import zipfile

import boto3
import pg8000.dbapi

import aliases
import keys
import redrive
import release
import template
from api import Api, Failed, Key, problem
from stage import Stage, outputs, resources

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "target/deploy-test"
BIN = ROOT / "target/release"
STEPS = ("bootstrap", "deploy", "buy", "prescale", "redrive", "live", "upgrade", "rollback", "undo", "teardown")
STAGE = "dev"
REGION = "us-east-1"
START_SECONDS = 60
# In the emulated account an invocation takes at least a tenth of a second, and a purchase needs several.
PURCHASE_SECONDS = 120


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, ready, seconds=START_SECONDS):
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            answer = ready()
            if answer:
                return answer
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: nothing within {seconds} s")
        time.sleep(0.1)


class Account:
    """The emulated account, a sandbox gateway and a PostgreSQL server, and the environment with their addresses."""

    def __init__(self, stack):
        self.stack = stack
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        scratch = OUT / "account"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        inherited = {"PATH": os.environ["PATH"], "HOME": str(scratch), "TMPDIR": str(scratch)}
        settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "AWS_ENDPOINT_URL": self.url, "MINISTACK_HOST": "localhost"}
        settings |= {"IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "STATE_DIR": str(scratch), "S3_DATA_DIR": str(scratch)}
        # The account answers ListProvisionedConcurrencyConfigs with 404, so functions call Lambda through a proxy. They inherit the
        # account's environment, which has the proxy's address.
        proxy = f"127.0.0.1:{free_port()}"
        self.start("control-plane", [BIN / "stampede-local", "control-plane", "--listen", proxy, "--account", self.url])
        settings["AWS_ENDPOINT_URL_LAMBDA"] = f"http://{proxy}"
        self.start("account", [ROOT / ".tools/venv/bin/ministack"], inherited | settings)
        wait_for("the emulated account", lambda: urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=1).status == 200)
        database = OUT / "database"
        self.start("database", [BIN / "stampede-local", "postgres", "--out", database])
        self.database = json.loads(wait_for("PostgreSQL", (database / "postgres.json").read_text))
        gateway = free_port()
        self.gateway = f"http://127.0.0.1:{gateway}"
        command = [BIN / "sandbox-gateway", "--listen", f"127.0.0.1:{gateway}", "--log", OUT / "gateway.jsonl", "--key", "sk_test_trial"]
        self.start("gateway", command)
        os.environ.update(
            AWS_ENDPOINT_URL=self.url,
            AWS_REGION=REGION,
            AWS_DEFAULT_REGION=REGION,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
            SAM_CLI_TELEMETRY="0",
        )

    def start(self, name, command, environment=None):
        """Starts a program in a separate process group. The whole group is ended, since the account's functions would run on otherwise."""
        log = open(OUT / f"{name}.log", "wb")
        self.stack.callback(log.close)
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

        def stop():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                pass
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        self.stack.callback(stop)


class Trial:
    """The steps, in order; each asserts its result."""

    def __init__(self, account):
        self.account = account
        self.config = OUT / "samconfig.toml"
        self.application = {
            "Architecture": "x86_64",
            "GatewayUrl": account.gateway,
            "LedgerCluster": "stampede-dev-ledger",
            # A stage without a topic has no alarms.
            "AlarmTopic": f"arn:aws:sns:{REGION}:000000000000:alarms",
        }
        self.write_config()

    def write_config(self, **changed):
        """Writes the trial's samconfig.toml, with an existing database and the sandbox gateway."""
        roots = self.account.database["LedgerRoots"].replace("\n", "\\n")
        application = self.application | changed
        data = {
            "ExistingHost": "127.0.0.1",
            "ExistingPort": self.account.database["LedgerPort"],
            "ExistingRoots": roots,
            "ExistingResource": "cluster-TRIAL",
            "ExistingSubnets": application.pop("Subnets", "subnet-11111111,subnet-22222222"),
            "ExistingSecurityGroups": "sg-11111111",
            "SignIn": "none",
            "MigrationUser": "ledger",
        }
        sections = []
        for name, values in (("dev", application), ("dev-data", data)):
            lines = "".join(f'    "{key}={value}",\n' for key, value in values.items())
            sections.append(f"[{name}.deploy.parameters]\nparameter_overrides = [\n{lines}]\n")
        text = "version = 0.1\n\n" + "\n".join(sections)
        tomllib.loads(text)
        self.config.write_text(text)

    def make(self, command, *variables, expect=0):
        """Runs a command of docs/DEPLOY.md with the emulator and this trial's samconfig. Returns its output."""
        shown = " ".join(["make", command, f"STAGE={STAGE}", *variables])
        print(f"\n$ {shown}", flush=True)
        began = time.monotonic()
        words = ["make", "--no-print-directory", *shown.split()[1:], "EMULATOR=1", f"CONFIG={self.config}"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        for line in (done.stdout + done.stderr).splitlines():
            print(f"  {line}", flush=True)
        print(f"  ({time.monotonic() - began:.0f} s, exit code {done.returncode})", flush=True)
        assert done.returncode == expect, f"{shown}: exit code {done.returncode}"
        return done.stdout + done.stderr

    def bootstrap(self):
        key = OUT / "gateway.key"
        key.write_text("sk_live_trial\n")
        os.environ["GATEWAY_KEY_FILE"] = str(key)
        assert "live key" in self.make("bootstrap", expect=2)
        key.write_text("sk_test_trial\n")
        said = self.make("bootstrap")
        assert '"d"' not in said and "sk_test" not in said, "a secret was printed"
        key.unlink()
        stage, ssm = Stage.read(STAGE, self.config, True), boto3.client("ssm")
        before = {audience: keys.parameter(keys.public_name(stage, audience)) for audience in ("shopper", "operator")}
        outside = before["shopper"]["issuers"][0] | {"issuer": "https://login.example/", "role": {"claim": "/groups", "value": "drops"}}
        put = lambda audience, entries: ssm.put_parameter(
            Name=keys.public_name(stage, audience), Type="String", Overwrite=True, Value=json.dumps({"issuers": entries})
        )
        for audience, document in before.items():
            put(audience, [*document["issuers"], outside])
        assert "https://login.example/ has the audience stampede-shopper" in self.make("bootstrap", expect=2)
        put("operator", before["operator"]["issuers"])
        self.make("bootstrap")
        assert keys.issuers(stage, "shopper")[1:] == [outside], "the shop's own issuer was not kept"
        put("shopper", before["shopper"]["issuers"])

    def deploy(self):
        self.make("deploy")
        self.make("smoke")
        self.make("status")
        assert "Say who you are" in self.make("operator-token", expect=2)
        token = self.make("operator-token", "SUBJECT=ada").split()[-1]
        address = f"{outputs('stampede-dev')['ApiUrl'].rstrip('/')}/operator/drops/none"
        asked = urllib.request.Request(address, headers={"authorization": f"Bearer {token}"})
        try:
            status = urllib.request.urlopen(asked, timeout=15).status
        except urllib.error.HTTPError as error:
            status = error.code
        assert status == 404, f"an operator's request for an unknown drop: {status}"
        client, physical = boto3.client("lambda"), resources("stampede-dev", "AWS::Lambda::Function").values()
        groups = {client.get_function_configuration(FunctionName=name)["LoggingConfig"]["LogGroup"] for name in physical}
        alarms, boards = resources("stampede-dev", "AWS::CloudWatch::Alarm"), boto3.client("cloudwatch").list_dashboards()["DashboardEntries"]
        print(f"  {len(groups)} log groups for {len(physical)} functions, {len(alarms)} alarms, {len(boards)} dashboard", flush=True)
        assert len(groups) == len(physical) and alarms and len(boards) == 1

    def buy(self):
        """A purchase by the API, from a drop on the public list to the ledger's row."""
        shop = self.shop()
        shop.put_drop()
        order = shop.purchase("buyer1")
        row = wait_for("the ledger's row", lambda: self.ledger(order), PURCHASE_SECONDS)
        print(f"  order {order} is paid; the ledger has {row}", flush=True)

    def prescale(self):
        """The deployed pre-scaling raises the live aliases for a drop on its calendar, and reduces them when the drop is cancelled."""
        cluster = self.application["LedgerCluster"]
        rds, ssm, functions = boto3.client("rds"), boto3.client("ssm"), boto3.client("lambda")
        engine = {"Engine": "aurora-postgresql"}
        sizes = {"MinCapacity": 2.0, "MaxCapacity": 64.0}
        rds.create_db_cluster(
            DBClusterIdentifier=cluster,
            EngineVersion="16.8",
            ServerlessV2ScalingConfiguration=sizes,
            MasterUsername="ledger",
            MasterUserPassword="of-nobody",
            **engine,
        )
        rds.create_db_instance(DBInstanceIdentifier=f"{cluster}-1", DBClusterIdentifier=cluster, DBInstanceClass="db.serverless", **engine)
        now = datetime.datetime.now(datetime.UTC)
        moment = "%Y-%m-%dT%H:%M:%SZ"
        drop = {
            "id": "trial",
            "starts_at": (now + datetime.timedelta(minutes=4)).strftime(moment),
            "ends_at": (now + datetime.timedelta(minutes=30)).strftime(moment),
            "shoppers": 5_000,
            "units": 200,
            "sold_within_seconds": 10,
            "before": {"seconds": 60, "peak_factor": 2},
            "opening": {"seconds": 60, "peak_factor": 2},
            "sale_peak_factor": 1.5,
            "tail": {"seconds": 60, "peak_factor": 1},
        }
        document = f"/stampede/{STAGE}/prescale/calendar/trial"
        ssm.put_parameter(Name=document, Value=json.dumps(drop), Type="String")
        physical = resources("stampede-dev", "AWS::Lambda::Function")
        crowd = [physical[f"{name}Function"] for name in ("GetDrop", "Reserve", "Checkout", "GetOrder")]

        def provisioned(name):
            try:
                config = functions.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
            except functions.exceptions.ProvisionedConcurrencyConfigNotFoundException:
                return 0
            return config["RequestedProvisionedConcurrentExecutions"]

        def run(mode, ready):
            """Invokes pre-scaling. The schedule invokes it too, so a run may find another run active and change nothing."""
            answer = functions.invoke(FunctionName=physical["PrescaleFunction"], Qualifier="live", Payload=json.dumps({"mode": mode}))
            outcome = json.loads(answer["Payload"].read())
            (OUT / f"prescale-{mode}.json").write_text(json.dumps(outcome, indent=1))
            assert "FunctionError" not in answer, outcome
            return ready()

        wait_for("provisioned concurrency", lambda: run("apply", lambda: all(provisioned(name) for name in crowd)), 90)
        raised = {name.split("-")[2]: provisioned(name) for name in crowd}
        ssm.delete_parameter(Name=document)
        wait_for("the baseline", lambda: run("restore", lambda: not any(provisioned(name) for name in crowd)), 180)
        print(f"  raised to {raised}; restored", flush=True)

    def redrive(self):
        """Dead letters are moved back to their queue; stream records from the bucket and the parked queue are handled again."""
        queues, urls = boto3.client("sqs"), resources("stampede-dev", "AWS::SQS::Queue")
        mapping = resources("stampede-dev", "AWS::Lambda::EventSourceMapping")["ProjectLedgerFunctionLedger"]
        functions = boto3.client("lambda")
        functions.update_event_source_mapping(UUID=mapping, Enabled=False)
        for number in range(23):
            queues.send_message(QueueUrl=urls["LedgerDlq"], MessageBody=json.dumps({"type": "trial", "subject": f"letter-{number}"}))
        said = self.make("redrive", "QUEUE=ledger", "SHOW=1")
        assert said.count("trial letter-") == 23, "not every dead letter was shown"
        self.make("redrive", "QUEUE=ledger")
        counts = [redrive.depth(queues, urls[name]) for name in ("LedgerDlq", "LedgerQueue")]
        assert counts == [0, 23], f"dead letters and messages: {counts}"
        queues.purge_queue(QueueUrl=urls["LedgerQueue"])
        functions.update_event_source_mapping(UUID=mapping, Enabled=True)
        # The ledger loses an order. Its records are restored from the bucket of failed records and the parked queue.
        shop = self.shop()
        shop.put_drop()
        order = shop.purchase("replay")
        wait_for("the ledger's row", lambda: self.ledger(order), PURCHASE_SECONDS)
        records = self.stream_records(order)
        for table in ("ledger_entries", "ledger_order_versions", "ledger_orders"):
            self.database(f"DELETE FROM {table} WHERE order_id = %s", order)
        assert not self.ledger(order)
        bucket = resources("stampede-dev", "AWS::S3::Bucket")["RelayFailuresBucket"]
        notice = {"version": "1.0", "payload": json.dumps({"Records": records[:-1]})}
        boto3.client("s3").put_object(Bucket=bucket, Key="aws/lambda/trial/shard/2026/11/27/1", Body=json.dumps(notice).encode())
        queues.send_message(QueueUrl=urls["RelayParkedQueue"], MessageBody=json.dumps(records[-1]))
        assert order in self.make("redrive", "QUEUE=relay", "SHOW=1")
        said = self.make("redrive", "QUEUE=relay")
        assert "1 objects were replayed" in said and "1 records were replayed" in said
        row = wait_for("the ledger's row once more", lambda: self.ledger(order), PURCHASE_SECONDS)
        print(f"  {len(records)} records of order {order} were replayed; the ledger has {row}", flush=True)
        # The ledger loses all rows, which are restored from the orders table.
        for table in ("ledger_entries", "ledger_order_versions", "ledger_orders"):
            self.database(f"DELETE FROM {table}")
        assert not self.ledger(order) and "orders were sent" in self.make("ledger-rebuild")
        assert wait_for("the rebuilt ledger's row", lambda: self.ledger(order), PURCHASE_SECONDS) == row
        assert "0 objects were replayed" in self.make("redrive", "QUEUE=relay")
        assert "QUEUE=payments|ledger|mail|relay" in self.make("redrive", "QUEUE=orders", expect=2)

    def stream_records(self, order):
        """The changes of an order, in the form in which Lambda passes stream records to a function."""
        client = boto3.client("dynamodbstreams")
        table = resources("stampede-dev", "AWS::DynamoDB::Table")["OrdersTable"]
        stream = client.list_streams(TableName=table)["Streams"][0]["StreamArn"]
        found = []
        for shard in client.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]:
            place = {"StreamArn": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
            records = client.get_records(ShardIterator=client.get_shard_iterator(**place)["ShardIterator"])["Records"]
            found += [record for record in records if order in json.dumps(record["dynamodb"]["Keys"])]
        for record in found:
            at = record["dynamodb"].pop("ApproximateCreationDateTime", None)
            record["dynamodb"] |= {"ApproximateCreationDateTime": at.timestamp()} if at else {}
            record["eventSourceARN"] = stream
        assert len(found) > 1, found
        return found

    def shop(self):
        return Shop(outputs("stampede-dev")["ApiUrl"])

    def ledger(self, order):
        """The order's row, if the order is paid."""
        row = self.database("SELECT status, version FROM ledger_orders WHERE order_id = %s", order)
        return row if row and row[0] == "paid" else None

    def database(self, statement, *values):
        """Executes a statement over TLS as the superuser, and returns the first row, if the statement has rows."""
        trusted = ssl.create_default_context(cadata=self.account.database["LedgerRoots"])
        place = {"host": "127.0.0.1", "port": int(self.account.database["LedgerPort"]), "database": "ledger", "user": "postgres"}
        connection = pg8000.dbapi.connect(ssl_context=trusted, **place)
        try:
            cursor = connection.cursor()
            cursor.execute(statement, values)
            row = cursor.fetchone() if cursor.description else None
            connection.commit()
            return row
        finally:
            connection.close()

    def live(self):
        """Makes one change after the other, and prints a table of those that move the alias `live`, by the account's own answers."""
        zips, data = OUT / "zips", outputs("stampede-dev-data")
        shutil.copytree(ROOT / "target/package/x86_64", zips, dirs_exist_ok=True)
        original = template.APPLICATION.read_text()
        changed = OUT / "template.yaml"

        def stage():
            return Stage.read(STAGE, self.config, True)

        def edited(before, after):
            assert before in original, before
            changed.write_text(original.replace(before, after))
            template.APPLICATION = changed

        def code():
            pack = zips / "answer-default.zip"
            with zipfile.ZipFile(pack, "a") as file:
                file.writestr(zipfile.ZipInfo("NOTE"), "another zip")
            manifest = json.loads((zips / "manifest.json").read_text())
            manifest["answer-default"]["sha256"] = hashlib.sha256(pack.read_bytes()).hexdigest()
            (zips / "manifest.json").write_text(json.dumps(manifest))

        def secret():
            boto3.client("secretsmanager").put_secret_value(SecretId=stage().secret, SecretString='{"api_key":"sk_test_trial"}')

        changes = [
            ("nothing", lambda: None, False),
            ("code", code, True),
            ("a literal in the environment", lambda: edited("RUST_LOG: info", "RUST_LOG: warn"), True),
            ("a parameter's value", lambda: self.write_config(StorefrontOrigin="https://trial.example"), True),
            ("a key", lambda: self.make("bootstrap", "ROTATE=shopper"), False),
            ("a time limit", lambda: edited("    Timeout: 10\n    AutoPublishAlias", "    Timeout: 11\n    AutoPublishAlias"), True),
            ("a subnet", lambda: self.write_config(StorefrontOrigin="https://trial.example", Subnets="subnet-11111111,subnet-33333333"), True),
            ("the same once more", lambda: None, False),
            ("a rotated secret", secret, False),
        ]
        rows = []
        for name, change, moves in changes:
            change()
            if name == "a subnet":
                release.deploy_data(stage(), zips)
                data = outputs("stampede-dev-data")
            before = self.configurations()
            release.deploy_application(stage(), zips, data)
            after = self.configurations()
            moved = sum(before[function] != after[function] for function in before)
            if name == "a key":
                self.takes(keys.stored(stage(), "shopper")[1])
            rows.append((name, moved, len(before)))
            assert moved == (len(before) if moves else 0), f"{name}: {moved} of {len(before)} moved"
        template.APPLICATION = ROOT / "infra/template.yaml"
        self.write_config()
        print("\n  changed                        versions that `live` gets")
        for name, moved, of in rows:
            print(f"  {name:30} {moved:2} of {of}", flush=True)

    def takes(self, key):
        """Waits until the functions accept a token of this key, after a scheduled run of `fetch-keys`."""
        api = Api(outputs("stampede-dev")["ApiUrl"], Key(key))
        wait_for("the new key", lambda: api.call("GET", "/orders", by=("stampede-shopper", "trial"))[0] == 200, 120)

    def configurations(self):
        """The digest of each function's live configuration, by the account's answer."""
        client = boto3.client("lambda")
        asked = ("Environment", "Timeout", "VpcConfig", "CodeSha256", "Version")
        found = {}
        for name in self.versions():
            configuration = client.get_function_configuration(FunctionName=name, Qualifier=aliases.ALIAS)
            found[name] = json.dumps({key: configuration.get(key) for key in asked}, sort_keys=True)
        return found

    def upgrade(self):
        """A new release while two clients buy: no request fails, and every order is paid."""
        self.under_load("deploy", lambda: self.make("deploy", "FORCE=1"), StorefrontOrigin="https://upgrade.example")

    def rollback(self):
        before = self.configurations()
        self.under_load("rollback", lambda: self.make("rollback"))
        after = self.configurations()
        assert all(before[name] != after[name] for name in before), "an alias stayed at its version"

    def undo(self):
        """A release that can sell nothing, since its gateway declines every card. The smoke test fails, and each alias is moved back."""
        before, gateway = self.versions(), http.server.ThreadingHTTPServer(("127.0.0.1", 0), DecliningGateway)
        threading.Thread(target=gateway.serve_forever).start()
        try:
            self.write_config(GatewayUrl=f"http://127.0.0.1:{gateway.server_port}")
            said = self.make("deploy", "FORCE=1", expect=2)
        finally:
            gateway.shutdown()
            gateway.server_close()
            self.write_config()
        assert f"{len(before)} of {len(before)} functions have a new version" in said, "the release was not live"
        assert "the order is payment_failed" in said, "the smoke test failed of something else"
        after = self.versions()
        assert after == before, f"aliases stayed at the failed release: {before} and then {after}"
        shop = self.shop()
        shop.put_drop()
        print(f"  all {len(after)} functions are at their former version, and order {shop.purchase('carl')} is paid", flush=True)

    def versions(self):
        return aliases.versions(Stage.read(STAGE, self.config, True))

    def under_load(self, what, act, **changed):
        if changed:
            self.write_config(**changed)
        shop, over, orders, failures = self.shop(), threading.Event(), [], []
        shop.put_drop()

        def client(name):
            number = 0
            while not over.is_set():
                number += 1
                try:
                    orders.append(shop.purchase(f"{name}{number}"))
                except Failed as error:
                    failures.append(f"{name}{number}: {error}")

        clients = [threading.Thread(target=client, args=(name,)) for name in ("ann", "bob")]
        for thread in clients:
            thread.start()
        try:
            act()
        finally:
            over.set()
            for thread in clients:
                thread.join()
        print(f"  during {what}: {shop.requests} requests, {len(orders)} orders paid, {len(failures)} failures", flush=True)
        assert orders and not failures, failures

    def teardown(self):
        assert "Type the stage's name" in self.make("teardown", expect=2)
        self.make("teardown", f"TYPED={STAGE}")
        assert "is not deployed" in self.make("status", expect=2)
        left = boto3.client("dynamodb").list_tables()["TableNames"]
        assert not left, f"tables are left: {left}"


class DecliningGateway(http.server.BaseHTTPRequestHandler):
    """A payment gateway that answers each call with a declined payment of the smoke test's amount."""

    def do_POST(self):
        error = {"type": "card_error", "code": "card_declined"}
        payment = {"id": "pi_declined", "amount": 100, "currency": "eur", "status": "requires_payment_method", "last_payment_error": error}
        body = json.dumps({"error": error | {"payment_intent": payment}}).encode()
        self.send_response(402)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Shop:
    """A drop and its buyers, with tokens of the keys that the bootstrap made."""

    def __init__(self, url):
        stage = Stage.read(STAGE, OUT / "samconfig.toml", True)
        self.operators, self.shoppers = (Api(url, Key(keys.stored(stage, audience)[0])) for audience in ("operator", "shopper"))
        self.drop = f"trial-{time.time_ns() % 10**9}"
        self.requests = 0

    def call(self, expected, api, method, path, body=None, by=None, idempotency=None):
        """One request, sent once, so that the trial sees each refusal and failure."""
        self.requests += 1
        status, answer = api.once(method, path, body, by, idempotency)
        if status not in expected:
            raise Failed(f"{method} {path}: {problem(status, answer)}")
        return answer

    def put_drop(self):
        at = lambda seconds: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        body = {
            "title": "Trial",
            "currency": "EUR",
            # A listed drop would be on pre-scaling's calendar, and the capacity that it holds would stop the deployments.
            "listed": False,
            "starts_at": at(4),
            "ends_at": at(3_600),
            "hold_seconds": 600,
            "payment_seconds": 600,
            "per_shopper_limit": 1, "expected_shoppers": 1000,
            "skus": [{"sku": "TRIAL", "title": "Trial", "price_minor": 100, "units": 480}],
        }
        by, path = ("stampede-operator", "trial"), f"/operator/drops/{self.drop}"
        self.call({200, 201}, self.operators, "PUT", path, body, by)
        self.call({200}, self.operators, "POST", f"{path}/publish", None, by)
        opened = lambda: self.shoppers.expect({200, 404}, "GET", f"/drops/{self.drop}/status").get("phase") == "open"
        # The conductor finds a drop at the next full minute.
        wait_for("the drop opens", opened, 2 * START_SECONDS)

    def purchase(self, shopper):
        """Reserves, checks out, and waits until the order is paid. The order's id."""
        by, key = ("stampede-shopper", shopper), f"{self.drop}-{shopper}"
        path, body = f"/drops/{self.drop}/reservations", {"sku": "TRIAL", "quantity": 1}
        held = self.call({201}, self.shoppers, "POST", path, body, by, key)
        shipping = {"name": "Ada", "line1": "1 Way", "postal_code": "10115", "city": "Berlin", "country": "DE", "email": "ada@example.com"}
        order = {"reservation_id": held["reservation_id"], "amount": held["amount"], "payment_method": "pm_card_visa", "shipping": shipping}
        placed = self.call({202}, self.shoppers, "POST", "/orders", order, by, key)["order_id"]

        def paid():
            status = self.call({200}, self.shoppers, "GET", f"/orders/{placed}", None, by)["status"]
            if status in ("payment_failed", "declined", "cancelled"):
                raise Failed(f"the order is {status}")
            return status == "paid"

        wait_for("the order is paid", paid, PURCHASE_SECONDS)
        return placed


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", nargs="+", choices=STEPS, default=STEPS)
    given = arguments.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        trial = Trial(Account(stack))
        for step in STEPS:
            if step in given.only:
                began = time.monotonic()
                getattr(trial, step)()
                print(f"ok {step} {time.monotonic() - began:.0f} s", flush=True)
    print(f"{len(given.only)} passed, 0 failed")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
