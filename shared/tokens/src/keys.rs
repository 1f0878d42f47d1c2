//! Reads public keys by their `kid` from JWKs.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::SigningKey;
use crate::text::{MAX_KID_BYTES, is_kid};

/// The largest number of keys in a set. A rotation needs two; some issuers publish ten.
pub const MAX_KEYS: usize = 16;

/// The largest number of keys in an issuer's answer, including unusable ones.
pub const MAX_ANSWERED_KEYS: usize = 64;

/// The sizes of an RSA key, in bits of its modulus. Shorter keys are not safe, and longer keys cost too much CPU time
/// for each request.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=4_096;

/// The signature algorithm of a token (RFC 7518, RFC 8037). The type of a key determines its one algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSA of 2,048 to 4,096 bits, PKCS #1 v1.5, with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// The algorithm's name in `jsonwebtoken`.
    pub(crate) const fn in_jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// A mistake in a key set. A key is named by its `kid`, or by its index from 0 if the key has no `kid`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// The text is not a JWK Set.
    #[error("not a JWK Set in JSON")]
    Form,
    /// Too few or too many keys.
    #[error("{0} keys; 1 to {MAX_KEYS} are possible")]
    Count(usize),
    /// The `kid` of the key at this index is missing or invalid.
    #[error("key {0} has no `kid` of 1 to {MAX_KID_BYTES} visible ASCII characters")]
    Kid(usize),
    /// Two keys have this `kid`.
    #[error("two keys have the `kid` {0}")]
    Twice(String),
    /// The key has an unsupported type, or a member of the wrong length.
    #[error("the key {0} is neither RSA of 2048 to 4096 bits, nor EC on P-256, nor Ed25519")]
    Type(String),
    /// The key's `alg` does not fit its type, or its `use` is not `sig`.
    #[error("the `alg` of the key {0} does not fit its type, or its `use` is not `sig`")]
    Purpose(String),
    /// The key contains its private half, which no verifier may have.
    #[error("the key {0} has the private member `d`")]
    Private(String),
}

/// Up to [`MAX_KEYS`] public keys, each with a unique `kid`. A set is empty only for an issuer with a URL, while none
/// of its keys are known.
#[derive(Clone)]
pub struct KeySet(Vec<PublicKey>);

#[derive(Clone)]
pub(crate) struct PublicKey {
    kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
    /// The key as a JWK with only the required members.
    jwk: Value,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Member>,
}

/// A JWK of a document. The private member `d` is read only to refuse the key.
#[derive(Deserialize)]
pub(crate) struct Member {
    d: Option<IgnoredAny>,
    #[serde(flatten)]
    jwk: Jwk,
}

impl KeySet {
    /// Parses a JWK Set (RFC 7517, section 5): `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"…","x":"…"}]}`.
    ///
    /// # Errors
    /// [`KeySetError`]. One mistake makes the whole set invalid.
    pub fn parse(json: &str) -> Result<Self, KeySetError> {
        let set: Set = serde_json::from_str(json).map_err(|_| KeySetError::Form)?;
        Self::of_members(set.keys)
    }

    /// The usable keys of an issuer's answer (a JWK Set in JSON) for one of `algorithms`. Unusable keys are skipped:
    /// keys of another type, size, `use` or algorithm, keys without a `kid` or with the `kid` of an earlier usable key,
    /// and keys with their private half.
    ///
    /// # Errors
    /// [`KeySetError::Form`] for another text, [`KeySetError::Count`] for more than [`MAX_ANSWERED_KEYS`] keys, and for
    /// none or more than [`MAX_KEYS`] usable keys.
    pub fn usable(json: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Answer {
            keys: Vec<Value>,
        }
        let answer: Answer = serde_json::from_slice(json).map_err(|_| KeySetError::Form)?;
        if answer.keys.len() > MAX_ANSWERED_KEYS {
            return Err(KeySetError::Count(answer.keys.len()));
        }
        let mut keys: Vec<PublicKey> = Vec::new();
        for (at, value) in answer.keys.into_iter().enumerate() {
            let member = Member::deserialize(value).ok();
            let Some(key) = member.and_then(|member| public_key(at, member).ok()) else {
                continue;
            };
            if algorithms.contains(&key.algorithm) && keys.iter().all(|other| other.kid != key.kid) {
                keys.push(key);
            }
        }
        Self::checked(keys)
    }

    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// The keys with one of `algorithms`.
    pub(crate) fn only(&self, algorithms: &[Algorithm]) -> Self {
        let allowed = self.0.iter().filter(|key| algorithms.contains(&key.algorithm));
        Self(allowed.cloned().collect())
    }

    /// Parses the member `keys` of a JWK Set.
    pub(crate) fn of_members(members: Vec<Member>) -> Result<Self, KeySetError> {
        let members = members.into_iter().enumerate();
        let keys = members.map(|(at, member)| public_key(at, member));
        Self::checked(keys.collect::<Result<_, _>>()?)
    }

