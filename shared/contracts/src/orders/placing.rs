//! Tests the placing of orders.

use domain::order::{DeclineReason, EndReason};
use ports::Conditional;
use ports::orders::{AdvanceOrder, NotPlaced, PlaceOrder, Placing, ReadOrder};
use ports::stock::GiveBackStock;

use super::{holds, is_ordered, purchased};
use crate::fixtures::{NOW, as_first, held, id, placing, placing_in, seen, shopper};
use crate::{Database, answered, assert_broken, done, shard};

const HOLD_CHANGED: Conditional<NotPlaced> = Conditional::Refused(NotPlaced::HoldChanged);
const LIMIT_REACHED: Conditional<NotPlaced> = Conditional::Refused(NotPlaced::LimitReached);

fn exists(order: &domain::order::Order) -> Conditional<NotPlaced> {
    Conditional::Refused(NotPlaced::Exists(Box::new(order.clone())))
}

pub async fn an_order_takes_hold_counter_and_address_along(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 2), ("bob", "k", 1)]).await;
    let placing = placing("ada", "k", 2, 3);
    let id = &placing.order.id;
    assert_eq!(answered(orders.order(id).await), None);
    assert_eq!(database.address(id).await, None);
    done(orders.place(&placing).await);
    assert_eq!(answered(orders.order(id).await), Some(placing.order.clone()));
    assert_eq!(database.address(id).await, Some(placing.address.clone()));
    assert!(is_ordered(&stock, &placing.order).await);
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 2);
    assert_eq!(after.sold, 0);
    assert_eq!(after.claims.len(), 2);
    assert_eq!(after.claims.get(&shopper("bob")), Some(&held("bob", "k", 1)));
    assert_eq!(purchased(&stock, "ada").await, 2);
    assert_eq!(purchased(&stock, "bob").await, 0);
}

pub async fn the_repeat_of_a_placing_finds_its_order(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 2)]).await;
    let first = placing("ada", "k", 2, 3);
    done(orders.place(&first).await);
    assert_eq!(answered(orders.place(&first).await), exists(&first.order));
    // A later repeat has another deadline, perhaps another address, and is still the same order.
    let mut later = placing_in(0, "ada", "k", 2, 3, NOW.plus_seconds(5));
    later.address = "{}".to_owned();
    assert_eq!(answered(orders.place(&later).await), exists(&first.order));
    assert_eq!(database.address(&first.order.id).await, Some(first.address));
    assert_eq!(purchased(&stock, "ada").await, 2);
    assert_eq!(shard(&stock, 0).await.free, 3);
}

pub async fn an_order_that_has_moved_on_is_found_as_it_is_now(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 1)]).await;
    let placing = placing("ada", "k", 1, 1);
    done(orders.place(&placing).await);
    let paid = placing.order.settle(NOW.plus_seconds(1)).unwrap();
    done(orders.advance(&paid).await);
    assert_eq!(answered(orders.place(&placing).await), exists(&paid.order));
    assert_eq!(shard(&stock, 0).await.sold, 1);
}

pub async fn an_existing_order_is_found_before_hold_or_limit_is_blamed(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 1)]).await;
    let placed = placing("ada", "k", 1, 1);
    done(orders.place(&placed).await);
    // The claim is no longer a hold, and the limit is used up: all three conditions fail.
    assert_eq!(answered(orders.place(&placed).await), exists(&placed.order));
    let mut beyond = placed.clone();
    beyond.per_shopper_limit = 0;
    assert_eq!(answered(orders.place(&beyond).await), exists(&placed.order));
}

pub async fn a_changed_hold_is_told_and_changes_nothing(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 2)]).await;
    let right = placing("ada", "k", 2, 3);
    let before = shard(&stock, 0).await;
    let mut other_deadline = right.clone();
    other_deadline.hold.deadline = NOW.plus_seconds(61);
    let wrong = [
        other_deadline,
        placing("ada", "other", 2, 3),
        placing("ada", "k", 1, 3),
        placing("bob", "k", 2, 3),
        placing_in(1, "ada", "k", 2, 3, NOW),
    ];
    for wrong in &wrong {
        let refused = answered(orders.place(wrong).await);
        assert_eq!(refused, HOLD_CHANGED, "{wrong:?}");
        assert_eq!(answered(orders.order(&wrong.order.id).await), None);
        assert_eq!(database.address(&wrong.order.id).await, None);
        assert_eq!(purchased(&stock, wrong.order.shopper.as_str()).await, 0);
    }
    assert_eq!(shard(&stock, 0).await, before);
    done(stock.give_back(&seen(0, "ada", right.hold.clone())).await);
    assert_eq!(answered(orders.place(&right).await), HOLD_CHANGED, "released");
}

