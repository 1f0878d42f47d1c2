"""Writes infra/observability: the alarms of both templates and the dashboard of a drop day. `--check` compares and writes nothing.

A new function, table, index or queue gets its alarms by running this again. CloudFormation's own loop (`Fn::ForEach`) is not used: the
tools that check the templates offline, and the emulator, would see the loop and not the alarms that it makes.
"""

import json
import pathlib
import sys
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra/deploy"))
from template import APPLICATION, DATA, functions, read  # noqa: E402

OUT = ROOT / "infra/observability"
# The namespace of the functions' own metrics, in shared/startup/src/metrics.rs, and the namespace of the metrics that are counted from logs.
# A metric that is counted from logs cannot have a dimension with a fixed value, so its namespace contains the stage.
OWN = "Stampede"
FROM_LOGS = "Stampede/${Stage}"
PAGE = "docs/OPERATE.md"
# Runs of the conductor last until shortly before their time limit, so their duration needs no alarm.
LASTS_BY_DESIGN = {"ConductDropFunction"}
# The share of a function's time limit above which the alarm goes on.
SHARE_OF_TIMEOUT = 0.8


def ref(name):
    return {"Ref": name}


def att(name, attribute):
    return {"Fn::GetAtt": [name, attribute]}


def sub(text):
    return {"Fn::Sub": text}


def metric(namespace, name, dimensions, stat):
    return {"namespace": namespace, "name": name, "dimensions": dimensions, "stat": stat}


def own(name, stat):
    return metric(OWN, name, {"Stage": ref("Stage")}, stat)


def of_alias(function, name, stat):
    return metric("AWS/Lambda", name, {"FunctionName": ref(function), "Resource": sub(f"${{{function}}}:live")}, stat)


def of_function(function, name, stat):
    return metric("AWS/Lambda", name, {"FunctionName": ref(function)}, stat)


def of_queue(queue, name, stat):
    return metric("AWS/SQS", name, {"QueueName": att(queue, "QueueName")}, stat)


def of_table(table, index, name, stat="Sum"):
    by_index = {"GlobalSecondaryIndexName": index} if index else {}
    return metric("AWS/DynamoDB", name, {"TableName": ref(table)} | by_index, stat)


def of_api(name, stat):
    return metric("AWS/ApiGateway", name, {"ApiId": ref("Api")}, stat)


def of_database(cluster, name, stat):
    return metric("AWS/RDS", name, {"DBClusterIdentifier": ref(cluster)}, stat)


def short(name, suffix):
    return name.removesuffix(suffix)


def stat_of(stat):
    return {"ExtendedStatistic": stat} if stat.startswith("p") else {"Statistic": stat}


def dimensions(given):
    return [{"Name": name, "Value": value} for name, value in given.items()]


def alarm(text, page, watched, above=None, below=None, minutes=1, missing="notBreaching", condition="HasAlarmTopic", period=60):
    """An alarm on one metric in `minutes` successive periods of `period` seconds, or on an expression: then `watched` is (expression, label,
    metrics by their ids). A stage without a topic has no alarms, since each alarm costs a fee and would notify nobody.
    """
    threshold = above if below is None else below
    properties = {"AlarmDescription": f"{text} {PAGE}#{page}"}
    if isinstance(watched, dict):
        named = watched["namespace"]
        properties |= {"Namespace": sub(named) if "${" in named else named, "MetricName": watched["name"]}
        if watched["dimensions"]:
            properties["Dimensions"] = dimensions(watched["dimensions"])
        properties |= stat_of(watched["stat"]) | {"Period": period}
    else:
        expression, label, metrics = watched
        properties["Metrics"] = [{"Id": "watched", "Expression": expression, "Label": label, "ReturnData": True}]
        for key, one in metrics.items():
            namespace = one["namespace"]
            named = {"Namespace": sub(namespace) if "${" in namespace else namespace, "MetricName": one["name"]}
            if one["dimensions"]:
                named["Dimensions"] = dimensions(one["dimensions"])
            properties["Metrics"].append({"Id": key, "ReturnData": False, "MetricStat": {"Metric": named, "Stat": one["stat"], "Period": period}})
    compared = "GreaterThanThreshold" if below is None else "LessThanThreshold"
    properties |= {"EvaluationPeriods": minutes, "ComparisonOperator": compared, "Threshold": threshold, "TreatMissingData": missing}
    properties["AlarmActions"] = [ref("AlarmTopic")]
    return {"Type": "AWS::CloudWatch::Alarm", "Condition": condition, "Properties": properties}


