//! Makes the drop of the contract tests, with its SKU, shards, holds and orders.

use domain::claim::Claim;
use domain::drops::{Drop, DropDraft, Sku};
use domain::ids::{DropId, Nonce, ReservationId, ShardKey, ShopperId, SkuId};
use domain::money::Money;
use domain::order::{Fingerprint, Order, Placement};
use domain::plan::ShardPlan;
use domain::saga::Terms;
use domain::survey::SeenClaim;
use domain::time::Timestamp;
use ports::orders::Placing;

/// The current time of the tests, in ms since 1970.
pub const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The time limits of the tests' orders.
pub const TERMS: Terms = Terms {
    payment_seconds: 120,
    retry_seconds: 60,
    gateway_wait_seconds: 7_200,
    cards: 3,
};

/// Parses an identifier that is valid in the tests.
pub fn id<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is not an identifier of that kind"))
}

pub fn drop_id() -> DropId {
    id("autumn")
}

pub fn sku() -> SkuId {
    id("TEE-M")
}

/// The key of a shard of the tests' SKU.
pub fn key(index: u16) -> ShardKey {
    ShardKey {
        drop: drop_id(),
        sku: sku(),
        index,
    }
}

pub fn shopper(name: &str) -> ShopperId {
    id(name)
}

/// The hold, for a minute, that a request of `name` with `idempotency_key` makes.
pub fn held(name: &str, idempotency_key: &str, units: u32) -> Claim {
    let nonce = Nonce::of_request(&drop_id(), &sku(), &shopper(name), idempotency_key, NOW);
    Claim::held(units, NOW.plus_seconds(60), nonce)
}

/// The claim of `name` in a shard, as a caller has read it.
pub fn seen(index: u16, name: &str, claim: Claim) -> SeenClaim {
    SeenClaim {
        shard: key(index),
        shopper: shopper(name),
        claim,
    }
}

/// An order made from [`held`] with the same arguments, in shard 0.
pub fn placing(name: &str, idempotency_key: &str, units: u32, per_shopper_limit: u32) -> Placing {
    placing_in(0, name, idempotency_key, units, per_shopper_limit, NOW)
}

/// An order made from [`held`] in the given shard, at the given time. The order accepts one card, as every order except
/// a shopper's first order does.
pub fn placing_in(
    index: u16,
    name: &str,
    idempotency_key: &str,
    units: u32,
    per_shopper_limit: u32,
    now: Timestamp,
) -> Placing {
    let hold = held(name, idempotency_key, units);
    let claim = hold
        .ordered(NOW, now.plus_seconds(120))
        .unwrap_or_else(|_| panic!("the hold is fresh"));
    let placement = Placement {
        reservation: ReservationId {
            shard: key(index),
            nonce: hold.nonce.clone(),
        },
        shopper: shopper(name),
        claim,
        amount: Money {
            amount_minor: 4900 * i64::from(units),
            currency: id("EUR"),
        },
        payment_method: "pm_card_visa".to_owned(),
        fingerprint: Fingerprint::of_request(idempotency_key.as_bytes(), name.as_bytes()),
        terms: Terms { cards: 1, ..TERMS },
    };
    let mut order = Order::place(placement, now);
    order.correlation = Some(id(&format!("{name}-{idempotency_key}")));
    Placing {
        order,
        hold,
        per_shopper_limit,
        address: format!(r#"{{"name":"{name}"}}"#),
    }
}

/// Makes the same order the shopper's first order, which accepts further cards.
pub fn as_first(mut placing: Placing) -> Placing {
    placing.order.terms.cards = TERMS.cards;
    placing.order.cards_left = TERMS.cards - 1;
    placing
}

/// A draft that starts `starts_in` seconds from now.
pub fn draft(id: &str, starts_in: u32) -> Drop {
    let starts_at = NOW.plus_seconds(starts_in);
    let draft = DropDraft {
        title: "Autumn".to_owned(),
        currency: self::id("EUR"),
        starts_at,
        ends_at: starts_at.plus_seconds(600),
        hold_seconds: 60,
        payment_seconds: 120,
        retry_seconds: 60,
        gateway_wait_seconds: 7_200,
        per_shopper_limit: 2,
        expected_shoppers: 1_000,
        listed: true,
        skus: vec![Sku {
            sku: sku(),
            title: "Tee".to_owned(),
            price_minor: 4900,
            units: 30,
            plan: ShardPlan::default(),
        }],
    };
    Drop::draft(self::id(id), draft)
}
