//! Keeps virtual time, the tasks that wait for it, and the tasks that start or end next.
//!
//! Time does not pass while any task is runnable. It is counted in microseconds.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::lock::lock;

/// The future that a task runs.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
struct State {
    now_us: i64,
    /// The wakers of sleepers, by the time at which a sleeper wakes up and the sleeper's number.
    sleepers: BTreeMap<(i64, u64), Waker>,
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
        lock(&self.0)
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
        let mut state = self.state();
        let Some((&(at_us, _), _)) = state.sleepers.first_key_value() else {
            return false;
        };
        let now_us = state.now_us.max(at_us);
        state.now_us = now_us;
        let mut woken = Vec::new();
        while let Some(next) = state.sleepers.first_entry()
            && next.key().0 <= now_us
        {
            woken.push(next.remove());
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
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
            let sleeper = (self.until_us, state.slept);
            state.sleepers.insert(sleeper, context.waker().clone());
        }
        drop(state);
        self.polled = true;
        Poll::Pending
    }
}
