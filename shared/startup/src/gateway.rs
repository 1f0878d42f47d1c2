//! Prepares requests of API Gateway: makes them parsable for `lambda_http`, and describes them for log lines.
//!
//! **A stage in the path.** For a named stage, `rawPath` begins with `/{stage}`, and `lambda_http` prepends the stage
//! to a path that does not. `routeKey` has the matched route in both cases. So everything before the part of the path
//! that the route describes is removed, and functions route by paths without a prefix. AWS says that `rawPath` does not
//! contain the mapping of a custom domain; this code would remove such a mapping, too:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.
//!
//! `lambda_http` builds a request's URI from the scheme and host in its headers, the path and the raw query, and panics
//! when the result is not a URI. All four come from the client. Functions need neither scheme nor host, so both are
//! removed. Characters of the path and the query that a URI must not hold are percent-encoded.

use std::str::FromStr;

use domain::ids::{CorrelationId, DropId, OrderId, ReservationId};
use lambda_http::http::header::HOST;
use lambda_http::request::{LambdaRequest, RequestContext};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tracing::Span;
use tracing::field::Empty;

/// Control characters, space and the delimiters that RFC 3986 forbids in a query.
const NOT_IN_A_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The longest path, and the longest query, in bytes. API Gateway limits both and the headers together to 10,240.
const MAX_PART_BYTES: usize = 16 * 1024;

/// The same request with a path and a query that form a valid URI.
#[must_use]
pub fn readable(mut request: LambdaRequest) -> LambdaRequest {
    if let LambdaRequest::ApiGatewayV2(event) = &mut request {
        event.headers.remove(HOST);
        event.headers.remove("x-forwarded-proto");
        event.request_context.domain_name = None;
        let stage = event.request_context.stage.take();
        match &mut event.raw_path {
            Some(path) if path.len() <= MAX_PART_BYTES => {
                if !path.starts_with('/') {
                    path.insert(0, '/');
                }
                let route = event.route_key.as_deref().unwrap_or_default();
                let prefix = prefix_bytes(path, route, stage.as_deref());
                path.drain(..prefix);
                if path.is_empty() {
                    path.push('/');
                }
            }
            path => *path = Some("/".to_owned()),
        }
        if let Some(query) = &mut event.raw_query_string {
            *query = utf8_percent_encode(query, NOT_IN_A_QUERY).to_string();
            if query.len() > MAX_PART_BYTES {
                event.raw_query_string = None;
                event.raw_path = Some("/".to_owned());
            }
        }
    }
    request
}

/// The length of the part of `path` before the part that the route key `route` describes. The route `$default`
/// describes no part: only a stage can come first.
fn prefix_bytes(path: &str, route: &str, stage: Option<&str>) -> usize {
    let Some((_, template)) = route.split_once(' ') else {
        let rest = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        return rest.map_or(0, |rest| path.len() - rest.len());
    };
    let segments = template.matches('/').count();
    let start = path
        .rmatch_indices('/')
        .nth(segments.saturating_sub(1))
        .map_or(0, |(at, _)| at);
    let mut described = path
        .get(start..)
        .unwrap_or_default()
        .split('/')
        .zip(template.split('/'));
    let is_route = described.all(|(segment, name)| name.starts_with('{') || segment == name);
    if is_route { start } else { 0 }
}

/// The span of a request: API Gateway's request id, the route, and the valid drop, reservation or order ids of the
/// path. A handler adds ids that only the body contains (`web::about_order`).
pub(crate) fn span(request: &LambdaRequest) -> Span {
    let LambdaRequest::ApiGatewayV2(event) = request else {
        return Span::none();
    };
    let named = |name| event.path_parameters.get(name).map(String::as_str);
    tracing::info_span!(
        "request",
        api_request_id = event.request_context.request_id.as_deref(),
        route = event.route_key.as_deref(),
        drop = checked::<DropId>(named("drop_id")),
        reservation = checked::<ReservationId>(named("reservation_id")),
        order = checked::<OrderId>(named("order_id")),
        correlation_id = Empty
    )
}

