//! Gives bodies of queue messages to `process-order` and `project-ledger`.
//!
//! Each batch also has a good message, which must succeed whatever the other messages contain.

use std::collections::BTreeSet;

use aws_lambda_events::sqs::{BatchItemFailure, SqsEvent};
use contracts::fixtures;
use domain::rate::CallRate;
use events::{OrderEvent, PaymentWork};
use memory::{MemoryGateway, MemoryLedger, MemoryStore, TestRuntime};
use ports::orders::PlaceOrder as _;
use ports::runtime::Clock as _;
use ports::stock::{AllocateStock as _, ClaimStock as _};
use process_order::Pace;
use process_order::advance_payment::PaymentSaga;
use project_ledger::Projection;
use serde_json::{Value, json};

use crate::requests::split;
use crate::run::run;
use crate::world::assert_done;

const MAX_MESSAGES: usize = 9;
const GOOD: &str = "good";

/// The fuzz target `messages`: panics if an unreadable message succeeds or a good message fails.
pub fn target(input: &[u8]) {
    failures(input);
}

/// Handles the messages in both functions. Returns the number of messages that are no event of an order.
pub fn failures(input: &[u8]) -> usize {
    let parts = split(input);
    let bodies: Vec<String> = parts
        .iter()
        .take(MAX_MESSAGES)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    // The input may also be a whole event, whose records need not be complete.
    if let Ok(event) = serde_json::from_slice::<SqsEvent>(input) {
        run(async {
            let bench = Bench::new().await;
            let records = event.records.len();
            let of_them = |failed: Vec<BatchItemFailure>| failed.len() <= records;
            assert!(bench.advance(event.clone()).await.is_none_or(of_them));
            assert!(bench.project(&event).await.is_none_or(of_them));
        });
    }
    run(async {
        let bench = Bench::new().await;
        let batch = batch(&bodies, &bench.good);
        let which = |refused: fn(&str) -> bool| -> BTreeSet<String> {
            let refused = bodies.iter().enumerate().filter(|(_, body)| refused(body));
            refused.map(|(n, _)| n.to_string()).collect()
        };
        let unreadable = which(|body| OrderEvent::decode(body).is_err());
        let not_advanced = which(|body| PaymentWork::decode(body).is_err());
        let advanced = named(&bench.advance(batch.clone()).await.expect("all messages have ids"));
        assert!(
            advanced.is_superset(&not_advanced),
            "advanced although unreadable: {not_advanced:?}"
        );
        assert!(!advanced.contains(GOOD), "a good message failed among others");
        let projected = named(&bench.project(&batch).await.expect("all messages have ids"));
        assert_eq!(projected, unreadable, "projected");
        bench.audit();
        unreadable.len()
    })
}

fn batch(bodies: &[String], good: &str) -> SqsEvent {
    let record = |id: &str, body: &str| json!({"messageId": id, "body": body, "attributes": {}, "messageAttributes": {}});
    let numbered = bodies.iter().enumerate();
    let mut records: Vec<Value> = numbered.map(|(n, body)| record(&n.to_string(), body)).collect();
    records.push(record(GOOD, good));
    serde_json::from_value(json!({ "Records": records })).expect("a batch")
}

fn named(failures: &[BatchItemFailure]) -> BTreeSet<String> {
    failures
        .iter()
        .map(|failure| failure.item_identifier.clone())
        .collect()
}

/// A store with one placed order, and all that the two functions need.
struct Bench {
    store: MemoryStore,
    gateway: MemoryGateway,
    runtime: TestRuntime,
    ledger: MemoryLedger,
    good: String,
}

impl Bench {
    async fn new() -> Self {
        let (store, gateway, runtime) = (MemoryStore::new(), MemoryGateway::new(), TestRuntime::new(5));
        let placing = fixtures::placing("ada", "k", 1, 2);
        let (key, ada) = (fixtures::key(0), fixtures::shopper("ada"));
        assert_done(store.allocate(&key, 20).await, "stock");
        assert_done(store.claim(&key, &ada, &placing.hold).await, "a hold");
        assert_done(store.place(&placing).await, "an order");
        let good = OrderEvent::of_change(None, &placing.order)
            .encode()
            .expect("an event");
        Self {
            store,
            gateway,
            runtime,
            ledger: MemoryLedger::new(),
            good,
        }
    }

    /// The messages that `process-order` reports as failed; `None` if a message has no id.
    async fn advance(&self, event: SqsEvent) -> Option<Vec<BatchItemFailure>> {
        let return_url = "https://shop.example/orders".to_owned();
        let (store, gateway) = (self.store.clone(), self.gateway.clone());
        let pace = Pace {
            rate: CallRate::HIGHEST,
            workers: 1,
        };
        let saga = PaymentSaga::new(store, gateway, pace, return_url, self.runtime.clone());
        let report = saga.advance_batch(&event).await;
        report.ok().map(|report| report.batch_item_failures)
    }

    /// The messages that `project-ledger` reports as failed; `None` if a message has no id.
    async fn project(&self, event: &SqsEvent) -> Option<Vec<BatchItemFailure>> {
        let projection = Projection::new(self.ledger.clone(), self.runtime.clone());
        let deadline = self
            .runtime
            .now()
            .plus_millis(project_ledger::LIMITS.timeout_ms());
        let report = projection.project(event, deadline).await;
        report.ok().map(|report| report.batch_item_failures)
    }

    /// Checks that the store adds up and that the gateway charged no order twice.
    fn audit(&self) {
        self.store.audit().expect("the store adds up");
        for id in self.store.orders().keys() {
            assert!(self.gateway.charges(id) <= 1, "{id} was charged twice");
        }
    }
}
