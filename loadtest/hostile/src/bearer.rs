//! Verifies bearer tokens: texts of an attacker without the key, and tokens that the key's owner might have signed.
//!
//! The input is the token's header, a line break, and its claims. The token is verified unsigned, and again signed
//! with the shoppers' key and with the deployer's key, since only signed claims are parsed. The whole input is also
//! parsed as a set of keys, as a document of issuers and as an issuer's answer.

use std::sync::OnceLock;

use data_encoding::BASE64URL_NOPAD;
use ring::signature::Ed25519KeyPair;
use serde_json::Value;
use tokens::{
    Algorithm, Audience, Identity, Issuers, KeySet, LEEWAY_SECONDS, MAX_DEPLOYER_SECONDS, OWN_LIFE_SECONDS,
    Published, SMOKE_PREFIX, Scope, SigningKey, Verifier,
};

use crate::requests::divided;

const NOW_S: i64 = 1_800_000_000;

const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// The key pairs of the shoppers (key id `a`) and the deployer (key id `d`), and a verifier that knows both.
struct Keys {
    signing: [Ed25519KeyPair; 2],
    verifying: Verifier,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let [own, deployer] = ["a", "d"].map(|kid| SigningKey::generate(kid).expect("randomness"));
        // Tokens are signed with the key pair itself, since `SigningKey` cannot sign an arbitrary header.
        let pair = |key: &SigningKey| {
            let jwk: Value = serde_json::from_str(&key.to_jwk().expect("a key")).expect("JSON");
            let seed = BASE64URL_NOPAD.decode(jwk["d"].as_str().unwrap_or_default().as_bytes());
            Ed25519KeyPair::from_seed_unchecked(&seed.expect("a seed")).expect("a key")
        };
        let set = |key: &SigningKey| KeySet::of(&[key]).expect("a set");
        let verifying = Verifier::new(Audience::Shopper, set(&own)).with_deployers(set(&deployer));
        Keys {
            signing: [pair(&own), pair(&deployer)],
            verifying: verifying.expect("two names"),
        }
    })
}

/// The fuzz target `tokens`: panics if an incomplete or unsigned token is accepted.
pub fn target(input: &[u8]) {
    taken(input);
}

/// Whether header and claims, signed by one of the two keys, form a valid token.
pub fn taken(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    survives(&text, KeySet::parse, KeySet::to_json);
    survives(&text, Issuers::parse, Issuers::to_json);
    survives(&text, Published::parse, Published::to_json);
    if let Ok(keys) = KeySet::usable(input, &ALGORITHMS) {
        assert!(
            !keys.to_json().contains("\"d\":"),
            "a private key was kept: {text}"
        );
    }
    let (head, claims) = divided(input, b"\n");
    let claims = claims.unwrap_or_default();
    let unsigned = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(head),
        BASE64URL_NOPAD.encode(claims)
    );
    let keys = keys();
    let verify = |token: &str| keys.verifying.verify(token, NOW_S);
    for forged in [
        text.as_ref(),
        &unsigned,
        &format!("{unsigned}."),
        &format!("{unsigned}.{}", BASE64URL_NOPAD.encode(&[0; 64])),
    ] {
        assert!(verify(forged).is_err(), "taken without a signature: {forged}");
    }
    let signed = keys.signing.iter().map(|pair| {
        let signature = pair.sign(unsigned.as_bytes());
        format!("{unsigned}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    });
    let read: Vec<Identity> = signed.filter_map(|token| verify(&token).ok()).collect();
    assert!(read.len() < 2, "one head, taken from two keys: {text}");
    let Some(Identity { claims: read, scope }) = read.first() else {
        return false;
    };
    // Members that the verifier ignores need not be valid UTF-8, so the text is read with replacement
    // characters.
    let json = |bytes: &[u8]| serde_json::from_str::<Value>(&String::from_utf8_lossy(bytes));
    let told = json(claims).expect("claims that were taken are JSON");
    let head = json(head).expect("a head that was taken is JSON");
    let deployers = *scope == Scope::UnlistedOnly;
    let kid = if deployers { "d" } else { "a" };
    assert_eq!(head["alg"], "EdDSA", "{head}");
    assert_eq!(head["kid"], kid, "{head}");
    assert_eq!(read.sub.starts_with(SMOKE_PREFIX), deployers, "{told}");
    assert!(
        !deployers || read.exp.saturating_sub(read.iat) <= MAX_DEPLOYER_SECONDS,
        "{told}"
    );
    assert_eq!(told["sub"], read.sub.as_str(), "{told}");
    assert!(is_or_has(&told["aud"], "stampede-shopper"), "{told}");
    assert_eq!(told["iss"], "stampede", "{told}");
    assert!(!read.sub.is_empty(), "{told}");
    // The times in a token may have a fraction.
    let moment = |name: &str| told[name].as_f64().expect("a moment that was taken is a number");
    assert!(moment("exp") > (NOW_S - 60) as f64, "{told}");
    assert!(moment("iat") < (NOW_S + LEEWAY_SECONDS + 1) as f64, "{told}");
    assert!(read.exp.saturating_sub(read.iat) <= OWN_LIFE_SECONDS, "{told}");
    true
}

/// Asserts that a document that was parsed is written so that it can be parsed again.
fn survives<T, E>(text: &str, parse: impl Fn(&str) -> Result<T, E>, write: impl Fn(&T) -> String) {
    if let Ok(read) = parse(text) {
        assert!(parse(&write(&read)).is_ok(), "read, and not again: {text}");
    }
}

fn is_or_has(value: &Value, expected: &str) -> bool {
    value == expected
        || value
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one == expected))
}
