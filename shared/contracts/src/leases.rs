//! Asserts what every lease promises, whatever it is for. The closure `take` requests the lease for a holder, at a
//! time, for ten seconds.

use std::fmt::Debug;

use domain::time::Timestamp;
use ports::drops::Lease;

use crate::fixtures::NOW;

pub(super) fn lease(holder: &str, fencing: u64, until: u32) -> Lease {
    Lease {
        holder: holder.to_owned(),
        fencing,
        until: NOW.plus_seconds(until),
    }
}

pub(super) async fn is_taken_and_kept(take: impl AsyncFn(&str, Timestamp) -> Result<Lease, Lease>) {
    let first = take("one", NOW).await.unwrap();
    assert_eq!(first, lease("one", first.fencing, 10));
    assert!(first.fencing > 0);
    for at in [0, 3, 9, 60] {
        let kept = take("one", NOW.plus_seconds(at)).await;
        assert_eq!(kept, Ok(lease("one", first.fencing, at + 10)));
    }
}

pub(super) async fn is_shown_while_held(take: impl AsyncFn(&str, Timestamp) -> Result<Lease, Lease>) {
    let first = take("one", NOW).await.unwrap();
    assert_eq!(take("two", NOW).await, Err(first.clone()));
    assert_eq!(take("two", first.until.plus_millis(-1)).await, Err(first));
    assert!(take("one", NOW.plus_seconds(9)).await.is_ok());
}

pub(super) async fn changes_hands_once_expired(take: impl AsyncFn(&str, Timestamp) -> Result<Lease, Lease>) {
    let mut fencing = take("one", NOW).await.unwrap().fencing;
    for (turn, holder) in (1..).zip(["two", "one", "three", "two"]) {
        let next = take(holder, NOW.plus_seconds(turn * 10)).await.unwrap();
        let expected = lease(holder, next.fencing, turn * 10 + 10);
        assert_eq!(next, expected, "free from the very end on");
        assert!(next.fencing > fencing);
        fencing = next.fencing;
    }
    let refused = take("one", NOW.plus_seconds(41)).await;
    assert_eq!(refused, Err(lease("two", fencing, 50)));
}

/// The only outcome of a race that has the lease. Asserts that all other outcomes show this lease.
pub(super) fn winner<T: Debug>(outcomes: &[Result<T, Lease>], lease: impl Fn(&T) -> &Lease) -> &T {
    let winners: Vec<&T> = outcomes.iter().filter_map(|o| o.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let mut shown = outcomes.iter().filter_map(|o| o.as_ref().err());
    assert!(shown.all(|shown| shown == lease(winners[0])), "{outcomes:?}");
    winners[0]
}
