//! Signs and verifies bearer tokens: JWTs of any OpenID Connect issuer for shoppers and operators, of the project's own
//! issuer, and of the deployer.
//!
//! A caller of the API sends a JWT (RFC 7519). Its claims name the issuer, and its header names the key by `kid`.
//! Shoppers and operators have separate lists of issuers ([`Issuers`]). No issuer and audience may be in both, so that
//! no token is valid for a shopper and for an operator. An operator's token of another issuer than the project's own
//! also needs a role.
//!
//! A function uses a [`Verifier`], made of the [`Published`] document: public keys by issuer and `kid`. Several keys
//! are valid at the same time, so that a key is replaced without an outage: the new public key is added, then tokens
//! are signed with it, then the old key is removed. Only the sign-in at the project's own issuer and the local tools
//! have a [`SigningKey`]. The time of the check is a parameter, since this crate does not read a clock.
//!
//! The type of a key determines its one algorithm. A token that names another algorithm, or `none`, is refused whatever
//! its signature. An issuer's entry lists its algorithms, and an entry with a key of another algorithm is refused as a
//! whole.
//!
//! The deployer has its own keys. Its tokens may have either audience, live five minutes at most, and yield an
//! [`Identity`] of the scope [`Scope::UnlistedOnly`]. Their subjects begin with [`SMOKE_PREFIX`] and no other token's
//! do, so that the deployer cannot act as another user or see another user's orders.
//!
//! `jsonwebtoken` handles the JWT format and `ring` the signatures (`ring` is already linked for TLS). This crate joins
//! the two and restricts what is accepted.
//!
//! Tokens cannot be revoked. They are short-lived instead; each issuer's entry sets the limit.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod issuers;
mod keys;
#[cfg(test)]
mod outside;
mod provider;
mod published;
mod signing;
mod text;

use jsonwebtoken::dangerous::{insecure_decode, insecure_decode_claims};
use jsonwebtoken::{Header, TokenData};
use serde::Deserialize;
use serde_json::Value;

use issuers::Issuer;
pub use issuers::{
    FORM, Issuers, IssuersError, MAX_AUDIENCES, MAX_ISSUERS, MAX_LIFE_SECONDS, MAX_NAME_BYTES, MAX_URI_BYTES,
    OWN_LIFE_SECONDS,
};
use keys::PublicKey;
pub use keys::{Algorithm, KeySet, KeySetError, MAX_ANSWERED_KEYS, MAX_KEYS};
pub use published::{KEPT_SECONDS, Merged, NOTED_SECONDS, Published};
pub use signing::{KeyError, SigningKey};
pub use text::MAX_KID_BYTES;

/// The `iss` of the project's own tokens.
pub const ISSUER: &str = "stampede";

/// The longest accepted token, in bytes; a longer token is refused without parsing. Tokens of issuers that list groups
/// and scopes have several KB.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The longest subject, in bytes (OpenID Connect Core 1.0, section 2).
pub const MAX_SUBJECT_BYTES: usize = 255;

/// How far `iat` and `nbf` may be ahead of the verifier's clock, in seconds: clocks differ, and a token is used
/// immediately after it is issued.
pub const LEEWAY_SECONDS: i64 = 60;

/// How long a token is accepted after `exp`, in seconds. Only the difference of clocks is allowed: clients renew a
/// token before it ends, and an account that the issuer has revoked should lose access here too.
pub const EXPIRY_LEEWAY_SECONDS: i64 = 2;

/// The longest lifetime of a deployer's token (`exp` less `iat`), in seconds.
pub const MAX_DEPLOYER_SECONDS: i64 = 300;

/// The prefix of the subject of every deployer's token, and of no other token's.
pub const SMOKE_PREFIX: &str = "smoke-";

/// The audience of a token. Each audience has its own issuers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Shoppers: the subject is the signed-in user.
    Shopper,
    /// The shop's operators: the subject is the name in the audit trail.
    Operator,
}

