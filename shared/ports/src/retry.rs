//! Repeats calls, limited in number and time, with jitter, by the caller's clock.
//!
//! [`retry`] repeats one call. [`retry_each`] repeats a call about many items, some of which may succeed and
//! others not. [`retry_on_conflict`] repeats a read, a decision and a conditional write.
//!
//! Every repeat in a function uses this module, except:
//! * Two adapters, which have no clock, repeat without a wait, and a few times at most, what was certainly not
//!   done. `dynamodb` requests the unprocessed keys of a batch again, and moves a line of the gateway's calls
//!   from where another process has moved it. `ledger` repeats a statement that the server aborted in favour of
//!   another transaction.
//! * The SDK repeats the reads of `control-plane` call by call, since a read of the account takes dozens of
//!   calls. The callers do not repeat these reads.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use domain::limits::API_TIMEOUT_SECONDS;
use domain::time::Timestamp;

use crate::Conditional;
pub use crate::error::Transient;
use crate::runtime::Runtime;

/// The limits on the repeats of a call.
///
/// The wait before the first repeat is a random time from `first_ms` to twice `first_ms`. The range doubles
/// with each further wait, up to the range from `longest_ms` to twice `longest_ms`.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    retries: usize,
    first_ms: u64,
    longest_ms: u64,
    until: Timestamp,
}

impl Policy {
    /// A policy of at most `retries` repeats after the first call. The waits grow from `first_ms` to
    /// `longest_ms` milliseconds, before jitter.
    #[must_use]
    pub const fn new(retries: usize, first_ms: u64, longest_ms: u64) -> Self {
        Self {
            retries,
            first_ms,
            longest_ms,
            until: Timestamp::from_millis(i64::MAX),
        }
    }

    /// A policy of at most `retries` repeats without waits. It is for conflicts of writers, of which one
    /// always succeeds.
    #[must_use]
    pub const fn at_once(retries: usize) -> Self {
        Self::new(retries, 0, 0)
    }

    /// The same policy with a deadline: no wait begins that would end after `moment`, so no repeat begins
    /// after it. The first call is made in any case.
    #[must_use]
    pub const fn until(self, moment: Timestamp) -> Self {
        Self {
            until: moment,
            ..self
        }
    }

    /// The longest sum of all waits, in milliseconds, including jitter.
    #[must_use]
    pub const fn budget_ms(&self) -> u64 {
        2 * self.longest_ms * self.retries as u64
    }
}

/// The policy within an API request. The waits take at most about half a second, far below the function's
/// time limit.
pub const IN_REQUEST: Policy = Policy::new(4, 15, 120);

/// The policy in a worker, which has more time. The waits take at most about three seconds.
pub const IN_WORKER: Policy = Policy::new(6, 25, 800);

/// The policy for messages that a queue did not accept. The waits take at most about 1.5 seconds.
pub const SENDING: Policy = Policy::new(4, 50, 400);

const _: () = assert!(
    IN_REQUEST.budget_ms() <= API_TIMEOUT_SECONDS as u64 * 1000 / 10,
    "a request's repeats must leave it time for its calls"
);

/// The waits between the calls that one operation makes.
struct Waits<'a, R> {
    runtime: &'a R,
    until: Timestamp,
    waits: ExponentialBackoff,
}

impl<'a, R: Runtime> Waits<'a, R> {
    fn new(runtime: &'a R, policy: Policy) -> Self {
        Self {
            runtime,
            until: policy.until,
            waits: ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(policy.first_ms))
                .with_max_delay(Duration::from_millis(policy.longest_ms))
                .with_max_times(policy.retries)
                .with_jitter()
                .with_jitter_seed(runtime.random())
                .build(),
        }
    }

    /// Waits before the next call: the wait of the policy with jitter, and `at_least_ms` in addition. Returns
    /// false, without a wait, when no further call is allowed.
    async fn next(&mut self, at_least_ms: u64) -> bool {
        let Some(wait) = self.waits.next() else {
            return false;
        };
        let ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let ms = ms.saturating_add(i64::try_from(at_least_ms).unwrap_or(i64::MAX));
        if self.runtime.now().plus_millis(ms) > self.until {
            return false;
        }
        if ms > 0 {
            self.runtime.sleep(ms.unsigned_abs()).await;
        }
        true
    }
}

