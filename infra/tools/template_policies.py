"""Checks the expanded templates in target/template by the project's policies, and tests each policy with planted mistakes.

A policy gets the resources of an expansion and yields its violations: (logical id, mistake). `PLANTED` has mistakes for each policy; the
policies must find exactly the planted one.
"""

import copy
import json
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPANDED = ROOT / "target/template"
TEMPLATES = ("template.json", "network-and-database.json")
# The longest time for which Lambda may try a stream's records, so that it ends before the stream deletes them.
STREAM_SECONDS = 86_400
# Lambda Developer Guide, "Using Lambda with Amazon SQS": the visibility timeout is at least six times the function's.
TIMEOUTS_HIDDEN = 6
# IAM User Guide, "IAM and AWS STS quotas": all inline policies of a role together, white space aside.
ROLE_CHARACTERS = 10_240
# An ARN of a table or a function that CloudFormation named; partitions, regions and accounts are shorter.
LONGEST_NAME = 100
# SQS keeps messages for two weeks at most.
LONGEST_RETENTION_SECONDS = 1_209_600

# Accepted wide resources: the role, the actions, the resource, and the reason.
WIDE = [
    (
        "ProjectLedgerRole MigrateLedgerRole",
        "ec2:CreateNetworkInterface ec2:DescribeNetworkInterfaces ec2:DescribeSubnets ec2:DeleteNetworkInterface "
        "ec2:AssignPrivateIpAddresses ec2:UnassignPrivateIpAddresses",
        "*",
        "Lambda creates the network interfaces, so their ids are unknown; descriptions take no resource. A condition refuses the function's code",
    ),
    ("RelayEventsRole", "dynamodb:ListStreams", "${OrdersTable.Arn}/stream/*", "the action is about all streams of a table"),
    ("RelayEventsRole", "s3:PutObject", "${RelayFailuresBucket.Arn}/aws/lambda/*", "Lambda names the objects"),
    (
        "ProcessOrderRole ReceiveWebhookRole MigrateLedgerRole",
        "secretsmanager:GetSecretValue",
        "-??????",
        "Secrets Manager ends a secret's ARN with six random characters",
    ),
    (
        "PrescaleRole",
        "rds:ModifyDBInstance rds:DescribeDBInstances",
        ":db:*",
        "instances are changed by their tag; what an account has can be listed only whole",
    ),
    (
        "PrescaleRole",
        "lambda:GetAccountSettings lambda:ListFunctions lambda:GetFunctionConcurrency lambda:ListProvisionedConcurrencyConfigs "
        "cloudwatch:GetMetricData",
        "*",
        "reads of the whole account, or that take no resource",
    ),
]
# Wide actions that change something, each with the condition that restricts it.
NARROWED = {
    "ec2:CreateNetworkInterface": "lambda:SourceFunctionArn",
    "ec2:DeleteNetworkInterface": "lambda:SourceFunctionArn",
    "ec2:AssignPrivateIpAddresses": "lambda:SourceFunctionArn",
    "ec2:UnassignPrivateIpAddresses": "lambda:SourceFunctionArn",
    "rds:ModifyDBInstance": "aws:ResourceTag/stampede-cluster",
}


def of_type(resources, *kinds):
    return {name: r for name, r in resources.items() if r["Type"] in kinds}


def several(value):
    return value if isinstance(value, list) else [value]


def text(node):
    """A value as text; for an intrinsic function, its argument."""
    match node:
        case str():
            return node
        case {"Fn::Sub": [inner, _]} | {"Fn::Sub": inner}:
            return inner
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{name}.{attribute}}}"
        case {"Ref": name}:
            return f"${{{name}}}"
    return json.dumps(node)


def referred(node):
    """The logical id that a Ref, GetAtt or Sub begins with."""
    found = re.match(r"\$\{(\w+)", text(node))
    return found and found[1]


def policies_of(role):
    """A role's own policies; a policy under a condition has the form in which the condition is true."""
    for policy in role["Properties"].get("Policies", []):
        yield policy["Fn::If"][1] if "Fn::If" in policy else policy