impl Audience {
    /// The `aud` claim of the project's own tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shopper => "stampede-shopper",
            Self::Operator => "stampede-operator",
        }
    }
}

/// The claims of a verified token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The issuer's name, one of the verifier's list.
    pub iss: String,
    /// The subject: 1 to [`MAX_SUBJECT_BYTES`] bytes in the issuer's format.
    pub sub: String,
    /// The time of issue, in seconds since 1970.
    pub iat: i64,
    /// The end of validity, in seconds since 1970.
    pub exp: i64,
}

/// The claims that the check reads. All other claims are ignored.
#[derive(Deserialize)]
struct Received {
    iss: String,
    sub: String,
    iat: Seconds,
    exp: Seconds,
    nbf: Option<Seconds>,
    aud: Option<Texts>,
    client_id: Option<String>,
    token_use: Option<String>,
}

/// Seconds since 1970 without their fraction (RFC 7519, section 2: a `NumericDate` may have one).
#[derive(Clone, Copy)]
struct Seconds(i64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Number {
            Whole(i64),
            Fraction(f64),
        }
        match Number::deserialize(deserializer)? {
            Number::Whole(seconds) => Ok(Self(seconds)),
            // `floor` rounds a time before 1970 to the earlier second, too.
            #[allow(clippy::cast_possible_truncation, reason = "the cast saturates")]
            Number::Fraction(seconds) => Ok(Self(seconds.floor() as i64)),
        }
    }
}

/// One text, or a list of them (RFC 7519, section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Received {
    /// Whether the token is for one of the issuer's audiences. Amazon Cognito's access tokens have no `aud`; their
    /// `client_id` is used instead.
    fn is_for(&self, issuer: &Issuer) -> bool {
        let is_ours = |audience: &String| issuer.audiences.contains(audience);
        match (&self.aud, &self.client_id) {
            (Some(Texts::One(audience)), _) => is_ours(audience),
            (Some(Texts::Many(audiences)), _) => audiences.iter().any(is_ours),
            (None, Some(client)) => self.token_use.as_deref() == Some("access") && is_ours(client),
            (None, None) => false,
        }
    }
}

/// The drops that a token is valid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All drops.
    Any,
    /// Unlisted drops only: the deployer's smoke test.
    UnlistedOnly,
}

impl Scope {
    /// Whether the scope covers a drop that is `listed` or not.
    #[must_use]
    pub const fn covers(self, listed: bool) -> bool {
        match self {
            Self::Any => true,
            Self::UnlistedOnly => !listed,
        }
    }
}

/// The identity in a verified token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The token's claims.
    pub claims: Claims,
    /// The drops that the token is valid for. The key that signed it determines the scope.
    pub scope: Scope,
}

/// Why a token was refused. The answer to the caller says only *that* the token was refused; the variant is for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not an acceptable JWT: wrong format, algorithm, audience or signature, or over the size limit.
    #[error("the token is not one for this audience, or its form or signature is wrong")]
    Invalid,
    /// The token's issuer is not in the list.
    #[error("the token's issuer is not known here")]
    UnknownIssuer,
    /// The token's header names no key.
    #[error("the token names no key")]
    NoKey,
    /// The token's header names a key that the issuer does not have, according to the known keys.
    #[error("the token names no key of its issuer that is known here")]
    UnknownKey,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token's `iat` or `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token's lifetime exceeds its issuer's limit, or a deployer's [`MAX_DEPLOYER_SECONDS`].
    #[error("the token is valid for too long")]
    TooLong,
    /// The subject is empty or too long, or it has [`SMOKE_PREFIX`] in a token that is not the deployer's, or lacks it
    /// in a deployer's token.
    #[error("the token's subject is not one that its key may name")]
    Subject,
    /// The token lacks the role that its issuer's entry requires.
    #[error("the token lacks the role that it needs here")]
    Role,
}

/// Checks tokens of one audience. A verifier is cheap to share and holds no secret.
#[derive(Clone, Debug)]
pub struct Verifier {
    audience: Audience,
    issuers: Issuers,
    deployers: Option<Issuer>,
}

