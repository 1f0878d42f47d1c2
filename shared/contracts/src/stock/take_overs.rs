//! Tests taking over expired holds. The caller decides whether a hold has expired; the port only compares claims.

use domain::claim::Claim;
use ports::Conditional;
use ports::stock::{ClaimStock, GiveBackStock};

use crate::fixtures::{NOW, held, key, seen, shopper};
use crate::race::{race, winners};
use crate::{Database, REFUSED, StockPorts, allocated, answered, assert_broken, done, shard};

/// A shard of 3 units in which ada holds 2.
async fn ada_holds_two(stock: &impl StockPorts) -> Claim {
    allocated(stock, 3).await;
    let old = held("ada", "old", 2);
    done(stock.claim(&key(0), &shopper("ada"), &old).await);
    old
}

pub async fn a_hold_is_taken_over_by_another_shopper(database: &impl Database) {
    let stock = database.stock();
    let old = ada_holds_two(&stock).await;
    let new = held("bob", "k", 2);
    let (ada, bob) = (shopper("ada"), shopper("bob"));
    done(stock.take_over(&key(0), &bob, &new, &ada, &old).await);
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 1);
    assert_eq!(after.claims.clone(), [(bob.clone(), new.clone())].into());
    let again = answered(stock.take_over(&key(0), &bob, &new, &ada, &old).await);
    let refused = Conditional::Refused(Some(after.clone()));
    assert_eq!(again, refused, "a repeat sees what it did");
    assert_eq!(answered(stock.give_back(&seen(0, "ada", old)).await), REFUSED);
    assert_eq!(shard(&stock, 0).await, after);
}

pub async fn a_hold_is_replaced_by_its_own_shopper(database: &impl Database) {
    let stock = database.stock();
    let old = ada_holds_two(&stock).await;
    let (ada, new) = (shopper("ada"), held("ada", "new", 3));
    done(stock.take_over(&key(0), &ada, &new, &ada, &old).await);
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 0);
    assert_eq!(after.claims.clone(), [(ada.clone(), new.clone())].into());
    let again = answered(stock.take_over(&key(0), &ada, &new, &ada, &old).await);
    assert_eq!(again, Conditional::Refused(Some(after)));
}

pub async fn a_take_over_settles_the_difference_in_units(database: &impl Database) {
    let stock = database.stock();
    let mut seen = ada_holds_two(&stock).await;
    let mut victim = shopper("ada");
    for (name, units, free) in [("bob", 3, 0), ("eve", 1, 2), ("kim", 1, 2), ("lee", 2, 1)] {
        let (who, claim) = (shopper(name), held(name, "k", units));
        done(stock.take_over(&key(0), &who, &claim, &victim, &seen).await);
        assert_eq!(shard(&stock, 0).await.free, free, "{name}");
        (victim, seen) = (who, claim);
    }
    let before = shard(&stock, 0).await;
    let (max, too_many) = (shopper("max"), held("max", "k", 4));
    let refused = stock.take_over(&key(0), &max, &too_many, &victim, &seen).await;
    assert_eq!(answered(refused), Conditional::Refused(Some(before.clone())));
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn a_take_over_of_what_was_not_seen_is_refused_and_shows_what_is(database: &impl Database) {
    let stock = database.stock();
    let old = ada_holds_two(&stock).await;
    let before = shard(&stock, 0).await;
    let (bob, new) = (shopper("bob"), held("bob", "k", 1));
    let mut later = old.clone();
    later.deadline = NOW.plus_seconds(61);
    for (victim, seen) in [("ada", &later), ("ada", &held("ada", "other", 2)), ("eve", &old)] {
        let outcome = answered(stock.take_over(&key(0), &bob, &new, &shopper(victim), seen).await);
        let refused = Conditional::Refused(Some(before.clone()));
        assert_eq!(outcome, refused, "{victim} {seen:?}");
    }
    let elsewhere = answered(stock.take_over(&key(1), &bob, &new, &shopper("ada"), &old).await);
    assert_eq!(elsewhere, Conditional::Refused(None));
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn a_take_over_is_refused_to_whom_has_a_claim(database: &impl Database) {
    let stock = database.stock();
    let old = ada_holds_two(&stock).await;
    let (ada, bob) = (shopper("ada"), shopper("bob"));
    done(stock.claim(&key(0), &bob, &held("bob", "first", 1)).await);
    let before = shard(&stock, 0).await;
    let second = held("bob", "second", 1);
    let refused = answered(stock.take_over(&key(0), &bob, &second, &ada, &old).await);
    assert_eq!(refused, Conditional::Refused(Some(before.clone())));
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn an_ordered_claim_is_not_taken_over(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 3).await;
    let ordered = held("ada", "k", 2).ordered(NOW, NOW.plus_seconds(120)).unwrap();
    done(stock.claim(&key(0), &shopper("ada"), &ordered).await);
    let before = shard(&stock, 0).await;
    let (ada, bob, new) = (shopper("ada"), shopper("bob"), held("bob", "k", 1));
    assert_broken(stock.take_over(&key(0), &bob, &new, &ada, &ordered).await);
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn of_16_take_overs_one_succeeds(database: &impl Database) {
    let stock = database.stock();
    let old = ada_holds_two(&stock).await;
    let outcomes = race(16, |n| {
        let (stock, old, name) = (&stock, &old, format!("s{n}"));
        async move {
            let (ada, who, claim) = (shopper("ada"), shopper(&name), held(&name, "k", 2));
            stock.take_over(&key(0), &who, &claim, &ada, old).await
        }
    })
    .await;
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 1);
    assert_eq!(after.claims.len(), 1);
    winners(&outcomes, 1, &Some(after));
}
