//! Tests the lists of orders.

use std::collections::BTreeSet;

use domain::ids::OrderId;
use domain::limits::OPEN_BUCKETS;
use domain::order::{EndReason, Order};
use domain::time::Timestamp;
use ports::orders::{AdvanceOrder, FindDueOrders, ListOpenOrders, ListOrders, PlaceOrder, PutOff, ReadOrder};

use super::{holds, placed};
use crate::fixtures::{NOW, id, placing_in, shopper};
use crate::{Database, OrderPorts, REFUSED, answered, done};

/// `n` orders of ada, each placed a second after the order before; every third order has the same time as the order
/// before.
async fn orders_of_ada(database: &impl Database, n: u16) -> Vec<Order> {
    let mut placed = Vec::new();
    for index in 0..n {
        holds(&database.stock(), index, 2, &[("ada", "k", 1), ("bob", "k", 1)]).await;
        let at = NOW.plus_seconds(u32::from(index - index / 3));
        for name in ["ada", "bob"] {
            let placing = placing_in(index, name, "k", 1, 100, at);
            done(database.orders().place(&placing).await);
            if name == "ada" {
                placed.push(placing.order);
            }
        }
    }
    placed
}

pub async fn the_orders_of_a_shopper_come_in_pages_newest_first(database: &impl Database) {
    let orders = database.orders();
    let none = answered(orders.orders_of(&shopper("ada"), None, 3).await);
    assert_eq!(none.orders, vec![]);
    assert_eq!(none.next, None);
    let placed = orders_of_ada(database, 8).await;
    for limit in [1, 3, 7, 100] {
        let (mut found, mut after): (Vec<Order>, _) = (Vec::new(), None);
        loop {
            let page = answered(orders.orders_of(&shopper("ada"), after.as_ref(), limit).await);
            let left = placed.len() - found.len();
            assert!(!page.orders.is_empty(), "the pages come to an end");
            assert_eq!(
                page.orders.len(),
                left.min(usize::from(limit)),
                "only the last is short"
            );
            found.extend(page.orders);
            after = page.next;
            if after.is_none() {
                break;
            }
            let last = found.last().map(|order| (order.placed_at, order.id.clone()));
            assert_eq!(after, last);
        }
        assert!(
            found.is_sorted_by(|a, b| a.placed_at >= b.placed_at),
            "newest first"
        );
        assert_eq!(found.len(), placed.len());
        let mut each = placed.iter();
        assert!(
            each.all(|order| found.contains(order)),
            "each once, with limit {limit}"
        );
    }
}

pub async fn a_full_last_page_has_no_next(database: &impl Database) {
    let orders = database.orders();
    orders_of_ada(database, 6).await;
    let first = answered(orders.orders_of(&shopper("ada"), None, 3).await);
    let last = answered(orders.orders_of(&shopper("ada"), first.next.as_ref(), 3).await);
    assert_eq!([first.orders.len(), last.orders.len()], [3, 3]);
    assert_eq!(last.next, None);
}

/// 20 shards in which ada's orders have at most 16 buckets, so that several orders share one.
fn shards_of_few_buckets() -> impl Iterator<Item = u16> {
    let bucket = |index| placing_in(index, "ada", "k", 1, 100, NOW).order.open_bucket();
    (0..).filter(move |index| bucket(*index) < Some(16)).take(20)
}

/// All due orders, by bucket.
async fn due(orders: &impl OrderPorts, now: Timestamp) -> BTreeSet<(u8, OrderId)> {
    let mut found = BTreeSet::new();
    for bucket in 0..OPEN_BUCKETS {
        let due = answered(orders.due_orders(bucket, now, 100).await);
        found.extend(due.into_iter().map(|id| (bucket, id)));
    }
    found
}

