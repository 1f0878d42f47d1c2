"""The key pairs that sign tokens: two for each audience, named by `kid`.

The public halves lie in Parameter Store as a JWK Set (RFC 7517), which functions get in their environment. The private halves
lie in one encrypted parameter for each audience. The first key signs; the second is accepted already, so that signing can move
to it without a refused request.
"""

import json
import time

import boto3
import botocore.exceptions
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api import encoded

AUDIENCES = ("shopper", "operator", "deployer")
KEYS = 2


def generate(audience):
    """A private Ed25519 key as a JWK (RFC 8037), with a `kid` of its own."""
    key = Ed25519PrivateKey.generate()
    day = time.strftime("%Y%m%d", time.gmtime())
    public = encoded(key.public_key().public_bytes_raw())
    kid = f"{audience}-{day}-{public[:8]}"
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": public, "d": encoded(key.private_bytes_raw())}


def public_set(private):
    return {"keys": [{name: key[name] for name in ("kty", "crv", "kid", "x")} for key in private]}


def private_name(stage, audience):
    return f"{stage.path}/signing/{audience}"


def public_name(stage, audience):
    return f"{stage.path}/{audience}-keys"


def stored(stage, audience):
    """The private keys of an audience, the signing one first; none before the bootstrap."""
    try:
        answer = boto3.client("ssm").get_parameter(Name=private_name(stage, audience), WithDecryption=True)
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            return []
        raise
    return json.loads(answer["Parameter"]["Value"])


def store(stage, audience, private):
    ssm = boto3.client("ssm")
    compact = {"separators": (",", ":")}
    ssm.put_parameter(Name=private_name(stage, audience), Type="SecureString", Overwrite=True, Value=json.dumps(private, **compact))
    ssm.put_parameter(
        Name=public_name(stage, audience), Type="String", Overwrite=True, Value=json.dumps(public_set(private), **compact)
    )


def ensure(stage, audience):
    """Makes the keys that are missing. Answers with the kids."""
    private = stored(stage, audience)
    while len(private) < KEYS:
        private.append(generate(audience))
    store(stage, audience, private)
    return [key["kid"] for key in private]


def rotate(stage, audience):
    """Drops the signing key, signs with the second from now on, and makes a new second one. Answers with the kids.

    The second key is in the functions' environment since the last deployment, so tokens that it signs are accepted at once.
    Tokens of the dropped key are refused after the next deployment.
    """
    private = stored(stage, audience)[1:]
    private.append(generate(audience))
    store(stage, audience, private)
    return [key["kid"] for key in private]