def of_type(template, kind):
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def events(template, kind):
    """The logical ids of the resources that SAM makes of functions' events of a type."""
    for name, function in functions(template).items():
        for event, described in function["Properties"].get("Events", {}).items():
            if described["Type"] == kind:
                yield name, f"{name}{event}"


def indexes(tables):
    for table, properties in tables.items():
        yield table, None
        for index in properties.get("GlobalSecondaryIndexes", []):
            yield table, index["IndexName"]


def on_functions(template, minutes):
    shared = template.get("Globals", {}).get("Function", {})
    for name, function in functions(template).items():
        bare = short(name, "Function")
        yield f"{bare}ErrorsAlarm", alarm(f"{bare}: invocations end in errors.", "function-errors", of_alias(name, "Errors", "Sum"), 0, minutes=minutes)
        throttles = of_alias(name, "Throttles", "Sum")
        yield f"{bare}ThrottlesAlarm", alarm(f"{bare}: invocations are throttled.", "function-throttles", throttles, 0, minutes=minutes)
        if name not in LASTS_BY_DESIGN:
            limit = function["Properties"].get("Timeout", shared.get("Timeout")) * 1000 * SHARE_OF_TIMEOUT
            text = f"{bare}: one invocation of a hundred takes over {SHARE_OF_TIMEOUT:.0%} of the time limit."
            yield f"{bare}DurationAlarm", alarm(text, "function-duration", of_alias(name, "Duration", "p99"), int(limit), minutes=minutes)


def on_queues(template):
    queues = of_type(template, "AWS::SQS::Queue")
    waiting = {
        "PaymentsQueue": "Orders wait over two minutes for their payment.",
        "LedgerQueue": "Rows of the ledger wait over two minutes.",
        "MailQueue": "Shoppers wait over two minutes for their mail.",
    }
    last = {
        "PaymentsDlq": ("Messages about payments are dead letters.", "dead-letters"),
        "LedgerDlq": ("Rows of the ledger are missing.", "dead-letters"),
        "MailDlq": ("Mails to shoppers were not sent.", "dead-letters"),
        "RelayParkedQueue": ("The relay parked stream records that it could not decode.", "parked-records"),
    }
    for name in queues:
        if name in waiting:
            oldest = of_queue(name, "ApproximateAgeOfOldestMessage", "Maximum")
            yield f"{short(name, 'Queue')}AgeAlarm", alarm(waiting[name], "waiting-messages", oldest, 120)
        else:
            text, page = last[name]
            visible = of_queue(name, "ApproximateNumberOfMessagesVisible", "Maximum")
            yield f"{short(name, 'Queue')}Alarm", alarm(text, page, visible, 0)


def on_stream(template):
    for name, mapping in events(template, "DynamoDB"):
        age = of_function(name, "IteratorAge", "Maximum")
        yield "OutboxAgeAlarm", alarm("The oldest change of an order has been unread for over half a minute.", "outbox-behind", age, 30_000)
        kept = metric("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", {"EventSourceMappingUUID": ref(mapping)}, "Sum")
        text = "Stream records could not be relayed for 22 hours and are in the bucket. Replay them with `make redrive STAGE=… QUEUE=relay`."
        yield "RelayGivesUpAlarm", alarm(text, "failed-stream-records", kept, 0)
        dropped = metric("AWS/Lambda", "DroppedEventCount", {"EventSourceMappingUUID": ref(mapping)}, "Sum")
        yield "RelayDropsAlarm", alarm("Stream records were dropped, and the bucket does not have them.", "failed-stream-records", dropped, 0)
        lost = of_function(name, "DestinationDeliveryFailures", "Sum")
        yield "RelayFailuresLostAlarm", alarm("Stream records could not be put into the bucket.", "failed-stream-records", lost, 0)


