//! Requests as API Gateway hands them over, made safe to read.
//!
//! `lambda_http` puts a request's URI together from the scheme and host in its headers, the path and the raw query, and
//! panics when the result is no URI. All four come from outside. Nothing here needs scheme or host, so they are taken
//! away; what no URI may hold of the path and the query is written as one that it may.

use std::fmt::Write as _;

use lambda_http::http::header::HOST;
use lambda_http::request::LambdaRequest;

/// The longest path, and the longest query, in bytes. The gateway takes 10,240 for both and the headers together.
const MAX_PART_BYTES: usize = 16 * 1024;

/// The same request with a path and a query of which a URI can be made.
#[must_use]
pub fn readable(mut request: LambdaRequest) -> LambdaRequest {
    if let LambdaRequest::ApiGatewayV2(event) = &mut request {
        event.headers.remove(HOST);
        event.headers.remove("x-forwarded-proto");
        event.request_context.domain_name = None;
        match &mut event.raw_path {
            Some(path) if path.len() <= MAX_PART_BYTES => {
                if !path.starts_with('/') {
                    path.insert(0, '/');
                }
            }
            path => *path = Some("/".to_owned()),
        }
        if let Some(query) = &mut event.raw_query_string
            && !query.bytes().all(may_stand_in_a_query)
        {
            *query = escaped(query);
        }
        if event
            .raw_query_string
            .as_ref()
            .is_some_and(|query| query.len() > MAX_PART_BYTES)
        {
            event.raw_query_string = None;
            event.raw_path = Some("/".to_owned());
        }
    }
    request
}

/// Visible ASCII but for the delimiters that RFC 3986 keeps out of a query.
fn may_stand_in_a_query(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

fn escaped(query: &str) -> String {
    let mut text = String::with_capacity(query.len() * 3);
    for byte in query.bytes() {
        if may_stand_in_a_query(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
