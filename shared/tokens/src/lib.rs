//! Bearer tokens: EdDSA JWTs for shoppers and operators.
//!
//! Whoever calls the API shows a JWT (RFC 7519) signed with Ed25519 (RFC 8037). Shoppers and operators have keys *and*
//! audiences of their own, so that neither a shopper's key nor a mistaken audience can ever make an operator.
//!
//! A function holds only a [`VerifyingKey`]; a [`SigningKey`] exists where people sign in and in the tools that run a
//! drop on one machine. The moment of the check is a parameter, since nothing here reads a clock.
//!
//! The JWT format is `jsonwebtoken`'s work and the signature `ring`'s (already in the graph for TLS); this crate joins
//! the two and fixes what is accepted: one algorithm, one issuer, one audience per key.
//!
//! It does not revoke: tokens are short-lived instead.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod ed25519;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::KeyPair as _;
use serde::{Deserialize, Serialize};

/// The `iss` of every token.
pub const ISSUER: &str = "stampede";

/// The longest token that is looked at, in bytes; anything longer is refused unread.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// How far the clocks of signer and verifier may differ, in seconds.
pub const LEEWAY_SECONDS: i64 = 2;

/// Whom a token is for. Each audience has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Shoppers: the subject is a shopper id.
    Shopper,
    /// The shop's operators: the subject is a name for the audit trail.
    Operator,
}

impl Audience {
    /// The `aud` claim.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shopper => "stampede-shopper",
            Self::Operator => "stampede-operator",
        }
    }
}

/// The claims of a token, all of them required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Always [`ISSUER`].
    pub iss: String,
    /// [`Audience::as_str`].
    pub aud: String,
    /// Who: a shopper id or an operator's name.
    pub sub: String,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// From when on it is worthless, in seconds since 1970.
    pub exp: i64,
}

/// Why a token was refused. Callers outside learn only *that* it was; the variant is for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT of ours: wrong form, algorithm, issuer, audience or signature, or over the size limit.
    #[error("the token is not one of ours")]
    Invalid,
    /// It was one, until it expired.
    #[error("the token has expired")]
    Expired,
    /// Its time of issue lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// A key could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key in the expected encoding")]
pub struct KeyError;

/// Checks tokens of one audience. Cheap to share; holds no secret.
#[derive(Clone)]
pub struct VerifyingKey {
    key: DecodingKey,
    validation: Validation,
}

impl VerifyingKey {
    /// A key from the base64url (without padding) of its 32 bytes: the member `x` of a JWK (RFC 8037, section 2).
    ///
    /// # Errors
    /// When the text is not 32 bytes in that encoding.
    pub fn from_encoded(x: &str, audience: Audience) -> Result<Self, KeyError> {
        ed25519::install();
        let bytes = BASE64URL_NOPAD
            .decode(x.trim().as_bytes())
            .map_err(|_| KeyError)?;
        if bytes.len() != 32 {
            return Err(KeyError);
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[audience.as_str()]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // Expiry is checked below against the caller's clock.
        validation.validate_exp = false;
        Ok(Self {
            key: DecodingKey::from_ed_der(&bytes),
            validation,
        })
    }

    /// The claims of `token`, if it is genuine, for this audience and valid at `now_s` (seconds since 1970).
    ///
    /// # Errors
    /// [`TokenError`] says why not.
    pub fn verify(&self, token: &str, now_s: i64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if claims.exp.saturating_add(LEEWAY_SECONDS) <= now_s {
            return Err(TokenError::Expired);
        }
        if claims.iat > now_s.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenError::NotYetValid);
        }
        Ok(claims)
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("audience", &self.validation.aud)
            .finish_non_exhaustive()
    }
}

/// Signs tokens. Never printed.
pub struct SigningKey {
    pkcs8: Vec<u8>,
    key: EncodingKey,
    public: String,
}

