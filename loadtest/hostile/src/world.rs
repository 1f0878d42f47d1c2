//! Runs the API over one store in memory, with every function's real router, chosen as API Gateway chooses.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::Router;
use capacity::numbers::Share;
use capacity::readiness::{Part, PartKind, Readiness, Ruling};
use domain::claim::Claim;
use domain::crowd::StockTable;
use domain::drops::Drop;
use domain::ids::{DropId, Nonce, OrderId, ReservationId, ShardKey, ShopperId};
use domain::money::Money;
use domain::order::{DeclineReason, Fingerprint, Order, Placement};
use domain::rate::CallRate;
use domain::shard::Shard;
use http::Method;
use http_body_util::BodyExt as _;
use memory::{MemoryQueues, MemorySecret, MemoryStore, TestRuntime, fixtures};
use ports::drops::StoreDrop as _;
use ports::orders::{AdvanceOrder as _, PlaceOrder as _, Placing};
use ports::runtime::Clock as _;
use ports::stock::ClaimStock as _;
use ports::{Conditional, StoreError};
use receive_webhook::Webhooks;
use tokens::{Audience, KeySet, SigningKey, Verifier};
use tower::ServiceExt as _;

pub(crate) const DROP: &str = "d";
/// The id of a drop that is a draft.
pub(crate) const DRAFT: &str = "draft";

/// The signing secret of the corpus's webhooks.
const WEBHOOK_SECRET: &str = "whsec_hostile";

/// Keys are made once for each process, since making a key takes longer than a run.
struct Keys {
    shoppers: SigningKey,
    operators: SigningKey,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        shoppers: SigningKey::generate("shoppers").expect("randomness"),
        operators: SigningKey::generate("operators").expect("randomness"),
    })
}

fn token(key: &SigningKey, audience: Audience, who: &str) -> String {
    let now = TestRuntime::START.as_seconds();
    let token = key.sign(audience, who, now, now + 3_600);
    format!("Bearer {}", token.expect("a token"))
}

/// The words that stand for tokens and identifiers in inputs. A stored input cannot contain a valid token, since
/// the keys are new in each process.
fn words() -> &'static BTreeMap<&'static str, String> {
    static WORDS: OnceLock<BTreeMap<&'static str, String>> = OnceLock::new();
    WORDS.get_or_init(|| {
        let shopper = |who| token(&keys().shoppers, Audience::Shopper, who);
        BTreeMap::from([
            ("ADA", shopper("ada")),
            ("BOB", shopper("bob")),
            ("OLGA", token(&keys().operators, Audience::Operator, "olga")),
            ("CORA", shopper("cora")),
            ("HELD", reservation("ada", 0).to_string()),
            (
                "FAILED",
                OrderId::of_reservation(&reservation("cora", 0)).to_string(),
            ),
            (
                "ORDER",
                OrderId::of_reservation(&reservation("ada", 0)).to_string(),
            ),
        ])
    })
}

/// Replaces the words for tokens and identifiers in a text by their meaning.
pub(crate) fn spelt_out(text: &str) -> String {
    let mut spelt = text.to_owned();
    for (word, meaning) in words() {
        if spelt.contains(word) {
            spelt = spelt.replace(word, meaning);
        }
    }
    spelt
}

fn reservation(who: &str, index: u16) -> ReservationId {
    let (drop, shopper): (DropId, _) = (DROP.parse().expect("an id"), fixtures::shopper(who));
    let sku = fixtures::sku("A");
    ReservationId {
        nonce: Nonce::of_request(&drop, &sku, &shopper, "planted", TestRuntime::START),
        shard: ShardKey { drop, sku, index },
    }
}

/// The readiness that a pre-scaling run left on the open drop.
fn half_ready(runtime: &TestRuntime) -> Readiness {
    Readiness {
        drop: DROP.parse().expect("an id"),
        at: runtime.now(),
        ready: false,
        ready_by: runtime.now(),
        estimated_at: runtime.now().plus_seconds(60),
        on_course: false,
        parts: vec![Part {
            kind: PartKind::Function,
            name: "reserve".to_owned(),
            wanted: 300.0,
            there: 150.0,
            ready: false,
        }],
        ruling: Ruling::AdmitFewer,
        share: Share::of(1.0, 2.0),
        shoppers_per_second: 166.5,
        spill_over: 0,
    }
}

/// Asserts that a write took effect. `what` names the write's result.
pub(crate) fn assert_done<T>(outcome: Result<Conditional<T>, StoreError>, what: &str) {
    assert!(outcome.is_ok_and(|outcome| outcome.is_done()), "{what}");
}

/// Stores Cora's order, whose first card was declined.
async fn declined(store: &MemoryStore, runtime: &TestRuntime) {
    let (reservation, shopper, now) = (reservation("cora", 0), fixtures::shopper("cora"), runtime.now());
    let hold = Claim::held(1, now.plus_seconds(600), reservation.nonce.clone());
    assert_done(store.claim(&reservation.shard, &shopper, &hold).await, "a hold");
    let placement = Placement {
        reservation,
        shopper,
        claim: hold.ordered(now, now.plus_seconds(120)).expect("a fresh hold"),
        amount: Money {
            amount_minor: 4_900,
            currency: "EUR".parse().expect("a currency"),
        },
        payment_method: "pm_card_visa_chargeDeclined".to_owned(),
        fingerprint: Fingerprint::of_request(b"k", b"c"),
        terms: contracts::fixtures::TERMS,
    };
    let order = Order::place(placement, now);
    let placing = Placing {
        order: order.clone(),
        hold,
        per_shopper_limit: 3,
        address: "{}".to_owned(),
    };
    assert_done(store.place(&placing).await, "an order");
    let paying = order.with_payment("pi_1".parse().expect("an id"), now);
    let paying = paying.expect("a new order");
    let failed = paying.order.declined(DeclineReason::CardDeclined, None, now);
    for step in [paying, failed.expect("a payment")] {
        assert_done(store.advance(&step).await, "a decline");
    }
}

