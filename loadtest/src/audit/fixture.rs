//! Makes a small clean run for the tests: two SKUs, three paid units, a declined order, an abandoned hold.

use domain::claim::Claim;
use domain::ids::{Nonce, ReservationId};
use domain::money::Money;
use domain::order::{EndReason, Fingerprint, Order, Placement};
use domain::saga::Terms;
use domain::shard::Shard;
use domain::time::Timestamp;

use crate::facts::{
    DropFacts, Ended, Ending, Entry, Facts, LedgerFact, MoneyFact, OrderFact, Ordered, QueueFact, Reserved,
    ShardFact, SkuFacts,
};

pub(super) const START: i64 = 1_800_000_000_000;
const DROP: &str = "d";

/// The id of a reservation; `key` distinguishes reservations of the same shard.
pub(super) fn reservation(sku: &str, shard: u16, key: &str) -> String {
    let nonce = Nonce::of_request(
        &DROP.parse().unwrap(),
        &sku.parse().unwrap(),
        &"x".parse().unwrap(),
        key,
        Timestamp::from_millis(START),
    );
    format!("{DROP}.{sku}.{shard}.{nonce}")
}

/// The answer 201 for the reservation `id`, 1 s after the opening.
pub(super) fn reserved(shopper: &str, sku: &str, quantity: u32, id: &str) -> Reserved {
    Reserved {
        asked_ms: START + 990,
        at_ms: START + 1_000,
        shopper: shopper.into(),
        sku: sku.into(),
        quantity,
        key: format!("{shopper}-r1"),
        reservation_id: id.into(),
        expires_at_ms: START + 16_000,
        amount_minor: 4_900 * i64::from(quantity),
    }
}

/// Adds the end of a visit to the journal, 20 s after the opening.
pub(super) fn end(facts: &mut Facts, shopper: &str, sku: &str, quantity: u32, ending: Ending) {
    let at_ms = START + 20_000;
    facts.journal.push(Entry::Ended(Ended {
        at_ms,
        shopper: shopper.into(),
        sku: sku.into(),
        quantity,
        buys: ending == Ending::Bought,
        ending,
    }));
}

fn order(facts: &mut Facts, shopper: &str, sku: &str, units: u32, paid: bool) {
    let id = reservation(sku, 0, shopper);
    let told = reserved(shopper, sku, units, &id);
    let reservation: ReservationId = id.parse().unwrap();
    let at = Timestamp::from_millis(START + 3_000);
    let deadline = Timestamp::from_millis(told.expires_at_ms);
    let held = Claim::held(units, deadline, reservation.nonce.clone());
    let key = format!("{shopper}-o1");
    let placement = Placement {
        reservation,
        shopper: shopper.parse().unwrap(),
        claim: held.ordered(at, at.plus_seconds(30)).unwrap(),
        amount: Money {
            amount_minor: told.amount_minor,
            currency: "EUR".parse().unwrap(),
        },
        payment_method: "pm_card_visa".into(),
        fingerprint: Fingerprint::of_request(key.as_bytes(), b"f"),
        terms: Terms {
            payment_seconds: 30,
            retry_seconds: 20,
            gateway_wait_seconds: 60,
            cards: 3,
        },
    };
    let payment = format!("pi_{shopper}").parse().unwrap();
    let paying = Order::place(placement, at).with_payment(payment, at).unwrap();
    let last = match paid {
        true => paying.order.settle(at),
        false => paying.order.undo(EndReason::PaymentDeclined, at),
    };
    let order = last.unwrap().order;
    let charged = if paid { order.amount.amount_minor } else { 0 };
    let counted = if paid { i64::from(units) } else { 0 };
    let ending = if paid {
        Ending::Bought
    } else {
        Ending::PaymentFailed
    };
    let order_id = order.id.to_string();
    facts.ledger.push(LedgerFact {
        order_id: order_id.clone(),
        version: order.version,
        status: order.status.as_str().into(),
        quantity: units,
        amount_minor: order.amount.amount_minor,
    });
    facts.money.push(MoneyFact {
        order_id: order_id.clone(),
        charges: u32::from(paid),
        charged_minor: charged,
        declines: u32::from(!paid),
        ..MoneyFact::default()
    });
    facts.purchases.push((shopper.into(), counted));
    facts.journal.push(Entry::Ordered(Ordered {
        at_ms: START + 3_010,
        shopper: shopper.into(),
        key,
        reservation_id: told.reservation_id.clone(),
        order_id,
    }));
    facts.journal.push(Entry::Reserved(told));
    facts.orders.push(OrderFact {
        order,
        indexed_open: false,
    });
    end(facts, shopper, sku, units, ending);
}

/// The facts of the clean run.
pub(super) fn clean() -> Facts {
    let sku = |sku: &str, units: u32| SkuFacts {
        sku: sku.into(),
        units,
    };
    let queue = |queue: &str, dead_letters: bool| QueueFact {
        queue: queue.into(),
        messages: 0,
        dead_letters,
    };
    let shard = |sku: &str, units: u32, sold: u32| ShardFact {
        sku: sku.into(),
        key: format!("{DROP}#{sku}#0"),
        shard: Shard {
            free: units - sold,
            sold,
            ..Shard::allocated(units)
        },
    };
    let mut facts = Facts {
        drop: DropFacts {
            drop_id: DROP.into(),
            published_at_ms: START - 8_000,
            starts_at_ms: START,
            ends_at_ms: START + 60_000,
            hold_seconds: 15,
            payment_seconds: 30,
            per_shopper_limit: 2,
            skus: vec![sku("A", 6), sku("B", 4)],
        },
        at_ms: START + 90_000,
        shards: vec![shard("A", 6, 3), shard("B", 4, 0)],
        queues: vec![queue("payments", false), queue("payments-dlq", true)],
        overdue_after_ms: super::overdue_after_ms(false),
        ..Facts::default()
    };
    order(&mut facts, "ada", "A", 2, true);
    order(&mut facts, "bob", "A", 1, true);
    order(&mut facts, "cyd", "B", 1, false);
    let held = reserved("eve", "A", 1, &reservation("A", 0, "eve"));
    facts.journal.push(Entry::Reserved(held));
    end(&mut facts, "eve", "A", 1, Ending::Abandoned);
    facts
}
