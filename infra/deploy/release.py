"""A deployment: package, data stack, migrations, application stack, smoke test; a rollback to the former versions when the test fails."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import boto3
import botocore.config
import botocore.exceptions

import aliases
import emulator
import keys
import revision
import template
from stage import ROOT, bucket, outputs, refuse, resources, say

# A paused database resumes within 30 s; a migration may take minutes.
MIGRATION_SECONDS = 900
SIGN_UP_ATTEMPTS = 12
SIGN_UP_PAUSE_SECONDS = 10
# Statements that run once as the database's owner. After that both roles sign in with IAM tokens, and no password is used.
ROLES = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{owner}') THEN CREATE ROLE {owner} LOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{writer}') THEN CREATE ROLE {writer} LOGIN; END IF;
  GRANT rds_iam TO {owner}, {writer};
  GRANT CREATE, USAGE ON SCHEMA public TO {owner};
END $$
"""


def sam_deploy(stack, path, parameters, stage):
    """Runs `sam deploy` with the given parameters. An empty parameter keeps the template's default."""
    quoted = {name: str(value).replace("\\", "\\\\").replace('"', '\\"') for name, value in sorted(parameters.items()) if value != ""}
    given = [f'ParameterKey={name},ParameterValue="{value}"' for name, value in quoted.items()]
    command = [pathlib.Path(sys.executable).parent / "sam", "deploy", "--template-file", path, "--stack-name", stack]
    command += ["--s3-bucket", bucket(), "--s3-prefix", stage.name, "--capabilities", "CAPABILITY_IAM"]
    command += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar", "--tags", f"stampede-stage={stage.name}"]
    command += ["--parameter-overrides", *given] if given else []
    region = boto3.session.Session().region_name
    outcome = subprocess.run(command + ["--region", region], cwd=ROOT, env=os.environ | {"SAM_CLI_TELEMETRY": "0"}, check=False)
    if outcome.returncode:
        refuse(f"The stack {stack} was not deployed. CloudFormation has rolled its changes back.")


def package(stage):
    out = ROOT / "target/package" / stage.architecture
    subprocess.run([ROOT / "infra/tools/package", "--arch", stage.architecture, "--out", out], cwd=ROOT, check=True)
    return out


def send(stack, path, parameters, zips, programs, stage):
    """Deploys a template with the zips of `programs`, at the revision that is computed from both."""
    document = template.load(path)
    manifest = json.loads((zips / "manifest.json").read_text())
    digest = revision.compute(document, parameters, {name: manifest[name] for name in programs})
    document = template.with_zips(document, zips, digest)
    if stage.emulated:
        document = emulator.overlay(document)
    say(f"stack {stack}: revision {digest[:16]}")
    sam_deploy(stack, template.write(document, stage.folder() / f"{path.stem}.json"), parameters | {"Revision": digest}, stage)


def programs(path):
    return sorted(template.binary(function) for function in template.functions(template.load(path)).values())


def deploy_data(stage, zips):
    """Deploys the network, the database and `migrate-ledger`. Parameters may name an existing network or database instead."""
    given = {"AlarmTopic": stage.application.get("AlarmTopic", "")} | stage.data
    given |= {"Stage": stage.name, "Architecture": stage.architecture}
    send(stage.data_stack, template.DATA, given, zips, programs(template.DATA), stage)
    return outputs(stage.data_stack)


def sign_up(data):
    """Makes the roles that sign in by IAM, through the Data API, which needs neither a network path nor the password here."""
    if not data.get("DatabaseSecretArn"):
        return
    client = boto3.client("rds-data")
    roles = ROLES.format(owner=data["MigrationUser"], writer=data["LedgerUser"])
    for attempt in range(SIGN_UP_ATTEMPTS):
        try:
            client.execute_statement(resourceArn=data["ClusterArn"], secretArn=data["DatabaseSecretArn"], database="ledger", sql=roles)
            return
        except (client.exceptions.DatabaseResumingException, client.exceptions.DatabaseUnavailableException):
            if attempt + 1 == SIGN_UP_ATTEMPTS:
                raise
            time.sleep(SIGN_UP_PAUSE_SECONDS)


