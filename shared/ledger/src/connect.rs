//! Opens a connection over TLS, and signs in.

use std::error::Error as _;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::Address;
use crate::sign_in::{SignIn, SignInError};
use crate::tls::Roots;

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No password or token could be made.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The server cannot be reached, fails the identity check, or refuses the sign-in.
    #[error("{}", causes(.0))]
    Refused(#[from] tokio_postgres::Error),
}

/// The driver's error with its causes. The causes name the server's certificate and contain nothing that was sent.
fn causes(error: &tokio_postgres::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A database: its address, the trusted roots and the sign-in method.
#[derive(Clone)]
pub struct Database {
    pub(crate) address: Address,
    tls: MakeRustlsConnect,
    sign_in: SignIn,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Database");
        shown
            .field("address", &self.address)
            .field("sign_in", &self.sign_in);
        shown.finish_non_exhaustive()
    }
}

/// A connection's background task. It ends when the client is dropped.
pub type Running = JoinHandle<Result<(), tokio_postgres::Error>>;

impl Database {
    /// Makes the database without connecting.
    #[must_use]
    pub fn new(address: Address, roots: Roots, sign_in: SignIn) -> Self {
        Self {
            address,
            tls: roots.connector(),
            sign_in,
        }
    }

    /// Opens a connection and signs in with a fresh password or token. If the server refuses a password, the password
    /// is read again and the connection is tried once more.
    ///
    /// # Errors
    /// [`ConnectError`]. Only the TCP connection has a time limit.
    pub async fn connect(&self) -> Result<(Client, Running), ConnectError> {
        match self.connect_once().await {
            Err(ConnectError::Refused(error)) if is_sign_in(&error) && self.sign_in.refused().await => {
                self.connect_once().await
            }
            other => other,
        }
    }

    async fn connect_once(&self) -> Result<(Client, Running), ConnectError> {
        let mut config = self.address.config.clone();
        if let Some(password) = self.sign_in.password(&self.address).await? {
            config.password(password.expose());
        }
        let (client, connection) = config.connect(self.tls.clone()).await?;
        Ok((client, tokio::spawn(connection)))
    }
}

/// Whether the server refused the sign-in.
fn is_sign_in(error: &tokio_postgres::Error) -> bool {
    let codes = [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
    ];
    error.code().is_some_and(|code| codes.contains(code))
}
