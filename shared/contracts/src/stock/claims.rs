//! Tests allocating, claiming and returning units.

use domain::shard::Shard;
use domain::survey::SeenClaim;
use futures_util::future::join;
use ports::Conditional;
use ports::stock::{
    AllocateStock, ClaimStock, Consistency, CountLapse, GiveBackStock, PeekStock, SurveyStock,
};

use crate::fixtures::{NOW, drop_id, held, key, shopper};
use crate::race::{insist, race};
use crate::{Database, allocated, answered, shard};

pub async fn a_shard_is_allocated_once(database: &impl Database) {
    let stock = database.stock();
    assert_eq!(answered(stock.allocate(&key(0), 24).await), Conditional::Done);
    assert_eq!(shard(&stock, 0).await, Shard::allocated(24));
    assert!(answered(stock.claim(&key(0), &shopper("ada"), &held("ada", "k", 2)).await).is_done());
    let before = shard(&stock, 0).await;
    for units in [24, 7] {
        assert_eq!(
            answered(stock.allocate(&key(0), units).await),
            Conditional::Refused(())
        );
    }
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn a_claim_takes_free_units(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 5).await;
    let (ada, bob) = (held("ada", "k", 2), held("bob", "k", 3));
    assert_eq!(
        answered(stock.claim(&key(0), &shopper("ada"), &ada).await),
        Conditional::Done
    );
    assert_eq!(
        answered(stock.claim(&key(0), &shopper("bob"), &bob).await),
        Conditional::Done
    );
    let shard = shard(&stock, 0).await;
    assert_eq!(shard.allocated, 5);
    assert_eq!(shard.free, 0);
    assert_eq!(shard.sold, 0);
    assert_eq!(
        shard.claims,
        [(shopper("ada"), ada), (shopper("bob"), bob)].into()
    );
}

pub async fn the_repeat_of_a_claim_is_refused_and_shows_it(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 5).await;
    let claim = held("ada", "k", 2);
    assert!(answered(stock.claim(&key(0), &shopper("ada"), &claim).await).is_done());
    let before = shard(&stock, 0).await;
    let again = answered(stock.claim(&key(0), &shopper("ada"), &claim).await);
    assert_eq!(again, Conditional::Refused(Some(before.clone())));
    assert_eq!(before.claims.get(&shopper("ada")), Some(&claim));
    assert_eq!(shard(&stock, 0).await, before);
}

pub async fn another_request_of_the_same_shopper_is_refused_and_shows_the_first(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 5).await;
    assert!(answered(stock.claim(&key(0), &shopper("ada"), &held("ada", "k1", 1)).await).is_done());
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
    assert!(answered(stock.claim(&key(0), &shopper("ada"), &held("ada", "k", 2)).await).is_done());
    let full = shard(&stock, 0).await;
    let refused = answered(stock.claim(&key(0), &shopper("bob"), &held("bob", "k", 1)).await);
    assert_eq!(refused, Conditional::Refused(Some(full)));
}

pub async fn a_claim_in_no_shard_is_refused_and_makes_none(database: &impl Database) {
    let stock = database.stock();
    let refused = answered(stock.claim(&key(0), &shopper("ada"), &held("ada", "k", 1)).await);
    assert_eq!(refused, Conditional::Refused(None));
    assert_eq!(
        answered(stock.survey(&[key(0)], Consistency::Strong).await),
        vec![]
    );
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
    let taken: Vec<usize> = (0..32).filter(|n| outcomes[*n].is_done()).collect();
    assert_eq!(taken.len(), 1);
    assert!(after.claims.contains_key(&shopper(&format!("s{}", taken[0]))));
    for outcome in outcomes.into_iter().filter(|outcome| !outcome.is_done()) {
        assert_eq!(
            outcome,
            Conditional::Refused(Some(after.clone())),
            "a loser sees the winner"
        );
    }
}

pub async fn of_32_repeats_at_once_one_is_taken(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 24).await;
    let (target, ada, claim) = (key(0), shopper("ada"), held("ada", "k", 1));
    let outcomes = race(32, |_| stock.claim(&target, &ada, &claim)).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_done()).count(), 1);
    let after = shard(&stock, 0).await;
    assert_eq!(after.free, 23);
    assert_eq!(after.claims.get(&ada), Some(&claim));
    for outcome in outcomes.into_iter().filter(|outcome| !outcome.is_done()) {
        assert_eq!(outcome, Conditional::Refused(Some(after.clone())));
    }
}