def migrate(data):
    """Runs `migrate-ledger` and waits for it. The application is not deployed when it fails."""
    patient = botocore.config.Config(read_timeout=MIGRATION_SECONDS, retries={"max_attempts": 0})
    answer = boto3.client("lambda", config=patient).invoke(FunctionName=data["MigrateLedgerFunction"], Qualifier=aliases.ALIAS, Payload=b"{}")
    payload = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        refuse(f"The migrations failed, and nothing else was deployed: {payload}")
    say(f"migrations: {json.dumps(payload)}")


def deploy_application(stage, zips, data):
    """Deploys the application. Returns whether it existed before, and whether the alias of a function has moved."""
    keys.check(stage)
    declared = template.load(template.APPLICATION)["Parameters"]
    named = {f"{audience.capitalize()}KeysParameter": keys.public_name(stage, audience) for audience in keys.AUDIENCES}
    ledger = {name: value for name, value in data.items() if name in declared}
    given = {"GatewaySecret": stage.secret, "GatewayWebhookSecret": stage.webhook_secret, "PrescaleDocuments": f"{stage.path}/prescale"} | named | ledger | stage.application
    given |= {"Stage": stage.name, "Architecture": stage.architecture}
    former = aliases.versions(stage)
    send(stage.stack, template.APPLICATION, given, zips, programs(template.APPLICATION), stage)
    now = aliases.versions(stage)
    moved = sorted(name for name, version in now.items() if former.get(name) != version)
    if former and moved:
        aliases.record(stage, former)
    say(f"alias {aliases.ALIAS}: {len(moved)} of {len(now)} functions have a new version")
    return bool(former), bool(moved)


def fetch_keys(stage):
    """Runs `fetch-keys`, so that the first request finds who may sign tokens. True when the run succeeded."""
    name = resources(stage.stack, "AWS::Lambda::Function")["FetchKeysFunction"]
    answer = boto3.client("lambda").invoke(FunctionName=name, Qualifier=aliases.ALIAS, Payload=b"{}")
    told = answer["Payload"].read().decode()
    say(f"issuers' keys: {told}")
    return "FunctionError" not in answer


def smoke(stage):
    """Creates an unlisted drop, reserves and releases a unit, and buys one if the gateway is a sandbox. True when all steps succeeded."""
    private = keys.stored(stage, "deployer")
    if not private:
        refuse(f"The deployer has no key. Run `make bootstrap STAGE={stage.name}`.")
    api = outputs(stage.stack)["ApiUrl"]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as key:
        os.fchmod(key.fileno(), 0o600)
        json.dump(private[0], key)
        key.flush()
        command = [sys.executable, ROOT / "infra/tools/smoke", "--api", api, "--key", key.name]
        if "GatewayUrl" in stage.application:
            command.append("--buy")
        return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def protect(stage):
    """Protects the tables from deletion, except in dev, whose teardown deletes them."""
    client = boto3.client("dynamodb")
    for name in resources(stage.stack, "AWS::DynamoDB::Table").values():
        if not client.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled"):
            client.update_table(TableName=name, DeletionProtectionEnabled=True)
            say(f"table {name}: protected from deletion")


def check_window(stage):
    """Refuses while capacity is raised for a drop, since a moved alias must allocate its provisioned concurrency again."""
    client = boto3.client("lambda")
    for name in aliases.versions(stage):
        try:
            client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=aliases.ALIAS)
        except botocore.exceptions.ClientError:
            continue
        refuse(f"{name} has provisioned concurrency, so a drop is near. Deploy after it, or use FORCE=1.")


def run(stage, force=False):
    if not force:
        check_window(stage)
    zips = package(stage)
    data = deploy_data(stage, zips)
    sign_up(data)
    migrate(data)
    upgrade, moved = deploy_application(stage, zips, data)
    if not (fetch_keys(stage) and smoke(stage)):
        if upgrade and moved:
            say("The issuers' keys were not written, or the smoke test failed. The former versions become live again.")
            aliases.roll_back(stage)
        sys.exit(1)
    if not stage.is_dev:
        protect(stage)
    say(f"{stage.name} is deployed: {outputs(stage.stack)['ApiUrl']}")
