//! Reads JSON bodies and the idempotency key from requests.

use axum::extract::{FromRequest, FromRequestParts, Request};
use domain::limits::{MAX_BODY_BYTES, MAX_IDEMPOTENCY_KEY_BYTES};
use http::header;
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;

use crate::Failure;
use api::problem::{Code, Problem};

/// A JSON body: at most [`MAX_BODY_BYTES`], with a JSON content type, nested no deeper than the parser's limit (128),
/// and of exactly the expected form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        let declared = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("");
        let essence = declared.split(';').next().unwrap_or("").trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let detail = "Send the body as JSON, with `Content-Type: application/json`.";
            return Err(Problem::new(Code::UnsupportedMediaType, detail).into());
        }
        let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await;
        let Ok(body) = body else {
            let detail = format!("The body may have at most {MAX_BODY_BYTES} bytes.");
            return Err(Problem::new(Code::TooLarge, detail).into());
        };
        let bytes = body.to_bytes();
        // The parser would accept a list in place of an object, and would read its entries as the members in order.
        let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
        if first.is_some_and(|b| *b != b'{') {
            return Err(malformed("body", "a JSON object".to_owned()));
        }
        let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
        let parsed = serde_path_to_error::deserialize(&mut deserializer);
        match parsed {
            Ok(value) if deserializer.end().is_ok() => Ok(Self(value)),
            Ok(_) => Err(malformed("body", "more than one JSON value".to_owned())),
            Err(error) => {
                let path = error.path().to_string();
                // The parser writes `.` for the whole body and `?` for the place where an incomplete text ends.
                let field = match path.trim_end_matches(['.', '?']) {
                    "" => "body",
                    field => field,
                };
                // The parser's message quotes at most a member's name or a short value from the client.
                Err(malformed(field, bounded(error.inner().to_string())))
            }
        }
    }
}

fn malformed(field: &str, message: String) -> Failure {
    Problem::of_fields()
        .field(bounded(field.to_owned()), message)
        .into()
}

/// Limits an error message's length, whatever the request contains.
fn bounded(text: String) -> String {
    const MOST: usize = 200;
    if text.len() <= MOST {
        text
    } else {
        text.chars().take(MOST / 4).chain("…".chars()).collect()
    }
}

/// The request's `Idempotency-Key`: 1 to 64 visible ASCII characters. The client chooses it and sends the same key with
/// every repeat of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let key = match (values.next(), values.next()) {
            (Some(one), None) => one.to_str().ok(),
            _ => None,
        };
        let is_key = |key: &&str| {
            (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
        };
        let key = key.filter(is_key).ok_or_else(|| {
            let detail = "Send a key of your own, the same for every repeat.";
            let problem = Problem::new(Code::InvalidRequest, detail);
            problem.field("Idempotency-Key", "1 to 64 visible ASCII characters")
        })?;
        Ok(Self(key.to_owned()))
    }
}

/// The request's `Idempotency-Attempt`: 2 for the first repeat of a request whose answer did not arrive, 3 for the
/// second, and so on; 1 if the header is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt(pub u16);

