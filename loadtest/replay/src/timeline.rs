//! Keeps virtual time, the tasks that wait for it, and the tasks that start or end next.
//!
//! Time does not pass while any task is runnable. It is counted in microseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The future that a task runs.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Sleeper {
    at_us: i64,
    nth: u64,
    waker: Waker,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.nth == other.nth
    }
}

impl Eq for Sleeper {}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.nth).cmp(&(other.at_us, other.nth))
    }
}

#[derive(Default)]
struct State {
    now_us: i64,
    sleepers: BinaryHeap<Reverse<Sleeper>>,
    slept: u64,
    spawned: Vec<(Option<u64>, Work)>,
    killed: Vec<u64>,
    steps: u64,
}

/// Virtual time from 0 on, its sleepers, and the tasks that start or end next.
#[derive(Default)]
pub struct Timeline(Mutex<State>);

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timeline").finish_non_exhaustive()
    }
}

impl Timeline {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since the beginning.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        self.state().now_us
    }

    /// Waits until `until_us` (microseconds since the beginning). Other tasks run first in any case.
    pub fn sleep_until(self: &Arc<Self>, until_us: i64) -> Sleep {
        Sleep {
            timeline: Arc::clone(self),
            until_us,
            polled: false,
        }
    }

    /// Waits for `us` microseconds. Other tasks run first in any case.
    pub fn sleep(self: &Arc<Self>, us: i64) -> Sleep {
        self.sleep_until(self.now_us().saturating_add(us.max(0)))
    }

    /// Moves time to the next sleeper; false if there is none.
    pub(crate) fn advance(&self) -> bool {
        let mut woken = Vec::new();
        {
            let mut state = self.state();
            let Some(Reverse(first)) = state.sleepers.pop() else {
                return false;
            };
            state.now_us = state.now_us.max(first.at_us);
            woken.push(first.waker);
            while state
                .sleepers
                .peek()
                .is_some_and(|Reverse(next)| next.at_us <= state.now_us)
            {
                woken.extend(state.sleepers.pop().map(|Reverse(next)| next.waker));
            }
        }
        woken.iter().for_each(Waker::wake_by_ref);
        true
    }

    /// Moves time by `us` microseconds. Sleepers whose time has passed wake up afterwards.
    pub(crate) fn leap(&self, us: i64) {
        self.state().now_us += us;
    }

    /// Starts a task. With `process`, the task ends when that process is killed.
    pub fn spawn(&self, process: Option<u64>, work: impl Future<Output = ()> + Send + 'static) {
        self.state().spawned.push((process, Box::pin(work)));
    }

    pub(crate) fn take_spawned(&self, into: &mut Vec<(Option<u64>, Work)>) {
        into.append(&mut self.state().spawned);
    }

    /// Ends a process: none of its tasks makes another step.
    pub fn kill(&self, process: u64) {
        self.state().killed.push(process);
    }

    pub(crate) fn take_killed(&self, into: &mut Vec<u64>) {
        into.append(&mut self.state().killed);
    }

    pub(crate) fn count_steps(&self, steps: u64) {
        self.state().steps += steps;
    }

    /// The number of steps of all tasks, after the executor has ended.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps
    }
}

/// Waits in virtual time.
pub struct Sleep {
    timeline: Arc<Timeline>,
    until_us: i64,
    polled: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.timeline.state();
        if self.polled && state.now_us >= self.until_us {
            return Poll::Ready(());
        }
        if state.now_us >= self.until_us {
            context.waker().wake_by_ref();
        } else {
            state.slept += 1;
            let sleeper = Sleeper {
                at_us: self.until_us,
                nth: state.slept,
                waker: context.waker().clone(),
            };
            state.sleepers.push(Reverse(sleeper));
        }
        drop(state);
        self.polled = true;
        Poll::Pending
    }
}