impl Verifier {
    /// Accepts tokens of the project's own issuer for `audience` that one of `keys` signed.
    #[must_use]
    pub fn new(audience: Audience, keys: KeySet) -> Self {
        provider::install();
        Self {
            audience,
            issuers: Issuers::own(audience, keys),
            deployers: None,
        }
    }

    /// Accepts tokens for `audience` of any of `issuers`.
    ///
    /// # Errors
    /// [`IssuersError::NoRole`] when an operators' issuer other than the project's own has no role.
    pub fn of(audience: Audience, issuers: Issuers) -> Result<Self, IssuersError> {
        provider::install();
        if audience == Audience::Operator {
            issuers.name_operators()?;
        }
        Ok(Self {
            audience,
            issuers,
            deployers: None,
        })
    }

    /// Also accepts the deployer's tokens, which one of `deployers` signed.
    ///
    /// # Errors
    /// [`KeySetError::Twice`] when a key of the project's own issuer has the same `kid`: a `kid` must name one key.
    pub fn with_deployers(self, deployers: KeySet) -> Result<Self, KeySetError> {
        let own = self.issuers.find(ISSUER);
        let is_own = |kid: &str| own.is_some_and(|own| own.keys.find(kid).is_some());
        if let Some((kid, _)) = deployers.named().find(|(kid, _)| is_own(kid)) {
            return Err(KeySetError::Twice(kid.to_owned()));
        }
        let deployers = Issuer::own(self.audience, deployers, MAX_DEPLOYER_SECONDS);
        Ok(Self {
            deployers: Some(deployers),
            ..self
        })
    }

    /// The accepted issuers.
    #[must_use]
    pub const fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// The identity in `token`, if the token is genuine, for this audience and valid at `now_s` (seconds since 1970).
    /// At most one signature is checked, whatever the number of keys: with the key that issuer and header name.
    ///
    /// # Errors
    /// [`TokenError`] is the reason of a refusal.
    pub fn verify(&self, token: &str, now_s: i64) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        // Before the signature is checked, only issuer and `kid` are used, to find the key.
        let TokenData { header, claims } =
            insecure_decode::<Received>(token).map_err(|_| TokenError::Invalid)?;
        let kid = header.kid.as_deref().ok_or(TokenError::NoKey)?;
        let (issuer, key, scope) = self.find(&claims.iss, kid)?;
        if !is_plain(&header) || !is_signed(token, &header, key) || !claims.is_for(issuer) {
            return Err(TokenError::Invalid);
        }
        let (Seconds(iat), Seconds(exp)) = (claims.iat, claims.exp);
        if exp.saturating_add(EXPIRY_LEEWAY_SECONDS) <= now_s {
            return Err(TokenError::Expired);
        }
        let latest = claims.nbf.map_or(iat, |Seconds(nbf)| nbf.max(iat));
        if latest > now_s.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenError::NotYetValid);
        }
        if exp.saturating_sub(iat) > issuer.max_life_seconds {
            return Err(TokenError::TooLong);
        }
        let is_deployers = scope == Scope::UnlistedOnly;
        if !(1..=MAX_SUBJECT_BYTES).contains(&claims.sub.len())
            || claims.sub.starts_with(SMOKE_PREFIX) != is_deployers
        {
            return Err(TokenError::Subject);
        }
        if let Some(role) = &issuer.role {
            let all: Value = insecure_decode_claims(token).map_err(|_| TokenError::Invalid)?;
            if !role.is_in(&all) {
                return Err(TokenError::Role);
            }
        }
        let Received { iss, sub, .. } = claims;
        let claims = Claims { iss, sub, iat, exp };
        Ok(Identity { claims, scope })
    }

    /// The issuer called `name`, its key called `kid`, and the scope of that key's tokens.
    fn find<'a>(&'a self, name: &str, kid: &str) -> Result<(&'a Issuer, &'a PublicKey, Scope), TokenError> {
        let own = self.issuers.find(name);
        let deployers = self.deployers.as_ref().filter(|one| one.name == name);
        if own.is_none() && deployers.is_none() {
            return Err(TokenError::UnknownIssuer);
        }
        let found = [(own, Scope::Any), (deployers, Scope::UnlistedOnly)];
        let key = |(issuer, scope): (Option<&'a Issuer>, Scope)| {
            let issuer = issuer?;
            Some((issuer, issuer.keys.find(kid)?, scope))
        };
        found.into_iter().find_map(key).ok_or(TokenError::UnknownKey)
    }
}

