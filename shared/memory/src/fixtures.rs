//! Makes the state with which handler tests begin.

use domain::drops::{Drop, DropDraft, DropState, Sku};
use domain::ids::{DropId, ShopperId, SkuId};
use domain::plan::ShardPlan;
use ports::runtime::Clock;

use crate::{MemoryStore, TestRuntime};

/// How long the holds of [`open_drop`] last, in seconds.
pub const HOLD_SECONDS: u32 = 30;
/// How long the orders of [`open_drop`] may stay unpaid, in seconds.
pub const PAYMENT_SECONDS: u32 = 60;

/// The shopper of a token of the project's own issuer with the subject `name`.
#[must_use]
pub fn shopper(name: &str) -> ShopperId {
    ShopperId::of("stampede", name)
}

/// An operator's draft of a drop that opened a minute ago and lasts an hour.
///
/// # Panics
/// When an identifier is invalid, which is a mistake of the test.
#[must_use]
#[allow(clippy::expect_used)]
pub fn draft(runtime: &TestRuntime, skus: &[(&str, u32)], per_shopper_limit: u32) -> DropDraft {
    let sku = |(sku, units): &(&str, u32)| Sku {
        sku: sku.parse().expect("a SKU"),
        title: format!("Edition {sku}"),
        price_minor: 4900,
        units: *units,
        plan: ShardPlan::default(),
    };
    DropDraft {
        title: "Autumn".to_owned(),
        currency: "EUR".parse().expect("a currency"),
        starts_at: runtime.now().plus_millis(-60_000),
        ends_at: runtime.now().plus_seconds(3_600),
        hold_seconds: HOLD_SECONDS,
        payment_seconds: PAYMENT_SECONDS,
        retry_seconds: 60,
        gateway_wait_seconds: 7_200,
        per_shopper_limit,
        expected_shoppers: 1_000,
        listed: true,
        skus: skus.iter().map(sku).collect(),
    }
}

/// Stores an open drop with these SKUs and units.
///
/// # Panics
/// When an identifier is invalid or there are too many units, which is a mistake of the test.
#[allow(clippy::expect_used)]
pub fn open_drop(
    store: &MemoryStore,
    runtime: &TestRuntime,
    id: &str,
    skus: &[(&str, u32)],
    per_shopper_limit: u32,
) -> Drop {
    let id: DropId = id.parse().expect("a drop id");
    let draft = Drop::draft(id, draft(runtime, skus, per_shopper_limit));
    let drop = draft.start_publishing(runtime.now()).expect("a plan");
    let drop = Drop {
        state: DropState::Scheduled,
        ..drop
    };
    store.put_drop(&drop);
    drop
}

/// The SKU with this name.
///
/// # Panics
/// When the name is invalid, which is a mistake of the test.
#[must_use]
#[allow(clippy::expect_used)]
pub fn sku(text: &str) -> SkuId {
    text.parse().expect("a SKU")
}
