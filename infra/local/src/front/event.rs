//! Converts a request to an event in API Gateway's payload format 2.0.

use std::borrow::Cow;
use std::net::SocketAddr;

use bytes::Bytes;
use data_encoding::BASE64;
use http::HeaderMap;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

const CLF: &[FormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// A request that has arrived and has been matched with a route.
pub(super) struct Arrival<'a> {
    pub(super) parts: &'a Parts,
    pub(super) route_key: &'a str,
    pub(super) parameters: Option<&'a matchit::Params<'a, 'a>>,
    pub(super) body: &'a Bytes,
    pub(super) peer: SocketAddr,
    pub(super) request_id: &'a str,
    pub(super) trace: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<&'a str>,
    headers: Headers<'a>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    query_string_parameters: Pairs<'a>,
    request_context: Context<'a>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    path_parameters: Pairs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    account_id: &'static str,
    api_id: &'static str,
    domain_name: &'a str,
    domain_prefix: &'static str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'a str,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: String,
    user_agent: &'a str,
}

/// The event's headers. The values of a repeated header are joined by commas. Cookies are a separate member of the
/// event.
struct Headers<'a> {
    map: &'a HeaderMap,
    added: [(&'static str, &'a str); 4],
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        for name in self.map.keys() {
            let reserved = self.added.iter().any(|(added, _)| *added == name.as_str());
            if name == http::header::COOKIE || reserved {
                continue;
            }
            let mut values = self.map.get_all(name).iter().map(text);
            let first = values.next().unwrap_or_default();
            let joined = values.fold(first, |all, value| Cow::Owned(format!("{all},{value}")));
            out.serialize_entry(name.as_str(), &joined)?;
        }
        for (name, value) in &self.added {
            out.serialize_entry(name, value)?;
        }
        out.end()
    }
}

struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl Pairs<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(k, v)| (k, v)))
    }
}

fn text(value: &http::HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

pub(super) fn build(arrival: &Arrival<'_>) -> Bytes {
    let parts = arrival.parts;
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let now = OffsetDateTime::now_utc();
    let source_ip = arrival.peer.ip().to_string();
    let query = parts.uri.query().unwrap_or_default();
    let (body, is_base64_encoded) = body(arrival.body, header("content-type"));
    let event = Event {
        version: "2.0",
        route_key: arrival.route_key,
        raw_path: parts.uri.path(),
        raw_query_string: query,
        cookies: parts
            .headers
            .get_all(http::header::COOKIE)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(';').map(str::trim).filter(|c| !c.is_empty()))
            .collect(),
        headers: Headers {
            map: &parts.headers,
            added: [
                ("x-amzn-trace-id", arrival.trace),
                ("x-forwarded-for", &source_ip),
                ("x-forwarded-port", "443"),
                ("x-forwarded-proto", "https"),
            ],
        },
        query_string_parameters: query_parameters(query),
        request_context: Context {
            account_id: crate::template::ACCOUNT,
            api_id: "local",
            domain_name: header("host").unwrap_or("localhost"),
            domain_prefix: "local",
            http: Http {
                method: parts.method.as_str(),
                path: parts.uri.path(),
                protocol: "HTTP/1.1",
                source_ip: source_ip.clone(),
                user_agent: header("user-agent").unwrap_or_default(),
            },
            request_id: arrival.request_id,
            route_key: arrival.route_key,
            stage: "$default",
            time: now.format(CLF).unwrap_or_default(),
            time_epoch: i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
        },
        path_parameters: Pairs(arrival.parameters.map_or_else(Vec::new, |p| {
            p.iter()
                .map(|(k, v)| (Cow::Borrowed(k), percent_decode_str(v).decode_utf8_lossy()))
                .collect()
        })),
        body,
        is_base64_encoded,
    };
    serde_json::to_vec(&event).unwrap_or_default().into()
}

