//! Configuration from the environment: read once, typed, and with all mistakes reported together.

use tokens::{Audience, Issuers, KeySet, KeySetError, Verifier};

/// A function that was given a wrong configuration refuses to start, with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is wrong: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

/// Where variables come from.
type Source<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;

/// Reads variables and collects what is wrong with them.
pub struct Config<'a> {
    read: Source<'a>,
    mistakes: Vec<String>,
}

impl Config<'static> {
    /// The process's environment.
    #[must_use]
    #[allow(clippy::disallowed_methods)]
    pub fn from_env() -> Self {
        Self::from_fn(|name| std::env::var(name).ok())
    }
}

impl<'a> Config<'a> {
    /// Variables from anywhere, for tests.
    #[must_use]
    pub fn from_fn(read: impl Fn(&str) -> Option<String> + 'a) -> Self {
        Self {
            read: Box::new(read),
            mistakes: Vec::new(),
        }
    }

    /// A text that must be there. A missing one is noted, and an empty text stands for it until [`Config::finish`].
    pub fn text(&mut self, name: &str) -> String {
        match (self.read)(name) {
            Some(text) if !text.trim().is_empty() => text,
            _ => {
                self.note(format!("{name} is not set"));
                String::new()
            }
        }
    }

    /// What is read for several clients is told once.
    fn note(&mut self, mistake: String) {
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// A text that may be missing.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.read)(name).filter(|text| !text.trim().is_empty())
    }

