//! Parses the database's address from a URL.

use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// A connection URL that is not accepted. No variant contains text of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The URL cannot be parsed.
    #[error("not a postgresql:// URL with a user and one host")]
    Unreadable,
    /// The URL asks for a connection without server verification.
    #[error("sslmode must be verify-full, which is also meant when it is left out")]
    Unverified,
    /// The URL holds a password.
    #[error("the URL must not hold a password")]
    Password,
}

/// The address of a database: `postgresql://user@host:port/database`.
///
/// The only `sslmode` is `verify-full`, which is also the default: TLS to a server with a verified name. The URL may
/// not hold a password, since the function's settings would then show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) config: Config,
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// PostgreSQL's port, used when the URL names none.
const DEFAULT_PORT: u16 = 5432;

impl FromStr for Address {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        let is_url = ["postgresql://", "postgres://"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        if !is_url {
            return Err(UrlError::Unreadable);
        }
        // The driver does not know `verify-full`, so `sslmode` is removed from the URL.
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match form_urlencoded::parse(pair.as_bytes()).next() {
                Some((name, mode)) if name == "sslmode" => {
                    if mode != "verify-full" {
                        return Err(UrlError::Unverified);
                    }
                }
                _ => others.push(pair),
            }
        }
        let mut config: Config = format!("{place}?{}", others.join("&"))
            .parse()
            .map_err(|_| UrlError::Unreadable)?;
        if config.get_password().is_some() {
            return Err(UrlError::Password);
        }
        config.ssl_mode(SslMode::Require);
        let user = config.get_user().filter(|user| !user.is_empty());
        let user = user.ok_or(UrlError::Unreadable)?.to_owned();
        let host = match config.get_hosts() {
            [Host::Tcp(host)] if !host.is_empty() => host.clone(),
            _ => return Err(UrlError::Unreadable),
        };
        let port = config.get_ports().first().copied().unwrap_or(DEFAULT_PORT);
        Ok(Self {
            config,
            user,
            host,
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read() {
        for url in [
            "postgresql://writer@db.example.org:5433/ledger",
            "postgres://writer@db.example.org:5433/ledger?sslmode=verify-full",
            "postgresql://writer@db.example.org:5433/ledger?application_name=a%20b&sslmode=verify-full",
        ] {
            let address: Address = url.parse().unwrap();
            assert_eq!(&*address.user, "writer");
            assert_eq!(&*address.host, "db.example.org");
            assert_eq!(address.port, 5433);
            assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
            assert_eq!(address.config.get_dbname(), Some("ledger"));
        }
        let address: Address = "postgresql://writer@db/ledger?application_name=a%20b"
            .parse()
            .unwrap();
        assert_eq!(address.port, DEFAULT_PORT);
        assert_eq!(address.config.get_application_name(), Some("a b"));
    }

    #[test]
    fn less_than_a_verified_server_is_refused() {
        for mode in [
            "disable",
            "allow",
            "prefer",
            "require",
            "verify-ca",
            "",
            "VERIFY-FULL",
        ] {
            for url in [
                format!("postgresql://writer@db/ledger?sslmode={mode}"),
                format!("postgresql://writer@db/ledger?sslmode=verify-full&sslmode={mode}"),
                format!("postgresql://writer@db/ledger?%73slmode={mode}"),
            ] {
                assert_eq!(url.parse::<Address>(), Err(UrlError::Unverified), "{url}");
            }
        }
    }

    #[test]
    fn a_password_is_refused_and_not_told() {
        for url in [
            "postgresql://writer:s3cret@db/ledger",
            "postgresql://writer@db/ledger?password=s3cret",
        ] {
            let error = url.parse::<Address>().unwrap_err();
            assert_eq!(error, UrlError::Password);
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in [
            "",
            "db",
            "host=db user=writer",
            "mysql://writer@db/ledger",
            "postgresql://db/ledger",
            "postgresql://writer@/ledger",
            "postgresql://writer@db:port/ledger",
            "postgresql://writer@one,other/ledger",
            "postgresql://writer@%2Fvar%2Frun/ledger",
            "postgresql://writer@db/ledger?odd=1",
        ] {
            assert_eq!(url.parse::<Address>(), Err(UrlError::Unreadable), "{url}");
        }
    }
}
