//! Applies the Lambda settings of the control planes to the functions of this stack.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, bail};
use http::StatusCode;
use serde_json::{Value, json};

use super::caller::{Caller, provisioned_path};
use crate::runtime::Functions;

/// Reads functions' concurrency settings from the control planes and applies them to this stack's functions.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) functions: Arc<Functions>,
    pub(super) control_planes: Caller,
    /// The alias whose provisioned concurrency is applied.
    pub(super) alias: String,
    /// The functions that the control planes know.
    pub(super) known: BTreeSet<String>,
}

impl Follower {
    /// Applies the settings of all functions.
    pub(super) async fn look_at_all(&self) {
        for function in &self.known {
            self.look(function).await;
        }
    }

    /// Applies the settings of one function.
    pub(super) async fn look(&self, function: &str) {
        if !self.known.contains(function) {
            return;
        }
        match self.held(function).await {
            Ok((provisioned, reserved)) => {
                self.functions.reserve(function, reserved);
                self.functions.set_provisioned(function, provisioned);
            }
            Err(error) => tracing::warn!(
                function,
                "the function's concurrency settings cannot be read; the last settings stay until the next change: {error:#}"
            ),
        }
    }

    /// The provisioned and the reserved concurrency that the control planes hold for a function.
    async fn held(&self, function: &str) -> Result<(usize, Option<usize>)> {
        let path = provisioned_path(function, &self.alias);
        let member = "RequestedProvisionedConcurrentExecutions";
        let provisioned = self.number(&path, member).await?;
        let path = format!("/2019-09-30/functions/{function}/concurrency");
        let reserved = self.number(&path, "ReservedConcurrentExecutions").await?;
        Ok((provisioned.unwrap_or(0), reserved))
    }

    async fn number(&self, path: &str, member: &str) -> Result<Option<usize>> {
        let answer = self.control_planes.read(path).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
                let number = body.get(member).and_then(Value::as_u64);
                Ok(number.and_then(|n| usize::try_from(n).ok()))
            }
            other => bail!("{path}: {other}"),
        }
    }

    /// The provisioned concurrency of a function, which is on one alias; `None` for a function that the control planes
    /// do not know.
    pub(super) async fn list(&self, function: &str) -> Result<Option<Value>> {
        if !self.known.contains(function) {
            return Ok(None);
        }
        let corrected = |body: &[u8]| self.corrected(function, Some(&self.alias), body);
        let list = self
            .control_planes
            .list_provisioned(function, &self.alias, corrected);
        list.await.map(Some)
    }

    /// The control planes' answer `body` about a function's provisioned concurrency, with the progress of this stack's
    /// processes in place of the emulated progress. `None` if the stack does not apply this setting.
    pub(super) fn corrected(&self, function: &str, qualifier: Option<&str>, body: &[u8]) -> Option<Vec<u8>> {
        if qualifier != Some(&self.alias) || !self.known.contains(function) {
            return None;
        }
        let here = self.functions.allocation(function)?;
        let mut body: Value = serde_json::from_slice(body).ok()?;
        let members = body.as_object_mut()?;
        let requested = (members.get("RequestedProvisionedConcurrentExecutions")?).as_u64()?;
        let allocated = requested.min(u64::try_from(here.allocated).ok()?);
        let status = match () {
            () if here.failed => "FAILED",
            () if allocated == requested => "READY",
            () => "IN_PROGRESS",
        };
        if here.failed {
            members.insert("StatusReason".to_owned(), json!("FUNCTION_ERROR_INIT_FAILURE"));
        }
        members.insert("Status".to_owned(), json!(status));
        for counted in ["Allocated", "Available"] {
            let member = format!("{counted}ProvisionedConcurrentExecutions");
            members.insert(member, json!(allocated));
        }
        serde_json::to_vec(&body).ok()
    }
}