def statements(resources):
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for policy in policies_of(role):
            for statement in several(policy["PolicyDocument"]["Statement"]):
                if statement["Effect"] == "Allow":
                    yield name, statement


def is_accepted(role, action, resource, by=None):
    def accepts(roles, actions, end):
        fits = resource == "*" if end == "*" else resource.endswith(end)
        return fits and role in roles.split() and action in actions.split()

    return any(accepts(roles, actions, end) for roles, actions, end, _ in ([by] if by else WIDE))


def without_use(all_resources):
    """Exceptions that no statement needs any more: a role and an action of which neither template has a wide statement."""
    wide = [(role, action, text(resource)) for resources in all_resources for role, s in statements(resources)
            for action in several(s["Action"]) for resource in several(s["Resource"])]
    for exception in WIDE:
        roles, actions, end, _ = exception
        for role in roles.split():
            for action in actions.split():
                if not any(one[:2] == (role, action) and is_accepted(*one, by=exception) for one in wide):
                    yield f"{role}: {action} on {end}"


def no_wide_statement(resources):
    for role, statement in statements(resources):
        for action in several(statement["Action"]):
            if "*" in action:
                yield role, f"allows {action}"
            for resource in map(text, several(statement["Resource"])):
                if re.search(r"[*?]", resource) and not is_accepted(role, action, resource):
                    yield role, f"allows {action} on {resource}"


def wide_changes_have_a_condition(resources):
    for role, statement in statements(resources):
        wide = any(text(resource).endswith("*") for resource in several(statement["Resource"]))
        for action in several(statement["Action"]) if wide else []:
            keys = {key for test in statement.get("Condition", {}).values() for key in test}
            if action in NARROWED and NARROWED[action] not in keys:
                yield role, f"allows {action} on everything, without a condition on {NARROWED[action]}"


def no_managed_policy(resources):
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for managed in role["Properties"].get("ManagedPolicyArns", []):
            yield name, f"has the managed policy {text(managed)}, which allows its actions on everything"


def as_written(node):
    """A policy in which each name that CloudFormation will choose has the longest possible length."""
    match node:
        case {"Fn::Sub": _} | {"Fn::GetAtt": _} | {"Ref": _}:
            return re.sub(r"\$\{[^}]*\}", "x" * LONGEST_NAME, text(node))
        case dict():
            return {key: as_written(value) for key, value in node.items()}
        case list():
            return [as_written(value) for value in node]
    return node


def roles_fit(resources):
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        written = [as_written(policy["PolicyDocument"]) for policy in policies_of(role)]
        size = len(json.dumps(written, separators=(",", ":")))
        if size > ROLE_CHARACTERS:
            yield name, f"has policies of some {size} characters, more than IAM takes"


def logs_end(resources):
    groups = of_type(resources, "AWS::Logs::LogGroup")
    for name, group in groups.items():
        if "RetentionInDays" not in group["Properties"]:
            yield name, "keeps its log for ever"
    used = [referred(f["Properties"].get("LoggingConfig", {}).get("LogGroup", "")) for f in of_type(resources, "AWS::Lambda::Function").values()]
    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        group = referred(function["Properties"].get("LoggingConfig", {}).get("LogGroup", ""))
        if group not in groups:
            yield name, "has no log group, so Lambda makes one that keeps its log for ever"
        elif used.count(group) > 1:
            yield name, f"shares the log group {group}"
    named = {text(group["Properties"].get("LogGroupName", "")) for group in groups.values()}
    for name, cluster in of_type(resources, "AWS::RDS::DBCluster").items():
        for log in cluster["Properties"].get("EnableCloudwatchLogsExports", []):
            wanted = f"/aws/rds/cluster/{text(cluster['Properties']['DBClusterIdentifier'])}/{log}"
            if wanted not in named:
                yield name, f"writes {wanted}, which keeps its log for ever"


