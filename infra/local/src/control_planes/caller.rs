//! Calls the control planes over HTTP.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::request::Builder;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::http1::{Reply, bare};
use crate::template::{REGION, function_arn};

/// The time limit for one answer of the control planes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The path of the provisioned concurrency of a function's alias.
pub(super) fn provisioned_path(function: &str, alias: &str) -> String {
    format!("/2019-09-30/functions/{function}/provisioned-concurrency?Qualifier={alias}")
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The response for the original caller, without the headers that belong to the connection.
    pub(super) fn handed_on(self) -> Reply {
        let mut response = bare(self.status, self.body);
        let headers = self.headers.iter().filter(|(name, _)| !of_the_connection(name));
        for (name, value) in headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }

    /// The body of a successful answer; for any other status an error that begins with `what`.
    pub(crate) fn good(self, what: &str) -> Result<String> {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        ensure!(self.status.is_success(), "{what}: {} {text}", self.status);
        Ok(text)
    }
}

/// Sends requests to the control planes over kept connections.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Caller {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url: url.to_owned(),
        }
    }

    /// Sends a call that the stack makes itself, not for a function.
    pub(crate) async fn call(
        &self,
        service: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer> {
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=local/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let mut request = self.request(method, path).header("authorization", signed);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request, body.into()).await
    }

    /// Reads the answer to a GET of Lambda's control plane.
    pub(super) async fn read(&self, path: &str) -> Result<Answer> {
        self.call("lambda", Method::GET, path, &[], Vec::new()).await
    }

    /// The answer to `ListProvisionedConcurrencyConfigs` for a function with one alias, made from the configuration of
    /// the alias because `ministack` answers this call with 404. `corrected` may replace that configuration.
    pub(super) async fn list_provisioned(
        &self,
        function: &str,
        alias: &str,
        corrected: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Value> {
        let path = provisioned_path(function, alias);
        let answer = self.read(&path).await?;
        let mut configs = Vec::new();
        if answer.status.is_success() {
            let corrected = corrected(&answer.body);
            let mut config: Value = serde_json::from_slice(corrected.as_deref().unwrap_or(&answer.body))?;
            if let Some(members) = config.as_object_mut() {
                let arn = format!("{}:{alias}", function_arn(function));
                members.insert("FunctionArn".to_owned(), arn.into());
            }
            configs.push(config);
        } else if answer.status != StatusCode::NOT_FOUND {
            bail!("{path}: {}", answer.status);
        }
        Ok(json!({"ProvisionedConcurrencyConfigs": configs}))
    }

    /// Forwards a request with its path and headers.
    pub(crate) async fn forward(&self, parts: http::request::Parts, body: Bytes) -> Result<Answer> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = self.request(parts.method, path);
        for (name, value) in parts.headers.iter().filter(|(name, _)| *name != header::HOST) {
            request = request.header(name, value);
        }
        self.send(request, body).await
    }

    fn request(&self, method: Method, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
    }

    async fn send(&self, request: Builder, body: Bytes) -> Result<Answer> {
        let request = request.body(Full::new(body))?;
        let answer = tokio::time::timeout(PATIENCE, async {
            let (parts, body) = self.client.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            })
        });
        answer.await.context("the control planes are silent")?
    }
}

/// Headers that belong to one connection and not to the answer.
fn of_the_connection(name: &HeaderName) -> bool {
    [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::DATE,
    ]
    .contains(name)
        || name == "keep-alive"
}
