//! Tests the mails that shoppers receive.

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use super::people::Plan;
use super::world::{World, until};

/// Reads the subjects and texts of the mails about an order.
fn about(world: &World, order: &str) -> Vec<(String, String)> {
    let files = std::fs::read_dir(&world.file.mails).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "txt"));
    paths.sort();
    let texts = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
    let of_order = texts.filter(|text| text.contains(order));
    let parts = of_order.map(|text| {
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "));
        (subject.unwrap().to_owned(), text)
    });
    parts.collect()
}

/// Waits until there are `count` mails about an order, and returns them.
async fn mails(world: &'static World, order: &Value, count: usize) -> Vec<(String, String)> {
    let id = order["order_id"].as_str().unwrap();
    until(&format!("{count} mails about {id}"), || async move {
        let found = about(world, id);
        (found.len() >= count).then_some(found)
    })
    .await
}

pub(crate) async fn a_shopper_is_told_how_an_order_stands(world: &'static World) {
    let drop = "told";
    world.publish(&Plan::new(drop, &[("ONE", 4)])).await;
    let buy = async |who: &str, card: &str| {
        let shopper = world.shopper(who);
        let order = shopper.order_one(drop, "ONE", card).await;
        (shopper, order)
    };

    let (_, order) = buy("toldada", "pm_card_visa").await;
    let confirmed = mails(world, &order, 1).await;
    assert!(confirmed[0].0.ends_with("is confirmed"), "{confirmed:?}");
    assert!(confirmed[0].1.contains("To: ada@example.com\n") && confirmed[0].1.contains("49.00 EUR"));

    let (bob, refused) = buy("toldbob", "pm_card_chargeDeclined").await;
    let declined = mails(world, &refused, 1).await;
    assert!(
        declined[0].0.starts_with("Another card") && declined[0].1.contains(" left, until "),
        "{declined:?}"
    );
    bob.pay(&refused, "pm_card_visa", "another").await.expect(202);
    assert!(mails(world, &refused, 2).await[1].0.ends_with("is confirmed"));

    let (cyd, acting) = buy("toldcyd", "pm_card_authenticationRequired").await;
    let asked = mails(world, &acting, 1).await;
    assert!(
        asked[0].0.starts_with("Confirm the payment") && asked[0].1.contains(" left, until "),
        "{asked:?}"
    );
    let waiting = cyd.until_status(&acting, &["action_required"]).await;
    let url = waiting["action"]["url"].as_str().unwrap();
    assert!(
        !asked[0].1.contains(url),
        "a mail does not lead to the bank: {asked:?}"
    );
    let visit = Request::post(format!("{url}?outcome=complete")).body(Bytes::new());
    assert!(world.send(visit.unwrap()).await.status < 400, "{url}");
    assert!(mails(world, &acting, 2).await[1].0.ends_with("is confirmed"));

    let (dan, called_off) = buy("tolddan", "pm_card_authenticationRequired").await;
    dan.until_status(&called_off, &["action_required"]).await;
    mails(world, &called_off, 1).await;
    assert!(dan.cancel(&called_off).await.status < 300);
    let cancelled = mails(world, &called_off, 2).await;
    assert!(
        cancelled[1].0.ends_with("is cancelled") && cancelled[1].1.contains("You asked for it."),
        "{cancelled:?}"
    );

    for (order, count) in [(&order, 1), (&refused, 2), (&acting, 2), (&called_off, 2)] {
        let id = order["order_id"].as_str().unwrap();
        assert_eq!(about(world, id).len(), count, "each thing is told once: {id}");
    }
}
