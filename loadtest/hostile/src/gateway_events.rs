//! API Gateway's events, as a function's process reads them.
//!
//! The gateway makes the event, but method, path, query, headers and body come from the client.

use axum::body::Body;
use data_encoding::BASE64;
use lambda_http::request::LambdaRequest;
use serde_json::Value;

use crate::requests::judged;
use crate::run::run;
use crate::world::{World, spelt_out};

/// See the crate's table.
pub fn target(input: &[u8]) {
    answer(input);
}

/// The status of the answer; `None` if the input is not an event.
pub fn answer(input: &[u8]) -> Option<u16> {
    let text = spelt_out(std::str::from_utf8(input).ok()?);
    let event: Value = serde_json::from_str(&text).ok()?;
    let method = event.pointer("/requestContext/http/method")?.as_str()?;
    // The gateway rejects other methods, and its server rejects longer heads.
    method.parse::<http::Method>().ok()?;
    // The gateway itself encodes a body that is not text.
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
