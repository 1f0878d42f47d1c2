//! Tests that the list of routes equals the template's, and that other requests are answered with the
//! API's own problems.
#![cfg(test)]

use std::collections::BTreeSet;

use answer_default::{ROUTES, router};
use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

const TEMPLATE: &str = include_str!("../../../infra/template.yaml");

/// Reads the method and the path of every HTTP event in the template that has a path.
fn template_routes() -> BTreeSet<(String, String)> {
    let template: yaml_serde::Value = yaml_serde::from_str(TEMPLATE).unwrap();
    let mut routes = BTreeSet::new();
    for (_, resource) in template["Resources"].as_mapping().unwrap() {
        let Some(events) = resource["Properties"]["Events"].as_mapping() else {
            continue;
        };
        for (_, event) in events {
            let properties = &event["Properties"];
            if event["Type"] == "HttpApi" && !properties["Path"].is_null() {
                let text = |key: &str| properties[key].as_str().unwrap().to_owned();
                assert!(
                    routes.insert((text("Method"), text("Path"))),
                    "twice: {properties:?}"
                );
            }
        }
    }
    routes
}

#[test]
fn the_list_is_the_templates() {
    let ours: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|(method, path)| (method.to_string(), (*path).to_owned()))
        .collect();
    assert_eq!(ours, template_routes());
    assert_eq!(ours.len(), ROUTES.len());
}

async fn call(method: &str, path: &str) -> (StatusCode, Option<String>, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let response = router().oneshot(request).await.unwrap();
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    let allow = response
        .headers()
        .get(header::ALLOW)
        .map(|v| v.to_str().unwrap().to_owned());
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    // The answer to a HEAD has no body.
    let body = if method == "HEAD" {
        Value::Null
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    (status, allow, body)
}

#[tokio::test(flavor = "current_thread")]
async fn another_method_is_told_which_ones_there_are() {
    for (method, path, allowed) in [
        ("POST", "/drops", "GET"),
        ("HEAD", "/openapi.json", "GET"),
        ("DELETE", "/openapi.json", "GET"),
        ("HEAD", "/drops", "GET"),
        ("PATCH", "/orders", "POST, GET"),
        ("DELETE", "/operator/drops/autumn", "PUT, GET"),
        ("PUT", "/drops/autumn/reservations/r", "GET, DELETE"),
        ("GET", "/drops/autumn/reservations", "POST"),
        ("BREW", "/operator/drops/x/cancel", "POST"),
        ("POST", "/operator/orders", "GET"),
        ("GET", "/operator/orders/o/keep", "POST"),
        ("GET", "/operator/orders/o/end", "POST"),
    ] {
        let (status, allow, body) = call(method, path).await;
        let code = (method != "HEAD").then_some("method_not_allowed");
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(body["code"].as_str(), code, "{method} {path}");
        assert_eq!(allow.as_deref(), Some(allowed), "{method} {path}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_unknown_path_is_not_found() {
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/drop"),
        ("GET", "/drops/"),
        ("POST", "/drops/a/b/c/d"),
        ("GET", "/operator"),
        ("GET", "/operator/orders/o"),
        ("GET", "/%FF/%00"),
        ("PUT", "/operator/drops/"),
    ] {
        let (status, allow, body) = call(method, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}");
        assert_eq!(body["code"].as_str(), Some("not_found"), "{method} {path}");
        assert_eq!(allow, None);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_description_is_public_and_may_be_kept() {
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let response = router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=300");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let served: Value = serde_json::from_slice(&body).unwrap();
    let described: BTreeSet<&str> = served["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(described, ROUTES.iter().map(|(_, path)| *path).collect());
}