pub async fn a_hold_is_given_back_once_and_exactly(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 3).await;
    let seen = |index: u16, key_: &str, deadline_s| SeenClaim {
        shard: key(index),
        shopper: shopper("ada"),
        claim: domain::claim::Claim {
            deadline: NOW.plus_seconds(deadline_s),
            ..held("ada", key_, 2)
        },
    };
    let right = seen(0, "k", 60);
    assert!(answered(stock.claim(&key(0), &shopper("ada"), &right.claim).await).is_done());
    for wrong in [seen(0, "other", 60), seen(0, "k", 61), seen(1, "k", 60)] {
        assert_eq!(
            answered(stock.give_back(&wrong).await),
            Conditional::Refused(()),
            "{wrong:?}"
        );
    }
    let of_bob = SeenClaim {
        shopper: shopper("bob"),
        ..right.clone()
    };
    assert_eq!(answered(stock.give_back(&of_bob).await), Conditional::Refused(()));
    assert_eq!(shard(&stock, 0).await.free, 1);
    assert_eq!(answered(stock.give_back(&right).await), Conditional::Done);
    assert_eq!(shard(&stock, 0).await, Shard::allocated(3));
    assert_eq!(answered(stock.give_back(&right).await), Conditional::Refused(()));
    assert_eq!(shard(&stock, 0).await, Shard::allocated(3));
}

pub async fn an_ordered_claim_is_not_given_back(database: &impl Database) {
    let stock = database.stock();
    allocated(&stock, 3).await;
    let claim = held("ada", "k", 2).ordered(NOW, NOW.plus_seconds(120)).unwrap();
    assert!(answered(stock.claim(&key(0), &shopper("ada"), &claim).await).is_done());
    let before = shard(&stock, 0).await;
    let seen = SeenClaim {
        shard: key(0),
        shopper: shopper("ada"),
        claim,
    };
    assert_eq!(answered(stock.give_back(&seen).await), Conditional::Refused(()));
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
        assert!(answered(stock.claim(&key(0), &shopper(first), &old).await).is_done());
        let seen = SeenClaim {
            shard: key(0),
            shopper: shopper(first),
            claim: old,
        };
        let target = key(0);
        let (one, two) = (shopper(second), &new);
        let (returned, claimed) = join(
            insist(|| stock.give_back(&seen)),
            insist(|| stock.claim(&target, &one, two)),
        )
        .await;
        assert!(returned.is_done(), "nothing else takes the hold away");
        let after = shard(&stock, 0).await;
        assert_eq!(after.free, u32::from(!claimed.is_done()));
        if claimed.is_done() {
            let seen = SeenClaim {
                shard: key(0),
                shopper: one,
                claim: new,
            };
            assert!(answered(stock.give_back(&seen).await).is_done());
        }
    }
}

/// Counting a lapse does not change the purchase counter.
pub async fn an_unused_hold_is_counted_once(database: &impl Database) {
    let stock = database.stock();
    let hold = |key: &str, after_seconds: u32| SeenClaim {
        shard: self::key(0),
        shopper: shopper("ada"),
        claim: domain::claim::Claim {
            deadline: NOW.plus_seconds(after_seconds),
            ..held("ada", key, 1)
        },
    };
    let lapses = async || answered(stock.peek(&drop_id(), &shopper("ada"), &[]).await).lapses;
    assert_eq!(lapses().await, None);
    for (seen, counted, count) in [
        (hold("k", 60), true, 1),
        (hold("k", 60), false, 1),
        (hold("l", 200), true, 2),
        (hold("k", 60), false, 2),
        (hold("l", 200), false, 2),
    ] {
        assert_eq!(
            answered(stock.count_lapse(&seen).await).is_done(),
            counted,
            "{seen:?}"
        );
        let found = lapses().await.unwrap();
        assert!(
            found.count == count && found.last >= seen.claim.deadline,
            "{found:?}"
        );
    }
    let peek = answered(stock.peek(&drop_id(), &shopper("ada"), &[]).await);
    assert_eq!(peek.purchased, 0);
    let others = answered(stock.peek(&drop_id(), &shopper("bob"), &[]).await);
    assert_eq!(others.lapses, None);
}
