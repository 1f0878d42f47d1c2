"""Prints what is deployed and what needs attention."""

import boto3

import aliases
from stage import outputs, refuse, resources, say


def run(stage):
    described = outputs(stage.stack)
    if described is None:
        refuse(f"{stage.name} is not deployed. Run `make deploy STAGE={stage.name}`.")
    stacks = boto3.client("cloudformation")
    deployed = [stack for stack in (stage.data_stack, stage.stack) if outputs(stack) is not None]
    for stack in deployed:
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
    for logical, name in resources(stage.stack, "AWS::S3::Bucket").items():
        pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=name)
        say(f"bucket {logical}: {sum(page['KeyCount'] for page in pages)} objects")
    names = [name for stack in deployed for name in resources(stack, "AWS::CloudWatch::Alarm").values()]
    client, alarms = boto3.client("cloudwatch"), []
    # CloudWatch accepts a hundred names in a request.
    for start in range(0, len(names), 100):
        alarms += client.describe_alarms(AlarmNames=names[start : start + 100], StateValue="ALARM")["MetricAlarms"]
    for alarm in alarms:
        say(f"ALARM {alarm['AlarmName']}: {alarm.get('AlarmDescription', '')}")
    say(f"{len(alarms)} of {len(names)} alarms are on")
