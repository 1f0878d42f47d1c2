"""Writes the documents of pre-scaling as Parameter Store takes them, one file each for
`aws ssm put-parameter --cli-input-json file://FILE`: documents in a folder, drops in its folder `drops`.

Usage: prescale_parameters.py [--stage NAME] [--folder infra/prescale] [--profile FILE] [--quotas FILE] [--baseline FILE] OUT

With --stage the names are those that the stage reads, and no drop is written, since the drops of the folder are samples.
"""

import argparse
import json
import pathlib
import sys
import tomllib

# Parameter Store's limit for standard parameters, which are free.
MOST_BYTES = 4096
DOCUMENTS = ["profile", "baseline", "budget", "prices", "quotas"]
# Documents that may come from another file.
OTHERS = ["profile", "baseline", "quotas"]
# A run of prescale reads these quotas from AWS. The values in the file are only for plans without an account.
ASKED = ["account_concurrency", "reserved_by_others"]


def parameter(name, document, path):
    value = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str)
    if len(value.encode()) > MOST_BYTES:
        sys.exit(f"{name} takes more than {MOST_BYTES} bytes: put it by hand, as an advanced parameter")
    return {"Name": f"{path}/{name}", "Value": value, "Type": "String", "Overwrite": True}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stage", help="the stage that reads the documents")
    arguments.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("infra/prescale"))
    for other in OTHERS:
        arguments.add_argument(f"--{other}", type=pathlib.Path, help="another file than the folder's")
    arguments.add_argument("out", type=pathlib.Path)
    given = arguments.parse_args()

    files = {name: given.folder / f"{name}.toml" for name in DOCUMENTS}
    files |= {name: file for name in OTHERS if (file := getattr(given, name))}
    documents = {name: tomllib.loads(file.read_text()) for name, file in files.items()}
    for asked in ASKED:
        documents["quotas"].pop(asked, None)
    path = f"/stampede/{given.stage}/prescale" if given.stage else "/stampede/prescale"
    for file in [] if given.stage else sorted((given.folder / "drops").glob("*.toml")):
        drop = tomllib.loads(file.read_text())
        documents[f"calendar/{drop['id']}"] = drop

    given.out.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        file = given.out / (name.replace("/", "-") + ".json")
        file.write_text(json.dumps(parameter(name, document, path), indent=2) + "\n")
        print(file)


main()
