//! Tests the stored form of items. Other programs read the tables too, so their layout must not change.

use std::collections::HashMap;

use crate::support::Local;
use aws_sdk_dynamodb::types::AttributeValue;
use contracts::fixtures::{NOW, draft, drop_id, held, id, key, placing, shopper, sku};
use domain::drops::Drop;
use domain::order::EndReason;
use domain::status::DropStatus;
use domain::time::Timestamp;
use dynamodb::{DropStore, OrderStore, StatusStore, StockStore};
use ports::StoreError;
use ports::drops::{FreeCounts, HoldLease, ReadCounts, ReadDrop, ReadStatus, StoreDrop, WriteStatus};
use ports::orders::{AdvanceOrder, PlaceOrder, ReadOrder};
use ports::stock::{AllocateStock, ClaimStock, Consistency, PeekStock, ReadClaim, SurveyStock};

type Item = HashMap<String, AttributeValue>;

fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn names(item: &Item) -> Vec<&str> {
    let mut names: Vec<&str> = item.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Places an order of Ada's for 2 units.
async fn placed(local: &Local) -> domain::order::Order {
    let stock = StockStore::new(&local.client, &local.tables);
    let orders = OrderStore::new(&local.client, &local.tables);
    let placing = placing("ada", "k", 2, 3);
    assert!(stock.allocate(&key(0), 5).await.unwrap().is_done());
    assert!(
        stock
            .claim(&key(0), &shopper("ada"), &placing.hold)
            .await
            .unwrap()
            .is_done()
    );
    assert!(orders.place(&placing).await.unwrap().is_done());
    placing.order
}

async fn spoil(local: &Local, table: &str, key: &str, name: &str, value: AttributeValue) {
    let mut item = local.item(table, key).await.unwrap();
    item.insert(name.to_owned(), value);
    let put = local.client.put_item().table_name(table).set_item(Some(item));
    put.send().await.unwrap();
}

#[tokio::test]
async fn shard_order_counter_and_address_are_stored_as_described() {
    let local = Local::start().await;
    let order = placed(&local).await;
    let bob = held("bob", "k", 1);
    let stock = StockStore::new(&local.client, &local.tables);
    assert!(
        stock
            .claim(&key(0), &shopper("bob"), &bob)
            .await
            .unwrap()
            .is_done()
    );

    let shard = local.item("stock", "autumn#TEE-M#0").await.unwrap();
    assert_eq!(names(&shard), ["a", "c", "f", "pk", "s"]);
    assert_eq!(&shard["a"], &n(5));
    assert_eq!(&shard["f"], &n(2));
    assert_eq!(&shard["s"], &n(0));
    let claims = Item::from([
        ("ada".to_owned(), s(order.claim.to_string())),
        ("bob".to_owned(), s(bob.to_string())),
    ]);
    assert_eq!(shard["c"], AttributeValue::M(claims));

    let counter = local.item("purchases", "autumn#ada").await.unwrap();
    assert_eq!(names(&counter), vec!["n", "pk"]);
    assert_eq!(&counter["n"], &n(2));

    let item = local.item("orders", order.id.as_str()).await.unwrap();
    let attributes = [
        "doc",
        "due_at",
        "open",
        "pk",
        "placed_at",
        "shopper_id",
        "status",
        "version",
    ];
    assert_eq!(names(&item), attributes);
    assert_eq!(item["open"], s(format!("{:x}", order.open_bucket().unwrap())));
    assert_eq!(&item["due_at"], &n(NOW.as_millis() + 15_000));
    assert_eq!(&item["placed_at"], &n(NOW.as_millis()));
    assert_eq!(&item["shopper_id"], &s("ada"));
    assert_eq!(&item["status"], &s("placed"));
    assert_eq!(&item["version"], &n(1));
    let doc = item["doc"].as_s().unwrap();
    assert!(!doc.contains("\"name\""), "the address is apart");
    for text in [order.claim.to_string(), order.fingerprint.to_string()] {
        assert!(doc.contains(&format!(":\"{text}\"")), "{text} in {doc}");
    }

    let address = local.item("addresses", order.id.as_str()).await.unwrap();
    assert_eq!(names(&address), vec!["address", "pk"]);
    assert_eq!(&address["address"], &s(r#"{"name":"ada"}"#));

    let orders = OrderStore::new(&local.client, &local.tables);
    let undone = order.undo(EndReason::ByShopper, NOW).unwrap();
    assert!(orders.advance(&undone).await.unwrap().is_done());
    let item = local.item("orders", order.id.as_str()).await.unwrap();
    assert_eq!(item.get("open"), None);
    assert_eq!(&item["status"], &s("cancelled"));
    assert_eq!(&item["version"], &n(2));
}

#[tokio::test]
async fn drop_status_counts_and_lease_are_stored_as_described() {
    let local = Local::start().await;
    let drops = DropStore::new(&local.client, &local.tables);
    let draft = draft("autumn", 60);
    let publishing = draft.start_publishing(NOW).unwrap();
    let scheduled = publishing.finish_publishing().unwrap();
    for drop in [&draft, &publishing, &scheduled] {
        assert!(drops.store(drop).await.unwrap().is_done());
        let item = local.item("drops", "autumn").await.unwrap();
        let listed = (drop.version == 3).then(|| s("1"));
        assert_eq!(item.get("listed"), listed.as_ref());
        assert_eq!(&item["version"], &n(drop.version));
        assert_eq!(item["starts_at"], n(NOW.as_millis() + 60_000));
        assert!(item["doc"].as_s().is_ok());
    }
    let unlisted = Drop {
        id: "winter".parse().unwrap(),
        version: 1,
        listed: false,
        ..scheduled
    };
    assert!(drops.store(&unlisted).await.unwrap().is_done());
    let item = local.item("drops", "winter").await.unwrap();
    assert_eq!(item["listed"], s("0"));

    let store = StatusStore::new(&local.client, &local.tables);
    let status = DropStatus {
        drop: drop_id(),
        as_of: NOW,
        fencing: 7,
        skus: vec![],
    };
    assert!(store.write_status(&status, 16).await.unwrap().is_done());
    for replica in 0..16 {
        let item = local
            .item("status", &format!("autumn#status#{replica}"))
            .await
            .unwrap();
        assert_eq!(names(&item), ["as_of", "doc", "fencing", "pk"]);
        assert_eq!(&item["fencing"], &n(7));
        assert_eq!(&item["as_of"], &n(NOW.as_millis()));
    }
    let counts = FreeCounts {
        as_of: NOW,
        fencing: 7,
        free: vec![3, 0, 24],
    };
    assert!(
        store
            .write_counts(&drop_id(), &sku(), &counts, 4)
            .await
            .unwrap()
            .is_done()
    );
    let item = local.item("status", "autumn#counts#TEE-M#0").await.unwrap();
    assert_eq!(item["free"].as_b().unwrap().as_ref(), [3, 0, 24]);

    let lease = store
        .acquire(&drop_id(), "one", NOW, NOW.plus_seconds(8))
        .await
        .unwrap();
    assert_eq!(lease.unwrap().fencing, 1);
    let item = local.item("status", "autumn#lease").await.unwrap();
    assert_eq!(names(&item), ["fencing", "holder", "pk", "until"]);
}

#[tokio::test]
async fn an_item_that_cannot_be_read_is_broken_and_not_quoted() {
    let local = Local::start().await;
    let order = placed(&local).await;
    let (stock, orders) = (
        StockStore::new(&local.client, &local.tables),
        OrderStore::new(&local.client, &local.tables),
    );
    let (drops, status) = (
        DropStore::new(&local.client, &local.tables),
        StatusStore::new(&local.client, &local.tables),
    );
    assert!(drops.store(&draft("autumn", 60)).await.unwrap().is_done());
    let written = DropStatus {
        drop: drop_id(),
        as_of: NOW,
        fencing: 1,
        skus: vec![],
    };
    assert!(status.write_status(&written, 4).await.unwrap().is_done());
    let counts = FreeCounts {
        as_of: NOW,
        fencing: 1,
        free: vec![1],
    };
    assert!(
        status
            .write_counts(&drop_id(), &sku(), &counts, 4)
            .await
            .unwrap()
            .is_done()
    );

    spoil(
        &local,
        "stock",
        "autumn#TEE-M#0",
        "c",
        AttributeValue::M([("zoe".to_owned(), s("gibberish"))].into()),
    )
    .await;
    spoil(&local, "purchases", "autumn#ada", "n", s("gibberish")).await;
    spoil(&local, "orders", order.id.as_str(), "doc", s("gibberish")).await;
    spoil(&local, "drops", "autumn", "doc", s("gibberish")).await;
    spoil(&local, "status", "autumn#status#0", "doc", s("gibberish")).await;
    spoil(&local, "status", "autumn#counts#TEE-M#0", "free", s("gibberish")).await;
    let ada = shopper("ada");
    for (what, error) in [
        ("peek", stock.peek(&drop_id(), &ada, &[key(0)]).await.unwrap_err()),
        ("counter", stock.peek(&drop_id(), &ada, &[]).await.unwrap_err()),
        (
            "survey",
            stock.survey(&[key(0)], Consistency::Strong).await.unwrap_err(),
        ),
        (
            "claim",
            stock
                .claim(&key(0), &ada, &held("ada", "k", 9))
                .await
                .unwrap_err(),
        ),
        (
            "read claim",
            stock.read_claim(&key(0), &id("zoe")).await.unwrap_err(),
        ),
        ("order", orders.order(&order.id).await.unwrap_err()),
        (
            "place",
            orders.place(&placing("ada", "k", 2, 3)).await.unwrap_err(),
        ),
        ("drop", drops.drop(&drop_id()).await.unwrap_err()),
        ("status", status.status(&drop_id(), 0).await.unwrap_err()),
        ("counts", status.counts(&drop_id(), &sku(), 0).await.unwrap_err()),
    ] {
        let StoreError::Broken(text) = error else {
            panic!("{what}: {error:?}");
        };
        assert!(
            !text.contains("gibberish") && !text.contains("zoe"),
            "{what}: {text}"
        );
    }
}

#[tokio::test]
async fn an_effect_that_does_not_fit_is_broken_and_changes_nothing() {
    let local = Local::start().await;
    let order = placed(&local).await;
    let orders = OrderStore::new(&local.client, &local.tables);
    let undo = order.undo(EndReason::PaymentDeclined, NOW).unwrap();
    let settle = order.settle(NOW).unwrap();

    spoil(&local, "purchases", "autumn#ada", "n", n(1)).await;
    let error = orders.advance(&undo).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Broken(text) if text.contains("counter")),
        "{error:?}"
    );
    assert_eq!(local.item("purchases", "autumn#ada").await.unwrap()["n"], n(1));

    let other = domain::claim::Claim {
        deadline: Timestamp::from_millis(1),
        ..order.claim.clone()
    };
    let claims = AttributeValue::M([("ada".to_owned(), s(other.to_string()))].into());
    spoil(&local, "stock", "autumn#TEE-M#0", "c", claims).await;
    let before = local.item("stock", "autumn#TEE-M#0").await;
    for step in [&undo, &settle] {
        let error = orders.advance(step).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Broken(text) if text.contains("claim")),
            "{error:?}"
        );
    }
    assert_eq!(local.item("stock", "autumn#TEE-M#0").await, before);
    assert_eq!(orders.order(&order.id).await.unwrap().unwrap().version, 1);
}
