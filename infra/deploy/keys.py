"""The key pairs that sign tokens: two or three for each audience, named by `kid`.

The public halves are in Parameter Store, where the function `fetch-keys` reads them each minute: the deployer's as a JWK Set (RFC 7517),
shoppers' and operators' as the project's own entry in a document of issuers (docs/API.md, Tokens). Entries of other issuers belong to the
shop and do not change. The private halves are in one encrypted parameter for each audience. The first key signs; the second is accepted
already, so that a rotation to it causes no refused request. After a rotation there is a third key, the former signing key, whose tokens are
accepted until the next rotation.
"""

import json
import time

import boto3
import botocore.exceptions
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api import ISSUER, Key, encoded
from stage import refuse

AUDIENCES = ("shopper", "operator", "deployer")
KEYS = 2
# How long the token of `make operator-token` is valid.
OPERATOR_SECONDS = 3_600
# How long a token of the project's own issuer may be valid: longer than a drop, so that shoppers sign in once.
MAX_LIFE_SECONDS = 2 * 86_400


def generate(audience):
    """A private Ed25519 key as a JWK (RFC 8037), with a new `kid`."""
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


def parameter(name):
    """The value of a parameter, or None."""
    try:
        answer = boto3.client("ssm").get_parameter(Name=name, WithDecryption=True)
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            return None
        raise
    return json.loads(answer["Parameter"]["Value"])


def stored(stage, audience):
    """The private keys of an audience, the signing one first; none before the bootstrap."""
    return parameter(private_name(stage, audience)) or []


def issuers(stage, audience):
    """The entries of an audience's issuers; none before the bootstrap, or after a bootstrap by a release that had no such document."""
    return (parameter(public_name(stage, audience)) or {}).get("issuers", [])


def with_own(entries, audience, private):
    """The document of these entries, in which the project's own entry has the public halves of `private`. Other parts do not change."""
    known = next((entry for entry in entries if entry["issuer"] == ISSUER), {"max_life_seconds": MAX_LIFE_SECONDS})
    own = known | {"issuer": ISSUER, "audiences": [f"stampede-{audience}"], "algorithms": ["EdDSA"], **public_set(private)}
    return {"issuers": [own, *(entry for entry in entries if entry["issuer"] != ISSUER)]}


def shared(shoppers, operators):
    """Issuers with audiences that are in both documents: one of their tokens would identify a shopper and an operator."""
    pairs = [{(entry["issuer"], audience) for entry in entries for audience in entry["audiences"]} for entries in (shoppers, operators)]
    return sorted(pairs[0] & pairs[1])


def check(stage):
    """Refuses documents that `fetch-keys` would refuse."""
    for issuer, audience in shared(issuers(stage, "shopper"), issuers(stage, "operator")):
        names = f"{public_name(stage, 'shopper')} and {public_name(stage, 'operator')}"
        refuse(f"The issuer {issuer} has the audience {audience} in {names}. Give operators an audience of their own.")


def store(stage, audience, private):
    ssm = boto3.client("ssm")
    public = public_set(private) if audience == "deployer" else with_own(issuers(stage, audience), audience, private)
    compact = {"separators": (",", ":")}
    ssm.put_parameter(Name=private_name(stage, audience), Type="SecureString", Overwrite=True, Value=json.dumps(private, **compact))
    ssm.put_parameter(
        Name=public_name(stage, audience), Type="String", Overwrite=True, Tier="Intelligent-Tiering", Value=json.dumps(public, **compact)
    )


def ensure(stage, audience):
    """Makes the missing keys. Returns the kids."""
    private = stored(stage, audience)
    while len(private) < KEYS:
        private.append(generate(audience))
    store(stage, audience, private)
    return [key["kid"] for key in private]


def rotate(stage, audience):
    """Signs with the second key from now on, makes a new second key, and keeps the former signing key. Returns the kids.

    Functions accept the second key since the last rotation, so tokens that it signs are accepted at once. Tokens of the key that signs no
    longer are accepted until the next rotation; those of the key before it are refused within two minutes.
    """
    private = rotated(stored(stage, audience), generate(audience))
    store(stage, audience, private)
    return [key["kid"] for key in private]


def rotated(private, new):
    """The keys after a rotation: the former second key, which signs, then `new`, then the former signing key."""
    signed, following, *_ = private
    return [following, new, signed]


def operator_token(stage, subject):
    """Prints an operator's token, for a shop without a sign-in service for its operators. The audit trail names `subject`."""
    if not subject:
        refuse(f"Say who you are: make operator-token STAGE={stage.name} SUBJECT=name")
    private = stored(stage, "operator")
    if not private:
        refuse(f"Operators have no key. Run `make bootstrap STAGE={stage.name}`.")
    print(Key(private[0]).token("stampede-operator", subject, OPERATOR_SECONDS))
