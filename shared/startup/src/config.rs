//! Configuration from the environment: read once, typed, and with all mistakes reported together.

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
}
