"""infra/template.yaml as `make deploy` sends it: with each function's zip in the place of its source."""

import json
import pathlib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]

APPLICATION = ROOT / "infra/template.yaml"
DATA = ROOT / "infra/network-and-database.yaml"


def construct(loader, tag, node):
    """CloudFormation's short tags as the functions that they stand for."""
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if tag in ("Ref", "Condition"):
        return {tag: value}
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {"Fn::" + tag: value}


class Loader(yaml.SafeLoader):
    """Reads YAML with CloudFormation's tags."""


Loader.add_multi_constructor("!", construct)


def load(path):
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, Loader)


def functions(template):
    return {name: r for name, r in template["Resources"].items() if r["Type"] == "AWS::Serverless::Function"}


def binary(function):
    return function["Metadata"]["BuildProperties"]["Binary"]


def with_zips(template, package, revision):
    """The template whose functions are the zips in the folder `package`, at a revision."""
    for function in functions(template).values():
        function["Properties"]["CodeUri"] = str(package / f"{binary(function)}.zip")
        function["Properties"]["AutoPublishCodeSha256"] = revision
    template.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    return template


def write(template, path):
    path.write_text(json.dumps(template, indent=1, default=str) + "\n")
    return path