impl SigningKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, KeyError> {
        let pkcs8 = ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new())
            .map_err(|_| KeyError)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// A key from [`SigningKey::to_encoded`].
    ///
    /// # Errors
    /// When the text is not the base64url (without padding) of a PKCS#8 Ed25519 key.
    pub fn from_encoded(text: &str) -> Result<Self, KeyError> {
        Self::from_pkcs8(
            &BASE64URL_NOPAD
                .decode(text.trim().as_bytes())
                .map_err(|_| KeyError)?,
        )
    }

    /// The key as base64url (without padding) of its PKCS#8 form. A secret: store it readable by its owner only.
    #[must_use]
    pub fn to_encoded(&self) -> String {
        BASE64URL_NOPAD.encode(&self.pkcs8)
    }

    /// The public half, as [`VerifyingKey::from_encoded`] takes it.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public
    }

    /// A token for `sub`, valid from `issued_at_s` until before `expires_at_s` (seconds since 1970).
    ///
    /// # Errors
    /// When the claims cannot be signed, which a well-formed key never causes.
    pub fn sign(
        &self,
        audience: Audience,
        sub: &str,
        issued_at_s: i64,
        expires_at_s: i64,
    ) -> Result<String, KeyError> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: audience.as_str().to_owned(),
            sub: sub.to_owned(),
            iat: issued_at_s,
            exp: expires_at_s,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.key).map_err(|_| KeyError)
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        ed25519::install();
        let pair =
            ring::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| KeyError)?;
        Ok(Self {
            pkcs8: pkcs8.to_vec(),
            key: EncodingKey::from_ed_der(pkcs8),
            public: BASE64URL_NOPAD.encode(pair.public_key().as_ref()),
        })
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000;

    fn pair(audience: Audience) -> (SigningKey, VerifyingKey) {
        let signing = SigningKey::generate().unwrap();
        let verifying = VerifyingKey::from_encoded(signing.public_key(), audience).unwrap();
        (signing, verifying)
    }

    #[test]
    fn a_signed_token_verifies_until_it_expires() {
        let (signing, verifying) = pair(Audience::Shopper);
        let token = signing.sign(Audience::Shopper, "ada", NOW, NOW + 60).unwrap();
        assert_eq!(verifying.verify(&token, NOW).unwrap().sub, "ada");
        assert_eq!(verifying.verify(&token, NOW + 61).unwrap().sub, "ada");
        assert_eq!(verifying.verify(&token, NOW + 62), Err(TokenError::Expired));
        assert_eq!(verifying.verify(&token, NOW - 3), Err(TokenError::NotYetValid));
    }

    #[test]
    fn another_key_or_audience_is_refused() {
        let (signing, verifying) = pair(Audience::Operator);
        let (other, _) = pair(Audience::Operator);
        let forged = other.sign(Audience::Operator, "eve", NOW, NOW + 60).unwrap();
        assert_eq!(verifying.verify(&forged, NOW), Err(TokenError::Invalid));
        let shopper = signing.sign(Audience::Shopper, "eve", NOW, NOW + 60).unwrap();
        assert_eq!(verifying.verify(&shopper, NOW), Err(TokenError::Invalid));
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        let (_, verifying) = pair(Audience::Shopper);
        let part = |v: serde_json::Value| BASE64URL_NOPAD.encode(v.to_string().as_bytes());
        let claims =
            serde_json::json!({"iss":"stampede","aud":"stampede-shopper","sub":"eve","iat":NOW,"exp":NOW+60});
        for alg in ["none", "None", "HS256", "EdDSA"] {
            let token = format!(
                "{}.{}.",
                part(serde_json::json!({"alg":alg,"typ":"JWT"})),
                part(claims.clone())
            );
            assert_eq!(verifying.verify(&token, NOW), Err(TokenError::Invalid), "{alg}");
        }
    }

    #[test]
    fn keys_survive_their_encoding() {
        let (signing, verifying) = pair(Audience::Shopper);
        let again = SigningKey::from_encoded(&signing.to_encoded()).unwrap();
        let token = again.sign(Audience::Shopper, "ada", NOW, NOW + 60).unwrap();
        assert!(verifying.verify(&token, NOW).is_ok());
        assert!(!format!("{signing:?}").contains(&signing.to_encoded()));
        assert!(VerifyingKey::from_encoded("AAAA", Audience::Shopper).is_err());
        assert!(SigningKey::from_encoded("AAAA").is_err());
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_refused(at in 0usize..200, with in "[A-Za-z0-9_.-]") {
            let (signing, verifying) = pair(Audience::Shopper);
            let token = signing.sign(Audience::Shopper, "ada", NOW, NOW + 60).unwrap();
            let at = at % token.len();
            // The last character of the signature carries four unused bits; every other one counts.
            prop_assume!(at + 1 < token.len() && token[at..=at] != with);
            let changed = format!("{}{}{}", &token[..at], with, &token[at + 1..]);
            prop_assert!(verifying.verify(&changed, NOW).is_err());
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,300}") {
            let (_, verifying) = pair(Audience::Shopper);
            prop_assert!(verifying.verify(&text, NOW).is_err());
        }
    }
}
