//! Sends the AWS SDK's requests over HTTP/1.1.
//!
//! **Why.** DynamoDB and SQS support HTTP/1.1 only, but the SDK's own connector always links an HTTP/2 implementation:
//! most of a megabyte in every function, loaded at every cold start. This connector uses the same libraries (hyper,
//! rustls, kept-alive connections) without HTTP/2, proxies and the system's trust store.
//!
//! **A walk through.** [`plain`] and [`secure`] make the HTTP client of an SDK configuration. The SDK passes each
//! attempt to [`HttpConnector::call`], which converts the request, sends it with hyper, and maps an error to the SDK's
//! error kinds ([`errors`]). The SDK decides by these kinds whether to retry. [`paced`] limits the request rate for
//! services with low quotas. [`Failure`] gives adapters the outcome of a failed call.
//!
//! **What it does not do.** The connector has no read time-out: the time limit of the SDK's attempt covers the answer.
//! It resolves no host names itself: the C library does, as with the SDK's connector.

mod causes;
mod errors;
mod failure;
mod pace;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{
    CaptureConnection, Connect, HttpConnector as TcpConnector, HttpInfo, capture_connection,
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

pub use failure::{Failure, Kind, request_id};
pub use pace::paced;

/// The trust store could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BadTrust {
    /// A root is not a certificate in PEM.
    #[error("a root is not a certificate")]
    Root,
    /// `rustls` refuses its own default settings.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// A client for `http://` addresses: the local stack and tests. Connecting may take `connect_timeout`.
#[must_use]
pub fn plain(connect_timeout: Duration) -> SharedHttpClient {
    shared(tcp(connect_timeout))
}

/// A client for `https://` addresses that trusts only these roots, each one certificate in PEM. Connecting over TCP may
/// take `connect_timeout`; the time limit of the SDK's attempt covers the TLS handshake.
///
/// # Errors
/// [`BadTrust`].
pub fn secure(connect_timeout: Duration, roots: &[&[u8]]) -> Result<SharedHttpClient, BadTrust> {
    let mut trusted = RootCertStore::empty();
    for pem in roots {
        let root = CertificateDer::from_pem_slice(pem).map_err(|_| BadTrust::Root)?;
        trusted.add(root)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let mut tcp = tcp(connect_timeout);
    tcp.enforce_http(false);
    let https: HttpsConnector<TcpConnector> = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(shared(https))
}

fn tcp(connect_timeout: Duration) -> TcpConnector {
    let mut tcp = TcpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_timeout));
    tcp
}

fn shared<C: Connect + Clone + Send + Sync + 'static>(connect: C) -> SharedHttpClient {
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(connect);
    // Every attempt gets the same connector and so the same kept-alive connections.
    let connector = SharedHttpConnector::new(Sender { client });
    http_client_fn(move |_, _| connector.clone())
}

struct Sender<C> {
    client: Client<C, SdkBody>,
}

impl<C> fmt::Debug for Sender<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> HttpConnector for Sender<C> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        // Gives the SDK the connection: after some errors it marks the connection as unusable, so that no further
        // request uses it.
        if request.extensions().get::<CaptureSmithyConnection>().is_some() {
            let connection = capture_connection(&mut request);
            if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
                capture.set_connection_retriever(move || metadata(&connection));
            }
        }
        let sent = self.client.request(request);
        HttpConnectorFuture::new(async move {
            match sent.await {
                Ok(response) => HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                    .map_err(|error| ConnectorError::other(error.into(), None)),
                Err(error) => Err(errors::sorted(error)),
            }
        })
    }
}

/// The metadata with which the SDK marks the connection of a request as unusable.
fn metadata(connection: &CaptureConnection) -> Option<ConnectionMetadata> {
    let mut extensions = http::Extensions::new();
    connection
        .connection_metadata()
        .as_ref()?
        .get_extras(&mut extensions);
    let info = extensions.get::<HttpInfo>();
    let connection = connection.clone();
    let mut builder = ConnectionMetadata::builder().proxied(false).poison_fn(move || {
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.poison();
        }
    });
    builder
        .set_local_addr(info.map(HttpInfo::local_addr))
        .set_remote_addr(info.map(HttpInfo::remote_addr));
    Some(builder.build())
}
