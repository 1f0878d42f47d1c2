//! Manages provisioned concurrency: processes that are started before requests need them.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio::sync::oneshot;

use super::pool::{Idle, Pool, State, Work};
use super::process::Process;

/// The requested and the allocated units of a function's provisioned concurrency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Allocation {
    /// Requested units.
    pub requested: usize,
    /// Allocated units. Equal to the requested units when all processes run that this machine starts.
    pub allocated: usize,
    /// Whether a process ended before it asked for work. Then no further process is started until units are set again.
    pub failed: bool,
}

/// The requested number and the idle processes of a function's provisioned concurrency.
pub(super) struct Provisioned {
    /// Requested units.
    units: usize,
    /// Whether one of the processes ended before it asked for work.
    pub(super) failed: bool,
    idle: Idle,
}

impl Provisioned {
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
        self.processes
            .iter()
            .filter(|p| p.is_provisioned() && !p.is_leaving())
    }

    /// The number of provisioned processes that have started.
    pub(super) fn provisioned_ready(&self) -> usize {
        self.held().filter(|p| !p.is_starting()).count()
    }

    /// An idle process for a request: a provisioned process if one is idle, else a process that was started on demand.
    /// If `limited`, a process that has reached its request rate is skipped, as on Lambda.
    pub(super) fn take_idle(&mut self, limited: bool) -> Option<(Arc<Process>, oneshot::Sender<Work>)> {
        let now = Instant::now();
        [&mut self.provisioned.idle, &mut self.idle]
            .into_iter()
            .find_map(|idle| {
                let at = idle
                    .iter()
                    .rposition(|(process, _)| !limited || process.may_serve(now));
                at.map(|at| idle.remove(at))
            })
    }

    /// The list of idle processes that this process belongs to.
    pub(super) fn idle_like(&mut self, process: &Process) -> &mut Idle {
        if process.is_provisioned() {
            &mut self.provisioned.idle
        } else {
            &mut self.idle
        }
    }

    /// Counts spill-over when a process that was started on demand takes a request of a function with provisioned
    /// units.
    pub(super) fn book_spill_over(&mut self, process: &Process) {
        if self.provisioned.units > 0 && !process.is_provisioned() {
            self.figures.spill_over += 1;
        }
    }

    /// Ends a provisioned process that asks for work, if there are more such processes than requested units. Returns
    /// whether the process is ended.
    pub(super) fn lets_go(&self, process: &Process) -> bool {
        let too_many = process.is_provisioned() && self.held().count() > self.provisioned.units;
        if too_many {
            process.kill();
        }
        too_many
    }
}

impl Pool {
    /// Sets the provisioned units, ends idle processes beyond them, and starts the missing processes.
    pub(super) fn set_provisioned(self: &Arc<Self>, units: usize) {
        {
            let mut state = self.state();
            state.provisioned.units = units;
            state.provisioned.failed = false;
            // A busy process beyond the units is ended when it asks for more work, so that its invocation does not
            // fail.
            let mut surplus = state.held().count().saturating_sub(units);
            while surplus > 0
                && let Some((process, _)) = state.provisioned.idle.pop()
            {
                process.kill();
                surplus -= 1;
            }
        }
        self.fill();
    }

    /// Starts the missing provisioned processes, unless a process has failed to start.
    pub(super) fn fill(self: &Arc<Self>) {
        let mut started = Vec::new();
        {
            let mut state = self.state();
            let wanted = state.provisioned.units.min(self.most(&state));
            let missing = wanted.saturating_sub(state.held().count());
            if !state.stopping && !state.provisioned.failed {
                started.extend((0..missing).map(|_| Arc::new(Process::provisioned())));
                state.processes.extend(started.iter().cloned());
            }
        }
        for process in started {
            self.launch(process);
        }
    }

    pub(super) fn allocation(&self) -> Allocation {
        let state = self.state();
        let requested = state.provisioned.units;
        let ready = state.provisioned_ready();
        Allocation {
            requested,
            allocated: if ready >= requested.min(self.most(&state)) {
                requested
            } else {
                ready
            },
            failed: state.provisioned.failed,
        }
    }
}
