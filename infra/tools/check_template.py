"""Expands infra/template.yaml as CloudFormation would, and lints the result.

The linter alone no longer expands AWS SAM, so a green run on the template itself would say nothing about the functions,
roles, permissions and event sources that SAM makes of it. Works offline: managed policies are named, not fetched.
"""

import json
import os
import subprocess
import sys
import tempfile

import yaml
from samtranslator.translator.transform import transform


class ManagedPolicies:
    """SAM asks for the ARNs of managed policies that a template names by name; ours names none but the basic ones."""

    def load(self):
        base = "arn:aws:iam::aws:policy/"
        return {
            "AWSLambdaBasicExecutionRole": base + "service-role/AWSLambdaBasicExecutionRole",
            "AWSXrayWriteOnlyAccess": base + "AWSXrayWriteOnlyAccess",
        }


def construct(loader, tag, node):
    """CloudFormation's short tags as the functions they stand for."""
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if tag == "Ref":
        return {"Ref": value}
    if tag == "Condition":
        return {"Condition": value}
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {"Fn::" + tag: value}


class Loader(yaml.SafeLoader):
    pass


Loader.add_multi_constructor("!", construct)


def main(path):
    with open(path, encoding="utf-8") as file:
        template = yaml.load(file, Loader)
    functions = [n for n, r in template["Resources"].items() if r["Type"] == "AWS::Serverless::Function"]
    for name in functions:
        # The translator wants an object in S3, as `sam package` would put there.
        template["Resources"][name]["Properties"]["CodeUri"] = "s3://bucket/" + name
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
    expanded = transform(template, {}, ManagedPolicies())
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(expanded, file, indent=1)
    try:
        # The expansion puts parameters' values in place of their names: W2001 would call the parameters unused.
        linter = os.path.join(os.path.dirname(sys.executable), "cfn-lint")
        command = [linter, "--ignore-checks", "W2001", "--regions", "eu-central-1", "--", file.name]
        outcome = subprocess.run(command, check=False)
    finally:
        os.unlink(file.name)
    print(f"{path}: {len(functions)} functions, {len(expanded['Resources'])} resources after expansion")
    return outcome.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
