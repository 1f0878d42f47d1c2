"""Deploys Stampede: `python infra/deploy bootstrap|deploy|smoke|operator-token|status|redrive|ledger-rebuild|rollback|teardown --stage NAME`; docs/DEPLOY.md."""

import argparse
import sys

import botocore.exceptions

import aliases
import bootstrap
import keys
import redrive
import release
import status
import teardown
from stage import CONFIG, Stage, refuse


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("command", choices=["bootstrap", "deploy", "smoke", "operator-token", "status", "redrive", "ledger-rebuild", "rollback", "teardown"])
    arguments.add_argument("--stage", required=True)
    arguments.add_argument("--config", default=CONFIG, help="another file than samconfig.toml")
    arguments.add_argument("--rotate", choices=keys.AUDIENCES, help="bootstrap: move on to this audience's next key")
    arguments.add_argument("--force", action="store_true", help="deploy: also while capacity is raised")
    arguments.add_argument("--subject", default="", help="operator-token: who will use it")
    arguments.add_argument("--queue", default="", help=f"redrive: {', '.join(redrive.CHOICES)}")
    arguments.add_argument("--show", action="store_true", help="redrive: only show what is there")
    arguments.add_argument("--typed", default="", help="teardown: the stage's name once more")
    arguments.add_argument("--emulator", action="store_true", help="the account is emulated: infra/deploy/emulator.py")
    given = arguments.parse_args()
    stage = Stage.read(given.stage, given.config, given.emulator)
    match given.command:
        case "bootstrap":
            bootstrap.run(stage, given.rotate)
        case "deploy":
            release.run(stage, given.force)
        case "smoke":
            sys.exit(0 if release.smoke(stage) else 1)
        case "operator-token":
            keys.operator_token(stage, given.subject)
        case "status":
            status.run(stage)
        case "redrive":
            redrive.run(stage, given.queue, given.show)
        case "ledger-rebuild":
            redrive.rebuild_ledger(stage)
        case "rollback":
            aliases.roll_back(stage)
        case "teardown":
            teardown.run(stage, given.typed)


if __name__ == "__main__":
    try:
        main()
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.NoRegionError) as error:
        refuse(f"{error} Sign in to the account first, and set AWS_REGION.")
