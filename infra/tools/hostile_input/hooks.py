"""The extension that schemathesis loads: tokens, the project's own checks, and the figures.

It runs in schemathesis' process. The scene comes as JSON from the file that HOSTILE_SCENE names, the figures go to the file
that HOSTILE_FIGURES names.
"""

import atexit
import json
import os
import pathlib
import sys
import time
import zlib

import schemathesis

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from hostile_input.refusals import fault_of_refusal  # noqa: E402
from hostile_input.stack import Meter  # noqa: E402

SCENE = json.loads(pathlib.Path(os.environ["HOSTILE_SCENE"]).read_text())
FIGURES = pathlib.Path(os.environ["HOSTILE_FIGURES"])
BEFORE = int(os.environ.get("HOSTILE_CASES_BEFORE", "0"))
WANTED = int(os.environ["HOSTILE_CASES"])
METER = Meter(SCENE["control_url"])

figures = {"cases": 0, "requests": 0, "statuses": {}}
told_at = 0.0
written = METER.written_by_refused()
unreported = []


def tell():
    global told_at
    if time.monotonic() - told_at > 0.5:
        told_at = time.monotonic()
        print(f"\r  {BEFORE + figures['cases']:>6} of {WANTED} cases", end="", file=sys.stderr, flush=True)


@atexit.register
def store():
    FIGURES.write_text(json.dumps(figures))


def ids_in(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from ids_in(item)
    elif isinstance(value, str):
        yield value


@schemathesis.auth(refresh_interval=None)
class Tokens:
    """The operator's token for operators' routes. For shoppers' routes, the token of the owner of a planted reservation or order, so
    that the request reaches it; otherwise that of one of many shoppers, since a single shopper soon reaches the limit."""

    def get(self, case, context):
        if not case.operation.definition.raw.get("security"):
            return None
        if case.path.startswith("/operator"):
            return SCENE["operator"]
        told = [*ids_in(case.path_parameters), *ids_in(case.body)]
        for text in told:
            if text in SCENE["owners"]:
                return SCENE["owners"][text]
        choice = zlib.crc32(repr((told, case.headers)).encode("utf-8", "surrogatepass"))
        return SCENE["shoppers"][choice % len(SCENE["shoppers"])]

    def set(self, case, token, context):
        if token:
            case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def before_call(context, case, kwargs):
    """Directs a cancel or a pause of a drop that other cases need to a drop that any request may cancel."""
    drop = case.path_parameters.get("drop_id") if isinstance(case.path_parameters, dict) else None
    if case.path.endswith(("/cancel", "/pause")) and isinstance(drop, str) and drop.startswith("hostile-"):
        if drop not in SCENE["prey"]:
            case.path_parameters["drop_id"] = SCENE["prey"][zlib.crc32(drop.encode()) % len(SCENE["prey"])]


@schemathesis.hook
def after_call(context, case, response):
    global written
    figures["requests"] += 1
    by_status = figures["statuses"].setdefault(f"{case.method} {case.path}", {})
    by_status[str(response.status_code)] = by_status.get(str(response.status_code), 0) + 1
    if response.status_code in (201, 202):
        learn_owner(response)
    if response.status_code >= 400:
        now = METER.written_by_refused()
        if now != written:
            unreported.append({name: n for name, n in now.items() if written.get(name) != n})
            written = now


def learn_owner(response):
    """Records the token that created an object, so that a later request for the object is sent by its owner."""
    token = (response.request.headers.get("Authorization") or "").removeprefix("Bearer ")
    made = response.json()
    if isinstance(made, dict) and token in SCENE["shoppers"]:
        for member in ("reservation_id", "order_id"):
            if member in made:
                SCENE["owners"][made[member]] = token


@schemathesis.check
def refused_changes_nothing(ctx, response, case):
    # schemathesis calls this once for every case.
    figures["cases"] += 1
    tell()
    if unreported:
        raise AssertionError(f"a refused request has written: {unreported.pop()}")


@schemathesis.check
def refused_with_a_problem(ctx, response, case):
    if response.status_code >= 400 and case.method.upper() != "HEAD":
        content_type = (response.headers.get("content-type") or [""])[0]
        fault = fault_of_refusal(response.status_code, content_type, response.content)
        if fault:
            raise AssertionError(fault)
