//! Defines the document with which functions verify tokens. The function `fetch-keys` writes it.
//!
//! ```json
//! {"form": 1, "issuers": [{
//!     "issuer": "https://login.shop.example/", "audiences": ["drops"], "algorithms": ["RS256"],
//!     "max_life_seconds": 3600, "jwks_uri": "https://login.shop.example/keys", "answered_at": 1800000000,
//!     "keys": [{"kty": "RSA", "…": "…"}]
//! }], "deployers": []}
//! ```
//!
//! An entry has the format of [`Issuers`], but always has `keys`, even beside a URL. `deployers` are the keys of the
//! deployer.

use serde::Deserialize;
use serde_json::json;

use crate::issuers::{Entry, FORM, Form, Issuer, Issuers, IssuersError, MAX_LIFE_SECONDS, read};
use crate::keys::{KeySet, KeySetError, Member};
use crate::{Audience, Verifier};

/// How old the recorded time of an issuer's last answer may become, in seconds. Until then, an answer with the same
/// keys is not recorded, so that an issuer that answers each minute causes one write an hour.
pub const NOTED_SECONDS: i64 = 3_600;

/// How long an issuer's keys are used after its last answer, in seconds: the longest lifetime of any token. Tokens that
/// the issuer signed before it stopped answering have expired by then.
pub const KEPT_SECONDS: i64 = MAX_LIFE_SECONDS;

/// The issuers of shoppers or operators with the keys to verify with, and the deployer's keys.
#[derive(Debug, Clone)]
pub struct Published {
    issuers: Issuers,
    deployers: Option<KeySet>,
}

#[derive(Deserialize)]
struct Head {
    form: u64,
}

#[derive(Deserialize)]
struct Document {
    issuers: Vec<Entry>,
    deployers: Vec<Member>,
}

/// The document to publish after the requests to all URLs, and how long issuers have not answered.
#[derive(Debug, Clone)]
pub struct Merged {
    /// The document to publish.
    pub document: Published,
    /// The longest time since the last known answer of an issuer that did not answer now, in seconds; 0 when all
    /// answered.
    pub silent_seconds: i64,
}

impl Published {
    /// The document of configured `issuers` and the deployer's keys. `answer` returns the keys of an issuer that
    /// answered now with usable keys. Other issuers keep their keys from `former` until their last answer is
    /// [`KEPT_SECONDS`] old. `now_s` is in seconds since 1970.
    #[must_use]
    pub fn merge(
        mut issuers: Issuers,
        deployers: Option<KeySet>,
        former: Option<&Self>,
        answer: impl Fn(&str) -> Option<KeySet>,
        now_s: i64,
    ) -> Merged {
        let mut silent_seconds = 0;
        for issuer in &mut issuers.0 {
            let former = former.and_then(|former| former.issuers.find(&issuer.name));
            silent_seconds = silent_seconds.max(fill(issuer, former, answer(&issuer.name), now_s));
        }
        Merged {
            document: Self { issuers, deployers },
            silent_seconds,
        }
    }

    /// Parses the document in `json`.
    ///
    /// # Errors
    /// [`IssuersError`]. One mistake makes the whole document invalid.
    pub fn parse(json: &str) -> Result<Self, IssuersError> {
        let Head { form } = read(json)?;
        if form != FORM {
            return Err(IssuersError::OtherForm(form));
        }
        let document: Document = read(json)?;
        let issuers = Issuers::of_entries(document.issuers, Form::Published)?;
        let deployers = match KeySet::of_members(document.deployers) {
            Ok(keys) => Some(keys),
            Err(KeySetError::Count(0)) => None,
            Err(error) => return Err(IssuersError::Deployers(error)),
        };
        Ok(Self { issuers, deployers })
    }

    /// The document in the format of [`Published::parse`].
    #[must_use]
    pub fn to_json(&self) -> String {
        let deployers = self.deployers.as_ref().map(KeySet::jwks).unwrap_or_default();
        json!({"form": FORM, "issuers": self.issuers.entries(Form::Published), "deployers": deployers})
            .to_string()
    }

    /// The verifier of tokens for `audience` by this document.
    ///
    /// # Errors
    /// [`IssuersError::NoRole`] when an operators' issuer other than the project's own has no role;
    /// [`IssuersError::Deployers`] when a key of the deployer has the `kid` of a key of the project's own issuer.
    pub fn verifier(self, audience: Audience) -> Result<Verifier, IssuersError> {
        let verifier = Verifier::of(audience, self.issuers)?;
        match self.deployers {
            None => Ok(verifier),
            Some(keys) => verifier.with_deployers(keys).map_err(IssuersError::Deployers),
        }
    }
}

