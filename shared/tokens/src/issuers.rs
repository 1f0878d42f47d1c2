//! Defines the document of token issuers, and parses it.
//!
//! ```json
//! {"issuers": [{
//!     "issuer": "https://login.shop.example/",
//!     "audiences": ["drops"],
//!     "algorithms": ["RS256"],
//!     "max_life_seconds": 3600,
//!     "role": {"claim": "/realm_access/roles", "value": "drop-operator"},
//!     "keys": [{"kty": "RSA", "kid": "…", "n": "…", "e": "AQAB"}]
//! }]}
//! ```
//!
//! A token's `iss` must equal `issuer`, and its `aud` one of `audiences`, exactly. `role` is optional. The entry of an
//! issuer that publishes its keys itself has `"jwks_uri": "https://…"` instead of `keys`. The function `fetch-keys`
//! reads this URL and writes a [`Published`](crate::Published) document, whose entries have the URL, the keys, and the
//! time of the issuer's last answer.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::keys::{Algorithm, KeySet, KeySetError, Member};
use crate::text::is_visible;
use crate::{Audience, ISSUER};

/// The format version of a [`Published`](crate::Published) document. A release that changes the format must also read
/// the former version, since functions of two releases run at the same time.
pub const FORM: u64 = 1;

/// The largest number of issuers in a document.
pub const MAX_ISSUERS: usize = 4;

/// The largest number of audiences of an issuer.
pub const MAX_AUDIENCES: usize = 8;

/// The longest name of an issuer or audience, and the longest claim or value of a role, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// The longest URL of an issuer's keys, in bytes.
pub const MAX_URI_BYTES: usize = 512;

/// The longest lifetime of a token (`exp` less `iat`), in seconds, whatever its issuer's entry says: a week.
pub const MAX_LIFE_SECONDS: i64 = 7 * 86_400;

/// The default longest lifetime of a token of the project's own issuer, in seconds.
pub const OWN_LIFE_SECONDS: i64 = 2 * 86_400;

/// A mistake in a document of issuers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuersError {
    /// The text is not a document of issuers in JSON.
    #[error("not a document of issuers in JSON; line {line}, column {column}")]
    Form {
        /// The line of the mistake, from 1.
        line: usize,
        /// The column of the mistake in this line.
        column: usize,
    },
    /// Too few or too many issuers.
    #[error("{0} issuers; 1 to {MAX_ISSUERS} are possible")]
    Count(usize),
    /// The issuer at this index, from 0, has no valid name.
    #[error("the issuer {0} has no name of 1 to {MAX_NAME_BYTES} visible ASCII characters")]
    Name(usize),
    /// Two entries have this issuer.
    #[error("two entries have the issuer {0}")]
    Twice(String),
    /// The issuer has too few or too many audiences, or an invalid one.
    #[error(
        "the issuer {0} needs 1 to {MAX_AUDIENCES} audiences of 1 to {MAX_NAME_BYTES} visible ASCII characters"
    )]
    Audiences(String),
    /// The longest lifetime of the issuer's tokens is out of range.
    #[error("the issuer {0} needs `max_life_seconds` from 1 to {MAX_LIFE_SECONDS}")]
    Life(String),
    /// The role's claim is not a JSON pointer, or its value is not one word.
    #[error("the issuer {0} has a `role` whose `claim` is no JSON pointer or whose `value` is not one word")]
    Role(String),
    /// The issuer has neither keys nor a URL for them, or both, or an invalid URL.
    #[error(
        "the issuer {0} needs either `keys` or a `jwks_uri` of 1 to {MAX_URI_BYTES} visible ASCII characters"
    )]
    Source(String),
    /// The issuer has a URL but lists no algorithm for its keys.
    #[error("the issuer {0} needs an algorithm in `algorithms`")]
    NoAlgorithm(String),
    /// The issuer's keys are invalid.
    #[error("the issuer {0}: {1}")]
    Keys(String, KeySetError),
    /// The document was published in a format that this release does not know.
    #[error("a document of the form {0}; this release reads form {FORM}")]
    OtherForm(u64),
    /// A key's algorithm is not in the issuer's list.
    #[error("the issuer {issuer} does not allow the algorithm of its key {kid}")]
    Algorithm {
        /// The issuer, as its tokens name it in `iss`.
        issuer: String,
        /// The `kid` of the key.
        kid: String,
    },
    /// The deployer's keys are invalid, or one has the `kid` of a key of the project's own issuer.
    #[error("the deployer's keys: {0}")]
    Deployers(KeySetError),
    /// The operators' entry has no role, so every account at this issuer would be an operator.
    #[error("the issuer {0} needs a `role` to name operators")]
    NoRole(String),
    /// The same token would be valid for a shopper and for an operator.
    #[error("the issuer {issuer} has the audience {audience} for shoppers and for operators")]
    Shared {
        /// The issuer, which is in both lists, as its tokens name it in `iss`.
        issuer: String,
        /// The audience, which the issuer has in both lists.
        audience: String,
    },
}

