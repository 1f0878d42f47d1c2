//! Defines the gateway's address, the header with the key, and the time limits.

use std::time::Duration;

use ports::secrets::SecretText;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::mode::Mode;

/// The default time limit for connecting.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The default time limit of a call, connecting included.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the configured gateway cannot be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The URL is not an http or https URL.
    #[error("the gateway's URL is not an http or https URL")]
    Url,
    /// The URL has plain http to another machine, which would carry the secret key over a network unencrypted.
    #[error("the gateway's URL must be https unless it is on this machine")]
    Insecure,
    /// The HTTP client could not be created.
    #[error("the HTTP client could not be made: {0}")]
    Client(String),
}

/// The header that contains the key, masked in logs; `None` for an invalid key: empty, or not only visible
/// ASCII.
pub(crate) fn authorization(key: &SecretText) -> Option<HeaderValue> {
    let key = key.expose();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The address, the key mode and the time limits with which the adapter calls the gateway.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    pub(crate) base: Url,
    /// The mode that a key must have.
    pub(crate) mode: Mode,
    /// The time limit for connecting. When it has passed, nothing was sent.
    pub connect_timeout: Duration,
    /// The time limit of a whole call. When it has passed, the outcome is unknown.
    pub total_timeout: Duration,
}

impl StripeConfig {
    /// The API at `base_url` (scheme, host and port), for keys of `mode`, with the default time-outs.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong.
    pub fn new(base_url: &str, mode: Mode) -> Result<Self, ConfigError> {
        let base = Url::parse(base_url).map_err(|_| ConfigError::Url)?;
        let host = base.host_str().ok_or(ConfigError::Url)?;
        let is_here = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        match base.scheme() {
            "https" => {}
            "http" if is_here => {}
            "http" => return Err(ConfigError::Insecure),
            _ => return Err(ConfigError::Url),
        }
        Ok(Self {
            base,
            mode,
            connect_timeout: CONNECT_TIMEOUT,
            total_timeout: TOTAL_TIMEOUT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(key: &str) -> Option<HeaderValue> {
        authorization(&SecretText::new(key.to_owned()))
    }

    #[test]
    fn the_key_is_never_printed() {
        let header = header("sk_live_secret").unwrap();
        assert_eq!(header.as_bytes(), b"Bearer sk_live_secret");
        assert!(!format!("{header:?}").contains("secret"));
    }

    #[test]
    fn mistakes_are_named() {
        let config = |url: &str| StripeConfig::new(url, Mode::Test).err();
        assert_eq!(config("https://api.stripe.com"), None);
        assert_eq!(config("http://127.0.0.1:8080"), None);
        assert_eq!(config("http://api.stripe.com"), Some(ConfigError::Insecure));
        assert_eq!(config("ftp://api.stripe.com"), Some(ConfigError::Url));
        assert_eq!(config("api.stripe.com"), Some(ConfigError::Url));
        for bad in ["", "a b", "a\nb", "ä"] {
            assert_eq!(header(bad), None, "{bad:?}");
        }
    }
}
