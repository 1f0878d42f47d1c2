//! Bearer tokens: EdDSA JWTs for shoppers, operators and the deployer.
//!
//! Whoever calls the API shows a JWT (RFC 7519) signed with Ed25519 (RFC 8037). Its header names the key by `kid`. Shoppers and
//! operators have keys *and* audiences of their own, so that neither a shopper's key nor a mistaken audience can ever make
//! an operator.
//!
//! A function holds a [`Verifier`]: a few public keys by `kid` ([`KeySet`]). Several are there at once so that a key is
//! replaced without an outage: the new public key is added, then signing moves to it, then the old one is removed. A
//! [`SigningKey`] exists where people sign in and in the tools that run a drop on one machine. The moment of the check is a
//! parameter, since nothing here reads a clock.
//!
//! The deployer has keys of its own. Its tokens may carry either audience, live five minutes at most, and yield an
//! [`Identity`] of the scope [`Scope::UnlistedOnly`]. Their subjects begin with [`SMOKE_PREFIX`] and no other token's do, so
//! that the deployer is nobody else and sees nobody else's orders.
//!
//! The JWT format is `jsonwebtoken`'s work and the signature `ring`'s (already in the graph for TLS); this crate joins
//! the two and fixes what is accepted: one algorithm, one issuer, one audience for each verifier.
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
mod keys;
mod signing;

use jsonwebtoken::{Algorithm, Validation};
use serde::{Deserialize, Serialize};

pub use keys::{KeySet, KeySetError, MAX_KEYS, MAX_KID_BYTES};
pub use signing::{KeyError, SigningKey};

/// The `iss` of every token.
pub const ISSUER: &str = "stampede";

/// The longest token that is looked at, in bytes; anything longer is refused unread.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// How far the clocks of signer and verifier may differ, in seconds.
pub const LEEWAY_SECONDS: i64 = 2;

/// How long a deployer's token may be valid in all (`exp` less `iat`), in seconds.
pub const MAX_DEPLOYER_SECONDS: i64 = 300;

/// With what the subject of each of the deployer's tokens begins, and no other's.
pub const SMOKE_PREFIX: &str = "smoke-";

/// Whom a token is for. Each audience has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Shoppers: the subject is whoever signed in.
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
    /// Who: a shopper, by a name of any form, or an operator.
    pub sub: String,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// From when on it is worthless, in seconds since 1970.
    pub exp: i64,
}

/// Which drops a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Any,
    /// Those that no list shows: the deployer's smoke test.
    UnlistedOnly,
}

impl Scope {
    /// Whether it covers a drop that is `listed`, or is not.
    #[must_use]
    pub const fn covers(self, listed: bool) -> bool {
        match self {
            Self::Any => true,
            Self::UnlistedOnly => !listed,
        }
    }
}

/// Who a verified token says is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What the token says.
    pub claims: Claims,
    /// Which drops it is good for; follows from the key that signed it.
    pub scope: Scope,
}

/// Why a token was refused. Callers outside learn only *that* it was; the variant is for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT of ours: wrong form, algorithm, issuer, audience or signature, or over the size limit.
    #[error("the token is not one of ours")]
    Invalid,
    /// Its header names no key, or one that is not (or no longer) in the set.
    #[error("the token names no key that is known here")]
    UnknownKey,
    /// It was one, until it expired.
    #[error("the token has expired")]
    Expired,
    /// Its time of issue lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A deployer's that is valid for more than [`MAX_DEPLOYER_SECONDS`].
    #[error("the deployer's token is valid for too long")]
    TooLong,
    /// A deployer's whose subject does not begin with [`SMOKE_PREFIX`], or another's whose subject does.
    #[error("the token's subject is not one that its key may name")]
    Subject,
}

/// Checks tokens of one audience. Cheap to share; holds no secret.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: KeySet,
    deployers: Option<KeySet>,
    validation: Validation,
}

