//! Tests races between orders and other requests for the same hold.

use domain::order::{EndReason, OrderStatus};
use futures_util::future::join;
use ports::Conditional;
use ports::orders::{AdvanceOrder, NotPlaced, PlaceOrder, ReadOrder};
use ports::stock::{ClaimStock, GiveBackStock};

use super::{holds, is_ordered, placed, purchased};
use crate::fixtures::{NOW, held, id, key, placing, placing_in, seen, shopper};
use crate::race::{insist, race, winners};
use crate::{Database, answered, shard};

const ROUNDS: u16 = 8;

pub async fn of_16_repeats_of_a_placing_one_is_stored(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 2)]).await;
    let placing = placing("ada", "k", 2, 2);
    let outcomes = race(16, |_| orders.place(&placing)).await;
    winners(&outcomes, 1, &NotPlaced::Exists(Box::new(placing.order.clone())));
    assert!(is_ordered(&stock, &placing.order).await);
    assert_eq!(shard(&stock, 0).await.free, 3);
    assert_eq!(purchased(&stock, "ada").await, 2);
}

pub async fn of_many_orders_at_once_no_more_than_the_limit_are_placed(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    for index in 0..6 {
        holds(&stock, index, 5, &[("ada", "k", 1)]).await;
    }
    let of = |n: usize| placing_in(u16::try_from(n).unwrap(), "ada", "k", 1, 2, NOW);
    let all: Vec<_> = (0..6).map(of).collect();
    let outcomes = race(6, |n| orders.place(&all[n])).await;
    winners(&outcomes, 2, &NotPlaced::LimitReached);
    assert_eq!(purchased(&stock, "ada").await, 2);
}

pub async fn an_order_and_a_return_at_once_do_not_both_get_the_hold(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    for index in 0..ROUNDS {
        holds(&stock, index, 2, &[("ada", "k", 1)]).await;
        let placing = placing_in(index, "ada", "k", 1, 12, NOW);
        let seen = seen(index, "ada", placing.hold.clone());
        let placing_order = insist(|| orders.place(&placing));
        let (placed, returned) = join(placing_order, insist(|| stock.give_back(&seen))).await;
        assert_ne!(placed.is_done(), returned.is_done(), "exactly one gets the hold");
        if !placed.is_done() {
            assert_eq!(placed, Conditional::Refused(NotPlaced::HoldChanged));
        }
        let free = if placed.is_done() { 1 } else { 2 };
        assert_eq!(shard(&stock, index).await.free, free);
        assert_eq!(is_ordered(&stock, &placing.order).await, placed.is_done());
    }
}

pub async fn an_order_and_a_take_over_at_once_do_not_both_get_the_hold(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    for index in 0..ROUNDS {
        holds(&stock, index, 1, &[("ada", "k", 1)]).await;
        let placing = placing_in(index, "ada", "k", 1, 12, NOW);
        let (target, ada, bob, new) = (key(index), shopper("ada"), shopper("bob"), held("bob", "k", 1));
        let taking_over = insist(|| stock.take_over(&target, &bob, &new, &ada, &placing.hold));
        let (placed, taken) = join(insist(|| orders.place(&placing)), taking_over).await;
        assert_ne!(placed.is_done(), taken.is_done(), "exactly one gets the hold");
        assert_eq!(shard(&stock, index).await.claims.len(), 1);
        assert_eq!(is_ordered(&stock, &placing.order).await, placed.is_done());
    }
}

pub async fn of_settling_and_undoing_at_once_one_happens(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    for index in 0..ROUNDS {
        let order = placed(database, index, "ada", 1, NOW).await;
        let before = purchased(&stock, "ada").await;
        let settle = order.settle(NOW).unwrap();
        let undo = order.undo(EndReason::ByShopper, NOW).unwrap();
        let settling = insist(|| orders.advance(&settle));
        let (settled, undone) = join(settling, insist(|| orders.advance(&undo))).await;
        assert_ne!(settled.is_done(), undone.is_done(), "exactly one happens");
        let stored = answered(orders.order(&order.id).await).unwrap();
        let after = shard(&stock, index).await;
        let counted = purchased(&stock, "ada").await;
        if settled.is_done() {
            assert_eq!(stored.status, OrderStatus::Paid);
            assert_eq!(after.free, 4);
            assert_eq!(after.sold, 1);
            assert_eq!(counted, before);
        } else {
            assert_eq!(stored.status, OrderStatus::Cancelled);
            assert_eq!(after.free, 5);
            assert_eq!(after.sold, 0);
            assert_eq!(counted, before - 1);
        }
        assert!(after.claims.is_empty());
    }
}

pub async fn of_16_repeats_of_a_step_one_is_stored(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    let order = placed(database, 0, "ada", 2, NOW).await;
    let noted = order.with_payment(id("pi_1"), NOW).unwrap();
    winners(&race(16, |_| orders.advance(&noted)).await, 1, &());
    let undo = noted.order.undo(EndReason::PaymentDeclined, NOW).unwrap();
    winners(&race(16, |_| orders.advance(&undo)).await, 1, &());
    assert_eq!(shard(&stock, 0).await.free, 5);
    assert_eq!(purchased(&stock, "ada").await, 0);
}

pub async fn orders_in_one_shard_at_once_lose_no_unit(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
    let of: Vec<(&str, &str, u32)> = names.iter().map(|name| (name.as_str(), "k", 1)).collect();
    holds(&stock, 0, 24, &of).await;
    let all: Vec<_> = names.iter().map(|name| placing(name, "k", 1, 1)).collect();
    let placed = race(12, |n| orders.place(&all[n])).await;
    assert!(placed.iter().all(Conditional::is_done), "{placed:?}");
    let steps: Vec<_> = (0..12)
        .map(|n| match n % 2 {
            0 => all[n].order.settle(NOW).unwrap(),
            _ => all[n].order.undo(EndReason::PaymentDeclined, NOW).unwrap(),
        })
        .collect();
    let advanced = race(12, |n| orders.advance(&steps[n])).await;
    assert!(advanced.iter().all(Conditional::is_done), "{advanced:?}");
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 18);
    assert_eq!(after.sold, 6);
    assert_eq!(after.claims.len(), 0);
}