/// A claim that a token needs in addition to its audience.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Role {
    /// The place in the claims: a JSON pointer (RFC 6901), since issuers nest additional claims.
    claim: String,
    /// The required value of the claim: the whole text, one word of a text, or an entry of a list.
    value: String,
}

impl Role {
    fn is_well_formed(&self) -> bool {
        self.claim.starts_with('/')
            && is_visible(&self.claim, MAX_NAME_BYTES)
            && is_visible(&self.value, MAX_NAME_BYTES)
    }

    /// Whether `claims` contain the role.
    pub(crate) fn is_in(&self, claims: &Value) -> bool {
        match claims.pointer(&self.claim) {
            Some(Value::String(words)) => words.split(' ').any(|word| word == self.value),
            Some(Value::Array(list)) => list.iter().any(|one| one == self.value.as_str()),
            _ => false,
        }
    }
}

/// An issuer and its requirements for tokens.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) audiences: Vec<String>,
    pub(crate) max_life_seconds: i64,
    pub(crate) role: Option<Role>,
    pub(crate) keys: KeySet,
    pub(crate) algorithms: Vec<Algorithm>,
    /// The URL of the issuer's keys, if its entry does not list them.
    pub(crate) address: Option<Address>,
}

#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) uri: String,
    /// The time of the issuer's last answer with keys, in seconds since 1970. It is the time of the first request while
    /// the issuer has never answered, and 0 before that request.
    pub(crate) answered_at: i64,
}

impl Issuer {
    /// The project's own issuer, with these keys.
    pub(crate) fn own(audience: Audience, keys: KeySet, max_life_seconds: i64) -> Self {
        let mut algorithms = Vec::new();
        for (_, algorithm) in keys.named() {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        Self {
            name: ISSUER.to_owned(),
            audiences: vec![audience.as_str().to_owned()],
            max_life_seconds,
            role: None,
            keys,
            algorithms,
            address: None,
        }
    }

    fn to_entry(&self, form: Form) -> Entry<&Value> {
        let (address, published) = (self.address.as_ref(), form == Form::Published);
        Entry {
            issuer: self.name.clone(),
            audiences: self.audiences.clone(),
            algorithms: self.algorithms.clone(),
            max_life_seconds: self.max_life_seconds,
            role: self.role.clone(),
            keys: (published || address.is_none()).then(|| self.keys.jwks()),
            jwks_uri: address.map(|address| address.uri.clone()),
            answered_at: address.filter(|_| published).map(|address| address.answered_at),
        }
    }
}

/// The format of a document, by its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The shop: an entry has keys or a URL.
    Configured,
    /// `fetch-keys`: an entry with a URL also has the keys found there.
    Published,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    issuers: Vec<Entry>,
}

/// An issuer as its document describes it, with keys of the type `K`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry<K = Member> {
    issuer: String,
    audiences: Vec<String>,
    algorithms: Vec<Algorithm>,
    max_life_seconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<K>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<i64>,
}

