//! Serves functions' control-plane calls: checks the policies, then calls the functions of this stack or the control
//! planes.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::ControlPlanes;
use super::caller::Caller;
use super::follow::Follower;
use crate::call_permissions::{Call, about_concurrency, changes_database, invoked, lists_provisioned};
use crate::http1;
use crate::permissions::Permissions;
use crate::runtime::{Failure, Functions};
use crate::secrets::Secrets;

/// Lambda's limit for a synchronous invocation's event. All other calls are smaller.
pub(super) const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

#[derive(Debug)]
pub struct Front {
    functions: Arc<Functions>,
    permissions: Arc<Permissions>,
    /// Holds the stored parameters that the control planes do not have.
    secrets: Arc<Secrets>,
    control_planes: Caller,
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
            functions: Arc::clone(&functions),
            control_planes: control_planes.caller(),
            alias: control_planes.alias.clone(),
            known: control_planes.functions.clone(),
        };
        follower.look_at_all().await;
        Self {
            functions,
            permissions,
            secrets,
            control_planes: control_planes.caller(),
            follower,
            database: Arc::clone(&control_planes.database),
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
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
                Ok(None) => http1::json(
                    StatusCode::NOT_FOUND,
                    r#"{"__type": "ResourceNotFoundException"}"#,
                ),
                Err(error) => silent(&error),
            };
        }
        let reads = parts.method == Method::GET;
        let (concurrency, database) = (about_concurrency(&call), changes_database(&call));
        let concurrency = concurrency.map(|(name, of)| (name.to_owned(), of.map(str::to_owned)));
        match self.control_planes.forward(parts, body).await {
            Ok(mut answer) => {
                if database {
                    self.database.notify_one();
                }
                if let Some((function, qualifier)) = concurrency {
                    if !reads {
                        self.follower.look(&function).await;
                    }
                    let corrected = self
                        .follower
                        .corrected(&function, qualifier.as_deref(), &answer.body);
                    if let Some(body) = corrected.filter(|_| answer.status.is_success()) {
                        answer.body = body.into();
                    }
                }
                answer.handed_on()
            }
            Err(error) => silent(&error),
        }
    }

    /// Lambda's `Invoke`, on the functions of this stack.
    async fn invoke(&self, function: &str, event: Bytes) -> Response<Full<Bytes>> {
        let mut response = match self.functions.call(function, "trial", event).await {
            Ok(answer) => return http1::json(StatusCode::OK, answer),
            Err(Failure::Unknown) => return http1::json(StatusCode::NOT_FOUND, ""),
            Err(failure) => http1::json(StatusCode::OK, failure.body()),
        };
        response.headers_mut().insert(
            HeaderName::from_static("x-amz-function-error"),
            HeaderValue::from_static("Unhandled"),
        );
        response
    }
}

/// The answer to the caller when the control planes gave no usable answer.
pub(super) fn silent(error: &anyhow::Error) -> Response<Full<Bytes>> {
    tracing::warn!("a call to the control planes failed; the caller gets status 503: {error:#}");
    http1::json(StatusCode::SERVICE_UNAVAILABLE, "")
}

/// Serves requests until the returned future is dropped.
pub async fn serve(listener: TcpListener, front: Arc<Front>) {
    http1::serve(listener, move |request, _peer| {
        let front = Arc::clone(&front);
        async move { Ok::<_, Infallible>(front.handle(request).await) }
    })
    .await;
}
