//! The processes of one function, and who waits for one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{Notify, oneshot};

use super::process::{self, Process};
use super::{INIT_LIMIT, MAX_ANSWER_BYTES, PATIENCE, QUEUE_LENGTH, QUEUE_LIMIT, Settings, Waiting};
use crate::child::Spawner;
use crate::template::Function;

/// What identifies an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Counted from the start of the stack.
    pub number: u64,
    /// The request id the function sees.
    pub request_id: String,
    /// The trace header it sees.
    pub trace: String,
}

/// Why an invocation gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no such function.
    #[error("no such function")]
    Unknown,
    /// No process became free in time.
    #[error("over the concurrency limit")]
    Throttled,
    /// The function reported an error; its JSON.
    #[error("the function failed: {}", String::from_utf8_lossy(.0))]
    Reported(Bytes),
    /// It took longer than its timeout and was killed.
    #[error("the function timed out")]
    TimedOut,
    /// Its process ended before it answered, or could not be started.
    #[error("the function's process ended")]
    Crashed,
}

/// The figures of one function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Processes that run now.
    pub processes: usize,
    /// Processes started while a request waited; all of them are.
    pub cold_starts: u64,
    /// Invocations that have ended or were refused.
    pub invocations: u64,
    /// Invocations that failed, the refused ones apart.
    pub errors: u64,
    /// Invocations refused for want of a process.
    pub throttles: u64,
    /// Invocations that had to wait for a process to start.
    pub waited_for_cold_start: u64,
    /// Invocations that run or wait now.
    pub running: usize,
}

/// One invocation on its way to a process.
pub(super) struct Work {
    pub(super) invocation: Invocation,
    pub(super) event: Bytes,
    pub(super) taken: Option<oneshot::Sender<Taken>>,
    pub(super) reply: oneshot::Sender<Result<Bytes, Failure>>,
}

/// Tells a waiting invocation which process took it.
pub(super) struct Taken {
    process: Arc<Process>,
    fresh: bool,
    at: Instant,
}

#[derive(Default)]
struct State {
    /// The process that became idle last is used first.
    idle: Vec<(Arc<Process>, oneshot::Sender<Work>)>,
    waiting: VecDeque<Work>,
    processes: Vec<Arc<Process>>,
    figures: Figures,
    stopping: bool,
}