impl<S: Send + Sync> FromRequestParts<S> for Attempt {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        let mut values = parts.headers.get_all("idempotency-attempt").iter();
        let attempt = match (values.next(), values.next()) {
            (None, _) => Some(1),
            (Some(one), None) => one.to_str().ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        attempt.filter(|attempt| *attempt > 0).map(Self).ok_or_else(|| {
            let problem = Problem::new(
                Code::InvalidRequest,
                "Send the number of the attempt, or nothing.",
            );
            problem.field("Idempotency-Attempt", "1 to 65535").into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Want {
        quantity: u32,
    }

    async fn parse(content_type: &str, body: impl Into<Body>) -> Result<Want, Problem> {
        let request = Request::builder()
            .header("content-type", content_type)
            .body(body.into())
            .unwrap();
        Json::from_request(request, &())
            .await
            .map(|Json(want)| want)
            .map_err(|f| f.problem().clone())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_good_body_is_read() {
        assert_eq!(
            parse("application/json", r#"{"quantity":2}"#).await,
            Ok(Want { quantity: 2 })
        );
        assert_eq!(
            parse("Application/JSON; charset=utf-8", r#"{"quantity":2}"#).await,
            Ok(Want { quantity: 2 })
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn each_bad_body_gets_its_problem() {
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        let deep_member = format!(r#"{{"quantity":{}"#, "[".repeat(5000));
        const JSON: &str = "application/json";
        const GOOD: &str = r#"{"quantity":2}"#;
        let all_blank = " ".repeat(MAX_BODY_BYTES);
        for (content_type, body, code, fields) in [
            ("text/plain", GOOD, Code::UnsupportedMediaType, vec![]),
            ("", GOOD, Code::UnsupportedMediaType, vec![]),
            (JSON, &format!("{all_blank} "), Code::TooLarge, vec![]),
            (JSON, &all_blank, Code::InvalidRequest, vec!["body"]),
            (JSON, "", Code::InvalidRequest, vec!["body"]),
            (JSON, "{", Code::InvalidRequest, vec!["body"]),
            (JSON, "{}", Code::InvalidRequest, vec!["body"]),
            (JSON, "[1]", Code::InvalidRequest, vec!["body"]),
            (JSON, &deep, Code::InvalidRequest, vec!["body"]),
            (JSON, r#"{"quantity":1} {}"#, Code::InvalidRequest, vec!["body"]),
            (JSON, r#"{"quantity":-1}"#, Code::InvalidRequest, vec!["quantity"]),
            (
                JSON,
                r#"{"quantity":1e99}"#,
                Code::InvalidRequest,
                vec!["quantity"],
            ),
            (
                JSON,
                r#"{"quantity":99999999999}"#,
                Code::InvalidRequest,
                vec!["quantity"],
            ),
            (
                JSON,
                r#"{"quantity":1,"quantity":2}"#,
                Code::InvalidRequest,
                vec!["body"],
            ),
            (
                JSON,
                r#"{"quantity":1,"coupon":2}"#,
                Code::InvalidRequest,
                vec!["coupon"],
            ),
            (JSON, &deep_member, Code::InvalidRequest, vec!["quantity"]),
        ] {
            let problem = parse(content_type, body.to_owned()).await.unwrap_err();
            assert_eq!(problem.code, code, "{body:.60}");
            let found: Vec<&str> = problem.errors.iter().map(|e| e.field.as_str()).collect();
            assert_eq!(found, fields, "{body:.60}: {problem:?}");
            assert!(
                problem.errors.iter().all(|e| e.message.len() < 250),
                "{problem:?}"
            );
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn keys_are_short_and_visible() {
        async fn key(values: &[&str]) -> bool {
            let mut request = Request::builder();
            for value in values {
                request = request.header("idempotency-key", *value);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            IdempotencyKey::from_request_parts(&mut parts, &()).await.is_ok()
        }
        assert!(key(&["a"]).await && key(&["x".repeat(64).as_str()]).await);
        assert!(!key(&[]).await && !key(&[""]).await && !key(&["a b"]).await);
        assert!(!key(&["x".repeat(65).as_str()]).await && !key(&["a", "b"]).await);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn attempts_are_numbers_from_one_on() {
        async fn attempt(values: &[&str]) -> Option<u16> {
            let mut request = Request::builder();
            for value in values {
                request = request.header("idempotency-attempt", *value);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            let attempt = Attempt::from_request_parts(&mut parts, &()).await;
            attempt.ok().map(|attempt| attempt.0)
        }
        assert_eq!(attempt(&[]).await, Some(1));
        assert_eq!(attempt(&["2"]).await, Some(2));
        for refused in [&["0"][..], &["-1"], &["65536"], &["two"], &[""], &["2", "2"]] {
            assert_eq!(attempt(refused).await, None, "{refused:?}");
        }
    }
}