def on_schedules(template):
    silent = {
        "ConductDropFunction": ("ConductorSilentAlarm", "No run of the conductor for three minutes; no status is written."),
        "SweepOrdersFunction": ("SweeperSilentAlarm", "No run of the sweeper for three minutes; overdue orders keep their units."),
        "FetchKeysFunction": ("FetchKeysSilentAlarm", "No run of fetch-keys for three minutes; issuers' new keys are not read."),
        "PrescaleFunction": ("PrescaleSilentAlarm", "No run of pre-scaling for three minutes; capacity for the next drop is not prepared."),
    }
    for name, (made, text) in silent.items():
        runs = of_function(name, "Invocations", "Sum")
        yield made, alarm(text, "silent-schedules", runs, below=1, minutes=3, missing="breaching")
    for name, rule in events(template, "Schedule"):
        failed = metric("AWS/Events", "FailedInvocations", {"RuleName": ref(rule)}, "Sum")
        yield f"{short(name, 'Function')}ScheduleAlarm", alarm(f"{short(name, 'Function')}: its schedule could not invoke it.", "silent-schedules", failed, 0)
    failed = metric("AWS/Scheduler", "TargetErrorCount", {"ScheduleGroup": ref("Schedules")}, "Sum")
    yield "PrescaleScheduleAlarm", alarm("Prescale: its schedule could not invoke it.", "silent-schedules", failed, 0)


def on_progress():
    stuck = {"drops": own("ConductedDrops", "Maximum"), "steps": own("ConductorSteps", "Sum")}
    text = "The conductor runs and drops are on, but no step succeeds; counts and status are out of date."
    watched = ("IF(drops > 0 AND steps < 1, 1, 0)", "Drops without a step", stuck)
    yield "ConductorStuckAlarm", alarm(text, "conductor-stuck", watched, 0, minutes=3)
    text = "An issuer of tokens has not answered with keys for a day; after a week its tokens are refused."
    yield "IssuerSilentAlarm", alarm(text, "issuer-silent", own("IssuerSilentSeconds", "Maximum"), 86_400, minutes=3)
    text = "Capacity for a drop will not be ready in time; look at its readiness."
    yield "DropNotOnCourseAlarm", alarm(text, "drop-not-on-course", own("DropsNotOnCourse", "Maximum"), 0)
    text = "Changes of capacity fail in three successive runs."
    yield "CapacityChangesFailAlarm", alarm(text, "capacity-changes-fail", own("CapacityChangesFailed", "Sum"), 0, minutes=3)
    text = "Requests exceed provisioned concurrency and cause cold starts."
    yield "SpillOverAlarm", alarm(text, "spill-over", own("SpillOver", "Maximum"), 0)
    text = "Another controller changes the provisioned concurrency of an alias that pre-scaling changes."
    yield "AliasesChangedByOthersAlarm", alarm(text, "aliases-changed-by-others", own("AliasesChangedByOthers", "Maximum"), 0)


def on_api():
    count = of_api("Count", "Sum")
    share = ("IF(requests >= 100, 100 * failed / requests, 0)", "Share of 5xx in percent", {"requests": count, "failed": of_api("5xx", "Sum")})
    yield "ApiFailsAlarm", alarm("Over 1 % of the API's answers are 5xx.", "api-errors", share, 1, minutes=2)
    text = "One request of a hundred takes over 1.5 seconds."
    yield "ApiSlowAlarm", alarm(text, "api-latency", of_api("Latency", "p99"), 1_500, minutes=3)
    refused = metric(FROM_LOGS, "TooManyRequests", {}, "Sum")
    share = ("IF(requests >= 100, 100 * refused / requests, 0)", "Share of 429 in percent", {"requests": count, "refused": refused})
    yield "ApiRefusesAlarm", alarm("Over 5 % of the API's answers are 429.", "api-refusals", share, 5, minutes=3)


def on_payments():
    # Each order is checked every two minutes at least, so a period of five minutes has checks of each.
    awaited = metric(FROM_LOGS, "GatewayAwaited", {}, "Sum")
    yield "GatewayAwaitedAlarm", alarm("Orders wait for the payment gateway for too long. An operator keeps or ends them.", "gateway-awaited", awaited, 0, period=300)
    silent = metric(FROM_LOGS, "GatewaySilent", {}, "Sum")
    yield "GatewaySilentAlarm", alarm("The payment gateway gives no usable answers.", "gateway-silent", silent, 2, period=300)


def on_account():
    claimed = metric("AWS/Lambda", "ClaimedAccountConcurrency", {}, "Maximum")
    watched = (sub("100 * claimed / ${AccountConcurrency}"), "Claimed concurrency in percent of the account's", {"claimed": claimed})
    yield "AccountConcurrencyAlarm", alarm("Over 80 % of the account's concurrency is claimed.", "account-concurrency", watched, 80, minutes=2)


