"""Requests that no client library makes, over raw sockets, and the required answers.

Plain bad input (wrong bodies, tokens, keys, ids, methods) is in the journeys of infra/local. The requests here break the rules
of HTTP itself, try to be read as another request, or try to keep a server busy.
"""

import contextlib
import json
import socket
import urllib.parse

from . import scene as scenes
from .refusals import fault_of_refusal

PATIENCE_SECONDS = 20
HUNG_UP = None


class Attack:
    """`sent` is sent unchanged; the first answer's status must be one of `expected` (HUNG_UP: no answer)."""

    def __init__(self, name, sent, expected, close=False):
        self.name, self.sent, self.expected, self.close = name, sent, expected, close


def request(method, path, headers=(), body=b""):
    lines = [f"{method} {path} HTTP/1.1", *headers]
    if not any(header.lower().startswith("host:") for header in headers):
        lines.append("host: api.example.org")
    if body and not any(header.lower().startswith(("content-length", "transfer-encoding")) for header in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def attacks(scene):
    shopper = f"authorization: Bearer {scene.shoppers[1]}"
    operator = f"authorization: Bearer {scene.operator}"
    is_json, key = "content-type: application/json", "idempotency-key: raw"
    order = json.dumps({"sku": "B", "quantity": 1}).encode()
    reserve = f"/drops/{scenes.OPEN}/reservations"
    held = next(id for id, token in scene.owners.items() if token == scene.shoppers[1] and ".A." in id)
    good = [shopper, is_json, key]
    refused, odd = {400, 404}, {400, HUNG_UP}

    def post(name, body, headers=good, expected=refused, **rest):
        return Attack(name, request("POST", reserve, headers, body), expected, **rest)

    yield from framing(request("POST", reserve, good, order), reserve, good, order, odd)
    yield from [
        post("a byte order mark", b"\xef\xbb\xbf" + order),
        post("UTF-16", order.decode().encode("utf-16")),
        post("overlong UTF-8", b'{"sku":"\xc0\xaf","quantity":1}'),
        post("gzip", b"\x1f\x8b\x08\x00" + order, [*good, "content-encoding: gzip"]),
        post("a NUL after it", order + b"\0"),
        post("NaN", b'{"sku":"B","quantity":NaN}'),
        post("a comment", b'{"sku":"B",/**/"quantity":1}'),
        post("a number as text", b'{"sku":"B","quantity":"1"}'),
        post("a negative zero and a fraction", b'{"sku":"B","quantity":1.0}'),
        post("one escaped twice over", b'{"sku":"B","quantity":1,"\\u0073ku":"B"}'),
        post("a member of every object", b'{"sku":"B","quantity":1,"__proto__":{}}'),
        post("a number of 15,000 digits", b'{"sku":"B","quantity":' + b"9" * 15_000 + b"}"),
        post("a form", b"sku=B&quantity=1", [shopper, key, "content-type: application/x-www-form-urlencoded"], {415}),
        post("two content types", order, [shopper, key, is_json, "content-type: text/plain"], {400, 415}),
        post("two tokens", order, [shopper, operator, is_json, key], {401}),
        # The gateway joins the values of a repeated header with a comma, so that they form one key, the same for every repeat.
        post("two keys", order, [*good, "idempotency-key: other"], {201}),
        post("a token in the query", order, [is_json, key], {401}),
    ]
    for path in [
        f"/operator/../operator/drops/{scenes.PREY[0]}/cancel/..", f"/%6Fperator/drops/{scenes.PREY[0]}/cancel",
        f"/operator/drops/{scenes.PREY[0]}%2Fcancel", f"/operator//drops/{scenes.PREY[0]}/cancel",
        f"/operator/drops/{scenes.PREY[0]}/cancel/", f"/operator/drops/{scenes.PREY[0]}/cancel%00",
        f"/operator/drops/{scenes.PREY[0]}/cancel;x=1", f"/OPERATOR/drops/{scenes.PREY[0]}/cancel",
        f"/operator/drops/%252e%252e%252f{scenes.PREY[0]}/cancel", f"/operator/drops/..%c0%af/cancel",
        f"/operator/drops/\\{scenes.PREY[0]}/cancel", "/operator/drops/%/cancel", "/operator/drops/%zz/cancel",
        "/operator/drops/%ff%fe/cancel", f"/operator/drops/{'a' * 4000}/cancel", "/operator/drops/\U0001f4a9/cancel",
    ]:
        yield Attack(f"path {path[:60]}", request("POST", path, [operator]), {400, 404, 405})
    for path in ["*", "http://elsewhere.example/drops", "//elsewhere.example/drops", "?x", "drops"]:
        yield Attack(f"target {path}", request("GET", path), {200, 400, 404})
    for method in ["get", "GE T", "G\0T", "PRI", "CONNECT", "TRACE", "PROPFIND", "A" * 300, "", "GET,POST"]:
        yield Attack(f"method {method[:20]!r}", request(method, "/drops"), {400, 404, 405, HUNG_UP})
    overrides = ["x-http-method-override", "x-http-method", "x-method-override", "_method"]
    for header in overrides:
        yield Attack(f"{header}: DELETE", request("GET", f"{reserve}/{held}", [shopper, f"{header}: DELETE"]), {200})
    yield Attack("?_method=DELETE", request("GET", f"{reserve}/{held}?_method=DELETE", [shopper]), {200})
    for header in ["x-original-url", "x-rewrite-url", "x-forwarded-prefix", "x-forwarded-host", "forwarded"]:
        elsewhere = f"{header}: /operator/drops/{scenes.PREY[0]}/cancel"
        yield Attack(header, request("GET", "/drops", [operator, elsewhere]), {200})
    for host in ["]", "a b", "a:99999", "user@x:y", "", "\udcff"]:
        yield Attack(f"host {host!r}", request("GET", "/drops", [f"host: {host}"]), {200, 400})
    for query in ["&".join(f"p{n}=1" for n in range(1_200)), "limit[]=1", "limit=1;cursor=2", "%00=%00", "limit=1%00",
                  "a=<\"'>{}|^`[]", "&&&==&", "limit=%31", "\U0001f4a9"]:
        yield Attack(f"query {query[:30]}", request("GET", f"/drops?{query}"), {200, 400})
    for name, headers in {
        "500 headers": [f"x-{n}: 1" for n in range(500)], "one of 9,000 bytes": ["x-much: " + "x" * 9_000],
        "one of 60,000 bytes": ["x-much: " + "x" * 60_000], "a cookie of 9,000 bytes": ["cookie: a=" + "x" * 9_000],
        "a token of 9,000 bytes": ["authorization: Bearer " + "x" * 9_000],
        "a NUL in one": ["x-nul: a\0b"], "a folded one": ["x-fold: a\r\n b"], "no name": [": x"],
        "a space in the name": ["x y: 1"], "bytes": ["x-bytes: \udcff\udcfe"], "a lone line feed": ["x-lf: a\nx-injected: b"],
        "expect": ["expect: 200-ok"], "upgrade": ["connection: upgrade", "upgrade: h2c"],
    }.items():
        yield Attack(f"headers: {name}", request("GET", "/drops", headers), {200, 400, 431, 417, HUNG_UP})
    yield Attack("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64, odd)
    yield Attack("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", odd)
    yield Attack("HTTP/0.9", b"GET /drops\r\n\r\n", odd)
    yield Attack("HTTP/9.9", b"GET /drops HTTP/9.9\r\n\r\n", odd)
    yield Attack("nothing", b"", {HUNG_UP}, close=True)
    yield Attack("zeros", b"\0" * 4_096, odd)


def framing(whole, reserve, good, order, odd):
    """Bodies whose length or framing differs from the headers."""
    head = lambda *more: request("POST", reserve, [*good, *more])
    yield Attack("half a body", whole[:-5], odd, close=True)
    yield Attack("half a head", whole[:40], odd, close=True)
    for length in ["-1", "abc", "1e3", "0x10", "99999999999999999999", "5, 5", "+5", ""]:
        yield Attack(f"length {length!r}", head(f"content-length: {length}") + order, odd, close=True)
    yield Attack("two lengths", head(f"content-length: {len(order)}", "content-length: 1") + order, odd, close=True)
    # The body of the first request contains a second request. A server that uses the other length would read and execute it.
    hidden = b"0\r\n\r\n" + whole
    both = head(f"content-length: {len(hidden)}", "transfer-encoding: chunked")
    yield Attack("length and chunks", both + hidden, {400, HUNG_UP}, close=True)
    for coding in ["gzip, chunked", "chunked, identity", "xchunked", "\tchunked ,"]:
        yield Attack(f"coding {coding!r}", head(f"transfer-encoding: {coding}") + b"zz\r\n", {400, 501, HUNG_UP}, close=True)
    yield Attack("a chunk of no size", head("transfer-encoding: chunked") + b"zz\r\n" + order, odd, close=True)
    yield Attack("a chunk of all sizes", head("transfer-encoding: chunked") + b"ffffffffffffffff\r\n" + order, odd, close=True)
    padded = b"5\r\n     \r\n" * 4_000 + b"0\r\n\r\n"
    yield Attack("20 KB in chunks", head("transfer-encoding: chunked") + padded, {413})
    yield Attack("a gigabyte announced", head("content-length: 1000000000") + b" " * 100_000, {400, 413, HUNG_UP}, close=True)
    endless = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    yield Attack("a body without end", head("transfer-encoding: chunked") + endless * 800, {413})


def exchange(address, attack):
    """The answer's status and its mistake; no status when there was no answer."""
    with contextlib.closing(socket.create_connection(address, PATIENCE_SECONDS)) as connection:
        answer = b""
        try:
            connection.sendall(attack.sent)
            if attack.close:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The server has refused the request before all of it was sent; its answer may still have arrived.
        try:
            while (answered := whole(answer)) is None:
                more = connection.recv(65_536)
                if not more:
                    break
                answer += more
        except ConnectionResetError:
            answered = whole(answer)
        except TimeoutError:
            return "no answer in time", f"nothing within {PATIENCE_SECONDS} s: {answer[:200]!r}"
    if not answer:
        return HUNG_UP, None
    if answered is None:
        return "broken off", f"an answer that breaks off: {answer[:200]!r}"
    status, content_type, body = answered
    # The HTTP server answers a request that is not HTTP with a status only: no function and no gateway gets it.
    if status in (400, 431) and not body:
        return status, None
    return status, fault_of_refusal(status, content_type, body) if status >= 400 else None


def whole(answer):
    """Status, content type and body; None until all of them have arrived."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    length = int(headers.get("content-length", "0"))
    return (int(first.split(" ")[1]), headers.get("content-type", ""), body[:length]) if len(body) >= length else None


def run(stack, scene):
    """Sends all requests; a refused request must write nothing."""
    netloc = urllib.parse.urlsplit(stack.api)
    address = (netloc.hostname, netloc.port)
    written = stack.meter.written_by_refused()
    result = {"requests": 0, "statuses": {}, "failures": []}
    for attack in attacks(scene):
        status, fault = exchange(address, attack)
        result["requests"] += 1
        result["statuses"][str(status)] = result["statuses"].get(str(status), 0) + 1
        if status not in attack.expected and fault is None:
            fault = f"answered {status}, expected one of {sorted(map(str, attack.expected))}"
        now = stack.meter.written_by_refused()
        if now != written:
            fault, written = f"refused with {status}, and has written: {now}", now
        if fault:
            shown = attack.sent[:400].decode("latin-1").encode("unicode_escape").decode()
            result["failures"].append({"attack": attack.name, "what": fault, "sent": shown})
    result["failures"] += idle_connections(stack, address)
    result["failures"] += still_well(stack, scene)
    return result


def idle_connections(stack, address):
    """Many connections with unfinished requests must not prevent that others are served."""
    with contextlib.ExitStack() as held:
        for _ in range(200):
            connection = held.enter_context(socket.create_connection(address, PATIENCE_SECONDS))
            connection.sendall(b"POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n1")
        status, _ = stack.call("GET", "/drops")
    return [] if status == 200 else [{"attack": "200 idle connections", "what": f"others are answered {status}", "sent": ""}]


def still_well(stack, scene):
    """After all these requests a purchase succeeds."""
    token = stack.token("--shopper", "afterwards")
    try:
        held = scene.reserve(token, "A", "afterwards")
        stack.expect(202, "POST", "/orders", token, scenes.checkout(held), "afterwards")
    except RuntimeError as error:
        return [{"attack": "afterwards", "what": str(error), "sent": ""}]
    return []
