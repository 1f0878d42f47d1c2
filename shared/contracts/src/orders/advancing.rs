//! Tests the steps of stored orders.

use domain::order::{EndReason, OrderStatus, OrderStep};
use ports::orders::{AdvanceOrder, PlaceOrder, ReadOrder};
use ports::stock::{ClaimStock, PeekStock, ReadClaim};

use super::{holds, is_ordered, placed, purchased};
use crate::fixtures::{NOW, drop_id, held, id, key, placing, shopper};
use crate::{Database, REFUSED, answered, done, shard};

pub async fn a_step_without_effect_changes_the_order_only(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    let order = placed(database, 0, "ada", 2, NOW).await;
    let before = shard(&stock, 0).await;
    let noted = order.with_payment(id("pi_1"), NOW.plus_seconds(1)).unwrap();
    done(orders.advance(&noted).await);
    assert_eq!(answered(orders.order(&order.id).await), Some(noted.order.clone()));
    assert_eq!(shard(&stock, 0).await, before);
    assert_eq!(purchased(&stock, "ada").await, 2);
    assert_eq!(answered(orders.advance(&noted).await), REFUSED, "a repeat");
    assert_eq!(answered(orders.order(&order.id).await), Some(noted.order));
}

/// Only the step's effect changes units, whatever the order's new status is.
pub async fn a_step_without_effect_neither_sells_nor_returns(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    for (index, name) in [(0, "ada"), (1, "bob"), (2, "eve")] {
        let order = placed(database, index, name, 2, NOW).await;
        let before = shard(&stock, index).await;
        let step = match index {
            0 => order.settle(NOW),
            1 => order.undo(EndReason::PaymentDeclined, NOW),
            _ => order.with_payment(id("pi_1"), NOW),
        };
        let step = OrderStep {
            effect: None,
            ..step.unwrap()
        };
        done(orders.advance(&step).await);
        assert_eq!(answered(orders.order(&order.id).await), Some(step.order));
        assert_eq!(shard(&stock, index).await, before);
        assert_eq!(purchased(&stock, name).await, 2);
        assert!(is_ordered(&stock, &order).await);
    }
}

pub async fn a_step_from_another_version_is_refused(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    let order = placed(database, 0, "ada", 2, NOW).await;
    let later = NOW.plus_seconds(1);
    let noted = order.with_payment(id("pi_1"), later).unwrap();
    let ahead = noted.order.settle(later).unwrap();
    assert_eq!(answered(orders.advance(&ahead).await), REFUSED, "from ahead");
    done(orders.advance(&noted).await);
    let before = shard(&stock, 0).await;
    for behind in [
        order.settle(later).unwrap(),
        order.undo(EndReason::PaymentDeclined, later).unwrap(),
        order.with_payment(id("pi_2"), later).unwrap(),
    ] {
        assert_eq!(answered(orders.advance(&behind).await), REFUSED, "{behind:?}");
    }
    assert_eq!(answered(orders.order(&order.id).await), Some(noted.order));
    assert_eq!(shard(&stock, 0).await, before);
    assert!(is_ordered(&stock, &order).await);
    assert_eq!(purchased(&stock, "ada").await, 2);
}

pub async fn a_step_of_no_order_is_refused(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 2)]).await;
    let before = shard(&stock, 0).await;
    let never = placing("ada", "k", 2, 3).order;
    for step in [
        never.settle(NOW).unwrap(),
        never.undo(EndReason::ByShopper, NOW).unwrap(),
        never.with_payment(id("pi_1"), NOW).unwrap(),
    ] {
        assert_eq!(answered(orders.advance(&step).await), REFUSED);
    }
    assert_eq!(answered(orders.order(&never.id).await), None);
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn settling_sells_the_units_and_keeps_the_counter(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 2), ("bob", "k", 1)]).await;
    let order = placing("ada", "k", 2, 3);
    done(orders.place(&order).await);
    let order = order.order;
    let paid = order.settle(NOW.plus_seconds(1)).unwrap();
    done(orders.advance(&paid).await);
    assert_eq!(answered(orders.order(&order.id).await), Some(paid.order.clone()));
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 2);
    assert_eq!(after.sold, 2);
    assert_eq!(after.claims.len(), 1);
    assert_eq!(purchased(&stock, "ada").await, 2);
    assert_eq!(answered(orders.advance(&paid).await), REFUSED, "a repeat");
    assert_eq!(shard(&stock, 0).await, after);
    let refunded = paid.order.refund(NOW.plus_seconds(2)).unwrap();
    done(orders.advance(&refunded).await);
    assert_eq!(shard(&stock, 0).await, after, "a refund leaves the stock alone");
    assert_eq!(purchased(&stock, "ada").await, 2);
}

pub async fn undoing_frees_the_units_and_lowers_the_counter(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    let first = placed(database, 0, "ada", 2, NOW).await;
    let second = placed(database, 1, "ada", 1, NOW).await;
    let later = NOW.plus_seconds(1);
    let undone = first.undo(EndReason::PaymentDeclined, later).unwrap();
    done(orders.advance(&undone).await);
    let stored = answered(orders.order(&first.id).await).unwrap();
    assert_eq!(stored.status, OrderStatus::Declined);
    assert_eq!(answered(stock.read_claim(&key(0), &shopper("ada")).await), None);
    assert_eq!(shard(&stock, 0).await.free, 5);
    assert_eq!(shard(&stock, 1).await.free, 4);
    assert_eq!(purchased(&stock, "ada").await, 1);
    let lapses = async || answered(stock.peek(&drop_id(), &shopper("ada"), &[]).await).lapses;
    let lapsed = lapses().await.map(|lapses| (lapses.count, lapses.last));
    assert_eq!(lapsed, Some((1, later)), "a decline counts as an unused hold");
    assert_eq!(answered(orders.advance(&undone).await), REFUSED, "a repeat");
    assert_eq!(shard(&stock, 0).await.free, 5);
    assert_eq!(purchased(&stock, "ada").await, 1);
    let undone = second.undo(EndReason::ByShopper, later).unwrap();
    done(orders.advance(&undone).await);
    assert_eq!(shard(&stock, 1).await.free, 5);
    assert_eq!(purchased(&stock, "ada").await, 0);
    let lapsed = lapses().await.map(|lapses| lapses.count);
    assert_eq!(lapsed, Some(1), "whoever cancels gives the units back");
}

pub async fn what_was_undone_can_be_bought_again(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 2, &[("ada", "k1", 2)]).await;
    let first = placing("ada", "k1", 2, 2);
    done(orders.place(&first).await);
    let undone = first.order.undo(EndReason::ByShopper, NOW).unwrap();
    done(orders.advance(&undone).await);
    done(stock.claim(&key(0), &shopper("ada"), &held("ada", "k2", 2)).await);
    let second = placing("ada", "k2", 2, 2);
    done(orders.place(&second).await);
    assert_ne!(first.order.id, second.order.id);
    assert_eq!(purchased(&stock, "ada").await, 2);
}