/// Calls `operation` until it succeeds or fails permanently, or until `policy` allows no further repeat. A
/// repeat of the operation must be harmless: a read or a conditional write.
///
/// # Errors
///
/// The error of the last call.
pub async fn retry<R, T, X, F>(runtime: &R, policy: Policy, operation: impl FnMut() -> F) -> Result<T, X>
where
    R: Runtime,
    X: Transient,
    F: Future<Output = Result<T, X>>,
{
    retry_if(runtime, policy, X::is_transient, operation).await
}

/// Like [`retry`], but repeats the operation only after errors for which `again` holds. It is for operations
/// whose repeat is harmless only after some transient errors.
///
/// # Errors
///
/// The error of the last call.
pub async fn retry_if<R, T, X, F>(
    runtime: &R,
    policy: Policy,
    again: impl Fn(&X) -> bool,
    mut operation: impl FnMut() -> F,
) -> Result<T, X>
where
    R: Runtime,
    X: Transient,
    F: Future<Output = Result<T, X>>,
{
    let mut waits = Waits::new(runtime, policy);
    loop {
        let error = match operation().await {
            Err(error) if again(&error) => error,
            outcome => return outcome,
        };
        if !waits.next(error.wait_at_least_ms()).await {
            return Err(error);
        }
    }
}

/// Calls `operation` with all `items`, then again with the items that got no answer or a transient error,
/// until no such item is left or `policy` allows no further repeat. `operation` must answer in the order of
/// its input.
///
/// Returns the last answer for each item, in the order of `items`; `None` for an item that never got
/// an answer.
pub async fn retry_each<R, I, T, X, F>(
    runtime: &R,
    policy: Policy,
    items: &[I],
    mut operation: impl FnMut(Vec<I>) -> F,
) -> Vec<Option<Result<T, X>>>
where
    R: Runtime,
    I: Clone,
    X: Transient,
    F: Future<Output = Vec<Result<T, X>>>,
{
    let is_left = |answer: &Option<Result<T, X>>| match answer {
        Some(Ok(_)) => false,
        Some(Err(error)) => error.is_transient(),
        None => true,
    };
    let mut answers: Vec<Option<Result<T, X>>> = items.iter().map(|_| None).collect();
    let mut waits = Waits::new(runtime, policy);
    let mut tried = false;
    while answers.iter().any(is_left) && (!tried || waits.next(0).await) {
        tried = true;
        let (left, items): (Vec<_>, Vec<_>) = answers
            .iter_mut()
            .zip(items)
            .filter(|(answer, _)| is_left(answer))
            .map(|(answer, item)| (answer, item.clone()))
            .unzip();
        for (place, answer) in left.into_iter().zip(operation(items).await) {
            *place = Some(answer);
        }
    }
    answers
}

/// The outcome of one attempt to read, decide and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<T> {
    /// Nothing had to be written, or the write was made.
    Done(T),
    /// The data changed between the read and the write, or an answer was lost. The caller must read and
    /// decide again.
    Again,
}

impl<T> Attempt<T> {
    /// [`Attempt::Done`] with `done` if the conditional write was made, otherwise [`Attempt::Again`].
    pub fn of<R>(written: Conditional<R>, done: T) -> Self {
        match written {
            Conditional::Done => Self::Done(done),
            Conditional::Refused(_) => Self::Again,
        }
    }
}

/// Reads, decides, and writes on condition that the data is unchanged. `attempt` does this once. It is called
/// again while it returns [`Attempt::Again`], until `policy` allows no further repeat. Its argument is the
/// number of earlier calls. Returns `None` when the data changed each time.
///
/// If the answer to a write was lost, the next read shows the write, so `attempt` must recognise its
/// own write.
///
/// # Errors
///
/// The first error of `attempt`. It is not repeated here, since `attempt` repeats its own reads and writes.
pub async fn retry_on_conflict<R, T, X, F>(
    runtime: &R,
    policy: Policy,
    mut attempt: impl FnMut(usize) -> F,
) -> Result<Option<T>, X>
where
    R: Runtime,
    F: Future<Output = Result<Attempt<T>, X>>,
{
    let mut waits = Waits::new(runtime, policy);
    for before in 0.. {
        if let Attempt::Done(done) = attempt(before).await? {
            return Ok(Some(done));
        }
        if !waits.next(0).await {
            break;
        }
    }
    Ok(None)
}