    /// A value made of a text by `make`; what `make` refuses is noted without the value, which may be a secret.
    pub fn made<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        make: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = (self.read)(name).filter(|text| !text.trim().is_empty());
        match text.as_deref().map(make) {
            Some(Ok(value)) => Some(value),
            Some(Err(error)) => {
                self.mistakes.push(format!("{name}: {error}"));
                None
            }
            None => {
                self.mistakes.push(format!("{name} is not set"));
                None
            }
        }
    }

    /// What checks shoppers' tokens, by the issuers in `SHOPPER_KEYS` and the JWK Set in the optional `DEPLOYER_KEYS`. What is missing or
    /// wrong is noted, and an issuer and audience that stand in `OPERATOR_KEYS` too.
    pub fn shopper_tokens(&mut self) -> Option<Verifier> {
        self.verifier(Audience::Shopper, "SHOPPER_KEYS", "OPERATOR_KEYS")
    }

    /// What checks operators' tokens; as [`Config::shopper_tokens`], the other way round.
    pub fn operator_tokens(&mut self) -> Option<Verifier> {
        self.verifier(Audience::Operator, "OPERATOR_KEYS", "SHOPPER_KEYS")
    }

    fn verifier(&mut self, audience: Audience, own: &str, other: &str) -> Option<Verifier> {
        const DEPLOYERS: &str = "DEPLOYER_KEYS";
        let verifier = self.made(own, |text| Verifier::of(audience, Issuers::parse(text)?));
        if let (Some(verifier), Some(text)) = (&verifier, self.optional(other)) {
            let apart = Issuers::parse(&text).and_then(|others| verifier.issuers().check_apart(&others));
            if let Err(error) = apart {
                self.note(format!("{other}: {error}"));
            }
        }
        let deployers = self.optional(DEPLOYERS).map(|json| KeySet::parse(&json));
        let added = match deployers {
            // A stored parameter cannot be empty, so a set without keys says that there is no deployer.
            None | Some(Err(KeySetError::Count(0))) => return verifier,
            Some(deployers) => deployers.and_then(|keys| {
                let add = |verifier: Verifier| verifier.with_deployers(keys);
                verifier.map(add).transpose()
            }),
        };
        added.unwrap_or_else(|error| {
            self.note(format!("{DEPLOYERS}: {error}"));
            None
        })
    }

    /// Ends the reading and hands out what was made of it.
    ///
    /// # Errors
    /// [`ConfigError`] with all mistakes, if there were any.
    pub fn finish<T>(self, made: Option<T>) -> Result<T, ConfigError> {
        // What could not be made was noted, so with no mistake it is there.
        match (self.mistakes.is_empty(), made) {
            (true, Some(value)) => Ok(value),
            _ => Err(ConfigError(self.mistakes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_reported_together_and_no_value_is() {
        let mut config = Config::from_fn(|name| match name {
            "A" => Some("alpha".into()),
            "KEY" => Some("s3cret".into()),
            _ => None,
        });
        assert_eq!(config.text("A"), "alpha");
        config.text("B");
        config.text("B");
        assert_eq!(config.made("KEY", |_| Err::<(), _>("not a key")), None);
        assert_eq!(config.optional("C"), None);
        let text = config.finish(Some(())).unwrap_err().to_string();
        assert_eq!(text, "the configuration is wrong: B is not set; KEY: not a key");
        assert!(!text.contains("s3cret"));
    }

    fn started(audience: Audience, variables: &[(&str, Option<&str>)]) -> Result<(), String> {
        let mut config = Config::from_fn(|name| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            value.map(str::to_owned)
        });
        let verifier = match audience {
            Audience::Shopper => config.shopper_tokens(),
            Audience::Operator => config.operator_tokens(),
        };
        let finished = config.finish(verifier).map(|_| ());
        finished.map_err(|error| error.to_string())
    }

    #[test]
    fn an_issuer_and_audience_of_shoppers_and_of_operators_stop_the_start() {
        let document = |audience: &str| {
            let key = r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
            format!(
                r#"{{"issuers":[{{"issuer":"https://login.example","audiences":["{audience}"],"algorithms":["EdDSA"],
                   "max_life_seconds":60,"role":{{"claim":"/groups","value":"operators"}},"keys":[{key}]}}]}}"#
            )
        };
        let (shop, back, wrong) = (document("shop"), document("back-office"), document(""));
        let starts = |shoppers: &str, operators: &str| {
            let variables = [
                ("SHOPPER_KEYS", Some(shoppers)),
                ("OPERATOR_KEYS", Some(operators)),
            ];
            [Audience::Shopper, Audience::Operator].map(|audience| started(audience, &variables))
        };
        assert_eq!(starts(&shop, &back), [Ok(()), Ok(())]);
        let shared = "the issuer https://login.example has the audience shop for shoppers and for operators";
        let told = ["OPERATOR_KEYS", "SHOPPER_KEYS"]
            .map(|name| Err(format!("the configuration is wrong: {name}: {shared}")));
        assert_eq!(starts(&shop, &shop), told);
        for refused in starts(&shop, &wrong) {
            assert!(
                refused
                    .unwrap_err()
                    .contains("OPERATOR_KEYS: the issuer https://login.example needs 1 to")
            );
        }
    }

    #[test]
    fn a_deployer_is_optional_and_a_wrong_one_is_a_mistake() {
        const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let set =
            |kid: &str| format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{X}"}}]}}"#);
        let start = |shoppers: &str, deployers: Option<&str>| {
            started(
                Audience::Shopper,
                &[("SHOPPER_KEYS", Some(shoppers)), ("DEPLOYER_KEYS", deployers)],
            )
        };
        let own = |kid: &str| {
            let keys = KeySet::parse(&set(kid)).unwrap();
            Issuers::own(Audience::Shopper, keys).to_json()
        };
        for deployers in [None, Some(""), Some(r#"{"keys":[]}"#), Some(&set("d"))] {
            assert_eq!(start(&own("a"), deployers), Ok(()), "{deployers:?}");
        }
        for (shoppers, deployers, mistake) in [
            ("", None, "SHOPPER_KEYS is not set"),
            (
                "x",
                None,
                "SHOPPER_KEYS: not a document of issuers in JSON; line 1, column 1",
            ),
            (&own("a"), Some("x"), "DEPLOYER_KEYS: not a JWK Set in JSON"),
            (
                &own("a"),
                Some(&set("a")),
                "DEPLOYER_KEYS: two keys have the `kid` a",
            ),
            (
                "",
                Some("x"),
                "SHOPPER_KEYS is not set; DEPLOYER_KEYS: not a JWK Set in JSON",
            ),
        ] {
            let told = start(shoppers, deployers).unwrap_err();
            assert_eq!(told, format!("the configuration is wrong: {mistake}"));
        }
    }
}
