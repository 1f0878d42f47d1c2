//! Sends HTTP requests as a browser does: keeps connections open, limits the time of each request, and never retries by
//! itself.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_ATTEMPT: HeaderName = HeaderName::from_static("idempotency-attempt");

/// The answer's header with the time, in µs, that the stack waited to model the platform's part of a cold start.
const MODELLED: HeaderName = HeaderName::from_static(stack_api::MODELLED_HEADER);

/// An answer of the API, read completely, with the part of its latency that was modelled.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// The value of `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The modelled part of the latency, in µs.
    pub modelled_us: u32,
    pub body: Bytes,
}

impl Answer {
    /// Parses the body as JSON.
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// The reason why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// The client's time limit passed.
    #[error("timeout")]
    TimedOut,
    #[error("connection failed")]
    Connection,
}

/// A request that [`Client::send`] can send more than once.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    pub uri: Uri,
    /// The value of the header `Authorization`.
    pub bearer: Option<HeaderValue>,
    /// The value of the header `Idempotency-Key`.
    pub key: Option<HeaderValue>,
    /// The number of the attempt with this key; the header `Idempotency-Attempt` has it from the second on.
    pub attempt: u16,
    /// The body and its content type.
    pub body: Option<(Bytes, &'static str)>,
}

impl Call {
    /// A GET without headers.
    #[must_use]
    pub fn get(uri: Uri) -> Self {
        Self {
            method: Method::GET,
            uri,
            bearer: None,
            key: None,
            attempt: 1,
            body: None,
        }
    }

    /// A POST without headers and body.
    #[must_use]
    pub fn post(uri: Uri) -> Self {
        Self {
            method: Method::POST,
            ..Self::get(uri)
        }
    }

    /// Adds a JSON body.
    #[must_use]
    pub fn json(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some((body.into(), "application/json"));
        self
    }

    /// The HTTP request that sends this call.
    #[must_use]
    pub fn request(&self) -> Request<Full<Bytes>> {
        let (body, kind) = self.body.clone().unzip();
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let attempt = (self.attempt > 1).then(|| self.attempt.into());
        let headers = [
            (CONTENT_TYPE, kind.map(HeaderValue::from_static)),
            (AUTHORIZATION, self.bearer.clone()),
            (IDEMPOTENCY_KEY, self.key.clone()),
            (IDEMPOTENCY_ATTEMPT, attempt),
        ];
        for (name, value) in headers {
            if let Some(value) = value {
                request.headers_mut().insert(name, value);
            }
        }
        request
    }
}

/// Sends requests over one connection pool.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

impl Client {
    /// A client that waits at most `timeout` for each answer.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // A closed connection occupies its local port for a minute, and Linux searches the 28,000 ports one by one for
        // a free one. So idle connections stay open, and the next requests use them.
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(None)
            .retry_canceled_requests(false)
            .build(connector);
        Self { pool, timeout }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`Silence`] when there is no answer.
    pub async fn send(&self, call: &Call) -> Result<Answer, Silence> {
        let exchange = async {
            let response = self.pool.request(call.request()).await;
            let (head, body) = response.map_err(|_| Silence::Connection)?.into_parts();
            let body = body.collect().await.map_err(|_| Silence::Connection)?.to_bytes();
            let number = |name: HeaderName| head.headers.get(name)?.to_str().ok()?.parse::<u32>().ok();
            Ok(Answer {
                status: head.status.as_u16(),
                retry_after: number(RETRY_AFTER),
                modelled_us: number(MODELLED).unwrap_or(0),
                body,
            })
        };
        let answer = tokio::time::timeout(self.timeout, exchange).await;
        answer.unwrap_or(Err(Silence::TimedOut))
    }
}
