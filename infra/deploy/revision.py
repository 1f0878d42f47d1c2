"""The revision of a deployment: a digest of everything that determines a function's version.

CloudFormation publishes a new version only for a new `AutoPublishCodeSha256`. A changed environment variable, time limit or
subnet alone would never reach the alias `live`, so the digest contains all of them. It does not contain secrets and the issuers' documents in
Parameter Store, since functions read them at run time.
"""

import hashlib
import json
import re

# These parameters identify the deployment, or are used by no function.
WITHOUT_EFFECT = {"Revision"}
# The types of resources whose names are in functions' environments. A replaced table or queue has another name.
NAMED = ("AWS::DynamoDB::Table", "AWS::SQS::Queue")


def used(node):
    """The names that a node refers to."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "Ref":
                yield value
            elif key == "Fn::Sub":
                yield from re.findall(r"\$\{([A-Za-z0-9]+)\}", value if isinstance(value, str) else value[0])
            yield from used(value)
    elif isinstance(node, list):
        for value in node:
            yield from used(value)


def effective(template, parameters):
    """The parameters' values: those given, else the defaults."""
    return {name: parameters.get(name, declared.get("Default")) for name, declared in template["Parameters"].items()}


def compute(template, parameters, manifest):
    """The digest over the functions as `template` describes them, the parameters that they use, and the zips of `manifest`."""
    functions = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            kept = {key: value for key, value in resource["Properties"].items() if key not in ("CodeUri", "AutoPublishCodeSha256", "Events")}
            functions[name] = kept
    shared = {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] in NAMED}
    described = {"globals": template.get("Globals"), "functions": functions, "named": shared}
    names = set(used(described)) - WITHOUT_EFFECT
    values = {name: value for name, value in effective(template, parameters).items() if name in names}
    zips = {name: entry["sha256"] for name, entry in manifest.items()}
    whole = json.dumps([described, values, zips], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()
