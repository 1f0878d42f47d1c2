"""A deployment stage: its names in the account, and its settings in samconfig.toml."""

import dataclasses
import pathlib
import re
import sys
import tomllib

import boto3
import botocore.exceptions

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = ROOT / "samconfig.toml"


def refuse(message):
    """Ends the command with a message that names the next step."""
    print(message, file=sys.stderr)
    sys.exit(1)


def say(message):
    print(message, flush=True)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage and the parameters of its two stacks, from samconfig.toml."""

    name: str
    architecture: str
    application: dict
    data: dict
    emulated: bool

    @classmethod
    def read(cls, name, config=CONFIG, emulated=False):
        settings = tomllib.loads(pathlib.Path(config).read_text())
        if name not in settings or not re.fullmatch(r"[a-z][a-z0-9-]{0,15}", name):
            known = ", ".join(key for key in settings if key not in ("version", "default") and not key.endswith("-data"))
            refuse(f"{config} has no stage {name!r}. Stages there: {known}.")
        application, data = overrides(settings[name]), overrides(settings.get(f"{name}-data", {}))
        return cls(name, application.get("Architecture", "arm64"), application, data, emulated)

    @property
    def stack(self):
        return f"stampede-{self.name}"

    @property
    def data_stack(self):
        return f"stampede-{self.name}-data"

    @property
    def path(self):
        """The beginning of the stage's names in Parameter Store."""
        return f"/stampede/{self.name}"

    @property
    def secret(self):
        """The name of the secret with the gateway's key."""
        return f"stampede/{self.name}/gateway"

    @property
    def webhook_secret(self):
        """The name of the secret with the signing secrets of the gateway's webhooks."""
        return f"stampede/{self.name}/gateway-webhook"

    @property
    def is_dev(self):
        return self.name == "dev"

    @property
    def is_prod(self):
        return self.name == "prod"

    @property
    def live_gateway(self):
        return self.application.get("GatewayMode") == "live"

    def folder(self):
        folder = ROOT / "target/deploy" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def overrides(section):
    """The parameters of a samconfig section, which holds `Name=value` texts."""
    given = section.get("deploy", {}).get("parameters", {}).get("parameter_overrides", [])
    return dict(item.split("=", 1) for item in given)


def account():
    return boto3.client("sts").get_caller_identity()["Account"]


def bucket():
    """The bucket of the account and region for zips and templates. All stages use it, each under its prefix."""
    return f"stampede-artifacts-{account()}-{boto3.session.Session().region_name}"


def outputs(stack):
    """The outputs of a stack, or None when there is no such stack."""
    try:
        described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except botocore.exceptions.ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def resources(stack, kind):
    """Logical and physical ids of the stack's resources of a type."""
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    found = [resource for page in pages for resource in page["StackResourceSummaries"]]
    return {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in found if r["ResourceType"] == kind and r.get("PhysicalResourceId")}
