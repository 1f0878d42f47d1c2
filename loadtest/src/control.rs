//! Calls the stack's control address.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;
use stack_api::StackFile;

use crate::client::{Answer, Call, Client};

/// The default time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer of the stack's control address to `GET path`, parsed as JSON.
///
/// # Errors
/// When there is no answer, or the answer is not 200 or malformed.
pub async fn get<T: DeserializeOwned>(stack: &StackFile, path: &str) -> anyhow::Result<T> {
    get_from(&stack.control_url, path).await
}

/// The answer of the stack's control address to `POST path` within `patience`, parsed as JSON.
///
/// # Errors
/// When there is no answer, or the answer is not 200 or malformed.
pub async fn post<T: DeserializeOwned>(
    stack: &StackFile,
    path: &str,
    body: Option<String>,
    patience: Duration,
) -> anyhow::Result<T> {
    send(&stack.control_url, Method::POST, path, body, patience).await
}

/// The answer of another address of the stack to `GET path`, parsed as JSON.
///
/// # Errors
/// When there is no answer, or the answer is not 200 or malformed.
pub async fn get_from<T: DeserializeOwned>(url: &str, path: &str) -> anyhow::Result<T> {
    send(url, Method::GET, path, None, PATIENCE).await
}

async fn send<T: DeserializeOwned>(
    url: &str,
    method: Method,
    path: &str,
    body: Option<String>,
    patience: Duration,
) -> anyhow::Result<T> {
    let call = Call {
        method,
        body: body.map(|body| (Bytes::from(body), "application/json")),
        ..Call::get(format!("{url}{path}").parse()?)
    };
    let answer = Client::new(patience).send(&call).await;
    let Answer { status, body, .. } = answer.with_context(|| format!("the stack's {path}"))?;
    let text = String::from_utf8_lossy(&body);
    ensure!(status == 200, "the stack's {path}: {status} {text}");
    serde_json::from_slice(&body).with_context(|| format!("the stack's {path} answered {text}"))
}