impl Entry {
    fn checked(self, at: usize, form: Form) -> Result<Issuer, IssuersError> {
        let (name, audiences, algorithms) = (self.issuer, self.audiences, self.algorithms);
        if !is_visible(&name, MAX_NAME_BYTES) {
            return Err(IssuersError::Name(at));
        }
        let count = (1..=MAX_AUDIENCES).contains(&audiences.len());
        if !count || !audiences.iter().all(|one| is_visible(one, MAX_NAME_BYTES)) {
            return Err(IssuersError::Audiences(name));
        }
        if !(1..=MAX_LIFE_SECONDS).contains(&self.max_life_seconds) {
            return Err(IssuersError::Life(name));
        }
        if self.role.as_ref().is_some_and(|role| !role.is_well_formed()) {
            return Err(IssuersError::Role(name));
        }
        let (members, address) = match (form, self.keys, self.jwks_uri, self.answered_at) {
            (_, Some(keys), None, None) => (keys, None),
            (Form::Configured, None, Some(uri), None) => (Vec::new(), Some(Address { uri, answered_at: 0 })),
            (Form::Published, Some(keys), Some(uri), Some(answered_at)) => {
                (keys, Some(Address { uri, answered_at }))
            }
            _ => return Err(IssuersError::Source(name)),
        };
        if let Some(address) = &address {
            if !is_visible(&address.uri, MAX_URI_BYTES) {
                return Err(IssuersError::Source(name));
            }
            if algorithms.is_empty() {
                return Err(IssuersError::NoAlgorithm(name));
            }
        }
        // An issuer whose URL has not answered yet has no keys.
        let keys = match KeySet::of_members(members) {
            Err(KeySetError::Count(0)) if address.is_some() => KeySet::none(),
            Ok(keys) => keys,
            Err(error) => return Err(IssuersError::Keys(name, error)),
        };
        let other = keys
            .named()
            .find(|(_, algorithm)| !algorithms.contains(algorithm));
        if let Some((kid, _)) = other {
            let kid = kid.to_owned();
            return Err(IssuersError::Algorithm { issuer: name, kid });
        }
        Ok(Issuer {
            name,
            audiences,
            max_life_seconds: self.max_life_seconds,
            role: self.role,
            keys,
            algorithms,
            address,
        })
    }
}

/// Parses the document in `json`.
pub(crate) fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, IssuersError> {
    serde_json::from_str(json).map_err(|error| IssuersError::Form {
        line: error.line(),
        column: error.column(),
    })
}

/// 1 to [`MAX_ISSUERS`] issuers, each with its keys, audiences and limits.
#[derive(Debug, Clone)]
pub struct Issuers(pub(crate) Vec<Issuer>);

impl Issuers {
    /// Parses a document; the module's documentation shows its format.
    ///
    /// # Errors
    /// [`IssuersError`]. One mistake makes the whole document invalid.
    pub fn parse(json: &str) -> Result<Self, IssuersError> {
        let document: Document = read(json)?;
        Self::of_entries(document.issuers, Form::Configured)
    }

    pub(crate) fn of_entries(entries: Vec<Entry>, form: Form) -> Result<Self, IssuersError> {
        let count = entries.len();
        if !(1..=MAX_ISSUERS).contains(&count) {
            return Err(IssuersError::Count(count));
        }
        let mut issuers: Vec<Issuer> = Vec::with_capacity(count);
        for (at, entry) in entries.into_iter().enumerate() {
            let issuer = entry.checked(at, form)?;
            if issuers.iter().any(|other| other.name == issuer.name) {
                return Err(IssuersError::Twice(issuer.name));
            }
            issuers.push(issuer);
        }
        Ok(Self(issuers))
    }

    /// Only the project's own issuer. `keys` verify its tokens for `audience`.
    #[must_use]
    pub fn own(audience: Audience, keys: KeySet) -> Self {
        Self(vec![Issuer::own(audience, keys, OWN_LIFE_SECONDS)])
    }