/// `text` if it is a valid `T`. A client can write personal data into a path, and a log line must contain none.
fn checked<T: FromStr>(text: Option<&str>) -> Option<&str> {
    text.filter(|text| text.parse::<T>().is_ok())
}

/// The request with API Gateway's request id as the [`CorrelationId`] of orders that it starts.
pub(crate) fn correlated(mut request: lambda_http::Request) -> lambda_http::Request {
    let id = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        _ => None,
    };
    if let Some(id) = id.and_then(|id| id.parse::<CorrelationId>().ok()) {
        request.extensions_mut().insert(id);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn uri(path: &str, query: &str, host: &str) -> String {
        let event = serde_json::json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
            "headers": {"host": host, "x-forwarded-proto": "ht tp"},
            "requestContext": {
                "accountId": "1", "apiId": "a", "domainName": host, "domainPrefix": "a", "requestId": "r",
                "routeKey": "$default", "stage": "$default", "time": "04/Dec/2026:18:00:00 +0000",
                "timeEpoch": 1_796_407_200_000_i64,
                "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": ""}
            },
            "isBase64Encoded": false
        });
        let request: LambdaRequest = serde_json::from_value(event).unwrap();
        lambda_http::Request::from(readable(request)).uri().to_string()
    }

    #[test]
    fn ordinary_requests_stay_as_they_are() {
        for (path, query, expected) in [
            ("/drops", "", "/drops"),
            ("/drops/a/status", "x=1&y=%20", "/drops/a/status?x=1&y=%20"),
            ("/drops/a%2Fb", "", "/drops/a%2Fb"),
        ] {
            assert_eq!(uri(path, query, "api.example.org"), expected);
        }
    }

    /// The stored events of functions that HTTP requests invoke, each with its file name.
    fn kept() -> Vec<(String, Value)> {
        let functions = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../functions");
        let mut kept = Vec::new();
        for function in std::fs::read_dir(functions).unwrap() {
            let Ok(events) = std::fs::read_dir(function.unwrap().path().join("events")) else {
                continue;
            };
            for file in events.map(|file| file.unwrap().path()) {
                let event: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
                if event["rawPath"].is_string() {
                    kept.push((file.display().to_string(), event));
                }
            }
        }
        kept
    }

    /// The path that a function routes by, for an event with this raw path from this stage.
    fn routed(event: &Value, raw_path: &str, stage: &str) -> String {
        let mut event = event.clone();
        event["rawPath"] = raw_path.into();
        event["requestContext"]["stage"] = stage.into();
        let request: LambdaRequest = serde_json::from_value(event).unwrap();
        lambda_http::Request::from(readable(request))
            .uri()
            .path()
            .to_owned()
    }

    #[test]
    fn every_kept_event_is_routed_the_same_behind_any_prefix() {
        let (mut in_stage, mut without_route) = (0, 0);
        for (file, event) in kept() {
            let raw_path = event["rawPath"].as_str().unwrap();
            let plain = raw_path.strip_prefix("/prod").unwrap_or(raw_path);
            in_stage += usize::from(plain != raw_path);
            let expected = match event["routeKey"].as_str().unwrap().split_once(' ') {
                Some((_, template)) => {
                    let parameters = event["pathParameters"].as_object();
                    parameters
                        .into_iter()
                        .flatten()
                        .fold(template.to_owned(), |path, (name, value)| {
                            path.replace(&format!("{{{name}}}"), value.as_str().unwrap())
                        })
                }
                None => plain.to_owned(),
            };
            let own = event["requestContext"]["stage"].as_str().unwrap();
            assert_eq!(routed(&event, raw_path, own), expected, "{file}");
            assert_eq!(routed(&event, plain, "$default"), expected, "{file}");
            assert_eq!(
                routed(&event, &format!("/prod{plain}"), "prod"),
                expected,
                "{file}"
            );
            // The path of a custom domain does not contain its mapped stage.
            assert_eq!(routed(&event, plain, "prod"), expected, "{file}");
            if event["routeKey"] == "$default" {
                without_route += 1;
            } else {
                assert_eq!(
                    routed(&event, &format!("/shop/v1{plain}"), "prod"),
                    expected,
                    "{file}"
                );
            }
        }
        assert!(in_stage >= 6 && without_route >= 2, "{in_stage} {without_route}");
    }

    #[test]
    fn only_what_comes_before_the_route_is_taken_away() {
        for (path, route, stage, routed) in [
            ("/drops", "GET /drops", "$default", "/drops"),
            ("/drops/drops", "GET /drops", "$default", "/drops"),
            ("/drops/drops", "GET /drops/{drop_id}", "drops", "/drops/drops"),
            (
                "/drops/drops/drops",
                "GET /drops/{drop_id}",
                "drops",
                "/drops/drops",
            ),
            // These two paths do not match the route, so nothing is removed.
            ("/prod/drop", "GET /drops", "prod", "/prod/drop"),
            ("/status", "GET /drops/{drop_id}/status", "prod", "/status"),
            // The route `$default`: only the stage is removed.
            ("/prod", "$default", "prod", "/"),
            ("/prod/", "$default", "prod", "/"),
            ("/product/x", "$default", "prod", "/product/x"),
            ("/prod/prod/x", "$default", "prod", "/prod/x"),
        ] {
            let prefix = prefix_bytes(path, route, Some(stage));
            let rest = &path[prefix..];
            assert_eq!(
                if rest.is_empty() { "/" } else { rest },
                routed,
                "{path} {route} {stage}"
            );
        }
    }

    #[test]
    fn a_span_names_only_what_is_an_identifier() {
        assert_eq!(checked::<OrderId>(Some("ada@example.org")), None);
        assert_eq!(checked::<DropId>(Some("autumn")), Some("autumn"));
        assert_eq!(checked::<DropId>(None), None);
    }

    #[test]
    fn the_correlation_id_is_the_gateway_s_id_of_the_request() {
        let (_, mut event) = kept()
            .into_iter()
            .find(|(file, _)| file.contains("checkout"))
            .unwrap();
        let mut correlation = |id: Value| {
            event["requestContext"]["requestId"] = id;
            let request: LambdaRequest = serde_json::from_value(event.clone()).unwrap();
            let request = correlated(lambda_http::Request::from(readable(request)));
            request
                .extensions()
                .get::<CorrelationId>()
                .map(ToString::to_string)
        };
        assert_eq!(
            correlation("JKJaXmPLvHcESHA=".into()).as_deref(),
            Some("JKJaXmPLvHcESHA=")
        );
        assert_eq!(correlation("no id".into()), None);
        assert_eq!(correlation(Value::Null), None);
    }

    #[test]
    fn what_makes_no_uri_is_still_answered() {
        for host in ["", "]", "a b", "a:99999", "user@x:y", "é"] {
            assert_eq!(uri("/drops", "a=1", host), "/drops?a=1", "{host}");
        }
        assert_eq!(
            uri("/drops", "a=<\"é\" \u{7f}>#{|}", "h"),
            "/drops?a=%3C%22%C3%A9%22%20%7F%3E%23%7B%7C%7D"
        );
        assert_eq!(uri(":99999/x", "", "h"), "/:99999/x");
        assert_eq!(uri("", "", "h"), "/");
        assert_eq!(uri("/a b", "", "h"), "/a%20b");
        assert_eq!(uri(&"x".repeat(100_000), "", "h"), "/");
        assert_eq!(uri("/drops", &"<".repeat(50_000), "h"), "/");
    }
}