/// All data that a request could change.
#[derive(Debug, PartialEq)]
pub(crate) struct Image {
    shards: BTreeMap<ShardKey, Shard>,
    purchases: BTreeMap<(DropId, ShopperId), u32>,
    orders: BTreeMap<OrderId, Order>,
    addresses: BTreeMap<OrderId, String>,
    drops: BTreeMap<DropId, Drop>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// The functions behind the API, one process of each.
pub(crate) struct World {
    store: MemoryStore,
    runtime: TestRuntime,
    routers: [(&'static str, Router); 7],
}

impl World {
    /// An open drop of two SKUs in which Ada holds one unit and Cora has an order whose card was declined, and a draft.
    pub(crate) async fn new() -> Self {
        let (store, runtime) = (MemoryStore::new(), TestRuntime::new(7));
        fixtures::open_drop(&store, &runtime, DROP, &[("A", 30), ("B", 2)], 3);
        let draft = Drop::draft(
            DRAFT.parse().expect("an id"),
            fixtures::draft(&runtime, &[("A", 30)], 2),
        );
        assert_done(store.store(&draft).await, "a draft");
        let held = reservation("ada", 0);
        let hold = Claim::held(1, runtime.now().plus_seconds(600), held.nonce.clone());
        let claimed = store.claim(&held.shard, &fixtures::shopper("ada"), &hold).await;
        assert_done(claimed, "a hold");
        declined(&store, &runtime).await;
        store.put_readiness(&half_ready(&runtime));
        let routers = routers(&store, &runtime);
        Self {
            store,
            runtime,
            routers,
        }
    }

    pub(crate) fn image(&self) -> Image {
        Image {
            shards: self.store.shards(),
            purchases: self.store.purchases(),
            orders: self.store.orders(),
            addresses: self.store.addresses(),
            drops: self.store.drops(),
        }
    }

    /// Checks the store; an error lists its inconsistencies.
    pub(crate) fn audit(&self) -> Result<(), String> {
        self.store.audit().map_err(|lines| lines.join("\n"))
    }

    /// Advances the clock by more than a cache's lifetime, so that processes read again.
    pub(crate) fn a_moment_later(&self) {
        self.runtime.advance(1_001);
    }

    /// Sends a request to the function that API Gateway would choose by method and path.
    pub(crate) async fn send(&self, request: http::Request<axum::body::Body>) -> Reply {
        let function = chosen(request.method(), request.uri().path());
        let (_, router) = self
            .routers
            .iter()
            .find(|(name, _)| *name == function)
            .expect("a function of the API");
        let Ok(response) = router.clone().oneshot(request).await;
        let status = response.status().as_u16();
        let content_type = response.headers().get("content-type");
        let content_type = content_type
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = response.into_body().collect().await.expect("a body");
        Reply {
            status,
            content_type,
            body: body.to_bytes().to_vec(),
        }
    }
}

fn routers(store: &MemoryStore, runtime: &TestRuntime) -> [(&'static str, Router); 7] {
    let key = |of: &SigningKey, audience| Verifier::new(audience, KeySet::of(&[of]).expect("a key"));
    let shoppers = || key(&keys().shoppers, Audience::Shopper);
    let operators = key(&keys().operators, Audience::Operator);
    let (store, runtime) = (|| store.clone(), || runtime.clone());
    [
        (
            "reserve",
            reserve::Api::router(store(), store(), store(), shoppers(), runtime(), StockTable::NEW),
        ),
        (
            "checkout",
            checkout::Api::router(store(), store(), store(), shoppers(), runtime()),
        ),
        (
            "get-order",
            get_order::Api::router(store(), shoppers(), runtime()),
        ),
        ("get-drop", get_drop::Api::router(store(), store(), runtime())),
        (
            "operate-drop",
            operate_drop::Api::router(
                store(),
                store(),
                store(),
                store(),
                CallRate::HIGHEST,
                operators,
                runtime(),
            ),
        ),
        (
            "receive-webhook",
            Webhooks::router(MemorySecret::new(WEBHOOK_SECRET), MemoryQueues::new(), runtime()),
        ),
        ("answer-default", answer_default::router()),
    ]
}

/// The function that serves a method and path, by the list of all routes.
fn chosen(method: &Method, path: &str) -> &'static str {
    let route = answer_default::ROUTES
        .iter()
        .find(|(of, template)| of == method && answer_default::matches(template, path));
    match route.map(|(method, template)| (method, *template)) {
        None => "answer-default",
        Some((_, template)) if template == answer_default::DESCRIPTION_PATH => "answer-default",
        Some((_, template)) if template.starts_with("/operator/") => "operate-drop",
        Some((_, template)) if template.starts_with("/payments/") => "receive-webhook",
        Some((_, template)) if template.contains("/reservations") => "reserve",
        Some((_, template)) if template.starts_with("/drops") => "get-drop",
        Some((method, "/orders")) if method == Method::POST => "checkout",
        Some(_) => "get-order",
    }
}
