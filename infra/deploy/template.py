"""The templates as `make deploy` sends them: with the files that they include, and with each function's zip in the place of its source."""

import json
import pathlib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]

APPLICATION = ROOT / "infra/template.yaml"
DATA = ROOT / "infra/network-and-database.yaml"


def construct(loader, tag, node):
    """Converts CloudFormation's short tags to the functions that they abbreviate."""
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


def read(path):
    """A template, unchanged from its file."""
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, Loader)


def load(path):
    """A template with the resources of the files that its `Metadata.Includes` names, relative to infra/template.yaml."""
    template = read(path)
    for name in template.pop("Metadata", {}).get("Includes", []):
        added = read(ROOT / "infra" / name)["Resources"]
        twice = added.keys() & template["Resources"].keys()
        if twice:
            raise ValueError(f"{path} and {name} both have {', '.join(sorted(twice))}")
        template["Resources"] |= added
    return template


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