/// Sets the keys of a configured issuer with a URL, and returns for how many seconds it has not answered.
fn fill(issuer: &mut Issuer, former: Option<&Issuer>, answer: Option<KeySet>, now_s: i64) -> i64 {
    let Some(address) = &mut issuer.address else {
        return 0;
    };
    let known = former.and_then(|former| Some((&former.keys, former.address.as_ref()?.answered_at)));
    let age = |answered_at: i64| now_s.saturating_sub(answered_at).max(0);
    if let Some(keys) = answer {
        let noted = known.filter(|(former, at)| former.jwks() == keys.jwks() && age(*at) < NOTED_SECONDS);
        address.answered_at = noted.map_or(now_s, |(_, at)| at);
        issuer.keys = keys;
        return 0;
    }
    // For an issuer that never answered, the time counts from the first request.
    address.answered_at = known.map_or(now_s, |(_, at)| at);
    let silent_seconds = age(address.answered_at);
    if let Some((keys, _)) = known.filter(|_| silent_seconds < KEPT_SECONDS) {
        issuer.keys = keys.only(&issuer.algorithms);
    }
    silent_seconds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::Outside;
    use crate::{Algorithm, MAX_AUDIENCES, MAX_ISSUERS, MAX_KEYS, MAX_KID_BYTES, MAX_NAME_BYTES, TokenError};
    use serde_json::Value;

    const NOW: i64 = 1_800_000_000;
    const LOGIN: &str = "https://login.example/";

    fn configured(more: Value) -> Issuers {
        let mut entry = json!({
            "issuer": LOGIN, "audiences": ["drops"], "algorithms": ["EdDSA"], "max_life_seconds": 3_600,
            "jwks_uri": "https://login.example/keys",
        });
        for (name, value) in more.as_object().unwrap() {
            entry[name] = value.clone();
        }
        Issuers::parse(&json!({ "issuers": [entry] }).to_string()).unwrap()
    }

    fn set(keys: &[&Outside]) -> KeySet {
        let jwks: Vec<_> = keys.iter().map(|key| &key.jwk).collect();
        KeySet::parse(&json!({ "keys": jwks }).to_string()).unwrap()
    }

    fn merge(former: Option<&Published>, answer: Option<&KeySet>, now_s: i64) -> Merged {
        Published::merge(configured(json!({})), None, former, |_| answer.cloned(), now_s)
    }

    fn kids(document: &Published) -> Vec<String> {
        let issuer = document.issuers.find(LOGIN).unwrap();
        issuer.keys.named().map(|(kid, _)| kid.to_owned()).collect()
    }

    #[test]
    fn a_key_comes_and_goes_with_the_issuers_answer() {
        let [a, b] = ["a", "b"].map(|kid| Outside::new(Algorithm::EdDSA, kid));
        let claims = json!({"iss": LOGIN, "aud": "drops", "sub": "1", "iat": NOW, "exp": NOW + 3_600});
        let mut former: Option<Published> = None;
        for (answer, good) in [
            (set(&[&a]), [true, false]),
            (set(&[&a, &b]), [true, true]),
            (set(&[&b]), [false, true]),
        ] {
            let merged = merge(former.as_ref(), Some(&answer), NOW);
            assert_eq!(merged.silent_seconds, 0);
            let stored = Published::parse(&merged.document.to_json()).unwrap();
            assert_eq!(
                stored.to_json(),
                merged.document.to_json(),
                "written as it is read"
            );
            let verifier = stored.clone().verifier(Audience::Shopper).unwrap();
            for (key, good) in [&a, &b].into_iter().zip(good) {
                let verified = verifier.verify(&key.token("EdDSA", &claims), NOW).map(|_| ());
                assert_eq!(verified, if good { Ok(()) } else { Err(TokenError::UnknownKey) });
            }
            former = Some(stored);
        }
    }

    #[test]
    fn a_silent_issuer_keeps_its_keys_for_a_week() {
        let key = set(&[&Outside::new(Algorithm::EdDSA, "a")]);
        let first = merge(None, Some(&key), NOW).document;
        for (after, silent, kept) in [
            (60, 60, 1),
            (-60, 0, 1),
            (86_400, 86_400, 1),
            (KEPT_SECONDS - 1, KEPT_SECONDS - 1, 1),
            (KEPT_SECONDS, KEPT_SECONDS, 0),
            (KEPT_SECONDS + 60, KEPT_SECONDS + 60, 0),
        ] {
            let merged = merge(Some(&first), None, NOW + after);
            assert_eq!(merged.silent_seconds, silent);
            assert_eq!(kids(&merged.document).len(), kept, "{after}");
            let again = Published::parse(&merged.document.to_json()).unwrap();
            assert_eq!(merge(Some(&again), None, NOW + after).silent_seconds, silent);
        }
        let back = merge(
            Some(&merge(Some(&first), None, NOW + KEPT_SECONDS).document),
            Some(&key),
            NOW + KEPT_SECONDS,
        );
        assert_eq!(kids(&back.document).len(), 1);
        assert_eq!(back.silent_seconds, 0);
    }

    #[test]
    fn an_issuer_that_never_answered_is_silent_from_the_first_time() {
        let first = merge(None, None, NOW);
        assert_eq!(kids(&first.document).len(), 0);
        assert_eq!(first.silent_seconds, 0);
        let stored = Published::parse(&first.document.to_json()).unwrap();
        assert_eq!(merge(Some(&stored), None, NOW + 90_000).silent_seconds, 90_000);
        let verifier = stored.verifier(Audience::Shopper).unwrap();
        let token = Outside::new(Algorithm::EdDSA, "a").token(
            "EdDSA",
            &json!({"iss": LOGIN, "sub": "1", "iat": NOW, "exp": NOW}),
        );
        assert_eq!(verifier.verify(&token, NOW), Err(TokenError::UnknownKey));
    }

    #[test]
    fn the_same_answer_changes_the_document_once_an_hour() {
        let key = set(&[&Outside::new(Algorithm::EdDSA, "a")]);
        let first = merge(None, Some(&key), NOW).document;
        let later = |seconds| merge(Some(&first), Some(&key), NOW + seconds).document.to_json();
        assert_eq!(later(NOTED_SECONDS - 1), first.to_json());
        assert_ne!(later(NOTED_SECONDS), first.to_json());
    }

    #[test]
    fn what_the_shop_changes_holds_for_former_keys_too() {
        let both = [
            Outside::new(Algorithm::EdDSA, "a"),
            Outside::new(Algorithm::ES256, "b"),
        ];
        let wide = configured(json!({"algorithms": ["EdDSA", "ES256"]}));
        let former = Published::merge(wide, None, None, |_| Some(set(&[&both[0], &both[1]])), NOW).document;
        assert_eq!(kids(&former), ["a", "b"]);
        assert_eq!(kids(&merge(Some(&former), None, NOW).document), ["a"]);
    }

    #[test]
    fn the_deployers_keys_stand_beside_the_issuers() {
        let deployer = set(&[&Outside::new(Algorithm::EdDSA, "d")]);
        let own = Issuers::own(Audience::Shopper, set(&[&Outside::new(Algorithm::EdDSA, "d")]));
        let with = |issuers| Published::merge(issuers, Some(deployer.clone()), None, |_| None, NOW).document;
        let again = Published::parse(&with(configured(json!({}))).to_json()).unwrap();
        assert!(again.deployers.is_some() && again.verifier(Audience::Shopper).is_ok());
        let twice = KeySetError::Twice("d".to_owned());
        let refused = with(own).verifier(Audience::Shopper).map(|_| ());
        assert_eq!(refused, Err(IssuersError::Deployers(twice)));
    }

    #[test]
    fn another_form_is_told_from_a_wrong_document() {
        let text = |form: u64| format!(r#"{{"form":{form},"of":"a later release"}}"#);
        assert_eq!(
            Published::parse(&text(2)).map(|_| ()),
            Err(IssuersError::OtherForm(2))
        );
        for wrong in [
            text(1),
            "{}".to_owned(),
            String::new(),
            configured(json!({})).to_json(),
        ] {
            assert!(
                matches!(Published::parse(&wrong), Err(IssuersError::Form { .. })),
                "{wrong}"
            );
        }
    }

    #[test]
    fn copies_of_the_largest_document_fit_into_a_transaction() {
        let name = |first: usize, length: usize| format!("{first}{}", "\"".repeat(length - 1));
        let mut key = Outside::new(Algorithm::RS256, "a");
        let mut keys = Vec::new();
        for n in 10..10 + MAX_KEYS {
            key.jwk["kid"] = json!(format!("{n}{}", "\"".repeat(MAX_KID_BYTES - 2)));
            key.jwk["n"] = json!(data_encoding::BASE64URL_NOPAD.encode(&[0xff; 512]));
            key.jwk["e"] = json!("_____w");
            keys.push(key.jwk.clone());
        }
        let audiences: Vec<_> = (0..MAX_AUDIENCES).map(|n| name(n, MAX_NAME_BYTES)).collect();
        let entry = |n: usize| {
            json!({
                "issuer": name(n, MAX_NAME_BYTES), "audiences": audiences, "algorithms": ["RS256", "ES256", "EdDSA"],
                "max_life_seconds": MAX_LIFE_SECONDS, "jwks_uri": name(1, crate::MAX_URI_BYTES), "answered_at": i64::MIN,
                "role": {"claim": format!("/{}", "\"".repeat(MAX_NAME_BYTES - 1)), "value": name(1, MAX_NAME_BYTES)}, "keys": keys,
            })
        };
        let entries: Vec<_> = (0..MAX_ISSUERS).map(entry).collect();
        let document = json!({"form": FORM, "issuers": entries, "deployers": keys}).to_string();
        let written = Published::parse(&document).unwrap().to_json();
        // 36 copies of the document must fit into one DynamoDB transaction of 4 MiB.
        assert!((75_000..110_000).contains(&written.len()), "{}", written.len());
    }
}
