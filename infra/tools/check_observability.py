"""Checks infra/observability: its files are those that the lists make, each of its metrics exists, and each alarm has its section in
docs/OPERATE.md.

A metric exists when a function emits it or a metric filter counts it, or when AWS documents it with these dimensions. The value of a
dimension must refer to a resource of the right type. Each check is tried on a planted mistake.
"""

import copy
import fnmatch
import json
import pathlib
import re
import sys

import observability
from observability import APPLICATION, DATA, OWN, PAGE, ROOT
from template import load

SOURCES = (ROOT / "functions", ROOT / "shared")
ALIAS, FUNCTION = ("FunctionName", "Resource"), ("FunctionName",)
ANY_FUNCTION = {FUNCTION, ALIAS}
MAPPING = {("EventSourceMappingUUID",)}
QUEUE, CLUSTER, API = {("QueueName",)}, {("DBClusterIdentifier",)}, {("ApiId",), ("ApiId", "Stage")}
TABLE = {("TableName",), ("TableName", "GlobalSecondaryIndexName")}
# The metrics of AWS that are used here, with the dimensions of each, from the services' documentation.
DOCUMENTED = {
    # Lambda Developer Guide, "Types of metrics for Lambda functions" and "Event source mapping metrics".
    "AWS/Lambda": {
        "Invocations": ANY_FUNCTION,
        "Errors": ANY_FUNCTION,
        "Throttles": ANY_FUNCTION,
        "Duration": ANY_FUNCTION,
        "ConcurrentExecutions": ANY_FUNCTION | {()},
        "ProvisionedConcurrentExecutions": ANY_FUNCTION,
        "IteratorAge": ANY_FUNCTION,
        "DestinationDeliveryFailures": ANY_FUNCTION,
        "ClaimedAccountConcurrency": {()},
        "OnFailureDestinationDeliveredEventCount": MAPPING,
        "DroppedEventCount": MAPPING,
    },
    # SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS".
    "AWS/SQS": dict.fromkeys(("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage", "NumberOfMessagesSent"), QUEUE),
    # DynamoDB Developer Guide, "DynamoDB metrics and dimensions". ThrottledRequests has no figure for a table as a whole.
    "AWS/DynamoDB": dict.fromkeys(
        ("ReadThrottleEvents", "WriteThrottleEvents", "ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"), TABLE
    ),
    # API Gateway Developer Guide, "Monitor HTTP APIs with CloudWatch metrics".
    "AWS/ApiGateway": dict.fromkeys(("Count", "4xx", "5xx", "Latency"), API),
    # EventBridge User Guide, "Monitoring Amazon EventBridge".
    "AWS/Events": {"FailedInvocations": {("RuleName",)}},
    # EventBridge Scheduler User Guide, "Monitoring Amazon EventBridge Scheduler with Amazon CloudWatch".
    "AWS/Scheduler": {"TargetErrorCount": {("ScheduleGroup",)}},
    # Aurora User Guide, "Amazon CloudWatch metrics for Amazon Aurora".
    "AWS/RDS": dict.fromkeys(("ServerlessDatabaseCapacity", "ACUUtilization", "DatabaseConnections"), CLUSTER),
}
# The type of resource to which a dimension's value refers. An event's resource, as SAM names it, belongs to its function.
TYPES = {
    "FunctionName": {"AWS::Serverless::Function"},
    "Resource": {"AWS::Serverless::Function"},
    "QueueName": {"AWS::SQS::Queue"},
    "TableName": {"AWS::DynamoDB::Table"},
    "ApiId": {"AWS::Serverless::HttpApi"},
    "DBClusterIdentifier": {"AWS::RDS::DBCluster", "parameter LedgerCluster"},
    "ScheduleGroup": {"AWS::Scheduler::ScheduleGroup"},
    "RuleName": {"event Schedule"},
    "EventSourceMappingUUID": {"event DynamoDB"},
    "Stage": {"parameter Stage"},
}
# The lines of metrics in the functions' sources: `count("Name", …)` and `("Name", COUNT, …)`, by shared/startup/src/metrics.rs.
EMITTED = re.compile(r'(?:count\(\s*|\()"([A-Z][A-Za-z]+)",\s*(?:COUNT|"None"|"Seconds"|[a-z])')


def emitted():
    """The names of the metrics that the functions emit, from the files that use the metric lines."""
    names = set()
    for folder in SOURCES:
        for path in folder.glob("*/src/**/*.rs"):
            source = path.read_text()
            if "metrics::" in source and "line" in source:
                names.update(EMITTED.findall(source.split("#[cfg(test)]")[0]))
    return names


def kinds(template):
    """The kind of resource that a name in a template has."""
    found = {name: r["Type"] for name, r in template["Resources"].items()}
    found |= {name: f"parameter {name}" for name in template["Parameters"]}
    for name, function in observability.functions(template).items():
        for event, described in function["Properties"].get("Events", {}).items():
            found[f"{name}{event}"] = f"event {described['Type']}"
    return found


def value(text):
    """The name that a dimension's value refers to; None for a plain text."""
    found = re.match(r"\$\{(\w+)", observability.text_of(text))
    return found and found[1]


def alarms(template):
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == "AWS::CloudWatch::Alarm"}


def used(template):
    """Every metric of alarms and dashboards: where it is, namespace, name, dimensions."""
    for name, properties in alarms(template).items():
        stats = [m["MetricStat"]["Metric"] for m in properties.get("Metrics", []) if "MetricStat" in m] or [properties]
        for metric in stats:
            given = {d["Name"]: d["Value"] for d in metric.get("Dimensions", [])}
            yield name, observability.text_of(metric["Namespace"]), metric["MetricName"], given
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            for widget in json.loads(resource["Properties"]["DashboardBody"]["Fn::Sub"])["widgets"]:
                for line in widget["properties"].get("metrics", []):
                    if isinstance(line[0], str):
                        pairs = line[2:-1]
                        yield f"{name}, {widget['properties']['title']}", line[0], line[1], dict(zip(pairs[::2], pairs[1::2]))


