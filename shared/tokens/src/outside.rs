//! Makes key pairs of other issuers for tests, and arbitrary tokens signed with these keys.

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use crate::Algorithm;

/// A key pair of one algorithm, and its public JWK.
pub(crate) struct Outside {
    pub(crate) algorithm: Algorithm,
    pub(crate) jwk: Value,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Header and claims in the form that is signed.
pub(crate) fn unsigned(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}", part(head), part(claims))
}

impl Outside {
    /// A new key pair. For RSA the pair is always the same, from a file that only these tests use.
    pub(crate) fn new(algorithm: Algorithm, kid: &str) -> Self {
        let random = SystemRandom::new();
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let (pair, jwk) = match algorithm {
            Algorithm::EdDSA => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
                let x = encode(pair.public_key().as_ref());
                (
                    Pair::Ed(pair),
                    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}),
                )
            }
            Algorithm::ES256 => {
                let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
                let pair = EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).unwrap();
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let jwk = json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": encode(x), "y": encode(y)});
                (Pair::Ec(pair), jwk)
            }
            Algorithm::RS256 => {
                let stored: Value = serde_json::from_str(include_str!("outside_rsa.json")).unwrap();
                let member = |name: &str| {
                    let text = stored[name].as_str().unwrap();
                    BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
                };
                let components = KeyPairComponents {
                    public_key: PublicKeyComponents {
                        n: member("n"),
                        e: member("e"),
                    },
                    d: member("d"),
                    p: member("p"),
                    q: member("q"),
                    dP: member("dp"),
                    dQ: member("dq"),
                    qInv: member("qi"),
                };
                let pair = RsaKeyPair::from_components(&components).unwrap();
                let jwk = json!({"kty": "RSA", "kid": kid, "n": stored["n"], "e": stored["e"]});
                (Pair::Rsa(pair), jwk)
            }
        };
        Self { algorithm, jwk, pair }
    }

    pub(crate) fn kid(&self) -> &str {
        self.jwk["kid"].as_str().unwrap()
    }

    /// The algorithm's name in a header.
    pub(crate) fn alg(&self) -> &'static str {
        match self.algorithm {
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            Algorithm::EdDSA => "EdDSA",
        }
    }

    /// A token whose header names this key and `alg`, signed with the key's real algorithm.
    pub(crate) fn token(&self, alg: &str, claims: &Value) -> String {
        self.sign(&json!({"alg": alg, "kid": self.kid(), "typ": "JWT"}), claims)
    }

    /// A token with this header, signed with the key's real algorithm.
    pub(crate) fn sign(&self, head: &Value, claims: &Value) -> String {
        let unsigned = unsigned(head, claims);
        let (random, message) = (SystemRandom::new(), unsigned.as_bytes());
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        };
        format!("{unsigned}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}
