//! Calls the stack's control address.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;
use stack_api::StackFile;

use crate::client::{Call, Client};

/// The default time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer of the stack's control address to `GET path`, parsed as JSON.
///
/// # Errors
/// When there is no answer, or the answer is not 200 or malformed.
pub async fn get<T: DeserializeOwned>(stack: &StackFile, path: &str) -> anyhow::Result<T> {
    send(stack, Method::GET, path, None, PATIENCE).await
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
    send(stack, Method::POST, path, body, patience).await
}

/// The answer of another address of the stack to `GET path` within `patience`, parsed as JSON.
///
/// # Errors
///
/// When there is no answer, or the answer is not 200 or malformed.
pub async fn get_from<T: DeserializeOwned>(url: &str, path: &str, patience: Duration) -> anyhow::Result<T> {
    send_to(url, Method::GET, path, None, patience).await
}

async fn send<T: DeserializeOwned>(
    stack: &StackFile,
    method: Method,
    path: &str,
    body: Option<String>,
    patience: Duration,
) -> anyhow::Result<T> {
    send_to(&stack.control_url, method, path, body, patience).await
}

async fn send_to<T: DeserializeOwned>(
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
    let answer = answer.with_context(|| format!("the stack's {path}"))?;
    let body = || String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(
        answer.status == 200,
        "the stack's {path}: {} {}",
        answer.status,
        body()
    );
    serde_json::from_slice(&answer.body).with_context(|| format!("the stack's {path} answered {}", body()))
}
