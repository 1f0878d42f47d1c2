//! Tests the HTTP front end over real sockets and processes.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Bench, empty, probe};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use stampede_local::front::{self, Front, MAX_BODY_BYTES};
use stampede_local::template::{Cors, Route};
use tokio::net::TcpListener;

struct Door {
    bench: Bench,
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Door {
    async fn open() -> Self {
        let mut model = empty();
        let route = |method: &str, path: &str| Route::Path {
            method: method.to_owned(),
            path: path.to_owned(),
        };
        let mut shop = probe("shop");
        shop.timeout = Duration::from_secs(2);
        shop.routes = vec![
            route("GET", "/drops/{drop_id}"),
            route("ANY", "/files/{rest+}"),
            route("GET", "/crash"),
            route("GET", "/error"),
        ];
        let mut other = probe("other");
        other.routes = vec![Route::Default];
        model
            .functions
            .extend([("shop".to_owned(), shop), ("other".to_owned(), other)]);
        model.cors = Some(Cors {
            allow_origins: vec!["https://shop.example".to_owned()],
            ..Cors::default()
        });
        let bench = Bench::new(&model, 2);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let front = Front::new(&model, Arc::clone(&bench.functions)).unwrap();
        tokio::spawn(front::serve(listener, Arc::new(front)));
        Self {
            bench,
            url,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    async fn send(&self, method: &str, path: &str, body: Vec<u8>) -> Response<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("origin", "https://shop.example")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let (parts, body) = self.client.request(request).await.unwrap().into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    async fn event(&self, method: &str, path: &str) -> Value {
        let response = self.send(method, path, Vec::new()).await;
        assert_eq!(response.status(), StatusCode::OK);
        serde_json::from_slice::<Value>(response.body()).unwrap()["event"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_where_the_template_says() {
    let door = Door::open().await;
    let event = door.event("GET", "/drops/ps5?x=1").await;
    assert_eq!(event["routeKey"], "GET /drops/{drop_id}");
    assert_eq!(event["pathParameters"]["drop_id"], "ps5");
    assert_eq!(event["queryStringParameters"]["x"], "1");
    let event = door.event("PUT", "/files/a/b").await;
    assert_eq!(event["routeKey"], "ANY /files/{rest+}");
    assert_eq!(event["pathParameters"]["rest"], "a/b");
    for (method, path) in [("GET", "/nowhere"), ("POST", "/drops/ps5"), ("GET", "/drops/a/b")] {
        let event = door.event(method, path).await;
        assert_eq!(event["routeKey"], "$default", "{method} {path}");
        assert_eq!(event["requestContext"]["http"]["method"], method);
    }
    door.bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_function_is_the_gateways_500() {
    let door = Door::open().await;
    for path in ["/crash", "/error"] {
        let response = door.send("GET", path, Vec::new()).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(
            response.body(),
            &Bytes::from_static(br#"{"message":"Internal Server Error"}"#)
        );
    }
    let report = door.bench.meter.report();
    let crash = report.functions.iter().find(|f| f.route == "GET /crash").unwrap();
    assert_eq!(crash.status, 500);
    assert_eq!(crash.invocations, 1);
    door.bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_a_body_never_reaches_a_function() {
    let door = Door::open().await;
    let response = door.send("GET", "/drops/a", vec![b'x'; MAX_BODY_BYTES + 1]).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        response.body(),
        &Bytes::from_static(br#"{"message":"Request Entity Too Large"}"#)
    );
    let response = door
        .send("GET", &format!("/drops/{}", "a".repeat(11_000)), Vec::new())
        .await;
    assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert!(door.bench.functions.figures().iter().all(|f| f.invocations == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storefront_may_read_every_answer() {
    let door = Door::open().await;
    for path in ["/drops/a", "/crash"] {
        let response = door.send("GET", path, Vec::new()).await;
        assert_eq!(
            response.headers()["access-control-allow-origin"],
            "https://shop.example",
            "{path}"
        );
    }
    door.bench.functions.stop().await;
}
