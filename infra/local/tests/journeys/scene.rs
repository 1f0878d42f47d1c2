//! Prepares the drops that bad requests are about, and sends such requests.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use super::people::{Plan, Shopper, shipping};
use super::world::{Reply, World, moment};

pub(crate) const DROP: &str = "refusals";
pub(crate) const DRAFT: &str = "refusals-draft";
pub(crate) const UPCOMING: &str = "refusals-upcoming";
pub(crate) const CANCELLED: &str = "refusals-off";

/// A request that must be refused.
#[derive(Clone)]
pub(crate) struct Bad {
    pub(crate) what: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) token: String,
    pub(crate) key: Option<String>,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Bytes,
    pub(crate) headers: Vec<(String, String)>,
}

/// A valid request, from which bad requests are derived.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) operator: bool,
    pub(crate) keyed: bool,
    pub(crate) body: Option<Value>,
}

pub(crate) struct Scene {
    pub(crate) world: &'static World,
    pub(crate) ada: Shopper,
    pub(crate) bob: Shopper,
    pub(crate) held: Value,
    pub(crate) foreign: Value,
    pub(crate) order: Value,
}

impl Scene {
    /// Publishes a drop with a hold and a paid order of Ada's and a hold of Bob's, and makes drops in other phases.
    pub(crate) async fn set(world: &'static World) -> Self {
        let (ada, bob) = (world.shopper("refuseada"), world.shopper("refusebob"));
        world
            .publish(&Plan {
                limit: 3,
                ..Plan::new(DROP, &[("A", 10), ("B", 10)])
            })
            .await;
        world
            .publish(&Plan {
                opens_in_ms: 300_000,
                ..Plan::new(UPCOMING, &[("A", 1)])
            })
            .await;
        world.publish(&Plan::new(CANCELLED, &[("A", 1)])).await;
        world.operate(CANCELLED, "cancel", None, None).await.expect(200);
        world
            .operate(DRAFT, "put", None, Some(Plan::new(DRAFT, &[("A", 1)]).body()))
            .await
            .expect(201);
        let placed = ada.order_one(DROP, "B", "pm_card_visa").await;
        let order = ada.until_final(&placed).await;
        let held = ada.reserve(DROP, "A", 1, "held").await.expect(201);
        let foreign = bob.reserve(DROP, "A", 1, "held").await.expect(201);
        Self {
            world,
            ada,
            bob,
            held,
            foreign,
            order,
        }
    }

    pub(crate) fn checkout(&self) -> Value {
        json!({"reservation_id": self.held["reservation_id"], "amount": self.held["amount"],
               "payment_method": "pm_card_visa", "shipping": shipping()})
    }

    pub(crate) fn routes(&self) -> Vec<Route> {
        let id = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
        let (held, order) = (id(&self.held, "reservation_id"), id(&self.order, "order_id"));
        let shopper = |method, path: String| Route {
            method,
            path,
            operator: false,
            keyed: false,
            body: None,
        };
        let operator = |method, act: &str, body| Route {
            method,
            path: format!("/operator/drops/{DROP}{act}"),
            operator: true,
            keyed: act == "/restock",
            body,
        };
        vec![
            Route {
                keyed: true,
                body: Some(json!({"sku": "A", "quantity": 1})),
                ..shopper(Method::POST, format!("/drops/{DROP}/reservations"))
            },
            shopper(Method::GET, format!("/drops/{DROP}/reservations/{held}")),
            shopper(Method::DELETE, format!("/drops/{DROP}/reservations/{held}")),
            Route {
                keyed: true,
                body: Some(self.checkout()),
                ..shopper(Method::POST, "/orders".to_owned())
            },
            shopper(Method::GET, "/orders".to_owned()),
            shopper(Method::GET, format!("/orders/{order}")),
            shopper(Method::POST, format!("/orders/{order}/cancel")),
            operator(Method::PUT, "", Some(Plan::new(DROP, &[("A", 1)]).body())),
            operator(Method::GET, "", None),
            operator(Method::POST, "/publish", None),
            operator(Method::POST, "/pause", None),
            operator(Method::POST, "/resume", None),
            operator(Method::POST, "/extend", Some(json!({"ends_at": moment(900_000)}))),
            operator(Method::POST, "/restock", Some(json!({"sku": "A", "units": 1}))),
            operator(Method::POST, "/cancel", None),
            Route {
                operator: true,
                ..shopper(Method::GET, "/operator/orders".to_owned())
            },
            Route {
                operator: true,
                keyed: true,
                body: Some(json!({"seconds": 60})),
                ..shopper(Method::POST, format!("/operator/orders/{order}/keep"))
            },
            Route {
                operator: true,
                body: Some(json!({"not_at_gateway": false})),
                ..shopper(Method::POST, format!("/operator/orders/{order}/end"))
            },
        ]
    }

    pub(crate) fn good(&self, route: &Route) -> Bad {
        let token = if route.operator {
            &self.world.file.operator_token
        } else {
            &self.ada.token
        };
        Bad {
            what: String::new(),
            method: route.method.clone(),
            path: route.path.clone(),
            token: format!("Bearer {token}"),
            key: route.keyed.then(|| "fresh".to_owned()),
            content_type: route.body.is_some().then_some("application/json"),
            body: route
                .body
                .as_ref()
                .map(|b| Bytes::from(b.to_string()))
                .unwrap_or_default(),
            headers: Vec::new(),
        }
    }

    pub(crate) async fn send(&self, bad: &Bad) -> Reply {
        self.world.send(self.request(bad)).await
    }

    pub(crate) fn request(&self, bad: &Bad) -> Request<Bytes> {
        let mut request = Request::builder()
            .method(bad.method.clone())
            .uri(self.world.url(&bad.path));
        if !bad.token.is_empty() {
            request = request.header("authorization", &bad.token);
        }
        if let Some(key) = &bad.key {
            request = request.header("idempotency-key", key.as_bytes());
        }
        if let Some(content_type) = bad.content_type {
            request = request.header("content-type", content_type);
        }
        for (name, value) in &bad.headers {
            request = request.header(name, value);
        }
        request.body(bad.body.clone()).unwrap()
    }

    /// Sends the request. It must be refused with `status`, `code` and a problem document.
    pub(crate) async fn refused(&self, bad: &Bad, status: u16, code: &str) -> Reply {
        let reply = self.send(bad).await;
        let name = format!("{} {:.120} ({})", bad.method, bad.path, bad.what);
        assert_eq!(reply.status, status, "{name}: {}", reply.json);
        assert_eq!(reply.code(), code, "{name}: {}", reply.json);
        assert_eq!(
            reply.headers["content-type"], "application/problem+json",
            "{name}"
        );
        assert_eq!(reply.json["status"], status, "{name}");
        for member in ["type", "title", "detail"] {
            assert!(
                !reply.json[member].as_str().unwrap_or_default().is_empty(),
                "{name}: {}",
                reply.json
            );
        }
        if code == "invalid_request" {
            assert!(
                reply.json["errors"][0]["field"].is_string(),
                "{name}: {}",
                reply.json
            );
        }
        assert!(reply.json.to_string().len() < 4_096, "{name}: a long answer");
        reply
    }

    pub(crate) fn json(&self, what: &str, method: Method, path: &str, by: &str, body: Value) -> Bad {
        Bad {
            what: what.to_owned(),
            method,
            path: path.to_owned(),
            token: format!("Bearer {by}"),
            key: Some("fresh".to_owned()),
            content_type: Some("application/json"),
            body: if body.is_null() {
                Bytes::new()
            } else {
                body.to_string().into()
            },
            headers: Vec::new(),
        }
    }
}
