//! Parses HTTP requests from text, and sends them to the real routers one after another.
//!
//! A request is a line with method and target, header lines, an empty line, and the body up to a line `---`. The words
//! `ADA`, `BOB`, `CORA` and `OLGA` stand for valid tokens of three shoppers and an operator, `HELD` for Ada's
//! reservation, `ORDER` for the order that it becomes, and `FAILED` for Cora's order, whose card was declined.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use axum::body::Body;
use http::Request;
use serde_json::Value;

use crate::run::run;
use crate::world::{Image, Reply, World, spelt_out};

/// The largest number of requests in one input; further requests are ignored.
const MAX_REQUESTS: usize = 8;

/// The fuzz target `requests`: panics if the answer or the effect of a request breaks a rule.
pub fn target(input: &[u8]) {
    answers(input);
}

/// Method, path and status of every request in the input that could be sent, in order.
pub fn answers(input: &[u8]) -> Vec<(String, String, u16)> {
    run(async {
        let world = World::new().await;
        let mut found = Vec::new();
        for part in split(input).into_iter().take(MAX_REQUESTS) {
            let Some(request) = parse(part) else { continue };
            let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
            let status = judged(&world, request).await;
            found.push((method, path, status));
        }
        found
    })
}

/// Sends a request, and panics when its answer or its effects break a rule.
pub(crate) async fn judged(world: &World, request: Request<Body>) -> u16 {
    let is_head = request.method() == http::Method::HEAD;
    let what = format!("{} {}", request.method(), request.uri());
    let before = world.image();
    let reply = world.send(request).await;
    if let Err(fault) = judge(&before, &reply, is_head, &world.image()).and_then(|()| world.audit()) {
        panic!("{what}: {fault}");
    }
    world.a_moment_later();
    reply.status
}

/// Checks the rules of answers and effects; an error describes what was wrong.
fn judge(before: &Image, reply: &Reply, is_head: bool, after: &Image) -> Result<(), String> {
    let text = || String::from_utf8_lossy(&reply.body).into_owned();
    if reply.status >= 500 {
        return Err(format!("{}: {}", reply.status, text()));
    }
    if reply.status < 400 {
        return match (reply.status, serde_json::from_slice::<Value>(&reply.body)) {
            (204, _) | (_, Ok(_)) => Ok(()),
            (status, Err(error)) => Err(format!("{status} without JSON: {error}")),
        };
    }
    if before != after {
        return Err(format!(
            "refused with {} and yet changed: {}",
            reply.status,
            text()
        ));
    }
    if reply.content_type != "application/problem+json" {
        return Err(format!("{} as {:?}", reply.status, reply.content_type));
    }
    if is_head {
        return Ok(());
    }
    let told: Value = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
    let code = told["code"].as_str().unwrap_or_default();
    if told["status"] != reply.status || !codes().contains(code) {
        return Err(format!("{} tells {told}", reply.status));
    }
    Ok(())
}

fn codes() -> &'static BTreeSet<&'static str> {
    static CODES: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    CODES.get_or_init(|| web::Code::ALL.iter().map(|code| code.as_str()).collect())
}

/// The parts between lines `---`.
pub(crate) fn split(input: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), Some(input));
    while let Some(input) = rest {
        let (part, after) = divided(input, b"\n---\n");
        parts.push(part);
        rest = after;
    }
    parts
}

/// The input before and after the first `separator`; all and `None` without a separator.
pub(crate) fn divided<'a>(input: &'a [u8], separator: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    let mut windows = input.windows(separator.len());
    match windows.position(|window| window == separator) {
        Some(at) => (&input[..at], Some(&input[at + separator.len()..])),
        None => (input, None),
    }
}

/// Parses a request; `None` if HTTP cannot carry it.
fn parse(part: &[u8]) -> Option<Request<Body>> {
    // A header value or a body need not be text; if it is text, it may contain the word for a token.
    let spelt = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => spelt_out(text).into_bytes(),
        Err(_) => bytes.to_vec(),
    };
    let (head, body) = divided(part, b"\n\n");
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = spelt_out(&String::from_utf8_lossy(lines.next()?));
    let (method, target) = first.split_once(' ')?;
    if !target.starts_with('/') {
        return None;
    }
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let (name, value) = divided(line, b":");
        request = request.header(name, spelt(value?.trim_ascii()));
    }
    request.body(Body::from(spelt(body.unwrap_or_default()))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, content_type: &str, body: &str) -> Reply {
        Reply {
            status,
            content_type: content_type.to_owned(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_judge_that_lets_nothing_pass() {
        run(async {
            let (one, other) = (World::new().await, World::new().await);
            let ask = b"POST /drops/d/reservations\nauthorization: ADA\nidempotency-key: k\ncontent-type: application/json\n\n{\"sku\":\"B\",\"quantity\":1}";
            assert_eq!(judged(&other, parse(ask).unwrap()).await, 201);
            let (before, after) = (one.image(), other.image());
            let problem = r#"{"status":409,"code":"sold_out"}"#;
            let fine = reply(409, "application/problem+json", problem);
            assert_eq!(judge(&before, &fine, false, &before), Ok(()));
            for (bad, after) in [
                (reply(409, "application/problem+json", problem), &after),
                (
                    reply(
                        500,
                        "application/problem+json",
                        r#"{"status":500,"code":"internal"}"#,
                    ),
                    &before,
                ),
                (reply(409, "application/json", problem), &before),
                (reply(404, "application/problem+json", problem), &before),
                (
                    reply(
                        409,
                        "application/problem+json",
                        r#"{"status":409,"code":"eaten"}"#,
                    ),
                    &before,
                ),
                (reply(409, "application/problem+json", "<html>"), &before),
                (reply(200, "application/json", "<html>"), &before),
            ] {
                assert!(judge(&before, &bad, false, after).is_err(), "{bad:?}");
            }
        });
    }
}
