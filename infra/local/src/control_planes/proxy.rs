//! Serves as a proxy for control planes without `ListProvisionedConcurrencyConfigs`. The proxy answers that call and
//! forwards every other call. Functions in an emulated account reach Lambda's control plane through this proxy.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::caller::Caller;
use super::follow::provisioned_path;
use super::front::{MAX_BODY_BYTES, silent};
use crate::call_permissions::{Call, lists_provisioned};
use crate::http1;
use crate::template::function_arn;

/// Serves requests until the returned future is dropped, in front of the control planes at `url`. `alias` carries the
/// provisioned concurrency.
pub async fn serve(listener: TcpListener, url: &str, alias: &str) {
    let (caller, alias) = (Caller::new(url), alias.to_owned());
    http1::serve(listener, move |request, _peer| {
        let (caller, alias) = (caller.clone(), alias.clone());
        async move { Ok::<_, Infallible>(answer(&caller, &alias, request).await) }
    })
    .await;
}

async fn answer(caller: &Caller, alias: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let Some(body) = http1::read(body, MAX_BODY_BYTES).await else {
        return http1::json(StatusCode::PAYLOAD_TOO_LARGE, "");
    };
    if let Some(function) = lists_provisioned(&Call::of(&parts, &body)) {
        let (arn, path) = (function_arn(function), provisioned_path(function, alias));
        return match caller.list_provisioned(&arn, alias, &path, |_| None).await {
            Ok(list) => http1::json(StatusCode::OK, list.to_string()),
            Err(error) => silent(&error),
        };
    }
    match caller.forward(parts, body).await {
        Ok(answer) => answer.handed_on(),
        Err(error) => silent(&error),
    }
}
