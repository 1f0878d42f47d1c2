//! Where the gateway is, how to be let in, how long to wait.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;

/// How long connecting may take unless told otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a call may take, connecting included, unless told otherwise.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The gateway's secret key. Never printed.
#[derive(Clone)]
pub struct ApiKey(HeaderValue);

/// The gateway cannot be talked to as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not an http or https URL.
    #[error("the gateway's URL is not an http or https URL")]
    Url,
    /// Plain http would carry the secret key over a network.
    #[error("the gateway's URL must be https unless it is on this machine")]
    Insecure,
    /// Not visible ASCII, or empty.
    #[error("the gateway's key is empty or has characters a key cannot have")]
    Key,
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made: {0}")]
    Client(String),
}

impl ApiKey {
    /// The key, as a header that logs mask.
    ///
    /// # Errors
    /// [`ConfigError::Key`]
    pub fn new(key: &str) -> Result<Self, ConfigError> {
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ConfigError::Key);
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| ConfigError::Key)?;
        header.set_sensitive(true);
        Ok(Self(header))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// What an adapter is made from.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    pub(crate) base: Url,
    pub(crate) key: ApiKey,
    /// How long connecting may take; then nothing was sent.
    pub connect_timeout: Duration,
    /// How long a whole call may take; then its outcome is unknown.
    pub total_timeout: Duration,
}

impl StripeConfig {
    /// The API at `base_url` (scheme, host and port), with the default time-outs.
    ///
    /// # Errors
    /// [`ConfigError`] naming what is wrong.
    pub fn new(base_url: &str, key: ApiKey) -> Result<Self, ConfigError> {
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
            key,
            connect_timeout: CONNECT_TIMEOUT,
            total_timeout: TOTAL_TIMEOUT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_never_printed() {
        let key = ApiKey::new("sk_live_secret").unwrap();
        let config = StripeConfig::new("https://api.stripe.com", key).unwrap();
        assert!(!format!("{config:?}").contains("secret"));
        assert!(!format!("{:?}", config.key.header()).contains("secret"));
    }

    #[test]
    fn mistakes_are_named() {
        let config = |url: &str| StripeConfig::new(url, ApiKey::new("sk").unwrap()).err();
        assert_eq!(config("https://api.stripe.com"), None);
        assert_eq!(config("http://127.0.0.1:8080"), None);
        assert_eq!(config("http://api.stripe.com"), Some(ConfigError::Insecure));
        assert_eq!(config("ftp://api.stripe.com"), Some(ConfigError::Url));
        assert_eq!(config("api.stripe.com"), Some(ConfigError::Url));
        for bad in ["", "a b", "a\nb", "ä"] {
            assert!(ApiKey::new(bad).is_err(), "{bad:?}");
        }
    }
}