/// Whether the header declares an ID token or an access token (`at+jwt`, RFC 9068) and requires no unknown extension
/// (RFC 7515, section 4.1.11). Issuers sign other statements about the same subject with the same keys.
fn is_plain(header: &Header) -> bool {
    let is_known = |typ: &String| {
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        ["jwt", "at+jwt"]
            .iter()
            .any(|known| typ.eq_ignore_ascii_case(known))
    };
    header.typ.as_ref().is_none_or(is_known) && header.crit.is_none()
}

/// Whether `key` signed the token, with the algorithm that both the header and the key name.
fn is_signed(token: &str, header: &Header, key: &PublicKey) -> bool {
    let algorithm = key.algorithm.in_jwt();
    let Some((message, signature)) = token.rsplit_once('.') else {
        return false;
    };
    let verified = || jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm);
    header.alg == algorithm && verified().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::Outside;
    use data_encoding::BASE64URL_NOPAD;
    use proptest::prelude::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;
    const LOGIN: &str = "https://login.example/";
    const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

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
        assert_eq!(identity.claims.sub.as_str(), "ada");
        assert_eq!(identity.scope, Scope::Any);
        assert!(verifying.verify(&token, NOW + 61).is_ok());
        assert_eq!(verifying.verify(&token, NOW + 62), Err(TokenError::Expired));
        assert!(verifying.verify(&token, NOW - 60).is_ok());
        assert_eq!(verifying.verify(&token, NOW - 61), Err(TokenError::NotYetValid));
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
        assert_eq!(verify(&before, &old), Ok(()));
        assert_eq!(verify(&before, &new), unknown);
        assert_eq!(verify(&between, &old), Ok(()));
        assert_eq!(verify(&between, &new), Ok(()));
        assert_eq!(verify(&after, &old), unknown);
        assert_eq!(verify(&after, &new), Ok(()));
    }

    #[test]
    fn a_token_is_checked_by_the_key_that_it_names_and_no_other() {
        let (one, other) = (key("a"), key("b"));
        let both = verifier(Audience::Shopper, &[&one, &other]);
        // An unknown key and the other key each sign a token under the first key's `kid`.
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
            ("", TokenError::NoKey),
            (r#","kid":null"#, TokenError::NoKey),
            (r#","kid":"""#, TokenError::UnknownKey),
            (r#","kid":"A""#, TokenError::UnknownKey),
            (r#","kid":["a"]"#, TokenError::Invalid),
        ] {
            let head = format!(r#"{{"alg":"EdDSA"{kid}}}"#);
            let text = format!("{}.{claims}", BASE64URL_NOPAD.encode(head.as_bytes()));
            let signature =
                jsonwebtoken::crypto::sign(text.as_bytes(), &signing.key, jsonwebtoken::Algorithm::EdDSA);
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

    /// A verifier of one outside issuer for shoppers, with the given keys.
    fn of_outside(keys: &[&Outside], algorithms: &[&str]) -> Result<Verifier, IssuersError> {
        let keys: Vec<_> = keys.iter().map(|key| &key.jwk).collect();
        let entry = json!({
            "issuer": LOGIN, "audiences": ["drops", "drops-app"], "algorithms": algorithms, "max_life_seconds": 3_600, "keys": keys,
        });
        let issuers = Issuers::parse(&json!({ "issuers": [entry] }).to_string())?;
        Verifier::of(Audience::Shopper, issuers)
    }

    fn claims(more: &Value) -> Value {
        let mut claims =
            json!({"iss": LOGIN, "aud": "drops", "sub": "auth0|1", "iat": NOW, "exp": NOW + 3_600});
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            }
        }
        claims
    }

    #[test]
    fn each_algorithm_verifies_with_its_own_key_and_with_no_other() {
        let keys = ALGORITHMS.map(|algorithm| Outside::new(algorithm, &format!("{algorithm:?}")));
        let all: Vec<&Outside> = keys.iter().collect();
        let verifier = of_outside(&all, &["RS256", "ES256", "EdDSA"]).unwrap();
        let verify = |token: &str| verifier.verify(token, NOW).map(|identity| identity.claims.sub);
        let claims = claims(&json!({}));
        for key in &keys {
            let own = key.alg();
            assert_eq!(
                verify(&key.token(own, &claims)),
                Ok("auth0|1".to_owned()),
                "{own}"
            );
            // The header names another algorithm, or another key, than the one that signed the token.
            for alg in [
                "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256", "HS512", "none",
                "None", "",
            ] {
                if alg != own {
                    assert_eq!(
                        verify(&key.token(alg, &claims)),
                        Err(TokenError::Invalid),
                        "{own} as {alg}"
                    );
                }
            }
            for other in keys.iter().filter(|other| other.alg() != own) {
                let head = json!({"alg": own, "kid": other.kid()});
                assert_eq!(verify(&key.sign(&head, &claims)), Err(TokenError::Invalid));
                let head = json!({"alg": other.alg(), "kid": other.kid()});
                assert_eq!(verify(&key.sign(&head, &claims)), Err(TokenError::Invalid));
            }
            // An unknown key has the same `kid` and type. RSA is skipped, since these tests have only one RSA key.
            if own != "RS256" {
                let stranger = Outside::new(key.algorithm, key.kid());
                assert_eq!(
                    verify(&stranger.token(own, &claims)),
                    Err(TokenError::Invalid),
                    "{own}"
                );
            }
        }
    }

    #[test]
    fn a_public_key_is_no_shared_secret() {
        let rsa = Outside::new(Algorithm::RS256, "a");
        let verifier = of_outside(&[&rsa], &["RS256"]).unwrap();
        let head = json!({"alg": "HS256", "kid": "a"});
        let n = BASE64URL_NOPAD
            .decode(rsa.jwk["n"].as_str().unwrap().as_bytes())
            .unwrap();
        for secret in [
            n.as_slice(),
            rsa.jwk["n"].as_str().unwrap().as_bytes(),
            rsa.jwk.to_string().as_bytes(),
        ] {
            let unsigned = outside::unsigned(&head, &claims(&json!({})));
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
            let tag = ring::hmac::sign(&key, unsigned.as_bytes());
            let token = format!("{unsigned}.{}", BASE64URL_NOPAD.encode(tag.as_ref()));
            assert_eq!(verifier.verify(&token, NOW), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn a_key_of_an_algorithm_that_the_issuer_does_not_list_stops_the_start() {
        for algorithm in ALGORITHMS {
            let key = Outside::new(algorithm, "a");
            for list in ["RS256", "ES256", "EdDSA"] {
                let refused = IssuersError::Algorithm {
                    issuer: LOGIN.to_owned(),
                    kid: "a".to_owned(),
                };
                let found = of_outside(&[&key], &[list]).map(|_| ());
                assert_eq!(found, if list == key.alg() { Ok(()) } else { Err(refused) });
            }
        }
    }

    #[test]
    fn keys_of_other_kinds_and_sizes_are_named() {
        let refused = |changes: &[(&str, Value)]| {
            let mut key = Outside::new(Algorithm::RS256, "a");
            for (name, value) in changes {
                key.jwk[*name] = value.clone();
            }
            of_outside(&[&key], &["RS256"]).map(|_| ()).unwrap_err()
        };
        let keys = |error| IssuersError::Keys(LOGIN.to_owned(), error);
        let type_of = keys(KeySetError::Type("a".to_owned()));
        let number = |bytes: usize, first: u8| {
            let mut number = vec![0xa5; bytes];
            number[0] = first;
            json!(BASE64URL_NOPAD.encode(&number))
        };
        for n in [
            number(128, 0x80),
            number(255, 0xff),
            number(256, 0x7f),
            number(257, 0),
            number(513, 1),
            json!(""),
        ] {
            assert_eq!(refused(&[("n", n.clone())]), type_of, "{n}");
        }
        for e in ["", "AA", "AQ", "Ag", "AAEAAQ", "AQAAAAE", "AQAA"] {
            assert_eq!(refused(&[("e", json!(e))]), type_of, "{e}");
        }
        let purpose = keys(KeySetError::Purpose("a".to_owned()));
        for (name, value) in [
            ("alg", "RS512"),
            ("alg", "PS256"),
            ("alg", "none"),
            ("alg", "HS256"),
            ("use", "enc"),
        ] {
            assert_eq!(refused(&[(name, json!(value))]), purpose, "{value}");
        }
        assert_eq!(
            refused(&[("d", json!("AQ"))]),
            keys(KeySetError::Private("a".to_owned()))
        );
        let secret = [("kty", json!("oct")), ("k", json!("c2VjcmV0"))];
        assert_eq!(refused(&secret), type_of);
        let mut large = Outside::new(Algorithm::RS256, "a");
        for n in [number(256, 0x80), number(512, 0xff), number(257, 1)] {
            large.jwk["n"] = n;
            assert!(of_outside(&[&large], &["RS256"]).is_ok());
        }
        let mut named = Outside::new(Algorithm::ES256, "a");
        named.jwk["alg"] = json!("ES256");
        named.jwk["use"] = json!("sig");
        assert!(of_outside(&[&named], &["ES256"]).is_ok());
        named.jwk["crv"] = json!("P-384");
        assert_eq!(
            of_outside(&[&named], &["ES256"]).map(|_| ()).unwrap_err(),
            type_of
        );
    }

    #[test]
    fn what_the_claims_have_to_say() {
        let key = Outside::new(Algorithm::ES256, "a");
        let verifier = of_outside(&[&key], &["ES256"]).unwrap();
        let verify = |more: Value| {
            verifier
                .verify(&key.token("ES256", &claims(&more)), NOW)
                .map(|_| ())
        };
        for good in [
            json!({}),
            json!({"aud": ["account", "drops-app"]}),
            json!({"aud": null, "client_id": "drops", "token_use": "access"}),
            json!({"iat": NOW + 60, "nbf": NOW + 60, "exp": NOW + 61}),
            json!({"exp": NOW - 1, "iat": NOW - 3_601}),
            json!({"email": "ada@example.org", "realm_access": {"roles": ["a"]}, "azp": 7}),
            json!({"sub": "ä".repeat(127)}),
            json!({"iat": 1_799_999_999.5, "nbf": 1_800_000_060.999, "exp": 1_800_000_000.5}),
            json!({"iat": 1_800_000_000.9, "exp": 1_800_003_600.1}),
            json!({"iat": 1.8e9, "exp": 1_800_000_060.0}),
        ] {
            assert_eq!(verify(good.clone()), Ok(()), "{good}");
        }
        for (more, error) in [
            (json!({"aud": "account"}), TokenError::Invalid),
            (json!({"aud": []}), TokenError::Invalid),
            (json!({"aud": {"drops": 1}}), TokenError::Invalid),
            (json!({"aud": ["account", ["drops"]]}), TokenError::Invalid),
            (json!({"aud": null}), TokenError::Invalid),
            (json!({"aud": null, "client_id": "drops"}), TokenError::Invalid),
            (
                json!({"aud": null, "client_id": "drops", "token_use": "id"}),
                TokenError::Invalid,
            ),
            (
                json!({"aud": null, "client_id": "other", "token_use": "access"}),
                TokenError::Invalid,
            ),
            (
                json!({"aud": "other", "client_id": "drops", "token_use": "access"}),
                TokenError::Invalid,
            ),
            (json!({"iss": "https://login.example"}), TokenError::UnknownIssuer),
            (json!({"iss": "stampede"}), TokenError::UnknownIssuer),
            (json!({"iss": [LOGIN]}), TokenError::Invalid),
            (json!({"iat": null}), TokenError::Invalid),
            (json!({"exp": null}), TokenError::Invalid),
            (json!({"sub": null}), TokenError::Invalid),
            (json!({"iat": NOW + 61}), TokenError::NotYetValid),
            (json!({"nbf": NOW + 61}), TokenError::NotYetValid),
            (json!({"exp": NOW - 2}), TokenError::Expired),
            (json!({"exp": NOW + 3_601}), TokenError::TooLong),
            (json!({"iat": i64::MIN, "exp": i64::MAX}), TokenError::TooLong),
            (json!({"nbf": 1_800_000_061.0}), TokenError::NotYetValid),
            (json!({"exp": 1_799_999_998.9}), TokenError::Expired),
            (json!({"iat": -1e300, "exp": 1e300}), TokenError::TooLong),
            (json!({"iat": "1800000000"}), TokenError::Invalid),
            (json!({"sub": ""}), TokenError::Subject),
            (json!({"sub": "s".repeat(256)}), TokenError::Subject),
            (json!({"sub": "smoke-1"}), TokenError::Subject),
        ] {
            assert_eq!(verify(more.clone()), Err(error), "{more}");
        }
        let long = |bytes: usize| claims(&json!({"groups": "g".repeat(bytes)}));
        let sized = |bytes| key.token("ES256", &long(bytes));
        let most = (0..8_000)
            .rev()
            .find(|bytes| sized(*bytes).len() <= MAX_TOKEN_BYTES)
            .unwrap();
        assert!(verifier.verify(&sized(most), NOW).is_ok());
        assert_eq!(verifier.verify(&sized(most + 2), NOW), Err(TokenError::Invalid));
        for (head, good) in [
            (json!({"alg": "ES256", "kid": "a", "typ": "at+JWT"}), true),
            (
                json!({"alg": "ES256", "kid": "a", "typ": "application/at+jwt"}),
                true,
            ),
            (json!({"alg": "ES256", "kid": "a", "typ": "logout+jwt"}), false),
            (
                json!({"alg": "ES256", "kid": "a", "crit": ["exp"], "exp": 1}),
                false,
            ),
        ] {
            let found = verifier.verify(&key.sign(&head, &claims(&json!({}))), NOW);
            assert_eq!(found.is_ok(), good, "{head}");
        }
    }

    /// npm's `oauth2-mock-server` made these keys and tokens, independently of this project.
    #[test]
    fn tokens_of_an_issuer_that_others_wrote() {
        let made: Value = serde_json::from_str(include_str!("outside_tokens.json")).unwrap();
        let issuer = made["issuer"].as_str().unwrap();
        let all = made["keys"].as_array().unwrap();
        let document = |keys: &[&Value]| {
            json!({"issuers": [{
                "issuer": issuer, "audiences": ["drops"], "algorithms": ["RS256", "ES256", "EdDSA"],
                "max_life_seconds": 3_600, "keys": keys,
            }]})
        };
        let parse = |keys: &[&Value]| Issuers::parse(&document(keys).to_string());
        let every: Vec<&Value> = all.iter().collect();
        let other = all.iter().find(|key| key["alg"] == "PS256").unwrap();
        let purpose = KeySetError::Purpose(other["kid"].as_str().unwrap().to_owned());
        assert_eq!(
            parse(&every).unwrap_err(),
            IssuersError::Keys(issuer.to_owned(), purpose)
        );
        let ours: Vec<&Value> = every.into_iter().filter(|key| key["alg"] != "PS256").collect();
        let verifier = Verifier::of(Audience::Shopper, parse(&ours).unwrap()).unwrap();
        let verify = |alg: &str, after: i64| {
            let now = made["iat"].as_i64().unwrap() + after;
            let verified = verifier.verify(made["tokens"][alg].as_str().unwrap(), now);
            verified.map(|identity| identity.claims.sub)
        };
        for alg in ["RS256", "ES256", "EdDSA"] {
            // The token is valid when it is issued and until `exp`. The issuer's clock may be up to 60 s ahead.
            for after in [-60, 0, 3_600] {
                assert_eq!(
                    verify(alg, after),
                    Ok("auth0|507f1f77bcf86cd799439011".to_owned()),
                    "{alg}"
                );
            }
            assert_eq!(verify(alg, 3_603), Err(TokenError::Expired));
        }
        assert_eq!(verify("PS256", 0), Err(TokenError::UnknownKey));
    }

    #[test]
    fn several_issuers_may_name_keys_and_subjects_alike() {
        let (one, other) = (
            Outside::new(Algorithm::ES256, "1"),
            Outside::new(Algorithm::EdDSA, "1"),
        );
        let own = key("1");
        let entry = |issuer: &str, alg: &str, jwk: &Value| json!({"issuer": issuer, "audiences": ["drops"], "algorithms": [alg], "max_life_seconds": 3_600, "keys": [jwk]});
        let ours: Value = serde_json::from_str(&KeySet::of(&[&own]).unwrap().to_json()).unwrap();
        let document = json!({"issuers": [
            entry(LOGIN, "ES256", &one.jwk), entry("https://other.example", "EdDSA", &other.jwk),
            entry(ISSUER, "EdDSA", &ours["keys"][0]),
        ]});
        let verifier =
            Verifier::of(Audience::Shopper, Issuers::parse(&document.to_string()).unwrap()).unwrap();
        let from = |key: &Outside, issuer: &str| {
            let token = key.token(key.alg(), &claims(&json!({ "iss": issuer })));
            verifier.verify(&token, NOW).map(|identity| identity.claims.iss)
        };
        assert_eq!(from(&one, LOGIN), Ok(LOGIN.to_owned()));
        assert_eq!(
            from(&other, "https://other.example"),
            Ok("https://other.example".to_owned())
        );
        for (key, issuer) in [
            (&one, "https://other.example"),
            (&other, LOGIN),
            (&one, ISSUER),
            (&other, ISSUER),
        ] {
            assert_eq!(from(key, issuer), Err(TokenError::Invalid), "{issuer}");
        }
    }

    #[test]
    fn operators_of_an_outside_issuer_need_its_role() {
        let key = Outside::new(Algorithm::EdDSA, "a");
        let entry = |role: Value| {
            let mut entry = json!({
                "issuer": LOGIN, "audiences": ["drops"], "algorithms": ["EdDSA"], "max_life_seconds": 3_600, "keys": [key.jwk],
            });
            entry["role"] = role;
            Issuers::parse(&json!({ "issuers": [entry] }).to_string()).unwrap()
        };
        let without = Verifier::of(Audience::Operator, entry(Value::Null));
        assert_eq!(without.map(|_| ()), Err(IssuersError::NoRole(LOGIN.to_owned())));
        let role = json!({"claim": "/realm_access/roles", "value": "drop-operator"});
        let verifier = Verifier::of(Audience::Operator, entry(role)).unwrap();
        let verify = |roles: Value| {
            let claims = claims(&json!({"realm_access": {"roles": roles}}));
            verifier.verify(&key.token("EdDSA", &claims), NOW).map(|_| ())
        };
        assert_eq!(verify(json!(["viewer", "drop-operator"])), Ok(()));
        for roles in [
            json!([]),
            json!(["viewer"]),
            json!({"drop-operator": true}),
            Value::Null,
        ] {
            assert_eq!(verify(roles), Err(TokenError::Role));
        }
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_refused(at in 0usize..200, with in "[A-Za-z0-9_.-]") {
            let (signing, verifying) = pair(Audience::Shopper);
            let token = signing.sign(Audience::Shopper, "ada", NOW, NOW + 60).unwrap();
            let at = at % token.len();
            // The last character of the signature has four unused bits; every other character counts.
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
