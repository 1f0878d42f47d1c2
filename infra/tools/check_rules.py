"""Evaluates the Rules of the templates for parameters that a deployment may have, as CloudFormation does before it changes anything."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra/deploy"))
from template import APPLICATION, DATA, load  # noqa: E402

REAL = {"StorefrontOrigin": "https://shop.example", "AlarmTopic": "arn:aws:sns:eu-central-1:1:alarms", "MailFrom": "orders@shop.example"}
CASES = [
    # Template, parameters, and the rule that must reject them.
    (APPLICATION, {}, None),
    (APPLICATION, {"Stage": "dev", "LedgerSignIn": "none"}, None),
    (APPLICATION, {"Stage": "prod"} | REAL | {"GatewayMode": "live"}, None),
    (APPLICATION, {"Stage": "staging"} | REAL, None),
    (APPLICATION, {"Stage": "staging"} | REAL | {"StorefrontOrigin": "https://shop.example.com"}, "OnlyDevTakesExamples"),
    (APPLICATION, {"Stage": "prod"} | REAL | {"AlarmTopic": ""}, "OnlyDevTakesExamples"),
    (APPLICATION, {"Stage": "prod"} | REAL | {"MailFrom": ""}, "OnlyDevTakesExamples"),
    (APPLICATION, {"Stage": "prod"} | REAL | {"LedgerSignIn": "none"}, "OnlyDevTakesExamples"),
    (APPLICATION, {"Stage": "staging"} | REAL | {"GatewayMode": "live"}, "OnlyProdMovesMoney"),
    (APPLICATION, {"Stage": "dev", "GatewayMode": "live"}, "OnlyProdMovesMoney"),
    (DATA, {}, None),
    (DATA, {"Stage": "prod", "MinCapacity": "1", "WithProxy": "true"}, None),
    (DATA, {"Stage": "staging", "MinCapacity": "0", "WithProxy": "true"}, "ProxiesDoNotPause"),
    (DATA, {"Stage": "prod", "MinCapacity": "0"}, "ProdKeepsData"),
    (DATA, {"Stage": "dev", "SignIn": "none"}, None),
    (DATA, {"Stage": "staging", "SignIn": "none"}, "OnlyDevTrusts"),
]


def holds(node, values):
    match node:
        case {"Ref": name}:
            return values[name]
        case {"Fn::Equals": [left, right]}:
            return str(holds(left, values)) == str(holds(right, values))
        case {"Fn::Not": [inner]}:
            return not holds(inner, values)
        case str() | int():
            return node
    raise ValueError(f"the check does not know {node}")


def refusing(template, parameters):
    values = {name: declared.get("Default") for name, declared in template["Parameters"].items()} | parameters
    for name, rule in template["Rules"].items():
        if holds(rule["RuleCondition"], values) and not all(holds(a["Assert"], values) for a in rule["Assertions"]):
            return name
    return None


def main():
    failed = 0
    for path, parameters, expected in CASES:
        found = refusing(load(path), parameters)
        if found != expected:
            failed += 1
            print(f"{path.name} with {parameters}: refused by {found}, expected {expected}", file=sys.stderr)
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
