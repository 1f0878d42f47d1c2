//! Signs a connection in: with a token made for the connection, with a password, or with neither.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use domain::time::Timestamp;
use ports::runtime::Clock;
use ports::secrets::{ReadSecret, SecretError, SecretText};

use crate::address::Address;

/// How long a token is valid, in seconds: the longest time that RDS allows. An open connection may outlive its token.
pub const TOKEN_SECONDS: u64 = 15 * 60;

/// Why no password or token is available. No variant contains any part of a password or token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// No token could be made from the address and the credentials.
    #[error("no token could be made")]
    Token,
    /// The password could not be read.
    #[error("the password cannot be read: {0}")]
    Secret(#[from] SecretError),
}

/// The sign-in method. Each new connection makes or reads its own token or password.
#[derive(Clone)]
pub struct SignIn(How);

#[derive(Clone)]
enum How {
    Nothing,
    Iam(Arc<Iam>),
    Secret(Arc<dyn Password>),
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            How::Nothing => "SignIn(nothing)",
            How::Iam(_) => "SignIn(iam)",
            How::Secret(_) => "SignIn(secret)",
        })
    }
}

/// The boxed future of a [`Password`] call.
type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`ReadSecret`] as an object-safe trait.
trait Password: Send + Sync {
    fn read(&self) -> Later<'_, Result<SecretText, SecretError>>;
    fn refused(&self) -> Later<'_, ()>;
}

impl<S: ReadSecret> Password for S {
    fn read(&self) -> Later<'_, Result<SecretText, SecretError>> {
        Box::pin(ReadSecret::read(self))
    }

    fn refused(&self) -> Later<'_, ()> {
        Box::pin(ReadSecret::refused(self))
    }
}

impl SignIn {
    /// No password: the server trusts every client that reaches it.
    #[must_use]
    pub const fn nothing() -> Self {
        Self(How::Nothing)
    }

    /// An IAM token, signed for each connection with these credentials at the time of `clock`. RDS and RDS Proxy accept
    /// the token as a password.
    #[must_use]
    pub fn iam(keys: Credentials, region: String, clock: impl Clock) -> Self {
        let now = Box::new(move || clock.now());
        Self(How::Iam(Arc::new(Iam { keys, region, now })))
    }

    /// A password that is read for each connection, and read again when the server refuses it.
    #[must_use]
    pub fn secret(secret: impl ReadSecret + 'static) -> Self {
        Self(How::Secret(Arc::new(secret)))
    }

    /// The password or token for a new connection to `address`.
    pub(crate) async fn password(&self, address: &Address) -> Result<Option<SecretText>, SignInError> {
        match &self.0 {
            How::Nothing => Ok(None),
            How::Iam(iam) => iam.token(address).map(Some),
            How::Secret(secret) => Ok(Some(secret.read().await?)),
        }
    }

    /// Reports that the server refused the sign-in. Returns whether a retry may use another password.
    pub(crate) async fn refused(&self) -> bool {
        match &self.0 {
            How::Nothing | How::Iam(_) => false,
            How::Secret(secret) => {
                secret.refused().await;
                true
            }
        }
    }
}

/// The inputs of a token.
struct Iam {
    keys: Credentials,
    region: String,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Iam {
    /// A token: the presigned URL of the action `connect` of the service `rds-db`, without its scheme. The token names
    /// host, port and user, and the server accepts the token only for these.
    fn token(&self, address: &Address) -> Result<SecretText, SignInError> {
        let user = form_urlencoded::byte_serialize(address.user.as_bytes());
        let user: String = user.collect();
        let (host, port) = (&address.host, address.port);
        let url = format!("https://{host}:{port}/?Action=connect&DBUser={user}");
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(TOKEN_SECONDS));
        let identity = self.keys.clone().into();
        let ms = u64::try_from((self.now)().as_millis()).map_err(|_| SignInError::Token)?;
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("rds-db")
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
            .settings(settings)
            .build()
            .map_err(|_| SignInError::Token)?;
        let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::empty())
            .map_err(|_| SignInError::Token)?;
        let signed = sign(request, &params.into()).map_err(|_| SignInError::Token)?;
        let (instructions, _) = signed.into_parts();
        let signature: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(instructions.params())
            .finish();
        let token = format!("{host}:{port}/?Action=connect&DBUser={user}&{signature}");
        Ok(SecretText::new(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature of the token that `generate_db_auth_token` of botocore 1.43 makes from the same credentials,
    /// address and time. Only the order of its parameters differs.
    const SIGNATURE: &str = "b532534ccb581c30caf7b180dd6f951a697f3ce3494bc84c689bda5757fbbd62";

    #[test]
    fn a_token_is_signed_as_by_amazon_s_own_tools() {
        let keys = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            Some("session+token/=".to_owned()),
            None,
            "test",
        );
        let iam = Iam {
            keys,
            region: "eu-central-1".to_owned(),
            now: Box::new(|| Timestamp::from_millis(1_800_000_000_000)),
        };
        let host = "ledger.proxy-abc.eu-central-1.rds.amazonaws.com";
        let address = format!("postgresql://project_ledger@{host}/ledger")
            .parse()
            .unwrap();
        let token = iam.token(&address).unwrap();
        let (place, query) = token.expose().split_once('?').unwrap();
        assert_eq!(place, format!("{host}:5432/"));
        let signature = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "X-Amz-Signature");
        assert_eq!(signature.unwrap().1, SIGNATURE);
    }
}
