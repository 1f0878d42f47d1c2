"""Tests the documents of infra/deploy/keys.py without an account: other issuers' entries stay, and shared audiences are found."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra/deploy"))
import keys  # noqa: E402

OTHER = {"issuer": "https://login.example/", "audiences": ["drops"], "algorithms": ["RS256"], "max_life_seconds": 3600, "keys": []}


def entries(audience, former=()):
    private = [keys.generate(audience), keys.generate(audience)]
    document = keys.with_own(list(former), audience, private)
    assert "d" not in document["issuers"][0]["keys"][0], "a private key in the public document"
    return document["issuers"]


def main():
    first = entries("shopper")
    assert [entry["audiences"] for entry in first] == [["stampede-shopper"]], first
    changed = first[0] | {"max_life_seconds": 600}
    rotated = entries("shopper", [OTHER, changed])
    assert rotated[1:] == [OTHER] and rotated[0]["max_life_seconds"] == 600, rotated
    assert rotated[0]["keys"] != first[0]["keys"], "the keys are the former ones"
    operators = entries("operator")
    assert keys.shared(rotated, operators) == []
    assert keys.shared(rotated, [*operators, OTHER]) == [("https://login.example/", "drops")]
    first, second, third, fourth = (keys.generate("shopper") for _ in range(4))
    once = keys.rotated([first, second], third)
    assert once == [second, third, first], "the key that signed is accepted no longer"
    assert keys.rotated(once, fourth) == [third, fourth, second], "a key that is two rotations old is accepted"
    print("7 passed, 0 failed")


if __name__ == "__main__":
    main()
