//! Makes the deployer's smoke test: an unlisted drop from draft to a paid order, and the requests that its tokens must
//! not permit.

use http::Method;
use serde_json::{Value, json};
use tokens::Audience;

use super::people::{Plan, Shopper, shipping};
use super::world::{Reply, World, now_ms};

impl World {
    fn deployers(&self, audience: Audience, subject: &str, seconds: i64) -> String {
        let now = now_ms() / 1000;
        self.deployer.sign(audience, subject, now, now + seconds).unwrap()
    }

    async fn deploy(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let token = self.deployers(Audience::Operator, "smoke-deploy", 300);
        let path = format!("/operator/drops/{path}");
        self.call(method, &path, &token, None, body).await
    }

    /// Reads the ids of the drops on all pages of the public list.
    async fn listed(&self) -> Vec<String> {
        let mut ids = Vec::new();
        let mut path = "/drops?limit=3".to_owned();
        loop {
            let page = self.get(&path).await.expect(200);
            let drops = page["drops"].as_array().unwrap();
            ids.extend(
                drops
                    .iter()
                    .map(|drop| drop["drop_id"].as_str().unwrap().to_owned()),
            );
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/drops?limit=3&cursor={cursor}"),
                None => return ids,
            }
        }
    }
}

pub(crate) async fn an_unlisted_drop_is_bought_and_no_other(world: &'static World) {
    let (hidden, shown) = ("deployer-hidden", "deployer-shown");
    let unlisted = |drop| {
        let mut body = Plan::new(drop, &[("ONE", 1)]).body();
        body["listed"] = json!(false);
        body
    };
    let refused = world.deploy(Method::PUT, shown, Some(Plan::new(shown, &[("ONE", 1)]).body()));
    refused.await.expect_problem(403, "forbidden");
    world.publish(&Plan::new(shown, &[("ONE", 1)])).await;
    for (method, path, body) in [
        (Method::GET, shown.to_owned(), None),
        (Method::PUT, shown.to_owned(), Some(unlisted(shown))),
        (Method::POST, format!("{shown}/pause"), None),
        (Method::POST, format!("{shown}/cancel"), None),
    ] {
        world
            .deploy(method, &path, body)
            .await
            .expect_problem(403, "forbidden");
    }

    let draft = world.deploy(Method::PUT, hidden, Some(unlisted(hidden))).await;
    assert_eq!(draft.expect(201)["listed"], false);
    let publish = format!("{hidden}/publish");
    world.deploy(Method::POST, &publish, None).await.expect(200);
    world.drops.lock().unwrap().push(hidden.to_owned());

    let smoke = Shopper {
        world,
        id: "smoke-ada".to_owned(),
        token: world.deployers(Audience::Shopper, "smoke-ada", 300),
    };
    let there = smoke.reserve(shown, "ONE", 1, "k").await;
    there.expect_problem(403, "forbidden");
    let held = smoke.reserve(hidden, "ONE", 1, "k").await.expect(201);
    // Another shopper has a reservation in a listed drop. The deployer's token must not permit its checkout.
    let theirs = world
        .shopper("deployerbob")
        .reserve(shown, "ONE", 1, "k")
        .await
        .expect(201);
    let body = json!({"reservation_id": theirs["reservation_id"], "amount": theirs["amount"],
                      "payment_method": "pm_card_visa", "shipping": shipping()});
    let order = smoke.call(Method::POST, "/orders", Some("k2"), Some(body)).await;
    order.expect_problem(403, "forbidden");
    let order = smoke.checkout(&held, "pm_card_visa", "k").await.expect(202);
    assert_eq!(smoke.until_final(&order).await["status"], "paid");
    // The drop's status is "gone" only after the conductor has counted the units.
    world.until_available(hidden, "gone").await;

    let ids = world.listed().await;
    assert!(
        ids.iter().any(|id| id == shown) && !ids.iter().any(|id| id == hidden),
        "{ids:?}"
    );
    let shown_alone = world.get(&format!("/drops/{hidden}")).await.expect(200);
    assert_eq!(shown_alone["drop_id"], hidden);

    for (subject, seconds) in [("smoke-ada", 301), ("deployerbob", 300)] {
        let token = world.deployers(Audience::Shopper, subject, seconds);
        let reply = world.call(Method::GET, "/orders", &token, None, None).await;
        reply.expect_problem(401, "unauthenticated");
    }
    let impostor = world.shopper("smoke-eve");
    let reply = impostor.call(Method::GET, "/orders", None, None).await;
    reply.expect_problem(401, "unauthenticated");
    world
        .deploy(Method::POST, &format!("{hidden}/cancel"), None)
        .await
        .expect(200);
}
