"""Creates in the account what a stage needs before its first deployment: bucket, keys, the gateway's secret, documents."""

import getpass
import json
import os
import pathlib
import subprocess
import sys
import secrets as randomness

import boto3
import botocore.exceptions

import keys
from stage import ROOT, bucket, refuse, say


def make_bucket():
    """The bucket for zips and templates: private, encrypted, versioned; old versions are deleted after 90 days."""
    s3, name = boto3.client("s3"), bucket()
    region = boto3.session.Session().region_name
    try:
        s3.head_bucket(Bucket=name)
        say(f"bucket {name}: there")
        return
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise
    placed = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **placed)
    blocked = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=dict.fromkeys(blocked, True))
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    rule = {"ID": "old versions", "Status": "Enabled", "Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 90}}
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
    say(f"bucket {name}: made")


def gateway_key(stage):
    """The gateway's key, from the file that GATEWAY_KEY_FILE names, or from the terminal, which does not show the input."""
    file = os.environ.get("GATEWAY_KEY_FILE")
    if file:
        return pathlib.Path(file).read_text().strip()
    if not sys.stdin.isatty():
        refuse("The gateway's key is missing. Name a file that holds it in GATEWAY_KEY_FILE, or run this at a terminal.")
    return getpass.getpass(f"The payment gateway's key for {stage.name}: ").strip()


def check_gateway_key(stage, key):
    """Refuses a key of the wrong mode (live or test) or of an unknown mode, which `process-order` does not use."""
    if not key:
        refuse("The gateway's key is empty.")
    wanted = "live" if stage.live_gateway else "test"
    found = next((mode for mode in ("test", "live") if key.startswith((f"sk_{mode}_", f"rk_{mode}_"))), "other")
    if found != wanted:
        kind = "a key that begins neither with sk_test_ or rk_test_ nor with sk_live_ or rk_live_" if found == "other" else f"a {found} key"
        refuse(f"This is {kind}, and samconfig.toml says GatewayMode={wanted} for {stage.name}. The key was not stored.")


def is_there(secrets, name):
    try:
        secrets.describe_secret(SecretId=name)
    except secrets.exceptions.ResourceNotFoundException:
        return False
    say(f"secret {name}: there")
    return True


def put_secret(stage):
    secrets = boto3.client("secretsmanager")
    if is_there(secrets, stage.secret):
        return
    key = gateway_key(stage)
    check_gateway_key(stage, key)
    secrets.create_secret(Name=stage.secret, SecretString=json.dumps({"api_key": key}))
    say(f"secret {stage.secret}: made")


def put_webhook_secret(stage):
    """A random secret. No webhook is accepted until the gateway's own secret replaces it, which the gateway makes for the API's address."""
    secrets = boto3.client("secretsmanager")
    if is_there(secrets, stage.webhook_secret):
        return
    secrets.create_secret(Name=stage.webhook_secret, SecretString=json.dumps({"secrets": f"whsec_{randomness.token_hex(24)}"}))
    say(f"secret {stage.webhook_secret}: made; docs/DEPLOY.md says how to put the gateway's own there")


def put_documents(stage):
    """The documents of pre-scaling, without sample drops. Existing documents are not replaced, since an operator may have changed them."""
    out = stage.folder() / "prescale"
    tool = [sys.executable, ROOT / "infra/tools/prescale_parameters.py", "--stage", stage.name, out]
    # The tool prints the files that it wrote; the folder may have others, of an earlier release.
    written = subprocess.run(tool, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    ssm = boto3.client("ssm")
    for file in sorted(written):
        document = json.loads(pathlib.Path(file).read_text())
        try:
            ssm.put_parameter(**(document | {"Overwrite": False}))
            say(f"document {document['Name']}: put")
        except ssm.exceptions.ParameterAlreadyExists:
            say(f"document {document['Name']}: there")


def run(stage, rotated):
    make_bucket()
    for audience in keys.AUDIENCES:
        kids = keys.rotate(stage, audience) if audience == rotated else keys.ensure(stage, audience)
        say(f"keys {audience}: signs {kids[0]}, accepted besides {', '.join(kids[1:])}")
    keys.check(stage)
    put_secret(stage)
    put_webhook_secret(stage)
    put_documents(stage)
