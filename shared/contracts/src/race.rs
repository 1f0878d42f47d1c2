//! Runs calls concurrently in one task.

use std::future::Future;

use futures_util::future::join_all;
use ports::StoreError;
use ports::retry::{IN_WORKER, retry};

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

pub(super) async fn insist<T, F>(call: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    retry(&TestRuntime::default(), IN_WORKER, call)
        .await
        .unwrap_or_else(|error| panic!("the call failed: {error}"))
}
