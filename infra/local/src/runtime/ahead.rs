//! Processes that are there before requests: provisioned concurrency.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio::sync::oneshot;

use super::pool::{Idle, Pool, State, Work};
use super::process::Process;

/// How far a function's processes ahead of requests have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Allocation {
    /// Units asked for.
    pub requested: usize,
    /// Units that are there; as many as asked for if all are that this machine starts.
    pub allocated: usize,
    /// One ended before it asked for work: none is started until asked again.
    pub failed: bool,
}

/// What is held ahead.
pub(super) struct Ahead {
    /// Units asked for.
    units: usize,
    /// One of them did not start.
    pub(super) failed: bool,
    idle: Idle,
}

impl Ahead {
    pub(super) const fn new() -> Self {
        Self {
            units: 0,
            failed: false,
            idle: Idle::new(),
        }
    }
}

impl State {
    fn held(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.processes.iter().filter(|p| p.is_ahead() && !p.is_leaving())
    }

    /// Those that are there.
    pub(super) fn ahead_ready(&self) -> usize {
        self.held().filter(|p| !p.is_starting()).count()
    }

    /// An idle process for a request: one held ahead if there is one, else one started on demand. As on Lambda, one that has
    /// served its requests of this second is passed over, unless there can be no further one.
    pub(super) fn take_idle(&mut self, limited: bool) -> Option<(Arc<Process>, oneshot::Sender<Work>)> {
        let now = Instant::now();
        [&mut self.ahead.idle, &mut self.idle]
            .into_iter()
            .find_map(|idle| {
                let at = idle
                    .iter()
                    .rposition(|(process, _)| !limited || process.may_serve(now));
                at.map(|at| idle.remove(at))
            })
    }

    /// The list of idle processes this one belongs to.
    pub(super) fn idle_like(&mut self, process: &Process) -> &mut Idle {
        if process.is_ahead() {
            &mut self.ahead.idle
        } else {
            &mut self.idle
        }
    }

    /// A process took a request: whether that was spill-over.
    pub(super) fn book_spill_over(&mut self, process: &Process) {
        if self.ahead.units > 0 && !process.is_ahead() {
            self.figures.spill_over += 1;
        }
    }

    /// Lets a process go that asks for work and is one more than are held.
    pub(super) fn lets_go(&self, process: &Process) -> bool {
        let too_many = process.is_ahead() && self.held().count() > self.ahead.units;
        if too_many {
            process.kill();
        }
        too_many
    }
}

impl Pool {
    /// Holds as many as `units`.
    pub(super) fn hold(self: &Arc<Self>, units: usize) {
        {
            let mut state = self.state();
            state.ahead.units = units;
            state.ahead.failed = false;
            // Those at work are let go when they ask for more.
            let mut surplus = state.held().count().saturating_sub(units);
            while surplus > 0
                && let Some((process, _)) = state.ahead.idle.pop()
            {
                process.kill();
                surplus -= 1;
            }
        }
        self.fill();
    }

    /// Starts what is missing.
    pub(super) fn fill(self: &Arc<Self>) {
        let mut started = Vec::new();
        {
            let mut state = self.state();
            let wanted = state.ahead.units.min(self.most(&state));
            let missing = wanted.saturating_sub(state.held().count());
            if !state.stopping && !state.ahead.failed {
                started.extend((0..missing).map(|_| Arc::new(Process::ahead())));
                state.processes.extend(started.iter().cloned());
            }
        }
        for process in started {
            self.launch(process);
        }
    }

    /// How far they have come.
    pub(super) fn allocation(&self) -> Allocation {
        let state = self.state();
        let requested = state.ahead.units;
        let ready = state.ahead_ready();
        Allocation {
            requested,
            allocated: if ready >= requested.min(self.most(&state)) {
                requested
            } else {
                ready
            },
            failed: state.ahead.failed,
        }
    }
}