def counted(template):
    """The metrics that metric filters make from logs."""
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Logs::MetricFilter":
            for made in resource["Properties"]["MetricTransformations"]:
                yield observability.text_of(made["MetricNamespace"]), made["MetricName"]


def unknown_metrics(template, own):
    known, named = set(counted(template)), kinds(template)
    for place, namespace, name, dimensions in used(template):
        if namespace == OWN:
            if name not in own or tuple(dimensions) != ("Stage",):
                yield f"{place}: no function emits {name}"
        elif namespace in DOCUMENTED:
            if tuple(dimensions) not in DOCUMENTED[namespace].get(name, ()):
                yield f"{place}: {namespace} has no {name} by {', '.join(dimensions) or 'nothing'}"
        elif (namespace, name) not in known or dimensions:
            yield f"{place}: nothing counts {namespace} {name}"
        for key, given in dimensions.items():
            refers = value(given)
            if key != "GlobalSecondaryIndexName" and named.get(refers) not in TYPES.get(key, ()):
                yield f"{place}: {key} is {named.get(refers, 'nothing of the template')}"


def slug(heading):
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def sections(page):
    """The page's sections about alarms: heading's anchor, and the patterns of alarms' names in the line that begins with `Alarms:`."""
    body = page.split("\n## Alarms\n", 1)[1].split("\n## ", 1)[0]
    for part in body.split("\n### ")[1:]:
        heading, text = part.split("\n", 1)
        found = re.search(r"^Alarms: (.*)$", text, re.M)
        yield slug(heading), re.findall(r"`([^`]+)`", found[1]) if found else []


def broken_links(given, page):
    """The differences between alarms and the page: each alarm must link a section that names it, and sections name no other alarm."""
    anchors = dict(sections(page))
    linked = {}
    for name, properties in given.items():
        found = re.search(rf"{re.escape(PAGE)}#([a-z0-9-]+)$", properties["AlarmDescription"])
        if not found or found[1] not in anchors:
            yield f"{name}: its description links no section of {PAGE}"
            continue
        linked.setdefault(found[1], set()).add(name)
    for anchor, patterns in anchors.items():
        told = {name for name in given for pattern in patterns if fnmatch.fnmatchcase(name, pattern)}
        if told != linked.get(anchor, set()) or not told:
            yield f"{PAGE}#{anchor}: names {', '.join(sorted(told)) or 'no alarm'}, and is linked by {', '.join(sorted(linked.get(anchor, ()))) or 'none'}"
        idle = [pattern for pattern in patterns if not fnmatch.filter(given, pattern)]
        yield from (f"{PAGE}#{anchor}: there is no alarm {pattern}" for pattern in idle)


def unwatched(template, own):
    """Metrics of the functions that no alarm and no dashboard uses."""
    seen = {name for _, namespace, name, _ in used(template) if namespace == OWN}
    return [f"{name} is emitted, and on no alarm and no dashboard" for name in sorted(own - seen - UNSEEN)]


# A figure that is computed after a drop: the log has it, and it needs no action on the same day.
UNSEEN = {"PlanErrorLargest"}


def planted(application, own, given, page):
    """Runs each check on a planted mistake; yields the mistakes that no check finds."""
    mistaken = copy.deepcopy(application)
    of = lambda name: alarms(mistaken)[name]
    of("SpillOverAlarm")["MetricName"] = "SpilledOver"
    of("OutboxAgeAlarm")["MetricName"] = "IteratorAges"
    of("PaymentsAgeAlarm")["Dimensions"][0]["Value"] = {"Ref": "StockTable"}
    of("LedgerAgeAlarm")["Dimensions"][0]["Name"] = "FunctionName"
    del mistaken["Resources"]["TooManyRequestsFilter"]
    found = " ".join(unknown_metrics(mistaken, own))
    for part in ("SpilledOver", "IteratorAges", "QueueName is AWS::DynamoDB::Table", "LedgerAgeAlarm", "nothing counts Stampede/${Stage}"):
        if part not in found:
            yield f"planted: {part}"
    if not unwatched(application, own | {"NewMetric"}):
        yield "planted: a metric that nobody sees"
    for what, text, alarm in (
        ("a section that is gone", page.replace("### Spill-over", "### Something else"), None),
        ("a section that names another alarm", page.replace("`SpillOverAlarm`", "`OutboxAgeAlarm`"), None),
        ("an alarm without a link", page, {"AlarmDescription": "Something is wrong."}),
        ("an alarm that its section does not name", page, {"AlarmDescription": f"Something is wrong. {PAGE}#spill-over"}),
    ):
        if not list(broken_links(given | ({"NewAlarm": alarm} if alarm else {}), text)):
            yield f"planted: {what}"


def main():
    page, own = (ROOT / PAGE).read_text(), emitted()
    application, data = load(APPLICATION), load(DATA)
    given = alarms(application) | alarms(data)
    wrong = [*unknown_metrics(application, own), *unknown_metrics(data, own), *unwatched(application, own), *broken_links(given, page)]
    wrong = wrong or list(planted(application, own, given, page))
    for what in wrong:
        print(what, file=sys.stderr)
    print(f"{len(given)} alarms, {len(list(used(application)))} metrics, {len(own)} metrics of the functions; {len(wrong)} failed")
    return 1 if observability.main(check=True) or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
