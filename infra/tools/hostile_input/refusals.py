"""The required form of a refusal: a problem document with a documented code, or one of the gateway's own answers."""

import functools
import json

from .stack import ROOT

# The HTTP front's own answers, in API Gateway's form, to requests that reach no function.
GATEWAYS_OWN = {400: "Bad Request", 413: "Request Entity Too Large", 431: "Request Header Fields Too Large"}


@functools.cache
def codes():
    document = json.loads((ROOT / "docs/openapi.json").read_text())
    return set(document["components"]["schemas"]["Code"]["enum"])


def fault_of_refusal(status, content_type, body):
    """The mistake of a refusal; None when it is as documented."""
    if status >= 500:
        return f"{status} means that the server failed"
    try:
        told = json.loads(body)
    except ValueError:
        return f"{status} without a JSON body: {body[:200]!r}"
    if content_type == "application/json" and told == {"message": GATEWAYS_OWN.get(status)}:
        return None
    if content_type != "application/problem+json":
        return f"{status} as {content_type!r}"
    if told.get("status") != status or told.get("code") not in codes():
        return f"{status} has a body with status {told.get('status')} and code {told.get('code')}"
    for member in ("type", "title", "detail"):
        if not isinstance(told.get(member), str) or not told[member]:
            return f"{status} without {member}"
    if len(body) > 8_192:
        return f"{status} with an answer of {len(body)} bytes"
    return None