/// Text is passed unchanged and other content in base64, as the gateway decides by the content type.
fn body<'a>(body: &'a Bytes, content_type: Option<&str>) -> (Option<Cow<'a, str>>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    let media = content_type
        .unwrap_or("text/plain")
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let textual = media.starts_with("text/")
        || media.ends_with("json")
        || media.ends_with("xml")
        || media.ends_with("javascript");
    match std::str::from_utf8(body) {
        Ok(text) if textual => (Some(Cow::Borrowed(text)), false),
        _ => (Some(Cow::Owned(BASE64.encode(body))), true),
    }
}

/// Decoded query parameters. The values of a repeated parameter are joined by commas.
fn query_parameters(query: &str) -> Pairs<'_> {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match pairs.iter_mut().find(|(k, _)| *k == key) {
            Some((_, joined)) => *joined = Cow::Owned(format!("{joined},{value}")),
            None => pairs.push((key, value)),
        }
    }
    Pairs(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;

    fn arrive(request: http::Request<()>, body: &'static [u8]) -> ApiGatewayV2httpRequest {
        let mut router = matchit::Router::new();
        router.insert("/drops/{drop_id}/status", ()).unwrap();
        let (parts, ()) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let found = router.at(&path).unwrap();
        let event = build(&Arrival {
            parts: &parts,
            route_key: "GET /drops/{drop_id}/status",
            parameters: Some(&found.params),
            body: &Bytes::from_static(body),
            peer: "127.0.0.1:5".parse().unwrap(),
            request_id: "r-1",
            trace: "Root=1-0-0",
        });
        serde_json::from_slice(&event).unwrap()
    }

    #[test]
    fn an_event_is_what_the_gateway_would_send() {
        let request = http::Request::builder()
            .uri("/drops/a%20b/status?x=1&x=2&y=a+b")
            .header("Host", "api.example")
            .header("X-Twice", "a")
            .header("X-Twice", "b")
            .header("Cookie", "k=v; l=w")
            .header("x-forwarded-for", "6.6.6.6")
            .header("content-type", "application/json; charset=utf-8")
            .body(())
            .unwrap();
        let event = arrive(request, b"{}");
        assert_eq!(event.route_key.as_deref(), Some("GET /drops/{drop_id}/status"));
        assert_eq!(event.path_parameters["drop_id"], "a b");
        assert_eq!(event.headers["x-twice"], "a,b");
        assert_eq!(event.headers["x-forwarded-for"], "127.0.0.1");
        assert!(!event.headers.contains_key("cookie"));
        assert_eq!(
            event.cookies.as_deref(),
            Some(&["k=v".to_owned(), "l=w".to_owned()][..])
        );
        assert_eq!(event.query_string_parameters.all("x"), Some(vec!["1", "2"]));
        assert_eq!(event.query_string_parameters.first("y"), Some("a b"));
        assert_eq!(event.body.as_deref(), Some("{}"));
        assert!(!event.is_base64_encoded);
        assert_eq!(event.request_context.http.source_ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(event.request_context.stage.as_deref(), Some("$default"));
    }

    #[test]
    fn what_is_no_text_goes_in_base64() {
        let binary = http::Request::builder()
            .uri("/drops/a/status")
            .header("content-type", "application/octet-stream");
        let event = arrive(binary.body(()).unwrap(), b"\x00\x01");
        assert_eq!(event.body.as_deref(), Some("AAE="));
        assert!(event.is_base64_encoded);
        let broken = http::Request::builder()
            .uri("/drops/a/status")
            .header("content-type", "application/json");
        assert!(arrive(broken.body(()).unwrap(), b"\xff").is_base64_encoded);
        let none = http::Request::builder().uri("/drops/a/status").body(()).unwrap();
        assert_eq!(arrive(none, b"").body, None);
    }

    #[test]
    fn decoding_leaves_alone_what_it_does_not_understand() {
        for (given, wanted) in [
            ("a%2Fb", "a/b"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%C3%A9", "é"),
            ("a+b", "a b"),
        ] {
            let Pairs(pairs) = query_parameters(given);
            assert_eq!(pairs, [(wanted.into(), "".into())]);
        }
        assert!(query_parameters("&&").is_empty());
    }
}