def stores(resources):
    return of_type(resources, "AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::S3::Bucket", "AWS::RDS::DBCluster")


def is_encrypted(kind, properties):
    match kind:
        case "AWS::DynamoDB::Table":
            return properties.get("SSESpecification", {}).get("SSEEnabled")
        case "AWS::SQS::Queue":
            return properties.get("SqsManagedSseEnabled") or properties.get("KmsMasterKeyId")
        case "AWS::S3::Bucket":
            return properties.get("BucketEncryption")
        case "AWS::RDS::DBCluster":
            return properties.get("StorageEncrypted")


def stores_are_encrypted(resources):
    for name, store in stores(resources).items():
        if not is_encrypted(store["Type"], store["Properties"]):
            yield name, "is not encrypted"


def is_recoverable(kind, properties, is_dead_end):
    match kind:
        case "AWS::DynamoDB::Table":
            return properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled")
        case "AWS::SQS::Queue":
            kept = properties.get("MessageRetentionPeriod", 0) >= LONGEST_RETENTION_SECONDS
            return kept and (is_dead_end or "deadLetterTargetArn" in properties.get("RedrivePolicy", {}))
        case "AWS::S3::Bucket":
            return properties.get("VersioningConfiguration", {}).get("Status") == "Enabled"
        case "AWS::RDS::DBCluster":
            return properties.get("BackupRetentionPeriod")


def stores_can_be_recovered(resources):
    consumed = {queue for queue, _ in consumed_queues(resources)}
    for name, store in stores(resources).items():
        if not is_recoverable(store["Type"], store["Properties"], name not in consumed):
            yield name, "cannot be restored, or loses messages"


def stores_outlive_the_stack(resources):
    for name, store in stores(resources).items():
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            if store.get(policy) not in ("Retain", "Snapshot"):
                yield name, f"has no {policy} that keeps it"


def buckets_are_private(resources):
    for name, bucket in of_type(resources, "AWS::S3::Bucket").items():
        blocked = bucket["Properties"].get("PublicAccessBlockConfiguration", {})
        if len(blocked) < 4 or not all(blocked.values()):
            yield name, "can be made public"


def watched(resources):
    """The logical ids of the functions, tables and queues that alarms watch, each with the index or None."""
    for alarm in of_type(resources, "AWS::CloudWatch::Alarm").values():
        given = alarm["Properties"]
        metrics = [m["MetricStat"]["Metric"] for m in given.get("Metrics", []) if "MetricStat" in m] or [given]
        for metric in metrics:
            values = {d["Name"]: d["Value"] for d in metric.get("Dimensions", [])}
            for key in ("FunctionName", "TableName", "QueueName"):
                if key in values:
                    yield referred(values[key]), values.get("GlobalSecondaryIndexName")


def everything_is_watched(resources):
    seen = set(watched(resources))
    for name in of_type(resources, "AWS::Lambda::Function", "AWS::SQS::Queue"):
        if (name, None) not in seen:
            yield name, "has no alarm"
    for name, table in of_type(resources, "AWS::DynamoDB::Table").items():
        for index in [None, *[index["IndexName"] for index in table["Properties"].get("GlobalSecondaryIndexes", [])]]:
            if (name, index) not in seen:
                yield name, f"index {index} has no alarm" if index else "has no alarm"


def sources(resources, kind):
    """Event sources of a type of resource: mapping, the resource's name, the function's name."""
    for name, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping").items():
        source = referred(mapping["Properties"]["EventSourceArn"])
        if resources.get(source, {}).get("Type") == kind:
            function = referred(mapping["Properties"]["FunctionName"])
            if resources[function]["Type"] == "AWS::Lambda::Alias":
                function = referred(resources[function]["Properties"]["FunctionName"])
            yield name, source, function


def consumed_queues(resources):
    for _, queue, function in sources(resources, "AWS::SQS::Queue"):
        yield queue, function


