//! Tests taking over expired holds. The caller decides whether a hold has expired; the port only compares claims.

use domain::claim::Claim;
use domain::survey::SeenClaim;
use ports::Conditional;
use ports::stock::{ClaimStock, GiveBackStock};

use crate::fixtures::{NOW, held, key, shopper};
use crate::race::race;
use crate::{Database, StockPorts, allocated, answered, assert_broken, shard};

/// A shard of 3 units in which ada holds 2.
async fn ada_holds_two(stock: &impl StockPorts) -> Claim {
    allocated(stock, 3).await;
    let old = held("ada", "old", 2);
    assert!(answered(stock.claim(&key(0), &shopper("ada"), &old).await).is_done());
    old
}

pub async fn a_hold_is_taken_over_by_another_shopper(database: &impl Database) {
    let stock = database.stock();
    let old = ada_holds_two(&stock).await;
    let new = held("bob", "k", 2);
    let (ada, bob) = (shopper("ada"), shopper("bob"));
    let done = answered(stock.take_over(&key(0), &bob, &new, &ada, &old).await);
    assert_eq!(done, Conditional::Done);
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 1);
    assert_eq!(after.claims.clone(), [(bob.clone(), new.clone())].into());
    let again = answered(stock.take_over(&key(0), &bob, &new, &ada, &old).await);
    assert_eq!(
        again,
        Conditional::Refused(Some(after.clone())),
        "a repeat sees what it did"
    );
    let seen = SeenClaim {
        shard: key(0),
        shopper: ada,
        claim: old,
    };
    assert_eq!(answered(stock.give_back(&seen).await), Conditional::Refused(()));
    assert_eq!(shard(&stock, 0).await, after);
}

pub async fn a_hold_is_replaced_by_its_own_shopper(database: &impl Database) {
    let stock = database.stock();
    let old = ada_holds_two(&stock).await;
    let (ada, new) = (shopper("ada"), held("ada", "new", 3));
    assert!(answered(stock.take_over(&key(0), &ada, &new, &ada, &old).await).is_done());
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
        let claim = held(name, "k", units);
        let done = answered(
            stock
                .take_over(&key(0), &shopper(name), &claim, &victim, &seen)
                .await,
        );
        assert!(done.is_done(), "{name}");
        assert_eq!(shard(&stock, 0).await.free, free, "{name}");
        (victim, seen) = (shopper(name), claim);
    }
    let before = shard(&stock, 0).await;
    let too_many = held("max", "k", 4);
    let refused = answered(
        stock
            .take_over(&key(0), &shopper("max"), &too_many, &victim, &seen)
            .await,
    );
    assert_eq!(refused, Conditional::Refused(Some(before.clone())));
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn a_take_over_of_what_was_not_seen_is_refused_and_shows_what_is(database: &impl Database) {
    let stock = database.stock();
    let old = ada_holds_two(&stock).await;
    let before = shard(&stock, 0).await;
    let (bob, new) = (shopper("bob"), held("bob", "k", 1));
    let later = Claim {
        deadline: NOW.plus_seconds(61),
        ..old.clone()
    };
    for (victim, seen) in [("ada", &later), ("ada", &held("ada", "other", 2)), ("eve", &old)] {
        let refused = answered(stock.take_over(&key(0), &bob, &new, &shopper(victim), seen).await);
        assert_eq!(
            refused,
            Conditional::Refused(Some(before.clone())),
            "{victim} {seen:?}"
        );
    }
    let elsewhere = answered(stock.take_over(&key(1), &bob, &new, &shopper("ada"), &old).await);
    assert_eq!(elsewhere, Conditional::Refused(None));
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn a_take_over_is_refused_to_whom_has_a_claim(database: &impl Database) {
    let stock = database.stock();
    let old = ada_holds_two(&stock).await;
    let bob = shopper("bob");
    assert!(answered(stock.claim(&key(0), &bob, &held("bob", "first", 1)).await).is_done());
    let before = shard(&stock, 0).await;
    let second = held("bob", "second", 1);
    let refused = answered(
        stock
            .take_over(&key(0), &bob, &second, &shopper("ada"), &old)
            .await,
    );
    assert_eq!(refused, Conditional::Refused(Some(before.clone())));
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn an_ordered_claim_is_not_taken_over(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 3).await;
    let ordered = held("ada", "k", 2).ordered(NOW, NOW.plus_seconds(120)).unwrap();
    assert!(answered(stock.claim(&key(0), &shopper("ada"), &ordered).await).is_done());
    let before = shard(&stock, 0).await;
    let new = held("bob", "k", 1);
    assert_broken(
        stock
            .take_over(&key(0), &shopper("bob"), &new, &shopper("ada"), &ordered)
            .await,
    );
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn of_16_take_overs_one_succeeds(database: &impl Database) {
    let stock = database.stock();
    let old = ada_holds_two(&stock).await;
    let outcomes = race(16, |n| {
        let (stock, old, name) = (&stock, &old, format!("s{n}"));
        async move {
            let claim = held(&name, "k", 2);
            stock
                .take_over(&key(0), &shopper(&name), &claim, &shopper("ada"), old)
                .await
        }
    })
    .await;
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 1);
    assert_eq!(after.claims.len(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_done()).count(), 1);
    for outcome in outcomes.into_iter().filter(|outcome| !outcome.is_done()) {
        assert_eq!(outcome, Conditional::Refused(Some(after.clone())));
    }
}
