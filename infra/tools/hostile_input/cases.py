"""Test cases that schemathesis generates from the document that the API serves."""

import json
import os
import pathlib
import signal

from . import scene as scenes
from .stack import ROOT, child, end

PLANTED = 0.5
# Every other check of schemathesis is on. `positive_data_acceptance` would require that every request that the schemas allow is
# accepted, but no schema says whether a drop is open or who owns a reservation.
OFF = ["positive_data_acceptance"]


def configuration(folder, scene):
    """Writes schemathesis.toml: the planted values, and the parameters that get them."""
    drops = [scenes.OPEN] * 4 + [scenes.SOLD_OUT, scenes.PAUSED, scenes.ENDED, scenes.DRAFT, scenes.UPCOMING]
    dictionaries = {
        "shoppers-drops": drops,
        "operators-drops": [*scenes.PREY, scenes.DRAFT, scenes.OPEN, scenes.PAUSED, scenes.ENDED],
        "skus": ["A", "B"],
        "reservations": scene.reservations,
        "orders": scene.orders,
        "cursors": scene.cursors or ["eyJ9"],
        "amounts": [scenes.PRICE_MINOR],
        "currencies": ["EUR"],
        "cards": scenes.CARDS,
        "quantities": [1, 2, 12],
        "units": [1, 24, 500],
        "countries": ["DE"],
        "emails": ["ada@example.com"],
    }
    places = {
        "path.drop_id": "shoppers-drops", "path.reservation_id": "reservations", "path.order_id": "orders",
        "query.cursor": "cursors", "body.sku": "skus", "body.quantity": "quantities", "body.units": "units",
        "body.reservation_id": "reservations", "body.amount.amount_minor": "amounts",
        "body.amount.currency": "currencies", "body.currency": "currencies", "body.payment_method": "cards",
        "body.shipping.country": "countries", "body.shipping.email": "emails",
    }
    bind = lambda name: f'{{ dictionary = "{name}", probability = {PLANTED} }}'
    lines = [f"hooks = {json.dumps(str(pathlib.Path(__file__).with_name('hooks.py')))}", "", "[parameters]"]
    lines += [f'"{place}" = {bind(name)}' for place, name in places.items()]
    for name, values in dictionaries.items():
        lines += ["", f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines += ["", "[checks]"] + [f"{name}.enabled = false" for name in OFF]
    lines += ["", "[[operations]]", 'include-path-regex = "^/operator/"', "[operations.parameters]",
              f'"path.drop_id" = {bind("operators-drops")}']
    path = folder / "schemathesis.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(folder, stack, scene, wanted, seed):
    """Runs at least `wanted` cases, in as many rounds as needed, each with a different seed."""
    scene.write(folder / "scene.json")
    toml = configuration(folder, scene)
    total = {"cases": 0, "requests": 0, "rounds": 0, "statuses": {}, "failures": [], "errors": []}
    while total["cases"] < wanted:
        number = total["rounds"]
        # The first round has every phase; its coverage phase alone makes some hundred cases.
        phases = "examples,coverage,fuzzing,stateful" if number == 0 else "fuzzing,stateful"
        left = wanted - total["cases"]
        examples = max(1, min(100, left // 40))
        done = one_round(folder, toml, stack, total, wanted, phases, examples, seed + number)
        total["rounds"] += 1
        total["cases"] += done["cases"]
        total["requests"] += done["requests"]
        total["failures"] += done["failures"]
        for operation, by_status in done["statuses"].items():
            sums = total["statuses"].setdefault(operation, {})
            for status, count in by_status.items():
                sums[status] = sums.get(status, 0) + count
        if done["exit"] not in (0, 1) or done["cases"] == 0:
            total["errors"].append(f"schemathesis ended with {done['exit']}; see {done['log']}")
            break
        if total["failures"]:
            break
    return total


def one_round(folder, toml, stack, total, wanted, phases, examples, seed):
    figures = folder / "figures.json"
    report = folder / "report.json"
    for old in (figures, report):
        old.unlink(missing_ok=True)
    log = folder / f"schemathesis-{total['rounds']}.log"
    environment = {
        **os.environ, "HOSTILE_SCENE": str(folder / "scene.json"), "HOSTILE_FIGURES": str(figures),
        "HOSTILE_CASES": str(wanted), "HOSTILE_CASES_BEFORE": str(total["cases"]),
    }
    command = [
        str(ROOT / ".tools/venv/bin/schemathesis"), "--config-file", str(toml), "run", stack.api + "/openapi.json",
        "--workers", "1", "--phases", phases, "--max-examples", str(examples), "--seed", str(seed), "--mode", "all",
        "--continue-on-failure", "--no-color", "--generation-database", "none", "--output-sanitize", "false",
        "--suppress-health-check", "all", "--max-failures", "20", "--request-timeout", "30",
        "--report", "json", "--report-json-path", str(report),
    ]
    with open(log, "wb") as out:
        process = child(command, cwd=folder, env=environment, stdout=out)
        try:
            code = process.wait()
        except BaseException:
            end(process, signal.SIGINT)
            raise
    read = lambda path, otherwise: json.loads(path.read_text()) if path.exists() else otherwise
    done = read(figures, {"cases": 0, "requests": 0, "statuses": {}})
    told = read(report, {"failures": [], "errors": ["no report"]})
    if told["failures"] or told["errors"]:
        # The log has a curl command for each failure, which repeats the failure.
        print("\n" + log.read_text(errors="replace"), flush=True)
    return {**done, "exit": code, "log": str(log), "failures": told["failures"] + told["errors"]}
