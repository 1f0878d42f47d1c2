//! Serves as a proxy for control planes without `ListProvisionedConcurrencyConfigs`. The proxy answers that call and
//! forwards every other call. Functions in an emulated account reach Lambda's control plane through this proxy.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::caller::Caller;
use super::front::{MAX_BODY_BYTES, silent};
use crate::call_permissions::{Call, lists_provisioned};
use crate::http1::{self, Reply};

/// Serves requests until the returned future is dropped, in front of the control planes at `url`. `alias` carries the
/// provisioned concurrency.
pub async fn serve(listener: TcpListener, url: &str, alias: &str) {
    let account = (Caller::new(url), alias.to_owned());
    http1::serve(listener, account, |(caller, alias), request, _| {
        answer(caller, alias, request)
    })
    .await;
}

async fn answer(caller: Caller, alias: String, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let Some(body) = http1::read(body, MAX_BODY_BYTES).await else {
        return http1::json(StatusCode::PAYLOAD_TOO_LARGE, "");
    };
    if let Some(function) = lists_provisioned(&Call::of(&parts, &body)) {
        return match caller.list_provisioned(function, &alias, |_| None).await {
            Ok(list) => http1::json(StatusCode::OK, list.to_string()),
            Err(error) => silent(&error),
        };
    }
    match caller.forward(parts, body).await {
        Ok(answer) => answer.handed_on(),
        Err(error) => silent(&error),
    }
}
