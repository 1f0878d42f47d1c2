//! Holds the private keys that sign the project's own tokens.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::text::is_kid;
use crate::{Audience, ISSUER, provider};

/// A key could not be made or parsed, or a token could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key in the expected encoding")]
pub struct KeyError;

/// Signs tokens and puts its `kid` into their header. The private half is never printed.
pub struct SigningKey {
    kid: String,
    pub(crate) key: EncodingKey,
    public: Vec<u8>,
}

/// A private key as a JWK (RFC 8037, section 2).
#[derive(Serialize, Deserialize)]
struct PrivateJwk {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    d: String,
}

impl SigningKey {
    /// Generates a key called `kid` from the system's randomness.
    ///
    /// # Errors
    /// When `kid` is not valid for [`crate::KeySet`], or the system returns no randomness.
    pub fn generate(kid: &str) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError)?;
        Self::new(kid, &seed, &pair)
    }

    /// Parses a key from [`SigningKey::to_jwk`].
    ///
    /// # Errors
    /// When the text is not a private Ed25519 JWK with a `kid`, or `x` is not the public half of `d`.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        let jwk: PrivateJwk = serde_json::from_str(json).map_err(|_| KeyError)?;
        if (jwk.kty.as_str(), jwk.crv.as_str()) != ("OKP", "Ed25519") {
            return Err(KeyError);
        }
        let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| KeyError);
        let (seed, public) = (bytes(&jwk.d)?, bytes(&jwk.x)?);
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &public).map_err(|_| KeyError)?;
        Self::new(&jwk.kid, &seed, &pair)
    }

    /// The key as a private JWK: `{"kty":"OKP","crv":"Ed25519","kid":…,"x":…,"d":…}`. It is a secret: store it readable
    /// by its owner only.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which never happens with a valid key.
    pub fn to_jwk(&self) -> Result<String, KeyError> {
        let jwk = PrivateJwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            kid: self.kid.clone(),
            x: BASE64URL_NOPAD.encode(&self.public),
            d: BASE64URL_NOPAD.encode(self.key.as_bytes()),
        };
        serde_json::to_string(&jwk).map_err(|_| KeyError)
    }

    /// The key's `kid` in its tokens' header.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The 32 bytes of the public half.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// A token for `sub`, valid from `issued_at_s` until before `expires_at_s` (seconds since 1970).
    ///
    /// # Errors
    /// When the claims cannot be signed, which never happens with a valid key.
    pub fn sign(
        &self,
        audience: Audience,
        sub: &str,
        issued_at_s: i64,
        expires_at_s: i64,
    ) -> Result<String, KeyError> {
        self.sign_claims(&json!({
            "iss": ISSUER, "aud": audience.as_str(), "sub": sub, "iat": issued_at_s, "exp": expires_at_s,
        }))
    }

    /// A token with arbitrary claims, such as the claims of another issuer.
    ///
    /// # Errors
    /// See [`SigningKey::sign`].
    pub fn sign_claims(&self, claims: &serde_json::Value) -> Result<String, KeyError> {
        let header = Header {
            kid: Some(self.kid.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| KeyError)
    }

    fn new(kid: &str, seed: &[u8], pair: &Ed25519KeyPair) -> Result<Self, KeyError> {
        provider::install();
        if !is_kid(kid) {
            return Err(KeyError);
        }
        Ok(Self {
            kid: kid.to_owned(),
            key: EncodingKey::from_ed_der(seed),
            public: pair.public_key().as_ref().to_vec(),
        })
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_encoding_and_are_not_printed() {
        let key = SigningKey::generate("2026-11-a").unwrap();
        let jwk = key.to_jwk().unwrap();
        let again = SigningKey::from_jwk(&jwk).unwrap();
        assert_eq!(again.kid(), "2026-11-a");
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.to_jwk().unwrap(), jwk);
        let secret = BASE64URL_NOPAD.encode(key.key.as_bytes());
        assert!(jwk.contains(&secret) && !format!("{key:?}").contains(&secret));
    }

    #[test]
    fn another_text_is_no_key() {
        let (one, other) = (
            SigningKey::generate("a").unwrap(),
            SigningKey::generate("a").unwrap(),
        );
        let jwk = one.to_jwk().unwrap();
        let x = |key: &SigningKey| BASE64URL_NOPAD.encode(key.public_key());
        for text in [
            String::new(),
            "AAAA".to_owned(),
            jwk.replace("Ed25519", "X25519"),
            jwk.replace("\"a\"", "\"a b\""),
            jwk.replace("\"d\"", "\"e\""),
            jwk.replace(&x(&one), &x(&other)),
        ] {
            assert!(SigningKey::from_jwk(&text).is_err(), "{text}");
        }
        assert!(SigningKey::generate("").is_err());
    }
}
