"""What is deployed and what needs attention."""

import boto3

import aliases
from stage import outputs, refuse, resources, say


def run(stage):
    described = outputs(stage.stack)
    if described is None:
        refuse(f"{stage.name} is not deployed. Run `make deploy STAGE={stage.name}`.")
    stacks = boto3.client("cloudformation")
    for stack in (stage.data_stack, stage.stack):
        if outputs(stack) is None:
            continue
        found = stacks.describe_stacks(StackName=stack)["Stacks"][0]
        say(f"stack {stack}: {found['StackStatus']}")
        for parameter in found.get("Parameters", []):
            if parameter["ParameterKey"] == "Revision":
                say(f"  revision {parameter['ParameterValue'][:16]}")
    say(f"api {described['ApiUrl']}")
    for name, version in sorted(aliases.versions(stage).items()):
        say(f"function {name}: version {version}")
    queues = boto3.client("sqs")
    for logical, url in sorted(resources(stage.stack, "AWS::SQS::Queue").items()):
        wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = queues.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
        say(f"queue {logical}: {counts[wanted[0]]} waiting, {counts[wanted[1]]} in work")
    names = list(resources(stage.stack, "AWS::CloudWatch::Alarm").values())
    alarms = boto3.client("cloudwatch").describe_alarms(AlarmNames=names, StateValue="ALARM")["MetricAlarms"] if names else []
    for alarm in alarms:
        say(f"ALARM {alarm['AlarmName']}: {alarm.get('AlarmDescription', '')}")
    say(f"{len(alarms)} of {len(names)} alarms are on")
