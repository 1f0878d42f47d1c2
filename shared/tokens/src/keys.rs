//! Public keys by `kid`, read from a JWK Set.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::SigningKey;

/// The most keys of a set: two are needed to rotate one, and a rotation may begin before the former one has ended.
pub const MAX_KEYS: usize = 4;

/// The longest `kid`, in bytes.
pub const MAX_KID_BYTES: usize = 64;

/// What is wrong with a key set. It names a key by its `kid`, or by its place from 0 where it has none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// The text is not a JWK Set.
    #[error("not a JWK Set in JSON")]
    Form,
    /// Too few or too many keys.
    #[error("{0} keys; 1 to {MAX_KEYS} are possible")]
    Count(usize),
    /// The `kid` of the key at this place is missing or of another form.
    #[error("key {0} has no `kid` of 1 to {MAX_KID_BYTES} characters of A-Z, a-z, 0-9, `.`, `_` and `-`")]
    Kid(usize),
    /// Two keys have this `kid`.
    #[error("two keys have the `kid` {0}")]
    Twice(String),
    /// The key is of another type, or its `x` is not the base64url of 32 bytes.
    #[error("the key {0} is not an Ed25519 key (RFC 8037)")]
    NotEd25519(String),
    /// The key holds its private half, which no verifier may have.
    #[error("the key {0} has the private member `d`")]
    Private(String),
}

/// 1 to [`MAX_KEYS`] public Ed25519 keys, each with a `kid` of its own.
#[derive(Clone)]
pub struct KeySet(Vec<PublicKey>);

#[derive(Clone)]
struct PublicKey {
    kid: String,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    d: Option<IgnoredAny>,
    #[serde(flatten)]
    jwk: Jwk,
}

impl KeySet {
    /// The keys of a JWK Set (RFC 7517, section 5): `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"…","x":"…"}]}`.
    ///
    /// # Errors
    /// [`KeySetError`]: the set has to be right as a whole.
    pub fn parse(json: &str) -> Result<Self, KeySetError> {
        let set: Set = serde_json::from_str(json).map_err(|_| KeySetError::Form)?;
        let members = set.keys.into_iter().enumerate();
        let keys = members.map(|(at, member)| public_key(at, member));
        Self::checked(keys.collect::<Result<_, _>>()?)
    }

    /// The public halves of `keys`.
    ///
    /// # Errors
    /// [`KeySetError::Count`], [`KeySetError::Twice`].
    pub fn of(keys: &[&SigningKey]) -> Result<Self, KeySetError> {
        let public = |key: &&SigningKey| PublicKey {
            kid: key.kid().to_owned(),
            key: DecodingKey::from_ed_der(key.public_key()),
        };
        Self::checked(keys.iter().map(public).collect())
    }

    /// The set as [`KeySet::parse`] takes it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let member = |key: &PublicKey| {
            let x = key.key.try_get_as_bytes().unwrap_or_default();
            serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": key.kid, "x": BASE64URL_NOPAD.encode(x)})
        };
        let members: Vec<_> = self.0.iter().map(member).collect();
        serde_json::json!({ "keys": members }).to_string()
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&DecodingKey> {
        self.0.iter().find(|key| key.kid == kid).map(|key| &key.key)
    }

    pub(crate) fn kids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.kid.as_str())
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
        f.debug_list().entries(self.kids()).finish()
    }
}

/// Whether a text can be a `kid` here.
pub(crate) fn is_kid(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_KID_BYTES).contains(&text.len()) && text.bytes().all(allowed)
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
    let x = match &algorithm {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Some(&pair.x),
        _ => None,
    };
    let bytes = x.and_then(|x| BASE64URL_NOPAD.decode(x.as_bytes()).ok());
    match bytes.filter(|bytes| bytes.len() == 32) {
        Some(bytes) => Ok(PublicKey {
            kid,
            key: DecodingKey::from_ed_der(&bytes),
        }),
        None => Err(KeySetError::NotEd25519(kid)),
    }
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
        assert_eq!(read.kids().count(), 2);
        let again = KeySet::parse(&read.to_json()).unwrap();
        assert_eq!(again.to_json(), read.to_json());
        assert!(again.find("2026-11-a").is_some() && again.find("2026-11").is_none());
        // What others add about a key is no fault.
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
        let five: Vec<String> = (0..5).map(|n| jwk(&n.to_string())).collect();
        assert_eq!(refused(&set(&five)), KeySetError::Count(5));
        assert!(KeySet::parse(&set(&five[..4])).is_ok());
        for kid in ["", "a b", "a/b", "schlüssel", &"k".repeat(MAX_KID_BYTES + 1)] {
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
            let named = matches!(&error, KeySetError::Form | KeySetError::NotEd25519(_));
            assert!(named, "{other}: {error}");
        }
        let private = jwk("a").replace("\"x\"", "\"d\":\"secret\",\"x\"");
        let error = refused(&set(&[private]));
        assert_eq!(error, KeySetError::Private("a".to_owned()));
        assert!(!error.to_string().contains("secret"));
    }
}
