"""Expands templates as CloudFormation would, into target/template, and lints the result.

The linter alone no longer expands AWS SAM, so a green run on the template itself would say nothing about the functions,
permissions and event sources that SAM makes of it. Works offline.
"""

import json
import os
import pathlib
import subprocess
import sys

from samtranslator.translator.transform import transform

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra/deploy"))
from template import functions, load  # noqa: E402


class ManagedPolicies:
    """SAM calls this for the ARNs of managed policies that a template names; the templates here name none."""

    def load(self):
        return {}


def main(path):
    template = load(path)
    names = list(functions(template))
    for name in names:
        # The translator wants an object in S3, as `sam package` would put there.
        template["Resources"][name]["Properties"]["CodeUri"] = "s3://bucket/" + name
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
    expanded = transform(template, {}, ManagedPolicies())
    out = ROOT / "target/template"
    out.mkdir(parents=True, exist_ok=True)
    file = out / (pathlib.Path(path).stem + ".json")
    file.write_text(json.dumps(expanded, indent=1, default=str))
    # The expansion replaces parameters by their values, so W2001 would report the parameters as unused.
    linter = os.path.join(os.path.dirname(sys.executable), "cfn-lint")
    command = [linter, "--ignore-checks", "W2001", "--regions", "eu-central-1", "--", file]
    outcome = subprocess.run(command, check=False)
    print(f"{path}: {len(names)} functions, {len(expanded['Resources'])} resources after expansion")
    return outcome.returncode


if __name__ == "__main__":
    sys.exit(max([main(path) for path in sys.argv[1:]]))
