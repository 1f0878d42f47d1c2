"""Reads the live version of each function, and makes the former versions live again."""

import json

import boto3
import botocore.exceptions

from stage import refuse, resources, say

ALIAS = "live"


def versions(stage):
    """The live version of each function, by the function's name in the account; none before the first deployment."""
    client, found = boto3.client("lambda"), {}
    try:
        functions = resources(stage.stack, "AWS::Lambda::Function")
    except botocore.exceptions.ClientError as error:
        if "does not exist" in str(error):
            return {}
        raise
    for name in functions.values():
        try:
            found[name] = client.get_alias(FunctionName=name, Name=ALIAS)["FunctionVersion"]
        except client.exceptions.ResourceNotFoundException:
            continue
    return found


def record_name(stage):
    return f"{stage.path}/former-versions"


def record(stage, former):
    """Stores the versions that a deployment replaces."""
    value = json.dumps(former, separators=(",", ":"), sort_keys=True)
    boto3.client("ssm").put_parameter(Name=record_name(stage), Type="String", Tier="Intelligent-Tiering", Overwrite=True, Value=value)


def roll_back(stage):
    """Points each alias at the version that was live before the last deployment that moved an alias."""
    ssm, client = boto3.client("ssm"), boto3.client("lambda")
    try:
        former = json.loads(ssm.get_parameter(Name=record_name(stage))["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        refuse(f"No former versions of {stage.name} are recorded. A second deployment records them.")
    now = versions(stage)
    for name, version in sorted(former.items()):
        if name in now and now[name] != version:
            client.update_alias(FunctionName=name, Name=ALIAS, FunctionVersion=version)
            say(f"{name}: {now[name]} -> {version}")
    # A second rollback restores the versions that this one replaces.
    record(stage, {name: version for name, version in now.items() if name in former})
