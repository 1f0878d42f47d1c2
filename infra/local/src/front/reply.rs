//! Converts a function's reply to an HTTP response, by the rules of payload format 2.0.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::http1;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Returned<'a> {
    status_code: u16,
    #[serde(default)]
    headers: Option<HashMap<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(default, borrow)]
    body: Option<Cow<'a, str>>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// Parses a reply; `None` when it does not form a response. JSON without a status code is the body of a 200.
pub(super) fn read(reply: &Bytes) -> Option<http1::Reply> {
    let Ok(parsed) = serde_json::from_slice::<Returned<'_>>(reply) else {
        let value: Value = serde_json::from_slice(reply).ok()?;
        if value.get("statusCode").is_some() {
            return None;
        }
        return Some(http1::json(StatusCode::OK, reply.clone()));
    };
    let body = match parsed.body {
        None => Bytes::new(),
        Some(text) if parsed.is_base64_encoded => BASE64.decode(text.as_bytes()).ok()?.into(),
        Some(text) => Bytes::from(text.into_owned()),
    };
    let mut response = http1::bare(StatusCode::from_u16(parsed.status_code).ok()?, body);
    let headers = response.headers_mut();
    for (name, value) in parsed.headers.unwrap_or_default() {
        let value = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let name = HeaderName::try_from(name).ok()?;
        // The HTTP server sets these headers itself, from the body that it sends.
        if name == http::header::CONTENT_LENGTH || name == http::header::TRANSFER_ENCODING {
            continue;
        }
        headers.insert(name, HeaderValue::try_from(value).ok()?);
    }
    for cookie in parsed.cookies.unwrap_or_default() {
        headers.append("set-cookie", HeaderValue::try_from(cookie).ok()?);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn body(response: http1::Reply) -> Bytes {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime
            .block_on(response.into_body().collect())
            .unwrap()
            .to_bytes()
    }

    #[test]
    fn a_reply_becomes_a_response() {
        let reply = br#"{"statusCode":201,"headers":{"X-A":"1","content-length":"99"},"cookies":["a=b","c=d"],"body":"aGk=","isBase64Encoded":true,"multiValueHeaders":{}}"#;
        let response = read(&Bytes::from_static(reply)).unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["x-a"], "1");
        assert!(!response.headers().contains_key("content-length"));
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(body(response), "hi");
    }

    #[test]
    fn json_without_a_status_is_a_body() {
        let response = read(&Bytes::from_static(br#"{"hello":"there"}"#)).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(body(response), r#"{"hello":"there"}"#);
    }

    #[test]
    fn what_makes_no_response_is_refused() {
        for reply in [
            "no json",
            r#"{"statusCode":"x"}"#,
            r#"{"statusCode":7}"#,
            r#"{"statusCode":200,"body":"?","isBase64Encoded":true}"#,
        ] {
            assert!(
                read(&Bytes::copy_from_slice(reply.as_bytes())).is_none(),
                "{reply}"
            );
        }
    }
}
