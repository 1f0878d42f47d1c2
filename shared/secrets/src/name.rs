//! Parses the name of a secret, and finds its member in the stored text.

use std::str::FromStr;

use ports::secrets::{SecretError, SecretText};

/// The prefix of the name of a secret in Secrets Manager.
const SECRETS_MANAGER: &str = "secretsmanager:";

/// The place of a secret: `secretsmanager:ID#MEMBER`. ID is the secret's name or ARN in Secrets Manager; neither
/// contains a `#`. MEMBER is a member of the secret's JSON whose value is a string. Without `#MEMBER` the secret is the
/// whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretName {
    pub(crate) id: String,
    member: Option<String>,
}

/// A text that is not the name of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not of the form secretsmanager:ID#MEMBER")]
pub struct NameError;

impl FromStr for SecretName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rest = text.strip_prefix(SECRETS_MANAGER).ok_or(NameError)?;
        let (id, member) = match rest.split_once('#') {
            Some((id, member)) => (id, Some(member)),
            None => (rest, None),
        };
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic());
        if !is_word(id) || member.is_some_and(|member| !is_word(member)) {
            return Err(NameError);
        }
        Ok(Self {
            id: id.to_owned(),
            member: member.map(str::to_owned),
        })
    }
}

impl SecretName {
    /// Extracts the secret from the text stored under its id.
    pub(crate) fn find_in(&self, stored: SecretText) -> Result<SecretText, SecretError> {
        let found = match &self.member {
            None => stored,
            Some(member) => {
                let mut object: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(stored.expose()).map_err(|_| SecretError::Malformed)?;
                match object.remove(member) {
                    Some(serde_json::Value::String(text)) => SecretText::new(text),
                    _ => return Err(SecretError::Malformed),
                }
            }
        };
        if found.expose().is_empty() {
            return Err(SecretError::Malformed);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        text.parse().unwrap()
    }

    #[test]
    fn names_and_arns_are_read_and_nothing_else() {
        let short = name("secretsmanager:stampede/gateway#api_key");
        assert_eq!(short.id.as_str(), "stampede/gateway");
        assert_eq!(short.member.as_deref(), Some("api_key"));
        let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:stampede/gateway-AbCdEf";
        let long = name(&format!("secretsmanager:{arn}"));
        assert_eq!(long.id.as_str(), arn);
        assert_eq!(long.member, None);
        for bad in [
            "",
            "sk_live_1",
            "secretsmanager:",
            "secretsmanager:#m",
            "secretsmanager:a#",
            "secretsmanager:a b#m",
            "ssm:/path",
        ] {
            assert_eq!(bad.parse::<SecretName>(), Err(NameError), "{bad}");
        }
    }

    #[test]
    fn a_member_is_a_text_that_is_there() {
        let member = name("secretsmanager:a#api_key");
        let find = |name: &SecretName, text: &str| {
            let found = name.find_in(SecretText::new(text.to_owned()));
            found.map(|secret| secret.expose().to_owned())
        };
        assert_eq!(find(&member, r#"{"x": 1, "api_key": "k"}"#), Ok("k".to_owned()));
        for bad in [
            "",
            "k",
            "[]",
            r#"{"x": "k"}"#,
            r#"{"api_key": 1}"#,
            r#"{"api_key": ""}"#,
        ] {
            assert_eq!(find(&member, bad), Err(SecretError::Malformed), "{bad}");
        }
        let whole = name("secretsmanager:a");
        assert_eq!(find(&whole, "k"), Ok("k".to_owned()));
        assert_eq!(find(&whole, ""), Err(SecretError::Malformed));
    }
}
