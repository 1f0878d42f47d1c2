//! Tests every route with every kind of bad input: the expected refusal, no 5xx, and no change.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use tokens::{Audience, SigningKey};

use super::refused_operators::acts;
use super::refused_shoppers::{checkouts, orders_and_lists, reservations};
use super::scene::{Bad, DRAFT, DROP, Scene, UPCOMING};
use super::world::{World, now_ms};

pub(crate) async fn bad_input_changes_nothing(world: &'static World) {
    let scene = Scene::set(world).await;
    let mut before = Vec::new();
    for drop in [DROP, DRAFT, UPCOMING] {
        before.push(world.image(drop).await);
    }
    tokens_of_others(&scene).await;
    bodies(&scene).await;
    keys(&scene).await;
    reservations(&scene).await;
    checkouts(&scene).await;
    orders_and_lists(&scene).await;
    acts(&scene).await;
    paths_and_methods(&scene).await;
    headers(&scene).await;
    for (drop, before) in [DROP, DRAFT, UPCOMING].into_iter().zip(before) {
        assert_eq!(world.image(drop).await, before, "{drop} was changed");
    }
    assert!(
        world
            .image("refusals-new")
            .await
            .values()
            .all(|items| items.is_empty())
    );
}

async fn tokens_of_others(scene: &Scene) {
    let now = now_ms() / 1000;
    let strangers = SigningKey::generate("local-shopper").unwrap();
    let world = scene.world;
    for route in scene.routes() {
        let (ours, theirs) = if route.operator {
            (&world.operators, &world.shoppers)
        } else {
            (&world.shoppers, &world.operators)
        };
        let (audience, other) = if route.operator {
            (Audience::Operator, Audience::Shopper)
        } else {
            (Audience::Shopper, Audience::Operator)
        };
        let sign = |key: &SigningKey, audience, subject: &str, from: i64, to: i64| {
            format!("Bearer {}", key.sign(audience, subject, from, to).unwrap())
        };
        let good = sign(ours, audience, &scene.ada.id, now, now + 600);
        let unsigned = {
            let (head_and_claims, _) = good.rsplit_once('.').unwrap();
            format!("{head_and_claims}.")
        };
        // This token has the header {"alg":"none"}, the claims of a valid token, and no signature.
        let none = format!("Bearer eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
        let mut tokens = vec![
            ("no token", String::new()),
            ("no scheme", good.replace("Bearer ", "")),
            ("other scheme", good.replace("Bearer", "Basic")),
            ("empty", "Bearer ".to_owned()),
            ("nonsense", "Bearer a.b.c".to_owned()),
            ("too long", format!("Bearer {}", "a".repeat(4_000))),
            ("unsigned", unsigned),
            ("alg none", none),
            (
                "expired",
                sign(ours, audience, &scene.ada.id, now - 600, now - 60),
            ),
            (
                "not yet valid",
                sign(ours, audience, &scene.ada.id, now + 300, now + 600),
            ),
            (
                "forged",
                sign(&strangers, audience, &scene.ada.id, now, now + 600),
            ),
            (
                "other audience, right key",
                sign(ours, other, &scene.ada.id, now, now + 600),
            ),
            (
                "right audience, other key",
                sign(theirs, audience, &scene.ada.id, now, now + 600),
            ),
            (
                "the others' own",
                sign(theirs, other, &scene.ada.id, now, now + 600),
            ),
        ];
        if !route.operator {
            tokens.push(("no subject", sign(ours, audience, "", now, now + 600)));
        }
        for (what, token) in tokens {
            let bad = Bad {
                what: what.to_owned(),
                token,
                ..scene.good(&route)
            };
            scene.refused(&bad, 401, "unauthenticated").await;
        }
    }
}

async fn bodies(scene: &Scene) {
    for route in scene.routes().into_iter().filter(|r| r.body.is_some()) {
        let good = scene.good(&route);
        let sound = String::from_utf8(good.body.to_vec()).unwrap();
        let mut unknown = route.body.clone().unwrap();
        unknown["coupon"] = "FREE".into();
        let first = route
            .body
            .as_ref()
            .unwrap()
            .as_object()
            .unwrap()
            .iter()
            .next()
            .unwrap();
        let twice = format!("{},{}:{}}}", &sound[..sound.len() - 1], json!(first.0), first.1);
        let deep = format!(r#"{{"{}":{}{}}}"#, first.0, "[".repeat(5_000), "]".repeat(5_000));
        let malformed: Vec<(&str, Vec<u8>)> = vec![
            ("nothing", Vec::new()),
            ("broken off", sound.as_bytes()[..sound.len() / 2].to_vec()),
            ("an array", b"[]".to_vec()),
            ("null", b"null".to_vec()),
            ("no members", b"{}".to_vec()),
            ("a text", b"\"x\"".to_vec()),
            ("unknown member", unknown.to_string().into_bytes()),
            ("a member twice", twice.into_bytes()),
            ("two values", format!("{sound} {sound}").into_bytes()),
            ("no UTF-8", b"{\"sku\":\"\xff\xfe\"}".to_vec()),
            ("a NUL", b"{\"sku\":\"\\u0000\"}".to_vec()),
            ("half a surrogate", b"{\"sku\":\"\\ud800\"}".to_vec()),
            ("5,000 deep", deep.into_bytes()),
            ("10,000 deep, not closed", "[".repeat(10_000).into_bytes()),
            (
                "a huge number",
                b"{\"quantity\":1e999999,\"units\":1e999999}".to_vec(),
            ),
            (
                "one huge name",
                format!("{{\"{}\":1}}", "n".repeat(15_000)).into_bytes(),
            ),
        ];
        for (what, body) in malformed {
            let bad = Bad {
                what: what.to_owned(),
                body: body.into(),
                ..good.clone()
            };
            scene.refused(&bad, 400, "invalid_request").await;
        }
        let closed = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let padded = format!("{sound}{}", " ".repeat(17 * 1024));
        for (what, body) in [("10,000 deep", closed), ("17 KiB", padded)] {
            let bad = Bad {
                what: what.to_owned(),
                body: body.into(),
                ..good.clone()
            };
            scene.refused(&bad, 413, "too_large").await;
        }
        for content_type in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some(";;;"),
            Some("application/jsonp"),
        ] {
            let bad = Bad {
                what: format!("as {content_type:?}"),
                content_type,
                ..good.clone()
            };
            scene.refused(&bad, 415, "unsupported_media_type").await;
        }
        let bad = Bad {
            body: vec![b' '; 11 * 1024 * 1024].into(),
            ..good
        };
        let reply = scene.world.send(scene.request(&bad)).await;
        assert_eq!(reply.status, 413, "{}", route.path);
        assert_eq!(
            &reply.json,
            &json!({"message": "Request Entity Too Large"}),
            "{}",
            route.path
        );
    }
}

async fn keys(scene: &Scene) {
    for route in scene.routes().into_iter().filter(|r| r.keyed) {
        let long = "k".repeat(65);
        for key in [
            None,
            Some(""),
            Some("a b"),
            Some(long.as_str()),
            Some("schlüssel"),
            Some("tab\there"),
        ] {
            let bad = Bad {
                what: format!("key {key:?}"),
                key: key.map(str::to_owned),
                ..scene.good(&route)
            };
            let reply = scene.refused(&bad, 400, "invalid_request").await;
            assert_eq!(reply.json["errors"][0]["field"], "Idempotency-Key");
        }
    }
}

async fn paths_and_methods(scene: &Scene) {
    let plain = |method: Method, path: &str| Bad {
        key: None,
        content_type: None,
        ..scene.json("", method, path, &scene.world.file.operator_token, Value::Null)
    };
    let routes = scene.routes();
    let paths: BTreeSet<&str> = routes.iter().map(|r| r.path.as_str()).collect();
    for path in paths {
        let allowed: BTreeSet<String> = routes
            .iter()
            .filter(|r| r.path == path)
            .map(|r| r.method.to_string())
            .collect();
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ] {
            if allowed.contains(method.as_str()) {
                continue;
            }
            let reply = scene
                .refused(&plain(method, path), 405, "method_not_allowed")
                .await;
            let told: BTreeSet<String> = reply.headers["allow"]
                .to_str()
                .unwrap()
                .split(", ")
                .map(str::to_owned)
                .collect();
            assert!(allowed.is_subset(&told), "{path}: {told:?}");
        }
    }
    for path in [
        "/",
        "/drop",
        "/drops/",
        "/drops/a/b",
        "/orders/",
        "/operator",
        "/operator/drops",
        "/drops/../operator/drops/refusals",
        "//drops",
        "/drops//status",
        "/.env",
        "/orders/x/y/z",
    ] {
        scene.refused(&plain(Method::GET, path), 404, "not_found").await;
    }
}

