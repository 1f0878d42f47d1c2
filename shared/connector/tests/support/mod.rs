//! Starts servers that count requests, for the tests of this crate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const TABLES: &str = r#"{"TableNames":["there"]}"#;
const FAILURE: &str = r#"{"__type":"InternalServerError"}"#;

pub(crate) struct Authority {
    root: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().pem();
        Self {
            root,
            issuer: Issuer::new(params, key),
        }
    }

    /// The authority's own certificate, in PEM.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    fn server(&self) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap()
    }
}

/// How a server answers.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Answers all requests.
    Answers,
    /// Answers no request and keeps the connection open.
    Silent,
    /// Closes the connection instead of an answer, for this number of first requests.
    ClosesFirst(usize),
    /// Answers this number of first requests with a server error.
    FailsFirst(usize),
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// Serves connections for a test, and stops when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn answering() -> Self {
        Self::start(Manner::Answers, None).await
    }

    pub(crate) async fn answering_with(authority: &Authority) -> Self {
        Self::start(Manner::Answers, Some(Arc::new(authority.server()).into())).await
    }

    pub(crate) async fn silent() -> Self {
        Self::start(Manner::Silent, None).await
    }

    pub(crate) async fn closing_first(requests: usize) -> Self {
        Self::start(Manner::ClosesFirst(requests), None).await
    }

    pub(crate) async fn failing_first(requests: usize) -> Self {
        Self::start(Manner::FailsFirst(requests), None).await
    }

    async fn start(manner: Manner, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let seen = Arc::clone(&counts);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::Relaxed);
                let (seen, tls) = (Arc::clone(&seen), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, manner, &seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, manner, &seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            counts,
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.address.port())
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// The number of complete requests that arrived.
    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::Relaxed)
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner, counts: &Counts) {
    let mut stream = BufReader::new(stream);
    while read_request(&mut stream).await.is_some() {
        let number = counts.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let (status, body) = match manner {
            Manner::Silent => std::future::pending().await,
            Manner::ClosesFirst(requests) if number <= requests => return,
            Manner::FailsFirst(requests) if number <= requests => ("500 Internal Server Error", FAILURE),
            _ => ("200 OK", TABLES),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// Reads one request. `None` at the end of the connection or for bytes that are not a request.
async fn read_request(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<()> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    if !line.starts_with("POST ") {
        return None;
    }
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(())
}