pub async fn due_orders_are_found_in_their_buckets(database: &impl Database) {
    let orders = database.orders();
    let mut all = Vec::new();
    for (n, index) in (0..).zip(shards_of_few_buckets()) {
        // The orders are placed in another sequence than the sequence of their due times.
        let at = NOW.plus_seconds(n * 7 % 20);
        all.push(placed(database, index, "ada", 1, at).await);
    }
    let at = |now: Timestamp| -> BTreeSet<(u8, OrderId)> {
        let due = all.iter().filter(|order| order.due_at <= now);
        due.map(|order| (order.open_bucket().unwrap(), order.id.clone()))
            .collect()
    };
    for seconds in [14, 15, 22, 60] {
        let now = NOW.plus_seconds(seconds);
        assert_eq!(due(&orders, now).await, at(now), "after {seconds} s");
    }
    assert_eq!(due(&orders, NOW).await.len(), 0);
    assert_eq!(due(&orders, NOW.plus_seconds(60)).await.len(), 20);
    let in_bucket = |bucket: u8| all.iter().filter(move |o| o.open_bucket() == Some(bucket));
    let busiest = (0..OPEN_BUCKETS)
        .max_by_key(|bucket| in_bucket(*bucket).count())
        .unwrap();
    let mut of_busiest: Vec<&Order> = in_bucket(busiest).collect();
    of_busiest.sort_by_key(|order| order.due_at);
    assert!(of_busiest.len() > 1, "20 orders in 16 buckets");
    for limit in 1..=of_busiest.len() {
        let most = u16::try_from(limit).unwrap();
        let found = orders.due_orders(busiest, NOW.plus_seconds(60), most).await;
        let expected = of_busiest[..limit].iter().map(|order| order.id.clone());
        let expected: Vec<OrderId> = expected.collect();
        assert_eq!(answered(found), expected, "the longest overdue first");
    }
}

pub async fn a_closed_order_is_never_due(database: &impl Database) {
    let orders = database.orders();
    for index in 0..2 {
        let order = placed(database, index, "ada", 1, NOW).await;
        assert_eq!(due(&orders, NOW.plus_seconds(600)).await.len(), 1);
        let step = if index == 0 {
            order.settle(NOW)
        } else {
            order.undo(EndReason::ByShopper, NOW)
        };
        done(orders.advance(&step.unwrap()).await);
        assert_eq!(due(&orders, NOW.plus_seconds(600)).await, BTreeSet::new());
    }
}

pub async fn an_order_is_due_when_it_was_put_off_to(database: &impl Database) {
    let orders = database.orders();
    let seen = &placed(database, 0, "ada", 1, NOW).await;
    let later = seen.due_at.plus_seconds(20);
    done(orders.put_off(seen, later).await);
    assert_eq!(answered(orders.put_off(seen, later).await), REFUSED, "a repeat");
    assert_eq!(due(&orders, later.plus_millis(-1)).await, BTreeSet::new());
    assert_eq!(due(&orders, later).await.len(), 1);
    let put_off = answered(orders.order(&seen.id).await).unwrap();
    let expected = Order {
        due_at: later,
        ..seen.clone()
    };
    assert_eq!(put_off, expected, "no new version");
    // The next version has its own due time, and a caller with an older version cannot move that time.
    let paying = put_off.with_payment(id("pi_1"), NOW.plus_seconds(1)).unwrap();
    done(orders.advance(&paying).await);
    assert_eq!(answered(orders.put_off(&put_off, later).await), REFUSED);
    assert_eq!(due(&orders, paying.order.due_at).await.len(), 1);
    let ended = paying.order.settle(NOW.plus_seconds(2)).unwrap();
    done(orders.advance(&ended).await);
    assert_eq!(
        answered(orders.put_off(&ended.order, later).await),
        REFUSED,
        "ended"
    );
}

pub async fn open_orders_are_listed_bucket_by_bucket(database: &impl Database) {
    let orders = database.orders();
    let mut open = Vec::new();
    for (n, index) in (0..).zip(shards_of_few_buckets()) {
        let at = NOW.plus_seconds(n * 7 % 20);
        let order = placed(database, index, "ada", 1, at).await;
        if n % 4 == 0 {
            let ended = order.undo(EndReason::ByShopper, at).unwrap();
            done(orders.advance(&ended).await);
        } else {
            open.push(order);
        }
    }
    for limit in [1, 2, 100] {
        for bucket in 0..OPEN_BUCKETS {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = answered(orders.open_orders(bucket, after.as_ref(), limit).await);
                assert!(page.orders.len() <= usize::from(limit));
                found.extend(page.orders);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let mut expected = open.clone();
            expected.retain(|order| order.open_bucket() == Some(bucket));
            expected.sort_by_key(|order| (order.due_at, order.id.clone()));
            assert_eq!(found, expected);
        }
    }
}