impl Verifier {
    /// Takes tokens for `audience` that one of `keys` signed.
    #[must_use]
    pub fn new(audience: Audience, keys: KeySet) -> Self {
        ed25519::install();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[audience.as_str()]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // Expiry is checked below against the caller's clock.
        validation.validate_exp = false;
        Self {
            keys,
            deployers: None,
            validation,
        }
    }

    /// Takes the deployer's tokens too, which one of `deployers` signed.
    ///
    /// # Errors
    /// [`KeySetError::Twice`] when a `kid` of theirs is one of the audience's own: a `kid` names one key.
    pub fn with_deployers(self, deployers: KeySet) -> Result<Self, KeySetError> {
        let twice = deployers.kids().find(|kid| self.keys.find(kid).is_some());
        if let Some(kid) = twice {
            return Err(KeySetError::Twice(kid.to_owned()));
        }
        Ok(Self {
            deployers: Some(deployers),
            ..self
        })
    }

    /// Who `token` says is asking, if it is genuine, for this audience and valid at `now_s` (seconds since 1970). At most one
    /// signature is checked, however many keys there are: that of the key that the header names.
    ///
    /// # Errors
    /// [`TokenError`] says why not.
    pub fn verify(&self, token: &str, now_s: i64) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let kid = header.kid.ok_or(TokenError::UnknownKey)?;
        let own = self.keys.find(&kid).map(|key| (key, Scope::Any));
        let deployers = || Some((self.deployers.as_ref()?.find(&kid)?, Scope::UnlistedOnly));
        let (key, scope) = own.or_else(deployers).ok_or(TokenError::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if claims.exp.saturating_add(LEEWAY_SECONDS) <= now_s {
            return Err(TokenError::Expired);
        }
        if claims.iat > now_s.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenError::NotYetValid);
        }
        let is_deployers = scope == Scope::UnlistedOnly;
        if is_deployers && claims.exp.saturating_sub(claims.iat) > MAX_DEPLOYER_SECONDS {
            return Err(TokenError::TooLong);
        }
        if claims.sub.starts_with(SMOKE_PREFIX) != is_deployers {
            return Err(TokenError::Subject);
        }
        Ok(Identity { claims, scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64URL_NOPAD;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000;

    fn key(kid: &str) -> SigningKey {
        SigningKey::generate(kid).unwrap()
    }

    fn verifier(audience: Audience, keys: &[&SigningKey]) -> Verifier {
        Verifier::new(audience, KeySet::of(keys).unwrap())
    }

    fn pair(audience: Audience) -> (SigningKey, Verifier) {
        let signing = key("a");
        let verifying = verifier(audience, &[&signing]);
        (signing, verifying)
    }

    fn shopper(key: &SigningKey) -> String {
        key.sign(Audience::Shopper, "ada", NOW, NOW + 60).unwrap()
    }

    #[test]
    fn a_signed_token_verifies_until_it_expires() {
        let (signing, verifying) = pair(Audience::Shopper);
        let token = shopper(&signing);
        let identity = verifying.verify(&token, NOW).unwrap();
        assert_eq!(
            (identity.claims.sub.as_str(), identity.scope),
            ("ada", Scope::Any)
        );
        assert!(verifying.verify(&token, NOW + 61).is_ok());
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
    fn a_key_is_replaced_without_an_outage() {
        let (old, new) = (key("2026-11-a"), key("2026-12-a"));
        let before = verifier(Audience::Shopper, &[&old]);
        let between = verifier(Audience::Shopper, &[&old, &new]);
        let after = verifier(Audience::Shopper, &[&new]);
        let verify = |verifier: &Verifier, key| verifier.verify(&shopper(key), NOW).map(|_| ());
        let unknown = Err(TokenError::UnknownKey);
        assert_eq!((verify(&before, &old), verify(&before, &new)), (Ok(()), unknown));
        assert_eq!((verify(&between, &old), verify(&between, &new)), (Ok(()), Ok(())));
        assert_eq!((verify(&after, &old), verify(&after, &new)), (unknown, Ok(())));
    }

    #[test]
    fn a_token_is_checked_by_the_key_that_it_names_and_no_other() {
        let (one, other) = (key("a"), key("b"));
        let both = verifier(Audience::Shopper, &[&one, &other]);
        // A stranger's signature and the other key's, each under the first one's name.
        for impostor in [key("b"), other] {
            let jwk = impostor.to_jwk().unwrap().replace("\"b\"", "\"a\"");
            let impostor = SigningKey::from_jwk(&jwk).unwrap();
            assert_eq!(both.verify(&shopper(&impostor), NOW), Err(TokenError::Invalid));
        }
        assert!(both.verify(&shopper(&one), NOW).is_ok());
    }

    #[test]
    fn a_token_that_names_no_key_is_refused() {
        let (signing, verifying) = pair(Audience::Shopper);
        let claims = shopper(&signing).split('.').nth(1).unwrap().to_owned();
        for (kid, error) in [
            ("", TokenError::UnknownKey),
            (r#","kid":null"#, TokenError::UnknownKey),
            (r#","kid":"""#, TokenError::UnknownKey),
            (r#","kid":"A""#, TokenError::UnknownKey),
            (r#","kid":["a"]"#, TokenError::Invalid),
        ] {
            let head = format!(r#"{{"alg":"EdDSA"{kid}}}"#);
            let text = format!("{}.{claims}", BASE64URL_NOPAD.encode(head.as_bytes()));
            let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &signing.key, Algorithm::EdDSA);
            let token = format!("{text}.{}", signature.unwrap());
            assert_eq!(verifying.verify(&token, NOW), Err(error), "{head}");
        }
    }

    #[test]
    fn a_deployers_token_is_short_has_the_prefix_and_is_for_unlisted_drops() {
        let (own, deployer) = (key("a"), key("deployer-a"));
        for audience in [Audience::Shopper, Audience::Operator] {
            let without = verifier(audience, &[&own]);
            let deployers = KeySet::of(&[&deployer]).unwrap();
            let with = without.clone().with_deployers(deployers).unwrap();
            let token = |key: &SigningKey, sub: &str, life| key.sign(audience, sub, NOW, NOW + life).unwrap();
            let verify = |token: &str| with.verify(token, NOW).map(|identity| identity.scope);
            let good = token(&deployer, "smoke-1", MAX_DEPLOYER_SECONDS);
            assert_eq!(verify(&good), Ok(Scope::UnlistedOnly));
            assert_eq!(without.verify(&good, NOW), Err(TokenError::UnknownKey));
            let long = token(&deployer, "smoke-1", MAX_DEPLOYER_SECONDS + 1);
            assert_eq!(verify(&long), Err(TokenError::TooLong));
            let ages_old = deployer.sign(audience, "smoke-1", i64::MIN, NOW + 1).unwrap();
            assert_eq!(verify(&ages_old), Err(TokenError::TooLong));
            assert_eq!(verify(&token(&deployer, "ada", 60)), Err(TokenError::Subject));
            assert_eq!(verify(&token(&own, "smoke-1", 60)), Err(TokenError::Subject));
            assert_eq!(verify(&token(&own, "ada", 3_600)), Ok(Scope::Any));
            let twice = without.with_deployers(KeySet::of(&[&key("a")]).unwrap());
            assert_eq!(twice.unwrap_err(), KeySetError::Twice("a".to_owned()));
        }
        let covered =
            [Scope::Any, Scope::UnlistedOnly].map(|scope| [scope.covers(true), scope.covers(false)]);
        assert_eq!(covered, [[true, true], [false, true]]);
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
                part(serde_json::json!({"alg":alg,"typ":"JWT","kid":"a"})),
                part(claims.clone())
            );
            assert_eq!(verifying.verify(&token, NOW), Err(TokenError::Invalid), "{alg}");
        }
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
