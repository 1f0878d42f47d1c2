"""A client of the deployed API, which signs its tokens with a private key.

The key is a JWK: {"kty":"OKP","crv":"Ed25519","kid":…,"x":…,"d":…}. No key is printed.
"""

import base64
import json
import random
import time
import urllib.error
import urllib.request

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TOKEN_SECONDS = 120
# How far this machine's clock may be ahead of the functions'.
CLOCK_SECONDS = 30
REQUEST_SECONDS = 15
# The largest number of tries of a request that is throttled, fails in the gateway or gets no answer. All tries have the same idempotency key.
REPEATS = 6
ISSUER = "stampede"


class Failed(Exception):
    """A step failed, for the reason in the message."""


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


class Key:
    """A private key. Signs a new token for each request, so that no token expires during a run."""

    def __init__(self, jwk):
        try:
            if (jwk["kty"], jwk["crv"]) != ("OKP", "Ed25519"):
                raise ValueError
            self.kid = jwk["kid"]
            self.private = Ed25519PrivateKey.from_private_bytes(decoded(jwk["d"]))
            public = self.private.public_key().public_bytes_raw()
            if public != decoded(jwk["x"]):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            # The text may be a secret, so no part of it is shown.
            raise Failed("the key is no private Ed25519 JWK") from None

    def token(self, audience, subject, seconds=TOKEN_SECONDS):
        now = int(time.time())
        header = {"typ": "JWT", "alg": "EdDSA", "kid": self.kid}
        issued = now - CLOCK_SECONDS
        claims = {"iss": ISSUER, "aud": audience, "sub": subject, "iat": issued, "exp": now + seconds}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{encoded(self.private.sign(signed.encode()))}"


class Api:
    """The deployed API."""

    def __init__(self, url, key):
        self.url = url.rstrip("/")
        self.key = key

    def call(self, method, path, body=None, by=None, idempotency=None):
        """Status and body of one request, which is repeated if its outcome is unknown or the API throttles."""
        last = None
        for attempt in range(REPEATS):
            if attempt:
                time.sleep(min(2**attempt / 4, 4) * random.uniform(0.5, 1))
            try:
                status, answer = self.once(method, path, body, by, idempotency)
            except (OSError, ValueError) as error:
                last = f"no answer: {getattr(error, 'reason', error)}"
                continue
            if status not in (429, 500, 502, 503, 504):
                return status, answer
            last = problem(status, answer)
        raise Failed(f"{method} {path}, {REPEATS} times: {last}")

    def once(self, method, path, body, by, idempotency):
        headers = {"accept": "application/json"}
        if by:
            headers["authorization"] = f"Bearer {self.key.token(*by)}"
        if idempotency:
            headers["idempotency-key"] = idempotency
        if body is not None:
            headers["content-type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as response:
                return response.status, parsed(response.read())
        except urllib.error.HTTPError as error:
            return error.code, parsed(error.read())

    def expect(self, expected, method, path, **rest):
        status, answer = self.call(method, path, **rest)
        if status not in expected:
            raise Failed(f"{method} {path}: {problem(status, answer)}")
        return answer


def parsed(body):
    try:
        return json.loads(body) if body else {}
    except ValueError:
        return {}


def problem(status, answer):
    """The reason of a refusal, from the problem document or from API Gateway's own form."""
    if not isinstance(answer, dict):
        return str(status)
    code, detail = answer.get("code"), answer.get("detail") or answer.get("message")
    said = [f"{status}"] + [str(part) for part in (code, detail) if part]
    said += [f"{error.get('field')}: {error.get('message')}" for error in answer.get("errors") or []]
    return " · ".join(said)