async fn headers(scene: &Scene) {
    let status = format!("/drops/{DROP}/status");
    let get = |headers: Vec<(String, String)>| Bad {
        key: None,
        content_type: None,
        token: String::new(),
        headers,
        ..scene.json("", Method::GET, &status, "", Value::Null)
    };
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let too_much = scene.send(&get(header("x-much", &"x".repeat(11_000)))).await;
    assert_eq!(too_much.status, 431);
    assert_eq!(
        &too_much.json,
        &json!({"message": "Request Header Fields Too Large"})
    );
    let harmless = [
        (0..60).map(|n| (format!("x-many-{n}"), "1".to_owned())).collect(),
        header("accept", "application/xml;q=0"),
        header("cookie", "=;;=;a=b;a=c"),
        header("x-forwarded-for", "' OR 1=1 --"),
        header("x-amzn-trace-id", "Root=?;Parent=;Sampled=x"),
        header("x-http-method-override", "DELETE"),
        header("if-none-match", "*"),
        header("range", "bytes=0-0"),
        header("origin", "null"),
    ];
    for headers in harmless {
        let what = headers.first().cloned();
        let reply = scene.send(&get(headers)).await;
        assert_eq!(reply.status, 200, "{what:?}");
        assert_eq!(reply.json["drop_id"], DROP, "{what:?}");
    }
}