def received_messages_stay_hidden(resources):
    for queue, function in consumed_queues(resources):
        visibility = resources[queue]["Properties"].get("VisibilityTimeout", 30)
        timeout = resources[function]["Properties"].get("Timeout", 3)
        if visibility < TIMEOUTS_HIDDEN * timeout:
            yield queue, f"hides a message for {visibility} s, less than {TIMEOUTS_HIDDEN} times the {timeout} s of {function}"


def sources_hide_no_failure(resources):
    for kind in ("AWS::SQS::Queue", "AWS::DynamoDB::Table"):
        for name, _, _ in sources(resources, kind):
            mapping = resources[name]["Properties"]
            if "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", []):
                yield name, "counts a whole batch as done when a part of it failed"


def streams_lose_nothing(resources):
    for name, _, _ in sources(resources, "AWS::DynamoDB::Table"):
        mapping = resources[name]["Properties"]
        kept = referred(mapping.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", ""))
        if resources.get(kept, {}).get("Type") != "AWS::S3::Bucket":
            yield name, "has no bucket for failed records; any other destination gets only their positions"
        if mapping.get("MaximumRetryAttempts", -1) != -1:
            yield name, "stops the retries of records before the records are too old"
        if not 0 < mapping.get("MaximumRecordAgeInSeconds", -1) < STREAM_SECONDS:
            yield name, "retries records until the stream has deleted them"


# Functions without reserved concurrency: pre-scaling plans the concurrency of some (infra/prescale/baseline.toml), and the migration runs
# while a deployment waits for it.
WITHOUT_ROOM = {
    f"{''.join(part.capitalize() for part in entry['function'].split('-'))}Function"
    for entry in tomllib.loads((ROOT / "infra/prescale/baseline.toml").read_text())["function"]
} | {"MigrateLedgerFunction"}


def functions_have_room(resources):
    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        if name not in WITHOUT_ROOM and "ReservedConcurrentExecutions" not in function["Properties"]:
            yield name, "has no reserved concurrency, so requests for other functions may use up the account's concurrency"


def schedules_are_not_repeated(resources):
    """The next run replaces a failed run, so the function's configuration must say that Lambda does not retry the event."""
    for name, rule in of_type(resources, "AWS::Events::Rule").items():
        for target in rule["Properties"]["Targets"]:
            function = referred(resources[referred(target["Arn"])]["Properties"]["FunctionName"])
            invoke = [r["Properties"] for r in of_type(resources, "AWS::Lambda::EventInvokeConfig").values()]
            if not any(referred(c["FunctionName"]) == function and c.get("MaximumRetryAttempts") == 0 for c in invoke):
                yield name, f"repeats failed runs of {function}"


POLICIES = [
    functions_have_room,
    no_wide_statement,
    wide_changes_have_a_condition,
    no_managed_policy,
    roles_fit,
    logs_end,
    stores_are_encrypted,
    stores_can_be_recovered,
    stores_outlive_the_stack,
    buckets_are_private,
    everything_is_watched,
    received_messages_stay_hidden,
    sources_hide_no_failure,
    streams_lose_nothing,
    schedules_are_not_repeated,
]


def broken(resources):
    return [(policy, name, what) for policy in POLICIES for name, what in policy(resources)]


# ---- Planted mistakes ---------------------------------------------------------------------------------------------------------------


def properties(resources, name):
    return resources[name]["Properties"]


def first_policy(resources, role):
    return properties(resources, role)["Policies"][0]["PolicyDocument"]["Statement"]


def without(name, *path):
    """A mistake that leaves a member of a resource out."""

    def plant(resources):
        node = resources[name]
        for key in path[:-1]:
            node = node[key]
        del node[path[-1]]

    return plant


def instead(name, *path):
    """A mistake that gives a property another value."""
    *path, value = path

    def plant(resources):
        node = resources[name]["Properties"]
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return plant


def allow(role, action, resource):
    return lambda resources: first_policy(resources, role).append({"Effect": "Allow", "Action": action, "Resource": resource})


def without_condition(role, action):
    def plant(resources):
        for statement in first_policy(resources, role):
            if action in several(statement["Action"]):
                statement.pop("Condition", None)

    return plant


def many_statements(resources):
    first_policy(resources, "ReserveRole").extend(first_policy(resources, "ReserveRole")[:1] * 60)


def unwatched(name, index=None):
    """A mistake that leaves out every alarm of a resource."""

    def plant(resources):
        for alarm in list(of_type(resources, "AWS::CloudWatch::Alarm")):
            alone = {alarm: resources[alarm]}
            if (name, index) in set(watched(alone)):
                del resources[alarm]

    return plant


def bare_log(resources):
    resources["NewFunction"] = copy.deepcopy(resources["ReserveFunction"])
    resources["NewAlarm"] = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "NewFunction"}}]}}
    properties(resources, "NewFunction")["ReservedConcurrentExecutions"] = 1
    del properties(resources, "NewFunction")["LoggingConfig"]


