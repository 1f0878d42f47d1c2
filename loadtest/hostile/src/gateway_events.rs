//! Reads API Gateway's events as a function's process does, and sends their requests to the routers.
//!
//! The gateway makes the event, but method, path, query, headers and body come from the client.

use axum::body::Body;
use data_encoding::BASE64;
use lambda_http::request::LambdaRequest;
use serde_json::Value;

use crate::requests::judged;
use crate::run::run;
use crate::world::{World, spelt_out};

/// The fuzz target `events`: panics if the answer or the effect of an event's request breaks a rule.
pub fn target(input: &[u8]) {
    answer(input);
}

/// The status of the answer; `None` if the input is not an event.
pub fn answer(input: &[u8]) -> Option<u16> {
    let text = spelt_out(std::str::from_utf8(input).ok()?);
    let event: Value = serde_json::from_str(&text).ok()?;
    let method = event.pointer("/requestContext/http/method")?.as_str()?;
    // The gateway rejects an invalid method, so no function receives one.
    method.parse::<http::Method>().ok()?;
    // The gateway itself encodes such a body, so a function never receives invalid Base64.
    if event["isBase64Encoded"] == true {
        BASE64
            .decode(event["body"].as_str().unwrap_or_default().as_bytes())
            .ok()?;
    }
    let request: LambdaRequest = serde_json::from_value(event).ok()?;
    let request = lambda_http::Request::from(startup::gateway::readable(request)).map(Body::new);
    Some(run(async {
        let world = World::new().await;
        judged(&world, request).await
    }))
}