/// The processes of one function.
pub(super) struct Pool {
    pub(super) function: Function,
    pub(super) settings: Arc<Settings>,
    spawner: Spawner,
    state: Mutex<State>,
    changed: Notify,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("function", &self.function.name)
            .finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(function: Function, settings: Arc<Settings>, spawner: Spawner) -> Arc<Self> {
        Arc::new(Self {
            function,
            settings,
            spawner,
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn figures(&self) -> Figures {
        let state = self.state();
        Figures {
            processes: state.processes.len(),
            ..state.figures
        }
    }

    pub(super) fn throttled(&self) -> Failure {
        let mut state = self.state();
        state.figures.invocations += 1;
        state.figures.throttles += 1;
        Failure::Throttled
    }

    /// One invocation, with the time it ran.
    pub(super) async fn invoke(
        self: &Arc<Self>,
        invocation: Invocation,
        event: Bytes,
        waiting: Waiting,
    ) -> (Result<Bytes, Failure>, Duration) {
        self.state().figures.running += 1;
        let mut began = Instant::now();
        let result = self.run(invocation, event, waiting, &mut began).await;
        let mut state = self.state();
        state.figures.running -= 1;
        state.figures.invocations += 1;
        match &result {
            Ok(_) => {}
            Err(Failure::Throttled) => state.figures.throttles += 1,
            Err(_) => state.figures.errors += 1,
        }
        drop(state);
        (result, began.elapsed())
    }

    async fn run(
        self: &Arc<Self>,
        invocation: Invocation,
        event: Bytes,
        waiting: Waiting,
        began: &mut Instant,
    ) -> Result<Bytes, Failure> {
        let (reply, answer) = oneshot::channel();
        let work = Work {
            invocation,
            event,
            taken: None,
            reply,
        };
        let process = match self.place(work)? {
            Placed::With(process) => process,
            Placed::Queued(when_taken) => self.wait(when_taken, waiting, began).await?,
        };
        match tokio::time::timeout(self.function.timeout, answer).await {
            Ok(Ok(Ok(answer))) if answer.len() > MAX_ANSWER_BYTES => Err(Failure::Reported(
                Bytes::from_static(br#"{"errorType":"Function.ResponseSizeTooLarge"}"#),
            )),
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::Crashed),
            Err(_) => {
                process.kill();
                Err(Failure::TimedOut)
            }
        }
    }

    /// Gives the work to an idle process, else puts it into the queue.
    fn place(&self, mut work: Work) -> Result<Placed, Failure> {
        let mut state = self.state();
        while let Some((process, idle)) = state.idle.pop() {
            match idle.send(work) {
                Ok(()) => return Ok(Placed::With(process)),
                // That process ended while it was idle.
                Err(returned) => work = returned,
            }
        }
        if state.stopping || state.waiting.len() >= QUEUE_LENGTH {
            return Err(Failure::Throttled);
        }
        let (taken, when_taken) = oneshot::channel();
        work.taken = Some(taken);
        state.waiting.push_back(work);
        Ok(Placed::Queued(when_taken))
    }

    /// Waits for a process, starting one when patience is at its end.
    async fn wait(
        self: &Arc<Self>,
        mut when_taken: oneshot::Receiver<Taken>,
        waiting: Waiting,
        began: &mut Instant,
    ) -> Result<Arc<Process>, Failure> {
        let asked = Instant::now();
        let patience = if self.state().processes.is_empty() {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let mut started = false;
        let taken = match tokio::time::timeout(patience, &mut when_taken).await {
            Ok(taken) => taken,
            Err(_) => {
                started = self.grow();
                match waiting {
                    Waiting::Patiently => when_taken.await,
                    Waiting::Briefly => {
                        // A cold start is part of the invocation; only a full house makes one give up.
                        let limit = if started {
                            INIT_LIMIT + QUEUE_LIMIT
                        } else {
                            QUEUE_LIMIT
                        };
                        let left = limit.saturating_sub(asked.elapsed());
                        match tokio::time::timeout(left, when_taken).await {
                            Ok(taken) => taken,
                            Err(_) => return Err(Failure::Throttled),
                        }
                    }
                }
            }
        };
        let taken = taken.map_err(|_| Failure::Crashed)?;
        *began = taken.at;
        if started || taken.fresh {
            self.state().figures.waited_for_cold_start += 1;
        }
        Ok(taken.process)
    }

    /// Starts another process unless there are as many as there may be, or enough already start.
    fn grow(self: &Arc<Self>) -> bool {
        let process = {
            let mut state = self.state();
            let starting = state.processes.iter().filter(|p| p.is_starting()).count();
            let most = self.function.reserved.unwrap_or(usize::MAX);
            let full = state.processes.len() >= self.settings.concurrency.min(most);
            if state.stopping || full || starting >= state.waiting.len() {
                return false;
            }
            let process = Arc::new(Process::default());
            state.processes.push(Arc::clone(&process));
            state.figures.cold_starts += 1;
            process
        };
        let pool = Arc::clone(self);
        let spawner = self.spawner.clone();
        tokio::spawn(async move {
            let initialised = process::run(&pool, &spawner, &process).await;
            pool.ended(&process, initialised);
        });
        true
    }

    /// A process asks for work: what waits longest, else a place among the idle.
    pub(super) fn next(&self, process: &Arc<Process>) -> Next {
        let mut state = self.state();
        while let Some(mut work) = state.waiting.pop_front() {
            let taken = Taken {
                process: Arc::clone(process),
                fresh: process.is_fresh(),
                at: Instant::now(),
            };
            // Whoever gave up waiting has dropped the other end.
            if work.taken.take().is_some_and(|t| t.send(taken).is_ok()) {
                return Next::Work(work);
            }
        }
        let (idle, work) = oneshot::channel();
        state.idle.push((Arc::clone(process), idle));
        Next::Idle(work)
    }

    fn ended(self: &Arc<Self>, process: &Arc<Process>, initialised: bool) {
        let more = {
            let mut state = self.state();
            state.processes.retain(|p| !Arc::ptr_eq(p, process));
            state.idle.retain(|(p, _)| !Arc::ptr_eq(p, process));
            if !initialised && state.processes.is_empty() {
                // It will not start for anyone else either; their replies are dropped with them.
                state.waiting.clear();
            }
            !state.waiting.is_empty()
        };
        self.changed.notify_waiters();
        if more {
            self.grow();
        }
    }

    /// Kills the process that runs an invocation; false if none does.
    pub(super) fn kill(&self, invocation: u64) -> bool {
        let state = self.state();
        let process = state.processes.iter().find(|process| process.runs(invocation));
        if let Some(process) = process {
            process.kill();
        }
        process.is_some()
    }

    pub(super) async fn stop(&self) {
        loop {
            let changed = self.changed.notified();
            let processes = {
                let mut state = self.state();
                state.stopping = true;
                state.waiting.clear();
                state.processes.clone()
            };
            if processes.is_empty() {
                return;
            }
            for process in processes {
                process.kill();
            }
            changed.await;
        }
    }
}

/// Where work went.
enum Placed {
    With(Arc<Process>),
    Queued(oneshot::Receiver<Taken>),
}

/// What a process that asks for work gets.
pub(super) enum Next {
    Work(Work),
    Idle(oneshot::Receiver<Work>),
}
