//! Tests the stored form of pre-scaling's state. Engineers read the record of changes directly in the
//! table.

use std::collections::{BTreeMap, HashMap};

use crate::support::Local;
use aws_sdk_dynamodb::types::AttributeValue;
use capacity::amounts::{Capacity, DatabaseSize};
use capacity::numbers::Share;
use capacity::readiness::{Readiness, Ruling};
use capacity::steps::Step;
use capacity::target::Record;
use contracts::fixtures::{NOW, drop_id};
use dynamodb::{AUDIT_DAYS, PrescaleStore};
use ports::StoreError;
use ports::prescale::{Audited, Carried, KeepRun, ReadReadiness, StoreReadiness, WriteAudit};

type Item = HashMap<String, AttributeValue>;

fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn record() -> Record {
    Record {
        at: NOW,
        wanted: Capacity {
            functions: BTreeMap::new(),
            database: DatabaseSize::MinimumAcu(2.5),
            tables: BTreeMap::new(),
            queues: BTreeMap::new(),
        },
        set: BTreeMap::new(),
    }
}

fn readiness() -> Readiness {
    Readiness {
        drop: drop_id(),
        at: NOW,
        ready: false,
        ready_by: NOW,
        estimated_at: NOW,
        on_course: false,
        parts: vec![],
        ruling: Ruling::AdmitFewer,
        share: Share::NONE,
        shoppers_per_second: 0.0,
        spill_over: 0,
    }
}

async fn spoil(local: &Local, key: &str, name: &str) {
    let mut item = local.item("prescale", key).await.unwrap();
    item.insert(name.to_owned(), s("gibberish"));
    let put = local
        .client
        .put_item()
        .table_name("prescale")
        .set_item(Some(item));
    put.send().await.unwrap();
}

#[tokio::test]
async fn lease_record_readiness_and_changes_are_stored_as_described() {
    let local = Local::start().await;
    let store = PrescaleStore::new(&local.client, &local.tables);
    let until = NOW.plus_seconds(58);
    let held = store.take("run-7", NOW, until).await.unwrap().unwrap();
    assert!(store.leave(&held.lease, &record()).await.unwrap().is_done());
    let json = r#"{"at":1800000000000,"wanted":{"functions":{},"database":{"minimum_acu":2.5},"tables":{},"queues":{}}}"#;
    let run = item([
        ("pk", s("run")),
        ("holder", s("run-7")),
        ("until", n(until.as_millis())),
        ("fencing", n(1)),
        ("record", s(json)),
    ]);
    assert_eq!(local.item("prescale", "run").await.unwrap(), run);

    assert!(store.store_readiness(1, &readiness()).await.unwrap().is_done());
    let doc = serde_json::to_string(&readiness()).unwrap();
    let ready = item([
        ("pk", s("readiness#autumn")),
        ("doc", s(doc)),
        ("fencing", n(1)),
        ("as_of", n(NOW.as_millis())),
    ]);
    assert_eq!(local.item("prescale", "readiness#autumn").await.unwrap(), ready);

    let change = Audited {
        fencing: 1,
        number: 2,
        at: NOW,
        run: "run-7".to_owned(),
        mode: "apply".to_owned(),
        drops: vec![drop_id()],
        step: Step::SetMinimumAcu { from: 2.0, to: 2.5 },
        outcome: Some(Ok(Carried::Started)),
    };
    store.audit(&change).await.unwrap();
    let change = item([
        ("pk", s("audit#1#2")),
        ("at", n(NOW.as_millis())),
        ("run", s("run-7")),
        ("mode", s("apply")),
        ("drops", AttributeValue::L(vec![s("autumn")])),
        ("step", s(r#"{"step":"set_minimum_acu","from":2.0,"to":2.5}"#)),
        ("outcome", s("started")),
        // DynamoDB's time to live requires seconds.
        ("expires_at", n(NOW.as_millis() / 1000 + AUDIT_DAYS * 86_400)),
    ]);
    assert_eq!(local.item("prescale", "audit#1#2").await.unwrap(), change);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_none_and_blocks_nobody() {
    let local = Local::start().await;
    let store = PrescaleStore::new(&local.client, &local.tables);
    let until = NOW.plus_seconds(58);
    let held = store.take("run-7", NOW, until).await.unwrap().unwrap();
    assert!(store.leave(&held.lease, &record()).await.unwrap().is_done());
    spoil(&local, "run", "record").await;
    let next = store.take("run-8", until, until.plus_seconds(58)).await.unwrap();
    let next = next.unwrap();
    assert_eq!(next.record, None);
    assert!(store.leave(&next.lease, &record()).await.unwrap().is_done());
    let kept = store.take("run-8", until, until.plus_seconds(58)).await.unwrap();
    assert_eq!(kept.unwrap().record, Some(record()));
}

#[tokio::test]
async fn a_lease_or_readiness_that_cannot_be_read_is_broken_and_not_quoted() {
    let local = Local::start().await;
    let store = PrescaleStore::new(&local.client, &local.tables);
    let until = NOW.plus_seconds(58);
    assert!(store.take("run-7", NOW, until).await.unwrap().is_ok());
    spoil(&local, "run", "until").await;
    assert!(store.store_readiness(1, &readiness()).await.unwrap().is_done());
    spoil(&local, "readiness#autumn", "doc").await;
    for error in [
        store.lease().await.unwrap_err(),
        store.take("run-8", until, until).await.unwrap_err(),
        store.readiness(&drop_id()).await.unwrap_err(),
    ] {
        let StoreError::Broken(text) = error else {
            panic!("{error:?}");
        };
        assert!(text.contains("prescale") && !text.contains("gibberish"), "{text}");
    }
    // The next run replaces an unreadable document.
    assert!(store.store_readiness(2, &readiness()).await.unwrap().is_done());
    assert_eq!(store.readiness(&drop_id()).await.unwrap(), Some(readiness()));
}
