//! Defines the mode of a key: test or live.

use std::fmt;
use std::str::FromStr;

use ports::secrets::SecretText;

/// Whether payments move real money. Each of Stripe's keys has one mode, which its first characters show.
///
/// Source: <https://docs.stripe.com/keys>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No money moves. A sandbox's keys have this form as well.
    Test,
    /// Real money moves.
    Live,
}

/// The first characters of secret and of restricted keys, by mode.
const PREFIXES: [(Mode, [&str; 2]); 2] = [
    (Mode::Test, ["sk_test_", "rk_test_"]),
    (Mode::Live, ["sk_live_", "rk_live_"]),
];

impl Mode {
    /// The mode of a key; `None` if the key's first characters show no mode.
    #[must_use]
    pub fn of(key: &SecretText) -> Option<Self> {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.expose().starts_with(prefix));
        let found = PREFIXES.iter().find(|(_, prefixes)| begins(prefixes));
        found.map(|(mode, _)| *mode)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Test => "test",
            Self::Live => "live",
        })
    }
}

/// A text that is not the name of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither `test` nor `live`")]
pub struct ModeError;

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        match text {
            "test" => Ok(Self::Test),
            "live" => Ok(Self::Live),
            _ => Err(ModeError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_mode_or_has_none() {
        for (key, mode) in [
            ("sk_test_1", Some(Mode::Test)),
            ("rk_test_1", Some(Mode::Test)),
            ("sk_live_1", Some(Mode::Live)),
            ("rk_live_1", Some(Mode::Live)),
            ("pk_live_1", None),
            ("SK_LIVE_1", None),
            ("1_sk_test_", None),
            ("", None),
        ] {
            assert_eq!(Mode::of(&SecretText::new(key.to_owned())), mode, "{key}");
        }
    }

    #[test]
    fn a_mode_is_read_as_it_is_shown() {
        for mode in [Mode::Test, Mode::Live] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for bad in ["", "Live", "prod", "live "] {
            assert_eq!(bad.parse::<Mode>(), Err(ModeError), "{bad:?}");
        }
    }
}
