//! Requests the keys of issuers.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, Response, StatusCode, Url, redirect, retry};
use tokens::KeySetError;

/// The time limit for connecting to an issuer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit for an issuer's complete answer, connecting included.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes. A key with its certificate chain needs some 5 KB.
pub const MAX_ANSWER_BYTES: usize = 128 * 1024;

/// Whether a URL may use `http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    Refused,
    /// `http` is also allowed to this machine, for the local stack.
    ToLoopback,
}

/// Why a URL is not requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is not a URL with a host.
    #[error("`jwks_uri` is no URL")]
    Url,
    /// Over `http`, a third party could replace the keys.
    #[error("`jwks_uri` is not https")]
    Insecure,
    /// A user name or password in the URL would appear in logs.
    #[error("`jwks_uri` has a user name or password")]
    Credentials,
}

/// Why an issuer's answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The HTTP client could not be created.
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
    /// The answer was not complete in time.
    #[error("no whole answer came within {} s", TOTAL_TIMEOUT.as_secs())]
    Late,
    /// The connection could not be made, or it broke during the answer.
    #[error("no whole answer: {0}")]
    None(reqwest::Error),
    /// The answer's status is not 200. A redirect is not followed, since only the shop may choose the URL.
    #[error("the status is {0}")]
    Status(u16),
    /// The answer exceeds [`MAX_ANSWER_BYTES`].
    #[error("the answer is longer than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// The answer is not a JWK Set, or has no usable key, or too many.
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

/// Checks and parses an issuer's URL.
///
/// # Errors
/// [`AddressError`]
pub fn address(uri: &str, plain_http: PlainHttp) -> Result<Url, AddressError> {
    let url = Url::parse(uri).map_err(|_| AddressError::Url)?;
    let host = url.host_str().ok_or(AddressError::Url)?;
    let is_here = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    match url.scheme() {
        "https" => {}
        "http" if is_here && plain_http == PlainHttp::ToLoopback => {}
        "http" => return Err(AddressError::Insecure),
        _ => return Err(AddressError::Url),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Credentials);
    }
    Ok(url)
}

/// An HTTP client for `addresses`, which repeats no request and follows no redirect.
pub(crate) fn client<'a>(mut addresses: impl Iterator<Item = &'a Url>) -> Result<Client, AnswerError> {
    // The client requires a TLS provider even for plain HTTP. A second installation has no effect.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        // No request is repeated, since the next run requests the keys again.
        .retry(retry::never())
        .redirect(redirect::Policy::none())
        .no_proxy();
    if addresses.all(|url| url.scheme() == "http") {
        // Avoids loading the system's certificates when no URL needs them.
        builder = builder.tls_certs_only([]);
    }
    builder
        .build()
        .map_err(|error| AnswerError::Client(error.to_string()))
}

/// Requests `url`. Returns the body of an answer with status 200.
pub(crate) async fn fetch(client: &Client, url: Url) -> Result<Vec<u8>, AnswerError> {
    let request = client
        .get(url)
        .header(ACCEPT, "application/jwk-set+json, application/json");
    let response = request.send().await.map_err(none)?;
    if response.status() != StatusCode::OK {
        return Err(AnswerError::Status(response.status().as_u16()));
    }
    body(response).await
}

async fn body(mut response: Response) -> Result<Vec<u8>, AnswerError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(none)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(AnswerError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The log line already names the issuer, so the URL is removed from the error.
fn none(error: reqwest::Error) -> AnswerError {
    match error.is_timeout() {
        true => AnswerError::Late,
        false => AnswerError::None(error.without_url()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_on_a_machine_that_permits_http_to_itself() {
        let both =
            |uri| [PlainHttp::Refused, PlainHttp::ToLoopback].map(|plain| address(uri, plain).map(|_| ()));
        assert_eq!(
            both("https://login.example/.well-known/jwks.json"),
            [Ok(()), Ok(())]
        );
        for here in [
            "http://127.0.0.1:8080/jwks",
            "http://localhost/jwks",
            "http://[::1]:1/jwks",
        ] {
            assert_eq!(both(here), [Err(AddressError::Insecure), Ok(())], "{here}");
        }
        for (uri, error) in [
            ("http://login.example/jwks", AddressError::Insecure),
            ("http://127.0.0.1.login.example/jwks", AddressError::Insecure),
            ("http://169.254.169.254/latest", AddressError::Insecure),
            ("https://ada:pass@login.example/jwks", AddressError::Credentials),
            ("https://ada@login.example/jwks", AddressError::Credentials),
            ("file:///etc/passwd", AddressError::Url),
            ("ftp://login.example/jwks", AddressError::Url),
            ("data:application/json,{}", AddressError::Url),
            ("/jwks", AddressError::Url),
            ("", AddressError::Url),
        ] {
            assert_eq!(both(uri), [Err(error.clone()), Err(error)], "{uri}");
        }
    }
}
