//! Reads the configuration from the environment: once, typed, and with all mistakes reported together.

/// All mistakes in the configuration of a function, which therefore does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is wrong: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

/// Returns the value of a variable by its name.
type Source<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;

/// Reads variables and collects mistakes.
pub struct Config<'a> {
    read: Source<'a>,
    mistakes: Vec<String>,
}

impl Config<'static> {
    /// Reads the environment of the process.
    #[must_use]
    #[allow(clippy::disallowed_methods)]
    pub fn from_env() -> Self {
        Self::from_fn(|name| std::env::var(name).ok())
    }
}

impl<'a> Config<'a> {
    /// Reads variables from a function, for tests.
    #[must_use]
    pub fn from_fn(read: impl Fn(&str) -> Option<String> + 'a) -> Self {
        Self {
            read: Box::new(read),
            mistakes: Vec::new(),
        }
    }

    /// A required text. A missing text is recorded as a mistake; the empty text is returned in its place until
    /// [`Config::finish`].
    pub fn text(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.note(format!("{name} is not set"));
            String::new()
        })
    }

    /// Records a mistake once, also when several clients read the same variable.
    fn note(&mut self, mistake: String) {
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// An optional text; `None` if the variable is not set or empty.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.read)(name).filter(|text| !text.trim().is_empty())
    }

    /// Converts a required text with `make`. A failure is recorded without the value, which may be a secret.
    pub fn made<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        make: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let mistake = match self.optional(name).as_deref().map(make) {
            Some(Ok(value)) => return Some(value),
            Some(Err(error)) => format!("{name}: {error}"),
            None => format!("{name} is not set"),
        };
        self.mistakes.push(mistake);
        None
    }

    /// Ends reading and returns `made` if there were no mistakes.
    ///
    /// # Errors
    /// [`ConfigError`] with all mistakes.
    pub fn finish<T>(self, made: Option<T>) -> Result<T, ConfigError> {
        // `made` is `None` only after a recorded mistake.
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
