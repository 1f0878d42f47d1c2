//! Bearer tokens: what somebody writes without the key, and what the key's owner might have signed.
//!
//! The input is the token's head, a line break, and its claims. It is tried as a token of that text, and once more after
//! the head and the claims have been signed with the right key: only so are they read at all.

use std::sync::OnceLock;

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::Value;
use tokens::{Audience, VerifyingKey};

const NOW_S: i64 = 1_800_000_000;

struct Keys {
    signing: Ed25519KeyPair,
    verifying: VerifyingKey,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("randomness");
        let signing = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
        let public = BASE64URL_NOPAD.encode(signing.public_key().as_ref());
        let verifying = VerifyingKey::from_encoded(&public, Audience::Shopper).expect("a key");
        Keys { signing, verifying }
    })
}

/// See the crate's table.
pub fn target(input: &[u8]) {
    taken(input);
}

/// Whether the head and the claims, signed, make a good token.
pub fn taken(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let _ = VerifyingKey::from_encoded(&text, Audience::Operator);
    let at = input
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(input.len());
    let (head, claims) = input.split_at(at);
    let claims = claims.get(1..).unwrap_or_default();
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
    let signature = keys.signing.sign(unsigned.as_bytes());
    let signed = format!("{unsigned}.{}", BASE64URL_NOPAD.encode(signature.as_ref()));
    let Ok(read) = verify(&signed) else {
        return false;
    };
    // Members that nobody reads need not be text.
    let json = |bytes: &[u8]| serde_json::from_str::<Value>(&String::from_utf8_lossy(bytes));
    let told = json(claims).expect("claims that were taken are JSON");
    let head = json(head).expect("a head that was taken is JSON");
    assert_eq!(head["alg"], "EdDSA", "{head}");
    assert_eq!(told["sub"], read.sub.as_str(), "{told}");
    assert!(is_or_has(&told["aud"], "stampede-shopper"), "{told}");
    assert!(is_or_has(&told["iss"], "stampede"), "{told}");
    assert!(told["exp"].as_i64().is_some_and(|exp| exp > NOW_S - 60), "{told}");
    true
}

fn is_or_has(value: &Value, expected: &str) -> bool {
    value == expected
        || value
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one == expected))
}
