//! Tests the lists of orders.

use std::collections::BTreeSet;

use domain::ids::OrderId;
use domain::limits::OPEN_BUCKETS;
use domain::order::{EndReason, Order};
use domain::time::Timestamp;
use ports::Conditional;
use ports::orders::{
    AdvanceOrder, FindDueOrders, ListOpenOrders, ListOrders, OrderPage, PlaceOrder, PutOff, ReadOrder,
};

use super::holds;
use crate::fixtures::{NOW, id, placing_in, shopper};
use crate::{Database, OrderPorts, answered};

/// `n` orders of ada, each placed a second after the order before; every third order has the same time as the order
/// before.
async fn orders_of_ada(database: &impl Database, n: u16) -> Vec<Order> {
    let mut placed = Vec::new();
    for index in 0..n {
        holds(&database.stock(), index, 2, &[("ada", "k", 1), ("bob", "k", 1)]).await;
        let at = NOW.plus_seconds(u32::from(index - index / 3));
        for name in ["ada", "bob"] {
            let placing = placing_in(index, name, "k", 1, 100, at);
            assert!(answered(database.orders().place(&placing).await).is_done());
            if name == "ada" {
                placed.push(placing.order);
            }
        }
    }
    placed
}

/// Every page of ada's orders.
async fn pages(orders: &impl OrderPorts, limit: u16) -> Vec<OrderPage> {
    let mut pages: Vec<OrderPage> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page.next.clone());
        let page = answered(orders.orders_of(&shopper("ada"), after.as_ref(), limit).await);
        let more = page.next.is_some();
        pages.push(page);
        assert!(pages.len() < 20, "the pages come to an end");
        if !more {
            return pages;
        }
    }
}

pub async fn the_orders_of_a_shopper_come_in_pages_newest_first(database: &impl Database) {
    let orders = database.orders();
    let none = answered(orders.orders_of(&shopper("ada"), None, 3).await);
    assert_eq!(none.orders, vec![]);
    assert_eq!(none.next, None);
    let placed = orders_of_ada(database, 8).await;
    for limit in [1, 3, 7, 100] {
        let pages = pages(&orders, limit).await;
        let (last, full) = pages.split_last().unwrap();
        assert!(
            full.iter().all(|page| page.orders.len() == usize::from(limit)),
            "limit {limit}"
        );
        assert!((1..=usize::from(limit)).contains(&last.orders.len()));
        for page in full {
            let end = page.orders.last().unwrap();
            assert_eq!(page.next, Some((end.placed_at, end.id.clone())));
        }
        let all: Vec<Order> = pages.into_iter().flat_map(|page| page.orders).collect();
        assert!(
            all.is_sorted_by(|a, b| a.placed_at >= b.placed_at),
            "newest first"
        );
        assert_eq!(all.len(), placed.len());
        assert!(
            placed.iter().all(|order| all.contains(order)),
            "each once, with limit {limit}"
        );
    }
}

pub async fn a_full_last_page_has_no_next(database: &impl Database) {
    orders_of_ada(database, 6).await;
    let sizes: Vec<usize> = pages(&database.orders(), 3)
        .await
        .iter()
        .map(|page| page.orders.len())
        .collect();
    assert_eq!(sizes, [3, 3]);
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
    let mut placed = Vec::new();
    for index in 0..20u16 {
        holds(&database.stock(), index, 1, &[("ada", "k", 1)]).await;
        // The orders are placed in another sequence than the sequence of their due times.
        let at = NOW.plus_seconds(u32::from(index * 7 % 20));
        let placing = placing_in(index, "ada", "k", 1, 100, at);
        assert!(answered(orders.place(&placing).await).is_done());
        placed.push(placing.order);
    }
    let at = |now: Timestamp| -> BTreeSet<(u8, OrderId)> {
        let due = placed.iter().filter(|order| order.due_at <= now);
        due.map(|order| (order.open_bucket().unwrap(), order.id.clone()))
            .collect()
    };
    for seconds in [14, 15, 22, 60] {
        let now = NOW.plus_seconds(seconds);
        assert_eq!(due(&orders, now).await, at(now), "after {seconds} s");
    }
    assert_eq!(due(&orders, NOW).await.len(), 0);
    assert_eq!(due(&orders, NOW.plus_seconds(60)).await.len(), 20);
    let busiest = (0..OPEN_BUCKETS)
        .max_by_key(|bucket| placed.iter().filter(|o| o.open_bucket() == Some(*bucket)).count())
        .unwrap();
    let mut of_busiest: Vec<&Order> = placed
        .iter()
        .filter(|o| o.open_bucket() == Some(busiest))
        .collect();
    of_busiest.sort_by_key(|order| order.due_at);
    assert!(of_busiest.len() > 1, "20 orders in 16 buckets");
    for limit in 1..=of_busiest.len() {
        let found = orders
            .due_orders(busiest, NOW.plus_seconds(60), u16::try_from(limit).unwrap())
            .await;
        let expected: Vec<OrderId> = of_busiest
            .iter()
            .take(limit)
            .map(|order| order.id.clone())
            .collect();
        assert_eq!(answered(found), expected, "the longest overdue first");
    }
}

