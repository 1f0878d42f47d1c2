//! Tests the record of mails to an order's shopper.

use ports::mail::KeepContact;
use ports::orders::PlaceOrder;

use super::holds;
use crate::fixtures::placing;
use crate::{Database, answered, assert_broken, done};

pub async fn what_was_sent_is_kept_beside_the_address_once(database: &impl Database) {
    let (stock, orders) = (database.stock(), database.orders());
    holds(&stock, 0, 5, &[("ada", "k", 1), ("bob", "k", 1)]).await;
    let (ada, bob) = (placing("ada", "k", 1, 2), placing("bob", "k", 1, 2));
    let id = &ada.order.id;
    assert_eq!(answered(orders.contact(id).await), None);
    for placing in [&ada, &bob] {
        done(orders.place(placing).await);
    }
    let sent = |contact: Option<ports::mail::Contact>| {
        let mut sent = contact.unwrap().sent;
        sent.sort();
        sent
    };
    assert!(sent(answered(orders.contact(id).await)).is_empty());
    for (what, expected) in [
        ("act_now", vec!["act_now"]),
        ("confirmed", vec!["act_now", "confirmed"]),
        ("act_now", vec!["act_now", "confirmed"]),
    ] {
        answered(orders.note_sent(id, what).await);
        assert_eq!(sent(answered(orders.contact(id).await)), expected);
    }
    let contact = answered(orders.contact(id).await).unwrap();
    assert_eq!(contact.address, ada.address);
    assert_eq!(database.address(id).await, Some(ada.address.clone()));
    assert!(sent(answered(orders.contact(&bob.order.id).await)).is_empty());
}

pub async fn of_no_order_nothing_is_sent(database: &impl Database) {
    let orders = database.orders();
    let id = &placing("ada", "k", 1, 2).order.id;
    assert_broken(orders.note_sent(id, "confirmed").await);
    assert_eq!(answered(orders.contact(id).await), None);
    assert_eq!(database.address(id).await, None);
}
