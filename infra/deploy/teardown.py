"""Deletes a stage's stacks. Data is deleted only in dev, after the stage's name was typed; in other stages it is listed and kept."""

import contextlib

import boto3

import aliases
import keys
from stage import outputs, refuse, resources, say

RETAINED = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::S3::Bucket")


def delete_stack(name):
    if outputs(name) is None:
        return
    client = boto3.client("cloudformation")
    client.delete_stack(StackName=name)
    client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 5, "MaxAttempts": 720})
    say(f"stack {name}: deleted")


def empty(bucket):
    """Deletes a bucket with every version of its objects."""
    s3 = boto3.client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket=bucket)


def delete_data(stage, retained):
    tables, queues = boto3.client("dynamodb"), boto3.client("sqs")
    for name in retained["AWS::DynamoDB::Table"].values():
        tables.delete_table(TableName=name)
    for url in retained["AWS::SQS::Queue"].values():
        queues.delete_queue(QueueUrl=url)
    for name in retained["AWS::S3::Bucket"].values():
        empty(name)
    ssm = boto3.client("ssm")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=stage.path, Recursive=True)
    names = [parameter["Name"] for page in pages for parameter in page["Parameters"]]
    for start in range(0, len(names), 10):
        ssm.delete_parameters(Names=names[start : start + 10])
    secrets = boto3.client("secretsmanager")
    for name in (stage.secret, stage.webhook_secret):
        with contextlib.suppress(secrets.exceptions.ResourceNotFoundException):
            secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    say(f"data of {stage.name}: deleted")


def run(stage, typed):
    if stage.is_prod:
        refuse("prod is not torn down by a command. Delete its stacks in the console, with somebody beside you.")
    if typed != stage.name:
        refuse(f"Type the stage's name to tear it down: make teardown STAGE={stage.name} TYPED={stage.name}")
    there = outputs(stage.stack) is not None
    retained = {kind: resources(stage.stack, kind) if there else {} for kind in RETAINED}
    if there:
        # A provisioned alias cannot be deleted with its stack.
        client = boto3.client("lambda")
        for name in aliases.versions(stage):
            with contextlib.suppress(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
                client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=aliases.ALIAS)
    delete_stack(stage.stack)
    delete_stack(stage.data_stack)
    if stage.is_dev:
        delete_data(stage, retained)
        return
    for kind, found in retained.items():
        for physical in found.values():
            say(f"left: {kind} {physical}")
    for audience in keys.AUDIENCES:
        say(f"left: {keys.private_name(stage, audience)}, {keys.public_name(stage, audience)}")
    say(f"left: {stage.secret}, {stage.webhook_secret}, {stage.path}/prescale, and the database's last snapshot")
