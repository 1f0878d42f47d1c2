//! Tests allocating, claiming and returning units.

use domain::claim::Claim;
use domain::shard::Shard;
use domain::survey::SeenClaim;
use futures_util::future::join;
use ports::Conditional;
use ports::stock::{
    AllocateStock, ClaimStock, Consistency, CountLapse, GiveBackStock, PeekStock, SurveyStock,
};

use crate::fixtures::{NOW, drop_id, held, key, seen, shopper};
use crate::race::{insist, race, winners};
use crate::{Database, REFUSED, allocated, answered, done, shard};

pub async fn a_shard_is_allocated_once(database: &impl Database) {
    let stock = database.stock();
    done(stock.allocate(&key(0), 24).await);
    assert_eq!(shard(&stock, 0).await, Shard::allocated(24));
    done(stock.claim(&key(0), &shopper("ada"), &held("ada", "k", 2)).await);
    let before = shard(&stock, 0).await;
    for units in [24, 7] {
        assert_eq!(answered(stock.allocate(&key(0), units).await), REFUSED);
    }
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn a_claim_takes_free_units(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 5).await;
    let (ada, bob) = (held("ada", "k", 2), held("bob", "k", 3));
    done(stock.claim(&key(0), &shopper("ada"), &ada).await);
    done(stock.claim(&key(0), &shopper("bob"), &bob).await);
    let shard = shard(&stock, 0).await;
    assert_eq!(shard.allocated, 5);
    assert_eq!(shard.free, 0);
    assert_eq!(shard.sold, 0);
    let claims = [(shopper("ada"), ada), (shopper("bob"), bob)];
    assert_eq!(shard.claims, claims.into());
}

pub async fn the_repeat_of_a_claim_is_refused_and_shows_it(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 5).await;
    let claim = held("ada", "k", 2);
    done(stock.claim(&key(0), &shopper("ada"), &claim).await);
    let before = shard(&stock, 0).await;
    let again = answered(stock.claim(&key(0), &shopper("ada"), &claim).await);
    assert_eq!(again, Conditional::Refused(Some(before.clone())));
    assert_eq!(before.claims.get(&shopper("ada")), Some(&claim));
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn another_request_of_the_same_shopper_is_refused_and_shows_the_first(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 5).await;
    done(stock.claim(&key(0), &shopper("ada"), &held("ada", "k1", 1)).await);
    let before = shard(&stock, 0).await;
    let second = answered(stock.claim(&key(0), &shopper("ada"), &held("ada", "k2", 1)).await);
    assert_eq!(second, Conditional::Refused(Some(before.clone())));
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn a_claim_of_more_than_is_free_is_refused_and_shows_what_is(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 2).await;
    let refused = answered(stock.claim(&key(0), &shopper("ada"), &held("ada", "k", 3)).await);
    assert_eq!(refused, Conditional::Refused(Some(Shard::allocated(2))));
    done(stock.claim(&key(0), &shopper("ada"), &held("ada", "k", 2)).await);
    let full = shard(&stock, 0).await;
    let refused = answered(stock.claim(&key(0), &shopper("bob"), &held("bob", "k", 1)).await);
    assert_eq!(refused, Conditional::Refused(Some(full)));
}

pub async fn a_claim_in_no_shard_is_refused_and_makes_none(database: &impl Database) {
    let stock = database.stock();
    let refused = answered(stock.claim(&key(0), &shopper("ada"), &held("ada", "k", 1)).await);
    assert_eq!(refused, Conditional::Refused(None));
    let found = answered(stock.survey(&[key(0)], Consistency::Strong).await);
    assert_eq!(found, vec![]);
}

pub async fn of_32_claims_of_the_last_unit_one_is_taken(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 1).await;
    let outcomes = race(32, |n| {
        let (stock, name) = (&stock, format!("s{n}"));
        async move { stock.claim(&key(0), &shopper(&name), &held(&name, "k", 1)).await }
    })
    .await;
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 0);
    assert_eq!(after.claims.len(), 1);
    // A request that loses sees the winner's claim.
    let taken = winners(&outcomes, 1, &Some(after.clone()));
    assert!(after.claims.contains_key(&shopper(&format!("s{}", taken[0]))));
}