MAPPING, QUEUED = "RelayEventsFunctionOrders", "ProjectLedgerFunctionLedger"
MANAGED = "arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"
PLANTED = {
    "template.json": [
        (functions_have_room, "a crowd takes the conductor's room", without("ConductDropFunction", "Properties", "ReservedConcurrentExecutions")),
        (functions_have_room, "unknown paths take all concurrency", without("AnswerDefaultFunction", "Properties", "ReservedConcurrentExecutions")),
        (no_wide_statement, "a role allows every action", allow("ReserveRole", "dynamodb:*", "arn:aws:dynamodb:r:1:table/t")),
        (no_wide_statement, "a role allows an action on everything", allow("ReserveRole", "dynamodb:GetItem", "*")),
        (no_wide_statement, "a role allows an action on all tables", allow("ReserveRole", ["dynamodb:GetItem"], {"Fn::Sub": "arn:${AWS::Partition}:dynamodb:::table/*"})),
        (no_wide_statement, "an exception of another role is used", allow("ReserveRole", "dynamodb:ListStreams", {"Fn::Sub": "${OrdersTable.Arn}/stream/*"})),
        (wide_changes_have_a_condition, "instances are changed without their tag", without_condition("PrescaleRole", "rds:ModifyDBInstance")),
        (no_managed_policy, "a role has a managed policy", instead("ProcessOrderRole", "ManagedPolicyArns", [MANAGED])),
        (roles_fit, "a role with sixty statements", many_statements),
        (logs_end, "a log group without retention", without("ReserveLog", "Properties", "RetentionInDays")),
        (logs_end, "a function without a log group", bare_log),
        (logs_end, "a function with a log group from elsewhere", instead("ReserveFunction", "LoggingConfig", "LogGroup", "elsewhere")),
        (stores_are_encrypted, "a table without encryption", without("StockTable", "Properties", "SSESpecification")),
        (stores_are_encrypted, "a queue without encryption", instead("LedgerDlq", "SqsManagedSseEnabled", False)),
        (stores_are_encrypted, "a bucket without encryption", without("RelayFailuresBucket", "Properties", "BucketEncryption")),
        (stores_can_be_recovered, "a table without recovery", without("OrdersTable", "Properties", "PointInTimeRecoverySpecification")),
        (stores_can_be_recovered, "a consumed queue without a dead-letter queue", without("LedgerQueue", "Properties", "RedrivePolicy")),
        (stores_can_be_recovered, "dead letters for four days", without("PaymentsDlq", "Properties", "MessageRetentionPeriod")),
        (stores_can_be_recovered, "a bucket without versions", without("RelayFailuresBucket", "Properties", "VersioningConfiguration")),
        (stores_outlive_the_stack, "a table that goes with its stack", without("DropsTable", "DeletionPolicy")),
        (stores_outlive_the_stack, "a queue that goes when it is replaced", without("PaymentsQueue", "UpdateReplacePolicy")),
        (buckets_are_private, "a bucket that takes a public policy", instead("RelayFailuresBucket", "PublicAccessBlockConfiguration", "BlockPublicPolicy", False)),
        (everything_is_watched, "a function without an alarm", unwatched("CheckoutFunction")),
        (everything_is_watched, "a table without an alarm", unwatched("StatusTable")),
        (everything_is_watched, "an index without an alarm", unwatched("OrdersTable", "by-shopper")),
        (everything_is_watched, "a dead-letter queue without an alarm", unwatched("LedgerDlq")),
        (received_messages_stay_hidden, "a consumer that takes longer", instead("ProjectLedgerFunction", "Timeout", 11)),
        (sources_hide_no_failure, "a queue's batch is done or failed as a whole", without(QUEUED, "Properties", "FunctionResponseTypes")),
        (sources_hide_no_failure, "a stream's batch is done or failed as a whole", without(MAPPING, "Properties", "FunctionResponseTypes")),
        (streams_lose_nothing, "failed records go nowhere", without(MAPPING, "Properties", "DestinationConfig")),
        (streams_lose_nothing, "failed records go to a queue", instead(MAPPING, "DestinationConfig", "OnFailure", "Destination", {"Fn::GetAtt": ["RelayParkedQueue", "Arn"]})),
        (streams_lose_nothing, "attempts end", instead(MAPPING, "MaximumRetryAttempts", 100)),
        (streams_lose_nothing, "records are kept until they are gone", instead(MAPPING, "MaximumRecordAgeInSeconds", -1)),
        (schedules_are_not_repeated, "a failed run is repeated", without("SweepOrdersFunctionEventInvokeConfig", "Properties", "MaximumRetryAttempts")),
    ],
    "network-and-database.json": [
        (no_wide_statement, "a second wide action", allow("MigrateLedgerRole", "ec2:TerminateInstances", "*")),
        (wide_changes_have_a_condition, "the function's code may make network interfaces", without_condition("MigrateLedgerRole", "ec2:CreateNetworkInterface")),
        (no_managed_policy, "a role has a managed policy", instead("ProxyRole", "ManagedPolicyArns", [MANAGED])),
        (logs_end, "the database's log keeps for ever", without("DatabaseLog", "Properties", "RetentionInDays")),
        (logs_end, "the database's log is not declared", lambda resources: resources.pop("DatabaseLog")),
        (stores_are_encrypted, "a cluster without encryption", instead("Cluster", "StorageEncrypted", False)),
        (stores_can_be_recovered, "a cluster without backups", without("Cluster", "Properties", "BackupRetentionPeriod")),
        (stores_outlive_the_stack, "a cluster that goes without a snapshot", lambda resources: resources["Cluster"].update(DeletionPolicy="Delete")),
        (everything_is_watched, "a function without an alarm", unwatched("MigrateLedgerFunction")),
    ],
}


def main():
    failed, tried = 0, 0
    never = set(POLICIES)
    every = {file: json.loads((EXPANDED / file).read_text())["Resources"] for file in TEMPLATES}
    for file, resources in every.items():
        for policy, name, what in broken(resources):
            failed += 1
            print(f"{file}: {name} {what} ({policy.__name__})", file=sys.stderr)
        if failed:
            continue
        for policy, what, plant in PLANTED[file]:
            tried += 1
            never.discard(policy)
            mistaken = copy.deepcopy(resources)
            plant(mistaken)
            found = broken(mistaken)
            if {one[0] for one in found} != {policy} or len({one[1] for one in found}) != 1:
                failed += 1
                print(f"{file}, planted: {what}: only {policy.__name__} must find this mistake, and found is {found}", file=sys.stderr)
            else:
                print(f"found: {what} ({policy.__name__})")
    for exception in without_use(every.values()):
        failed += 1
        print(f"an exception that nothing needs: {exception}", file=sys.stderr)
    for policy in never if not failed else ():
        failed += 1
        print(f"{policy.__name__}: no mistake is planted for it", file=sys.stderr)
    print(f"{len(POLICIES)} policies, {tried} planted mistakes; {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