def on_tables(template):
    for table, index in indexes(of_type(template, "AWS::DynamoDB::Table")):
        camel = "".join(part.capitalize() for part in (index or "").split("-"))
        throttled = {"reads": of_table(table, index, "ReadThrottleEvents"), "writes": of_table(table, index, "WriteThrottleEvents")}
        # Without FILL, an expression has no value while one of its metrics has no data point.
        watched = ("FILL(reads, 0) + FILL(writes, 0)", "Throttled reads and writes", throttled)
        text = f"{table}{f', index {index}' if index else ''}: reads or writes are throttled."
        yield f"{short(table, 'Table')}{camel}ThrottledAlarm", alarm(text, "table-throttles", watched, 0, minutes=2)


def log_metrics():
    counted = {"MetricNamespace": sub(FROM_LOGS), "MetricName": "TooManyRequests", "MetricValue": "1", "DefaultValue": 0, "Unit": "Count"}
    properties = {"LogGroupName": ref("ApiAccessLog"), "FilterPattern": '{ $.status = "429" }', "MetricTransformations": [counted]}
    yield "TooManyRequestsFilter", {"Type": "AWS::Logs::MetricFilter", "Properties": properties}
    # `process-order` logs these texts: at each check of an order that has waited for the gateway for too long, and whenever the gateway gave no
    # usable answer.
    for name, text in (("GatewayAwaited", "payment gateway away for too long"), ("GatewaySilent", "payment gateway gave no usable answer")):
        properties = {"LogGroupName": ref("ProcessOrderLog"), "FilterPattern": f'"{text}"', "MetricTransformations": [counted | {"MetricName": name}]}
        yield f"{name}Filter", {"Type": "AWS::Logs::MetricFilter", "Properties": properties}


def on_database():
    """Alarms of the cluster that the data stack creates. The thresholds are computed from the parameters of that stack."""
    cluster, made = "Cluster", "WatchesCluster"
    used = of_database(cluster, "ACUUtilization", "Average")
    text = "The database uses over 90 % of its largest size."
    yield "DatabaseCapacityAlarm", alarm(text, "database-capacity", used, 90, minutes=5, condition=made)
    connections = {"connections": of_database(cluster, "DatabaseConnections", "Maximum")}
    # Aurora User Guide, "Maximum connections for Aurora Serverless v2": 189 for each unit of the largest size; 2,000 at most with
    # a smallest size of 0.5 or less. Other clusters allow more connections, so their alarm goes on earlier.
    expression = sub("100 * connections / MIN([189 * ${MaxCapacity}, 2000])")
    watched = (expression, "Connections in percent of the limit", connections)
    text = "Over 80 % of the database's connections are used."
    yield "DatabaseConnectionsAlarm", alarm(text, "database-connections", watched, 80, minutes=2, condition=made)


# ---- The dashboard ----------------------------------------------------------------------------------------------------------------


def text_of(value):
    """A value in the form that the text of `Fn::Sub` has."""
    match value:
        case {"Ref": name}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{name}.{attribute}}}"
        case {"Fn::Sub": text}:
            return text
    return value


def line(one, label, **options):
    named = [part for pair in one["dimensions"].items() for part in (pair[0], text_of(pair[1]))]
    return [one["namespace"], one["name"], *named, {"stat": one["stat"], "label": label} | options]


def spent(template):
    """The cost of the metered usage, summed over the displayed time, by pre-scaling's list prices. Each part has its own line, since an
    expression has at most 2,048 characters.
    """
    prices = tomllib.loads((ROOT / "infra/prescale/prices.toml").read_text())
    shared = template["Globals"]["Function"]
    lines, parts = [], {}

    def add(part, one, price):
        key = f"c{len(lines)}"
        lines.append(line(one, key, id=key, visible=False))
        parts.setdefault(part, []).append(f"FILL({key},0)*{price:.12f}".rstrip("0"))

    add("API", of_api("Count", "Sum"), prices["api_per_million"] / 1e6)
    for name, function in functions(template).items():
        gigabytes = function["Properties"].get("MemorySize", shared["MemorySize"]) / 1024
        add("functions", of_function(name, "Duration", "Sum"), prices["on_demand_gb_second"] * gigabytes / 1000)
        add("functions", of_function(name, "Invocations", "Sum"), prices["invocations_per_million"] / 1e6)
    for table, index in indexes(of_type(template, "AWS::DynamoDB::Table")):
        add("tables", of_table(table, index, "ConsumedWriteCapacityUnits"), prices["write_units_per_million"] / 1e6)
        add("tables", of_table(table, index, "ConsumedReadCapacityUnits"), prices["read_units_per_million"] / 1e6)
    for queue in of_type(template, "AWS::SQS::Queue"):
        # Each message is sent, received and deleted.
        add("queues", of_queue(queue, "NumberOfMessagesSent", "Sum"), 3 * prices["sqs_requests_per_million"] / 1e6)
    add("database", of_database("LedgerCluster", "ServerlessDatabaseCapacity", "Average"), prices["acu_hour"] / 60)
    sums = [[{"expression": f"RUNNING_SUM({'+'.join(terms)})", "label": part, "id": f"usd{n}"}] for n, (part, terms) in enumerate(parts.items())]
    return sums + lines


