//! Repeats of a call, limited in number and time, with jitter, by the caller's clock.
//!
//! Every repeat in a function uses this module. [`retry`] repeats one call, [`retry_each`] a call about many
//! items, some of which may succeed and others not, and [`look_again`] a read, a decision and a conditional
//! write.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use domain::limits::API_TIMEOUT_SECONDS;
use domain::time::Timestamp;

use crate::Conditional;
use crate::edge::Edge;

/// The limits of the repeats of a call.
///
/// The wait before the first repeat is `first_ms` to twice that, at random. Each further wait is up to twice
/// as long, until `longest_ms` to twice that.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    retries: usize,
    first_ms: u64,
    longest_ms: u64,
    until: Timestamp,
}

impl Policy {
    /// At most `retries` repeats after the first try, with waits from `first_ms` to `longest_ms` milliseconds before jitter.
    #[must_use]
    pub const fn new(retries: usize, first_ms: u64, longest_ms: u64) -> Self {
        Self {
            retries,
            first_ms,
            longest_ms,
            until: Timestamp::from_millis(i64::MAX),
        }
    }

    /// At most `retries` repeats after the first try, without waits: for conflicts of writers, one of which
    /// always succeeds.
    #[must_use]
    pub const fn at_once(retries: usize) -> Self {
        Self::new(retries, 0, 0)
    }

    /// The same policy, but no repeat begins after `moment`, and no wait is begun that would end after it. The first try
    /// is made in any case.
    #[must_use]
    pub const fn until(self, moment: Timestamp) -> Self {
        Self {
            until: moment,
            ..self
        }
    }

    /// The budget: the longest sum of all waits, in milliseconds, jitter included.
    #[must_use]
    pub const fn budget_ms(&self) -> u64 {
        2 * self.longest_ms * self.retries as u64
    }
}

/// Within an API request: at most about half a second of waiting, far below the function's time-out.
pub const IN_REQUEST: Policy = Policy::new(4, 15, 120);

/// In a worker that has time: at most some seconds.
pub const IN_WORKER: Policy = Policy::new(6, 25, 800);

/// Sending messages that a queue did not accept.
pub const SENDING: Policy = Policy::new(4, 50, 400);

const _: () = assert!(
    IN_REQUEST.budget_ms() <= API_TIMEOUT_SECONDS as u64 * 1000 / 10,
    "a request's repeats must leave it time for its calls"
);

/// An error that may be temporary.
pub trait Transient {
    /// Whether a repeat of the same call may succeed and is harmless.
    fn is_transient(&self) -> bool;

    /// The wait that the service requested, in milliseconds.
    fn wait_at_least_ms(&self) -> u64 {
        0
    }
}

/// The waits between the tries of one call.
struct Waits<'a, E> {
    edge: &'a E,
    until: Timestamp,
    waits: ExponentialBackoff,
}

impl<'a, E: Edge> Waits<'a, E> {
    fn new(edge: &'a E, policy: Policy) -> Self {
        Self {
            edge,
            until: policy.until,
            waits: ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(policy.first_ms))
                .with_max_delay(Duration::from_millis(policy.longest_ms))
                .with_max_times(policy.retries)
                .with_jitter()
                .with_jitter_seed(edge.random())
                .build(),
        }
    }

    /// Waits before another try, at least `at_least_ms`, with jitter. Returns false, without a wait, when no
    /// further try is allowed.
    async fn next(&mut self, at_least_ms: u64) -> bool {
        let Some(wait) = self.waits.next() else {
            return false;
        };
        let ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let ms = ms.saturating_add(i64::try_from(at_least_ms).unwrap_or(i64::MAX));
        if self.edge.now().plus_millis(ms) > self.until {
            return false;
        }
        if ms > 0 {
            self.edge.sleep(ms.unsigned_abs()).await;
        }
        true
    }
}

/// Calls `operation` until it succeeds, fails permanently, or `policy` is used up. A repeat of the operation
/// must be harmless: a read, or a conditional write.
///
/// # Errors
///
/// The last error.
pub async fn retry<E, T, X, F>(edge: &E, policy: Policy, operation: impl FnMut() -> F) -> Result<T, X>
where
    E: Edge,
    X: Transient,
    F: Future<Output = Result<T, X>>,
{
    retry_if(edge, policy, X::is_transient, operation).await
}

/// Like [`retry`], for an operation whose repeat is harmless only after the transient errors that `again`
/// selects.
///
/// # Errors
///
/// The last error.
pub async fn retry_if<E, T, X, F>(
    edge: &E,
    policy: Policy,
    again: impl Fn(&X) -> bool,
    mut operation: impl FnMut() -> F,
) -> Result<T, X>
where
    E: Edge,
    X: Transient,
    F: Future<Output = Result<T, X>>,
{
    let mut waits = Waits::new(edge, policy);
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

/// Calls `operation` with all `items`, and again with those that got no answer or a temporary error, until
/// none is left or `policy` is used up. `operation` answers in the order of its input.
///
/// Returns the last answer for each item, in the order of `items`; `None` for an item without an answer.
pub async fn retry_each<E, I, T, X, F>(
    edge: &E,
    policy: Policy,
    items: &[I],
    mut operation: impl FnMut(Vec<I>) -> F,
) -> Vec<Option<Result<T, X>>>
where
    E: Edge,
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
    let mut waits = Waits::new(edge, policy);
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

/// The result of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look<T> {
    /// The final result: nothing was to be written, or it was written.
    Done(T),
    /// The data changed between the read and the write, or an answer was lost. Read it and decide again.
    Again,
}

impl<T> Look<T> {
    /// Done with `done` if the conditional write was done, otherwise another read.
    pub fn of<R>(written: Conditional<R>, done: T) -> Self {
        match written {
            Conditional::Done => Self::Done(done),
            Conditional::Refused(_) => Self::Again,
        }
    }
}

/// Reads, decides, and writes on condition that the data is unchanged. `look` does this once, and is called
/// again while it returns [`Look::Again`], until `policy` is used up. Its argument is the number of earlier
/// calls. `None` when the data changed each time.
///
/// If the answer to a write is lost, the next read shows its effect, so `look` must recognise its own write.
///
/// # Errors
///
/// Those of `look`, at once, since it repeats its own reads and writes.
pub async fn look_again<E, T, X, F>(
    edge: &E,
    policy: Policy,
    mut look: impl FnMut(usize) -> F,
) -> Result<Option<T>, X>
where
    E: Edge,
    F: Future<Output = Result<Look<T>, X>>,
{
    let mut waits = Waits::new(edge, policy);
    for before in 0.. {
        if let Look::Done(done) = look(before).await? {
            return Ok(Some(done));
        }
        if !waits.next(0).await {
            break;
        }
    }
    Ok(None)
}