pub async fn a_changed_hold_is_told_before_the_limit(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 2)]).await;
    let wrong = placing("ada", "other", 2, 1);
    assert_eq!(answered(orders.place(&wrong).await), HOLD_CHANGED);
}

pub async fn the_limit_holds_over_all_orders_of_a_shopper(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    for (index, units) in [(0, 2), (1, 2), (2, 1)] {
        holds(&stock, index, 5, &[("ada", "k", units), ("bob", "k", units)]).await;
    }
    let of = |index, units| placing_in(index, "ada", "k", units, 3, NOW);
    done(orders.place(&of(0, 2)).await);
    let before = shard(&stock, 1).await;
    assert_eq!(answered(orders.place(&of(1, 2)).await), LIMIT_REACHED);
    assert_eq!(shard(&stock, 1).await, before, "the hold stays a hold");
    assert_eq!(answered(orders.order(&of(1, 2).order.id).await), None);
    assert_eq!(database.address(&of(1, 2).order.id).await, None);
    assert_eq!(purchased(&stock, "ada").await, 2);
    // The order reaches exactly the limit.
    done(orders.place(&of(2, 1)).await);
    assert_eq!(purchased(&stock, "ada").await, 3);
    // Another shopper has another limit.
    done(orders.place(&placing_in(1, "bob", "k", 2, 3, NOW)).await);
}

pub async fn only_a_first_order_takes_further_cards(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    for index in 0..3 {
        holds(&stock, index, 5, &[("ada", "k", 1), ("bob", "k", 1)]).await;
    }
    let of = |index, name| placing_in(index, name, "k", 1, 2, NOW);
    let first = as_first(of(0, "ada"));
    done(orders.place(&first).await);
    let not_first = |declined| Conditional::Refused(NotPlaced::NotFirst { declined });
    let before = shard(&stock, 1).await;
    let second = as_first(of(1, "ada"));
    assert_eq!(answered(orders.place(&second).await), not_first(0));
    assert_eq!(shard(&stock, 1).await, before);
    assert_eq!(purchased(&stock, "ada").await, 1);
    // The first order ends with a declined card, and still counts as the first.
    let no = DeclineReason::CardDeclined;
    let paying = first.order.with_payment(id("pi_1"), NOW).unwrap();
    let failed = paying.order.declined(no, None, NOW).unwrap();
    let undone = failed.order.undo(EndReason::PaymentDeadline, NOW).unwrap();
    for step in [paying, failed, undone] {
        done(orders.advance(&step).await);
    }
    assert_eq!(purchased(&stock, "ada").await, 0);
    assert_eq!(answered(orders.place(&second).await), not_first(1));
    done(orders.place(&of(1, "ada")).await);
    done(orders.place(&of(2, "ada")).await);
    done(orders.place(&as_first(of(0, "bob"))).await);
    // The limit is reported before the fact that the order is not the first.
    let beyond = as_first(placing_in(1, "bob", "k", 1, 1, NOW));
    assert_eq!(answered(orders.place(&beyond).await), LIMIT_REACHED);
}

pub async fn the_limit_holds_for_a_first_order(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 3)]).await;
    for limit in [0, 2] {
        let refused = answered(orders.place(&placing("ada", "k", 3, limit)).await);
        assert_eq!(refused, LIMIT_REACHED, "{limit}");
    }
    assert_eq!(purchased(&stock, "ada").await, 0);
    done(orders.place(&placing("ada", "k", 3, 3)).await);
}

pub async fn an_order_that_is_not_of_its_hold_is_a_mistake(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 2)]).await;
    let before = shard(&stock, 0).await;
    let right = placing("ada", "k", 2, 3);
    let with = |change: &dyn Fn(&mut Placing)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        wrong
    };
    let wrong = [
        with(&|p| p.order.claim = p.hold.clone()),
        with(&|p| p.order.claim = placing("ada", "other", 2, 3).order.claim),
        with(&|p| p.order.claim = placing("ada", "k", 1, 3).order.claim),
        with(&|p| p.hold = p.order.claim.clone()),
        with(&|p| p.order.units = 1),
        with(&|p| p.order.version = 2),
    ];
    for wrong in &wrong {
        assert_broken(orders.place(wrong).await);
    }
    assert_eq!(shard(&stock, 0).await, before);
    assert_eq!(answered(orders.order(&right.order.id).await), None);
}