def rows(template):
    """The dashboard's rows of widgets, each widget with its lines."""
    shoppers = ["GetDropFunction", "ReserveFunction", "CheckoutFunction", "GetOrderFunction"]
    all_functions = list(functions(template))
    tables = of_type(template, "AWS::DynamoDB::Table")
    bare = lambda name: short(short(name, "Function"), "Table")
    yield "API", {
        "Requests": [line(of_api("Count", "Sum"), "all"), line(of_api("4xx", "Sum"), "4xx"), line(of_api("5xx", "Sum"), "5xx")],
        "Refused with 429": [line(metric(FROM_LOGS, "TooManyRequests", {}, "Sum"), "429")],
        "Latency in ms": [line(of_api("Latency", stat), stat) for stat in ("p50", "p95", "p99")],
    }
    yield "Stock", {
        "Drops that are on, and the conductor's steps": [
            line(own("ConductedDrops", "Maximum"), "drops"),
            line(own("ConductorSteps", "Sum"), "steps"),
            line(own("ConductorFailedSteps", "Sum"), "failed steps"),
        ],
        "Returned holds": [line(own("ReturnedHolds", "Sum"), "returned"), line(own("EndedOrders", "Sum"), "orders asked to end")],
        "Writes to stock": [line(of_table("StockTable", None, "ConsumedWriteCapacityUnits"), "write units")],
    }
    yield "Orders", {
        "Reservations and checkouts": [line(of_alias(name, "Invocations", "Sum"), bare(name)) for name in ("ReserveFunction", "CheckoutFunction")],
        "Writes to orders": [line(of_table("OrdersTable", None, "ConsumedWriteCapacityUnits"), "write units")],
        "Outbox: age of the oldest record in ms": [line(of_function("RelayEventsFunction", "IteratorAge", "Maximum"), "age")],
    }
    yield "Payments and ledger", {
        "Payment work": [line(of_alias("ProcessOrderFunction", name, "Sum"), name.lower()) for name in ("Invocations", "Errors", "Throttles")],
        "Payment work: duration in ms": [line(of_alias("ProcessOrderFunction", "Duration", stat), stat) for stat in ("p50", "p99")],
        "Ledger": [line(of_alias("ProjectLedgerFunction", name, "Sum"), name.lower()) for name in ("Invocations", "Errors")],
    }
    yield "Capacity", {
        "Drops by readiness": [
            line(own("PrescaledDrops", "Maximum"), "on the calendar"),
            line(own("DropsNotReady", "Maximum"), "wanted capacity not ready yet"),
            line(own("DropsNotOnCourse", "Maximum"), "not in time"),
            line(own("DropsRestrained", "Maximum"), "reduced by a limit"),
        ],
        "Changes of capacity": [
            line(own("CapacityChanges", "Sum"), "made"),
            line(own("CapacityChangesFailed", "Sum"), "failed"),
            line(own("AliasesChangedByOthers", "Maximum"), "by another controller"),
        ],
        "Provisioned concurrency, and requests beyond it": [
            *[line(of_alias(name, "ProvisionedConcurrentExecutions", "Maximum"), f"{bare(name)} in use") for name in shoppers],
            line(own("SpillOver", "Maximum"), "beyond"),
        ],
        "Concurrency": [
            *[line(of_function(name, "ConcurrentExecutions", "Maximum"), bare(name)) for name in all_functions],
            line(metric("AWS/Lambda", "ClaimedAccountConcurrency", {}, "Maximum"), "claimed in the account"),
        ],
        "Database: capacity units and connections": [
            line(of_database("LedgerCluster", "ServerlessDatabaseCapacity", "Average"), "capacity units"),
            line(of_database("LedgerCluster", "DatabaseConnections", "Maximum"), "connections"),
        ],
        "Throttled reads and writes": [
            line(of_table(table, None, name), f"{bare(table)} {name.removesuffix('ThrottleEvents').lower()}")
            for table in tables
            for name in ("ReadThrottleEvents", "WriteThrottleEvents")
        ],
    }
    yield "Issuers of tokens", {
        "Addresses of keys": [line(own("IssuersAsked", "Maximum"), "asked"), line(own("IssuersUnanswered", "Maximum"), "without keys")],
        "Longest time without an answer in seconds": [line(own("IssuerSilentSeconds", "Maximum"), "time")],
        "Documents written": [line(own("IssuerDocumentsWritten", "Sum"), "documents")],
    }
    queues = of_type(template, "AWS::SQS::Queue")
    yield "Queues", {
        "Messages": [line(of_queue(name, "ApproximateNumberOfMessagesVisible", "Maximum"), name) for name in queues],
        "Age of the oldest message in seconds": [line(of_queue(name, "ApproximateAgeOfOldestMessage", "Maximum"), name) for name in queues],
    }
    yield "Errors", {
        "Errors": [line(of_alias(name, "Errors", "Sum"), bare(name)) for name in all_functions],
        "Throttles": [line(of_alias(name, "Throttles", "Sum"), bare(name)) for name in all_functions],
    }
    yield "Cost", {"US dollars so far, without provisioned concurrency": spent(template)}


