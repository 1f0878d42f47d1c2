//! Serves functions' control-plane calls: checks the policies, then calls the functions of this stack or the control
//! planes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::ControlPlanes;
use super::follow::Follower;
use crate::call_permissions::{Call, about_concurrency, changes_database, invoked, lists_provisioned};
use crate::http1::{self, Reply};
use crate::permissions::Permissions;
use crate::runtime::{Failure, Functions};
use crate::secrets::Secrets;

/// Lambda's limit for a synchronous invocation's event. All other calls are smaller.
pub(super) const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

#[derive(Debug)]
pub struct Front {
    permissions: Arc<Permissions>,
    /// Holds the stored parameters that the control planes do not have.
    secrets: Arc<Secrets>,
    follower: Follower,
    /// Notified when the ledger's cluster may have changed.
    database: Arc<Notify>,
}

impl Front {
    /// A front end of these control planes. Applies their current settings of the functions to this stack.
    pub async fn new(
        control_planes: &ControlPlanes,
        functions: Arc<Functions>,
        permissions: Arc<Permissions>,
        secrets: Arc<Secrets>,
    ) -> Self {
        let follower = Follower {
            functions,
            control_planes: control_planes.caller.clone(),
            alias: control_planes.alias.clone(),
            known: control_planes.functions.clone(),
        };
        follower.look_at_all().await;
        Self {
            permissions,
            secrets,
            follower,
            database: Arc::clone(&control_planes.database),
        }
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        let Some(body) = http1::read(body, MAX_BODY_BYTES).await else {
            return http1::json(StatusCode::PAYLOAD_TOO_LARGE, "");
        };
        let call = Call::of(&parts, &body);
        if let Err(denied) = call.permitted(&self.permissions) {
            return http1::json(StatusCode::FORBIDDEN, denied.body());
        }
        if let Some(function) = invoked(&call) {
            return self.invoke(function, body.clone()).await;
        }
        if let Some(held) = self.secrets.answer(&call) {
            return held;
        }
        if let Some(function) = lists_provisioned(&call) {
            return match self.follower.list(function).await {
                Ok(Some(list)) => http1::json(StatusCode::OK, list.to_string()),
                Ok(None) => {
                    let error = r#"{"__type": "ResourceNotFoundException"}"#;
                    http1::json(StatusCode::NOT_FOUND, error)
                }
                Err(error) => silent(&error),
            };
        }
        let reads = parts.method == Method::GET;
        let (concurrency, database) = (about_concurrency(&call), changes_database(&call));
        let concurrency = concurrency.map(|(name, of)| (name.to_owned(), of.map(str::to_owned)));
        let mut answer = match self.follower.control_planes.forward(parts, body).await {
            Ok(answer) => answer,
            Err(error) => return silent(&error),
        };
        if database {
            self.database.notify_one();
        }
        if let Some((function, qualifier)) = concurrency {
            if !reads {
                self.follower.look(&function).await;
            }
            let (qualifier, body) = (qualifier.as_deref(), &answer.body);
            let corrected = self.follower.corrected(&function, qualifier, body);
            if let Some(body) = corrected.filter(|_| answer.status.is_success()) {
                answer.body = body.into();
            }
        }
        answer.handed_on()
    }

    /// Lambda's `Invoke`, on the functions of this stack.
    async fn invoke(&self, function: &str, event: Bytes) -> Reply {
        let mut response = match self.follower.functions.call(function, "trial", event).await {
            Ok(answer) => return http1::json(StatusCode::OK, answer),
            Err(Failure::Unknown) => return http1::json(StatusCode::NOT_FOUND, ""),
            Err(failure) => http1::json(StatusCode::OK, failure.body()),
        };
        let unhandled = HeaderValue::from_static("Unhandled");
        response.headers_mut().insert("x-amz-function-error", unhandled);
        response
    }
}

/// The answer to the caller when the control planes gave no usable answer.
pub(super) fn silent(error: &anyhow::Error) -> Reply {
    tracing::warn!("a call to the control planes failed; the caller gets status 503: {error:#}");
    http1::json(StatusCode::SERVICE_UNAVAILABLE, "")
}

/// Serves requests until the returned future is dropped.
pub async fn serve(listener: TcpListener, front: Arc<Front>) {
    http1::serve(listener, front, |front, request, _| front.handle(request)).await;
}