pub async fn of_32_repeats_at_once_one_is_taken(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 24).await;
    let (target, ada, claim) = (key(0), shopper("ada"), held("ada", "k", 1));
    let outcomes = race(32, |_| stock.claim(&target, &ada, &claim)).await;
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 23);
    assert_eq!(after.claims.get(&ada), Some(&claim));
    winners(&outcomes, 1, &Some(after));
}

/// A hold of ada in shard 0 that lasts for `seconds`, as a caller has read it.
fn held_until(idempotency_key: &str, units: u32, seconds: u32) -> SeenClaim {
    let hold = held("ada", idempotency_key, units);
    let deadline = NOW.plus_seconds(seconds);
    seen(0, "ada", Claim { deadline, ..hold })
}

pub async fn a_hold_is_given_back_once_and_exactly(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 3).await;
    let right = held_until("k", 2, 60);
    let other_shard = seen(1, "ada", right.claim.clone());
    let other_shopper = seen(0, "bob", right.claim.clone());
    done(stock.claim(&key(0), &shopper("ada"), &right.claim).await);
    let (other_key, other_deadline) = (held_until("other", 2, 60), held_until("k", 2, 61));
    for wrong in [other_key, other_deadline, other_shard, other_shopper] {
        assert_eq!(answered(stock.give_back(&wrong).await), REFUSED, "{wrong:?}");
    }
    assert_eq!(shard(&stock, 0).await.free, 1);
    done(stock.give_back(&right).await);
    assert_eq!(shard(&stock, 0).await, Shard::allocated(3));
    assert_eq!(answered(stock.give_back(&right).await), REFUSED);
    assert_eq!(shard(&stock, 0).await, Shard::allocated(3));
}

pub async fn an_ordered_claim_is_not_given_back(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 3).await;
    let claim = held("ada", "k", 2).ordered(NOW, NOW.plus_seconds(120)).unwrap();
    done(stock.claim(&key(0), &shopper("ada"), &claim).await);
    let before = shard(&stock, 0).await;
    assert_eq!(answered(stock.give_back(&seen(0, "ada", claim)).await), REFUSED);
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn a_claim_and_a_return_at_once_lose_no_unit(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 1).await;
    for round in 0..16 {
        let (first, second) = if round % 2 == 0 {
            ("ada", "bob")
        } else {
            ("bob", "ada")
        };
        let round_key = round.to_string();
        let (old, new) = (held(first, &round_key, 1), held(second, &round_key, 1));
        done(stock.claim(&key(0), &shopper(first), &old).await);
        let (old, target, other) = (seen(0, first, old), key(0), shopper(second));
        let claiming = insist(|| stock.claim(&target, &other, &new));
        let (returned, claimed) = join(insist(|| stock.give_back(&old)), claiming).await;
        assert!(returned.is_done(), "nothing else takes the hold away");
        let after = shard(&stock, 0).await;
        assert_eq!(after.free, u32::from(!claimed.is_done()));
        if claimed.is_done() {
            done(stock.give_back(&seen(0, second, new)).await);
        }
    }
}

/// Counting a lapse does not change the purchase counter.
pub async fn an_unused_hold_is_counted_once(database: &impl Database) {
    let stock = database.stock();
    let lapses = async || answered(stock.peek(&drop_id(), &shopper("ada"), &[]).await).lapses;
    assert_eq!(lapses().await, None);
    for (key, seconds, counted, count) in [
        ("k", 60, true, 1),
        ("k", 60, false, 1),
        ("l", 200, true, 2),
        ("k", 60, false, 2),
        ("l", 200, false, 2),
    ] {
        let seen = held_until(key, 1, seconds);
        let outcome = answered(stock.count_lapse(&seen).await);
        assert_eq!(outcome.is_done(), counted, "{seen:?}");
        let found = lapses().await.unwrap();
        assert_eq!(found.count, count);
        assert!(found.last >= seen.claim.deadline, "{found:?}");
    }
    let peek = answered(stock.peek(&drop_id(), &shopper("ada"), &[]).await);
    assert_eq!(peek.purchased, 0);
    let others = answered(stock.peek(&drop_id(), &shopper("bob"), &[]).await);
    assert_eq!(others.lapses, None);
}