    /// The document in the format of [`Issuers::parse`].
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({ "issuers": self.entries(Form::Configured) }).to_string()
    }

    pub(crate) fn entries(&self, form: Form) -> Vec<Entry<&Value>> {
        self.0.iter().map(|issuer| issuer.to_entry(form)).collect()
    }

    /// The issuer whose tokens have the `iss` `name`.
    pub(crate) fn find(&self, name: &str) -> Option<&Issuer> {
        self.0.iter().find(|issuer| issuer.name == name)
    }

    /// The URLs of issuers' keys: the issuer's name, the URL, and the algorithms of its keys.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, &str, &[Algorithm])> {
        self.0.iter().filter_map(|issuer| {
            let uri = issuer.address.as_ref()?.uri.as_str();
            Some((issuer.name.as_str(), uri, issuer.algorithms.as_slice()))
        })
    }

    /// Checks that every issuer may name operators.
    ///
    /// # Errors
    /// [`IssuersError::NoRole`] names an issuer other than the project's own that has no role.
    pub(crate) fn name_operators(&self) -> Result<(), IssuersError> {
        match self.0.iter().find(|one| one.name != ISSUER && one.role.is_none()) {
            Some(issuer) => Err(IssuersError::NoRole(issuer.name.clone())),
            None => Ok(()),
        }
    }

    /// Checks that no token can be valid under both documents.
    ///
    /// # Errors
    /// [`IssuersError::Shared`] names an issuer and an audience that are in both.
    pub fn check_disjoint(&self, others: &Self) -> Result<(), IssuersError> {
        for issuer in &self.0 {
            let Some(other) = others.find(&issuer.name) else {
                continue;
            };
            let mut audiences = issuer.audiences.iter();
            if let Some(audience) = audiences.find(|audience| other.audiences.contains(audience)) {
                return Err(IssuersError::Shared {
                    issuer: issuer.name.clone(),
                    audience: audience.clone(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn entry(issuer: &str, audience: &str) -> Value {
        json!({
            "issuer": issuer, "audiences": [audience], "algorithms": ["EdDSA"], "max_life_seconds": 60,
            "keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": X}],
        })
    }

    fn parse(entries: &[Value]) -> Result<Issuers, IssuersError> {
        Issuers::parse(&json!({ "issuers": entries }).to_string())
    }

    #[test]
    fn a_document_is_written_as_it_is_read() {
        let mut second = entry("https://login.example/", "b");
        second["role"] = json!({"claim": "/groups", "value": "operators"});
        let read = parse(&[entry("stampede", "a"), second]).unwrap();
        let again = Issuers::parse(&read.to_json()).unwrap();
        assert_eq!(again.to_json(), read.to_json());
        assert!(read.find("stampede").is_some() && read.find("https://login.example").is_none());
    }

    #[test]
    fn whatever_is_wrong_with_a_document_is_named() {
        for text in [
            "",
            "null",
            "{}",
            "[]",
            "{\"issuers\":1}",
            "{\"issuers\":[],\"more\":1}",
        ] {
            assert!(
                matches!(Issuers::parse(text), Err(IssuersError::Form { .. })),
                "{text}"
            );
        }
        let name = || "i".to_owned();
        let change = |pointer: &str, to: Value| {
            let mut changed = json!({ "e": entry("i", "a") });
            *changed.pointer_mut(&format!("/e{pointer}")).unwrap() = to;
            parse(&[changed["e"].take()]).unwrap_err()
        };
        assert_eq!(parse(&[]).unwrap_err(), IssuersError::Count(0));
        assert_eq!(
            parse(&vec![entry("i", "a"); 9]).unwrap_err(),
            IssuersError::Count(9)
        );
        let twice = [entry("i", "a"), entry("i", "b")];
        assert_eq!(parse(&twice).unwrap_err(), IssuersError::Twice(name()));
        for bad in ["", "a b", "ä", &"i".repeat(256)] {
            assert_eq!(change("/issuer", json!(bad)), IssuersError::Name(0), "{bad}");
            assert_eq!(
                change("/audiences/0", json!(bad)),
                IssuersError::Audiences(name()),
                "{bad}"
            );
        }
        assert_eq!(change("/audiences", json!([])), IssuersError::Audiences(name()));
        for bad in [0, -1, MAX_LIFE_SECONDS + 1] {
            assert_eq!(
                change("/max_life_seconds", json!(bad)),
                IssuersError::Life(name())
            );
        }
        for bad in [json!("HS256"), json!("none"), json!("RS512"), json!(1)] {
            assert!(matches!(change("/algorithms/0", bad), IssuersError::Form { .. }));
        }
        let mut outside = entry("i", "a");
        outside["jwks_uri"] = json!("https://login.example/keys");
        let source = IssuersError::Source(name());
        assert_eq!(
            parse(&[outside.clone()]).unwrap_err(),
            source,
            "keys and an address"
        );
        outside["keys"] = Value::Null;
        assert!(parse(&[outside.clone()]).is_ok());
        for (member, bad, error) in [
            ("answered_at", json!(1), &source),
            ("jwks_uri", Value::Null, &source),
            ("jwks_uri", json!(""), &source),
            ("jwks_uri", json!("https://login.example/a b"), &source),
            ("jwks_uri", json!("u".repeat(MAX_URI_BYTES + 1)), &source),
            ("algorithms", json!([]), &IssuersError::NoAlgorithm(name())),
        ] {
            let mut changed = outside.clone();
            changed[member] = bad;
            assert_eq!(parse(&[changed]).unwrap_err(), *error, "{member}");
        }
        let kid = "a".to_owned();
        let other = IssuersError::Algorithm { issuer: name(), kid };
        assert_eq!(change("/algorithms", json!(["RS256", "ES256"])), other);
        assert_eq!(change("/algorithms", json!([])), other);
        let keys = |error| IssuersError::Keys(name(), error);
        assert_eq!(change("/keys", json!([])), keys(KeySetError::Count(0)));
        assert_eq!(change("/keys/0/kid", json!("")), keys(KeySetError::Kid(0)));
        for role in [
            json!({"claim": "groups", "value": "a"}),
            json!({"claim": "/groups", "value": "a b"}),
        ] {
            let mut with = entry("i", "a");
            with["role"] = role;
            assert_eq!(parse(&[with]).unwrap_err(), IssuersError::Role(name()));
        }
    }

    #[test]
    fn an_issuer_of_operators_needs_a_role_and_an_audience_of_its_own() {
        let mut outside = entry("https://login.example/", "operators");
        let without = parse(&[entry("stampede", "b"), outside.clone()]).unwrap();
        let name = "https://login.example/".to_owned();
        assert_eq!(without.name_operators(), Err(IssuersError::NoRole(name.clone())));
        outside["role"] = json!({"claim": "/groups", "value": "operators"});
        let operators = parse(&[entry("stampede", "b"), outside]).unwrap();
        assert_eq!(operators.name_operators(), Ok(()));
        let shoppers = |issuer: &str, audience: &str| parse(&[entry(issuer, audience)]).unwrap();
        assert_eq!(shoppers("stampede", "a").check_disjoint(&operators), Ok(()));
        assert_eq!(
            shoppers("https://other.example", "b").check_disjoint(&operators),
            Ok(())
        );
        let shared = IssuersError::Shared {
            issuer: name.clone(),
            audience: "operators".to_owned(),
        };
        let both = shoppers(&name, "operators");
        assert_eq!(both.check_disjoint(&operators), Err(shared.clone()));
        assert_eq!(operators.check_disjoint(&both), Err(shared));
    }

    #[test]
    fn a_role_stands_alone_in_a_list_or_among_words() {
        let role = |claim: &str| Role {
            claim: claim.to_owned(),
            value: "drop-operator".to_owned(),
        };
        let claims = json!({
            "cognito:groups": ["a", "drop-operator"], "realm_access": {"roles": ["drop-operator"]},
            "scope": "openid drop-operator", "role": "drop-operator", "https://shop.example/role": "drop-operator",
            "no": ["drop-operators", 1], "nor": "a drop-operators", "number": 1,
        });
        for claim in [
            "/cognito:groups",
            "/realm_access/roles",
            "/scope",
            "/role",
            "/https:~1~1shop.example~1role",
        ] {
            assert!(role(claim).is_in(&claims), "{claim}");
        }
        for claim in [
            "/no",
            "/nor",
            "/number",
            "/missing",
            "/realm_access",
            "/cognito:groups/0",
        ] {
            assert!(!role(claim).is_in(&claims), "{claim}");
        }
    }
}