pub async fn a_closed_order_is_never_due(database: &impl Database) {
    let orders = database.orders();
    for index in 0..2 {
        holds(&database.stock(), index, 1, &[("ada", "k", 1)]).await;
        let placing = placing_in(index, "ada", "k", 1, 100, NOW);
        assert!(answered(orders.place(&placing).await).is_done());
        assert_eq!(due(&orders, NOW.plus_seconds(600)).await.len(), 1);
        let step = if index == 0 {
            placing.order.settle(NOW)
        } else {
            placing.order.undo(EndReason::ByShopper, NOW)
        };
        assert!(answered(orders.advance(&step.unwrap()).await).is_done());
        assert_eq!(due(&orders, NOW.plus_seconds(600)).await, BTreeSet::new());
    }
}

pub async fn an_order_is_due_when_it_was_put_off_to(database: &impl Database) {
    let orders = database.orders();
    holds(&database.stock(), 0, 1, &[("ada", "k", 1)]).await;
    let placing = placing_in(0, "ada", "k", 1, 100, NOW);
    assert!(answered(orders.place(&placing).await).is_done());
    let seen = &placing.order;
    let later = seen.due_at.plus_seconds(20);
    assert_eq!(answered(orders.put_off(seen, later).await), Conditional::Done);
    assert_eq!(
        answered(orders.put_off(seen, later).await),
        Conditional::Refused(()),
        "a repeat"
    );
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
    assert!(answered(orders.advance(&paying).await).is_done());
    assert_eq!(
        answered(orders.put_off(&put_off, later).await),
        Conditional::Refused(())
    );
    assert_eq!(due(&orders, paying.order.due_at).await.len(), 1);
    let ended = paying.order.settle(NOW.plus_seconds(2)).unwrap();
    assert!(answered(orders.advance(&ended).await).is_done());
    assert_eq!(
        answered(orders.put_off(&ended.order, later).await),
        Conditional::Refused(()),
        "ended"
    );
}

pub async fn open_orders_are_listed_bucket_by_bucket(database: &impl Database) {
    let orders = database.orders();
    let mut open = Vec::new();
    for index in 0..20u16 {
        holds(&database.stock(), index, 1, &[("ada", "k", 1)]).await;
        let at = NOW.plus_seconds(u32::from(index * 7 % 20));
        let placing = placing_in(index, "ada", "k", 1, 100, at);
        assert!(answered(orders.place(&placing).await).is_done());
        if index % 4 == 0 {
            let ended = placing.order.undo(EndReason::ByShopper, at).unwrap();
            assert!(answered(orders.advance(&ended).await).is_done());
        } else {
            open.push(placing.order);
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
            let mut expected: Vec<Order> = open
                .iter()
                .filter(|o| o.open_bucket() == Some(bucket))
                .cloned()
                .collect();
            expected.sort_by_key(|order| (order.due_at, order.id.clone()));
            assert_eq!(found, expected);
        }
    }
}