def dashboard(template):
    widgets, top = [], 0
    for title, row in rows(template):
        widgets.append({"type": "text", "x": 0, "y": top, "width": 24, "height": 1, "properties": {"markdown": f"## {title}"}})
        top += 1
        for place, (name, lines) in enumerate(row.items()):
            shown = {"title": name, "region": "${AWS::Region}", "view": "timeSeries", "period": 60, "metrics": lines}
            where = {"x": place % 3 * 8, "y": top + place // 3 * 6, "width": 8, "height": 6}
            widgets.append({"type": "metric"} | where | {"properties": shown})
        top += (len(row) + 2) // 3 * 6
    # Each widget has its own line, so that a difference shows the changed widget.
    written = ",\n".join(json.dumps(widget, separators=(",", ":"), ensure_ascii=False) for widget in widgets)
    body = f'{{"start":"-PT6H","widgets":[\n{written}\n]}}'
    return {"Type": "AWS::CloudWatch::Dashboard", "Properties": {"DashboardBody": sub(body)}}


def application():
    template = read(APPLICATION)
    alarms = [on_api(), on_payments(), on_queues(template), on_stream(template), on_schedules(template), on_progress(), on_account()]
    alarms += [on_functions(template, 3), on_tables(template), log_metrics()]
    return {name: made for part in alarms for name, made in part} | {"DropDay": dashboard(template)}


def data():
    return dict(on_functions(read(DATA), 1)) | dict(on_database())


FILES = {OUT / "application.yaml": application, OUT / "data.yaml": data}
HEAD = "# Written by infra/tools/observability.py; change the lists there and run `make alarms`.\n"


class Dumper(yaml.SafeDumper):
    """Writes no anchors, since CloudFormation does not read them."""

    def ignore_aliases(self, data):
        return True


def in_a_line(value):
    return yaml.dump([value], Dumper=Dumper, sort_keys=False, default_flow_style=True, width=10**6, allow_unicode=True).strip()[1:-1]


def text(resources):
    """The text of a file, with a line for each property."""
    written = [HEAD + "Resources:"]
    for name, resource in resources.items():
        written += [f"  {name}:", *[f"    {key}: {value}" for key, value in resource.items() if key != "Properties"], "    Properties:"]
        for key, value in resource["Properties"].items():
            if key == "DashboardBody":
                written += ["      DashboardBody:", "        Fn::Sub: |-", *[f"          {part}" for part in value["Fn::Sub"].split("\n")]]
            else:
                written.append(f"      {key}: {in_a_line(value)}")
    return "\n".join(written) + "\n"


def main(check):
    stale = []
    for path, made in FILES.items():
        wanted = text(made())
        if check and (not path.exists() or path.read_text() != wanted):
            stale.append(path)
        elif not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted)
    for path in stale:
        print(f"{path.relative_to(ROOT)} is not what infra/tools/observability.py writes. Run `make alarms`.", file=sys.stderr)
    print(f"{len(FILES) - len(stale)} passed, {len(stale)} failed")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