    /// The public halves of `keys`.
    ///
    /// # Errors
    /// [`KeySetError::Count`], [`KeySetError::Twice`].
    pub fn of(keys: &[&SigningKey]) -> Result<Self, KeySetError> {
        let public = |key: &&SigningKey| {
            let x = BASE64URL_NOPAD.encode(key.public_key());
            PublicKey {
                kid: key.kid().to_owned(),
                algorithm: Algorithm::EdDSA,
                key: DecodingKey::from_ed_der(key.public_key()),
                jwk: json!({"kty": "OKP", "crv": "Ed25519", "kid": key.kid(), "x": x}),
            }
        };
        Self::checked(keys.iter().map(public).collect())
    }

    /// The set in the format of [`KeySet::parse`].
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({ "keys": self.jwks() }).to_string()
    }

    pub(crate) fn jwks(&self) -> Vec<&Value> {
        self.0.iter().map(|key| &key.jwk).collect()
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&PublicKey> {
        self.0.iter().find(|key| key.kid == kid)
    }

    /// The `kid` and algorithm of each key.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, Algorithm)> {
        self.0.iter().map(|key| (key.kid.as_str(), key.algorithm))
    }

    fn checked(keys: Vec<PublicKey>) -> Result<Self, KeySetError> {
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(KeySetError::Count(keys.len()));
        }
        for (at, key) in keys.iter().enumerate() {
            if keys.iter().take(at).any(|other| other.kid == key.kid) {
                return Err(KeySetError::Twice(key.kid.clone()));
            }
        }
        Ok(Self(keys))
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.named()).finish()
    }
}

fn public_key(at: usize, member: Member) -> Result<PublicKey, KeySetError> {
    let Jwk { common, algorithm } = member.jwk;
    let kid = common
        .key_id
        .filter(|kid| is_kid(kid))
        .ok_or(KeySetError::Kid(at))?;
    if member.d.is_some() {
        return Err(KeySetError::Private(kid));
    }
    let Some((algorithm, key, jwk)) = usable(&algorithm, &kid) else {
        return Err(KeySetError::Type(kid));
    };
    let own = KeyAlgorithm::from(algorithm.in_jwt());
    let other_algorithm = common.key_algorithm.is_some_and(|named| named != own);
    let purpose = common.public_key_use;
    if other_algorithm || purpose.is_some_and(|purpose| purpose != PublicKeyUse::Signature) {
        return Err(KeySetError::Purpose(kid));
    }
    Ok(PublicKey {
        kid,
        algorithm,
        key,
        jwk,
    })
}

/// The key of these parameters, its algorithm, and a JWK without unnecessary members.
fn usable(parameters: &AlgorithmParameters, kid: &str) -> Option<(Algorithm, DecodingKey, Value)> {
    let decoded = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    // An RSA number is big-endian, without leading zero bytes (RFC 7518, section 2).
    let whole = |text: &str| decoded(text).filter(|bytes| bytes.first().is_some_and(|first| *first != 0));
    match parameters {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            let x = decoded(&pair.x).filter(|x| x.len() == 32)?;
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": pair.x});
            Some((Algorithm::EdDSA, DecodingKey::from_ed_der(&x), jwk))
        }
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
            let x = decoded(&point.x).filter(|x| x.len() == 32)?;
            let y = decoded(&point.y).filter(|y| y.len() == 32)?;
            // The byte 4 marks an uncompressed point (SEC 1, section 2.3.3).
            let bytes = [&[4], x.as_slice(), y.as_slice()].concat();
            let jwk = json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": point.x, "y": point.y});
            Some((Algorithm::ES256, DecodingKey::from_ec_der(&bytes), jwk))
        }
        AlgorithmParameters::RSA(rsa) => {
            let (n, e) = (whole(&rsa.n)?, whole(&rsa.e)?);
            // The exponent must be small and odd; nearly every key has the exponent 65537.
            let odd = e.last().is_some_and(|last| !last.is_multiple_of(2));
            if !RSA_BITS.contains(&bits(&n)) || !(2..=32).contains(&bits(&e)) || !odd {
                return None;
            }
            let jwk = json!({"kty": "RSA", "kid": kid, "n": rsa.n, "e": rsa.e});
            let key = DecodingKey::from_rsa_raw_components(&n, &e);
            Some((Algorithm::RS256, key, jwk))
        }
        _ => None,
    }
}

fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |first| first.leading_zeros());
    (number.len() * 8).saturating_sub(unused as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn jwk(kid: &str) -> String {
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{X}"}}"#)
    }

    fn set(keys: &[String]) -> String {
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    #[test]
    fn a_set_is_written_as_it_is_read() {
        let text = set(&[jwk("2026-11-a"), jwk(&"k".repeat(MAX_KID_BYTES))]);
        let read = KeySet::parse(&text).unwrap();
        assert_eq!(read.named().count(), 2);
        let again = KeySet::parse(&read.to_json()).unwrap();
        assert_eq!(again.to_json(), read.to_json());
        assert!(again.find("2026-11-a").is_some() && again.find("2026-11").is_none());
        // Additional members of a key are accepted.
        let more = jwk("a").replace("\"crv\"", "\"use\":\"sig\",\"alg\":\"EdDSA\",\"crv\"");
        assert!(KeySet::parse(&set(&[more])).is_ok());
    }

    #[test]
    fn whatever_is_wrong_with_a_set_is_named() {
        let refused = |text: &str| KeySet::parse(text).unwrap_err();
        for text in [
            "",
            "null",
            "[]",
            "{}",
            "{\"keys\":1}",
            X,
            "{\"keys\":[1]}",
            "{\"keys\":[]",
        ] {
            assert_eq!(refused(text), KeySetError::Form, "{text}");
        }
        assert_eq!(refused(&set(&[])), KeySetError::Count(0));
        let many: Vec<String> = (0..=MAX_KEYS).map(|n| jwk(&n.to_string())).collect();
        assert_eq!(refused(&set(&many)), KeySetError::Count(MAX_KEYS + 1));
        assert!(KeySet::parse(&set(&many[..MAX_KEYS])).is_ok());
        for kid in ["", "a b", "schlüssel", &"k".repeat(MAX_KID_BYTES + 1)] {
            assert_eq!(refused(&set(&[jwk("a"), jwk(kid)])), KeySetError::Kid(1), "{kid}");
        }
        let without = jwk("a").replace("\"kid\":\"a\",", "");
        assert_eq!(refused(&set(&[without])), KeySetError::Kid(0));
        let twice = set(&[jwk("a"), jwk("b"), jwk("a")]);
        assert_eq!(refused(&twice), KeySetError::Twice("a".to_owned()));
        for (from, to) in [
            ("Ed25519", "X25519"),
            ("Ed25519", "Ed448"),
            ("OKP", "EC"),
            ("11qY", "11qYAAAA"),
            ("11qY", ""),
            ("11qY", "++++"),
            ("\"x\"", "\"y\""),
        ] {
            let other = set(&[jwk("a").replace(from, to)]);
            let error = refused(&other);
            let named = matches!(&error, KeySetError::Form | KeySetError::Type(_));
            assert!(named, "{other}: {error}");
        }
        let private = jwk("a").replace("\"x\"", "\"d\":\"secret\",\"x\"");
        let error = refused(&set(&[private]));
        assert_eq!(error, KeySetError::Private("a".to_owned()));
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn of_an_issuers_answer_only_usable_keys_are_kept() {
        let usable = |keys: &[String]| {
            let all = [Algorithm::EdDSA, Algorithm::ES256];
            KeySet::usable(set(keys).as_bytes(), &all).map(|keys| {
                let kept = keys.named().map(|(kid, _)| kid.to_owned());
                kept.collect::<Vec<_>>()
            })
        };
        let good = jwk("good");
        for useless in [
            "7".to_owned(),
            r#"{"kty":"AKP","kid":"a","pub":"AAAA"}"#.to_owned(),
            r#"{"kty":"oct","kid":"a","k":"c2VjcmV0"}"#.to_owned(),
            jwk("a").replace("Ed25519", "X25519"),
            jwk("a").replace("\"crv\"", "\"use\":\"enc\",\"crv\""),
            jwk("a").replace("\"crv\"", "\"alg\":\"ES256\",\"crv\""),
            jwk("a").replace("\"crv\"", "\"d\":\"c2VjcmV0\",\"crv\""),
            jwk("a").replace("\"kid\":\"a\",", ""),
            jwk("a b"),
            jwk("good"),
        ] {
            assert_eq!(
                usable(&[good.clone(), useless.clone()]),
                Ok(vec!["good".to_owned()]),
                "{useless}"
            );
            if useless != good {
                assert_eq!(
                    usable(std::slice::from_ref(&useless)),
                    Err(KeySetError::Count(0)),
                    "{useless}"
                );
            }
        }
        assert_eq!(usable(&[]), Err(KeySetError::Count(0)));
        let many = |count: usize| (0..count).map(|n| jwk(&n.to_string())).collect::<Vec<_>>();
        assert_eq!(usable(&many(MAX_KEYS)).map(|kept| kept.len()), Ok(MAX_KEYS));
        assert_eq!(usable(&many(MAX_KEYS + 1)), Err(KeySetError::Count(MAX_KEYS + 1)));
        let too_many = vec!["1".to_owned(); MAX_ANSWERED_KEYS + 1];
        assert_eq!(usable(&too_many), Err(KeySetError::Count(MAX_ANSWERED_KEYS + 1)));
        let other = KeySet::usable(set(&[good]).as_bytes(), &[Algorithm::RS256]);
        assert_eq!(other.map(|_| ()), Err(KeySetError::Count(0)));
        for text in ["", "<html>", "[]", "{}", "{\"keys\":{}}"] {
            let read = KeySet::usable(text.as_bytes(), &[Algorithm::EdDSA]);
            assert_eq!(read.map(|_| ()), Err(KeySetError::Form), "{text}");
        }
    }
}
