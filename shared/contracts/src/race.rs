//! Runs calls concurrently in one task.

use std::fmt::Debug;
use std::future::Future;

use futures_util::future::join_all;
use ports::retry::{IN_WORKER, retry};
use ports::{Conditional, StoreError};

use memory::TestRuntime;

/// Runs one call for each of `0..n` at the same time. A call that was answered *busy* is repeated, as every caller
/// repeats it.
pub(super) async fn race<T, F>(n: usize, call: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let call = &call;
    join_all((0..n).map(|at| insist(move || call(at)))).await
}

/// Asserts that exactly `count` outcomes of a race are done, and that the others are refused with `lost`. Returns the
/// indices of the done outcomes.
#[track_caller]
pub(super) fn winners<T: Clone + Debug + PartialEq>(
    outcomes: &[Conditional<T>],
    count: usize,
    lost: &T,
) -> Vec<usize> {
    let refused = Conditional::Refused(lost.clone());
    let lost: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_done()).collect();
    assert!(lost.iter().all(|outcome| **outcome == refused), "{lost:?}");
    assert_eq!(outcomes.len() - lost.len(), count, "{outcomes:?}");
    (0..outcomes.len()).filter(|n| outcomes[*n].is_done()).collect()
}

pub(super) async fn insist<T, F>(call: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    retry(&TestRuntime::default(), IN_WORKER, call)
        .await
        .unwrap_or_else(|error| panic!("the call failed: {error}"))
}
