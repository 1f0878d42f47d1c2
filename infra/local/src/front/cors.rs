//! Applies the cross-origin rules of the template. The gateway answers preflight requests without a call of a function,
//! and adds the headers to other responses.

use http::{HeaderValue, Method, Request, StatusCode};

use crate::http1::{Reply, bare};
use crate::template::Cors;

fn allowed(cors: &Cors, origin: &HeaderValue) -> bool {
    cors.allow_origins
        .iter()
        .any(|o| o == "*" || o.as_bytes() == origin.as_bytes())
}

/// The answer to a preflight request; `None` if the request is no preflight request.
pub(super) fn preflight<B>(cors: &Cors, request: &Request<B>, origin: &HeaderValue) -> Option<Reply> {
    if request.method() != Method::OPTIONS || !request.headers().contains_key("access-control-request-method")
    {
        return None;
    }
    let mut response = bare(StatusCode::NO_CONTENT, "");
    if allowed(cors, origin) {
        mark(cors, &mut response, origin);
        let lists = [
            ("access-control-allow-methods", cors.allow_methods.join(",")),
            ("access-control-allow-headers", cors.allow_headers.join(",")),
            ("access-control-max-age", cors.max_age.to_string()),
        ];
        for (name, value) in lists {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    Some(response)
}

/// Adds the headers that let an allowed origin read the response.
pub(super) fn mark(cors: &Cors, response: &mut Reply, origin: &HeaderValue) {
    if !allowed(cors, origin) {
        return;
    }
    let headers = response.headers_mut();
    headers.insert("access-control-allow-origin", origin.clone());
    headers.append("vary", HeaderValue::from_static("origin"));
    if let Ok(exposed) = HeaderValue::from_str(&cors.expose_headers.join(","))
        && !exposed.is_empty()
    {
        headers.insert("access-control-expose-headers", exposed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors() -> Cors {
        Cors {
            allow_origins: vec!["https://shop.example".to_owned()],
            allow_methods: vec!["GET".to_owned(), "POST".to_owned()],
            ..Cors::default()
        }
    }

    fn ask(origin: &'static str) -> Reply {
        let request = Request::builder()
            .method("OPTIONS")
            .header("access-control-request-method", "POST")
            .body(())
            .unwrap();
        preflight(&cors(), &request, &HeaderValue::from_static(origin)).unwrap()
    }

    #[test]
    fn only_the_storefront_may() {
        let ours = ask("https://shop.example");
        assert_eq!(
            ours.headers()["access-control-allow-origin"],
            "https://shop.example"
        );
        assert_eq!(ours.headers()["access-control-allow-methods"], "GET,POST");
        assert!(
            !ask("https://evil.example")
                .headers()
                .contains_key("access-control-allow-origin")
        );
    }

    #[test]
    fn a_plain_options_request_is_no_preflight() {
        let request = Request::builder().method("OPTIONS").body(()).unwrap();
        assert!(
            preflight(
                &cors(),
                &request,
                &HeaderValue::from_static("https://shop.example")
            )
            .is_none()
        );
    }
}
