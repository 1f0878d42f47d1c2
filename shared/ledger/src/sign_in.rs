//! What a connection shows to the server: a token made for it, a secret, or nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use domain::time::Timestamp;
use ports::edge::Edge;
use ports::secrets::{ReadSecret, SecretError, SecretText};

use crate::address::Address;

/// How long a server takes a token after it was made, in seconds: what RDS allows at most. A connection that stands outlives its
/// token.
pub const TOKEN_SECONDS: u64 = 15 * 60;

/// Why a connection has nothing to show. No variant holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// No token could be made: the address or the keys are unfit for it.
    #[error("no token could be made")]
    Token,
    /// The secret could not be read.
    #[error("the password cannot be read: {0}")]
    Secret(#[from] SecretError),
}

/// How connections sign in. Each new connection asks anew.
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

/// What comes of a call of [`Password`].
type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`ReadSecret`] as an object.
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
    /// Nothing is shown: the server trusts whoever reaches it.
    #[must_use]
    pub const fn nothing() -> Self {
        Self(How::Nothing)
    }

    /// A token of IAM, made for each connection with these keys by the edge's clock, as RDS and RDS Proxy take it in place of a
    /// password.
    #[must_use]
    pub fn iam(keys: Credentials, region: String, edge: impl Edge) -> Self {
        let now = Box::new(move || edge.now());
        Self(How::Iam(Arc::new(Iam { keys, region, now })))
    }

    /// A password that is read for each connection, and read again when the server refuses it.
    #[must_use]
    pub fn secret(secret: impl ReadSecret + 'static) -> Self {
        Self(How::Secret(Arc::new(secret)))
    }

    /// What a new connection to `address` shows.
    pub(crate) async fn password(&self, address: &Address) -> Result<Option<SecretText>, SignInError> {
        match &self.0 {
            How::Nothing => Ok(None),
            How::Iam(iam) => iam.token(address).map(Some),
            How::Secret(secret) => Ok(Some(secret.read().await?)),
        }
    }

    /// The server refused what it was shown. Answers whether another try may show something else.
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

/// What tokens are made of.
struct Iam {
    keys: Credentials,
    region: String,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Iam {
    /// A token: the presigned address of an action `connect` of the service `rds-db`, without its scheme. It names the host, the
    /// port and the user, and the server takes it from no other client than one that asks for these.
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

    /// The token that botocore 1.43 makes of the same keys, address and moment by `generate_db_auth_token`, its parameters in
    /// another order.
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
