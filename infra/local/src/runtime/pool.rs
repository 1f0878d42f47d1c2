//! Manages the processes of one function, and the invocations that wait for a process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stack_api::Processes;
use tokio::sync::{Notify, oneshot};

use super::process::{self, Process};
use super::provisioned::Provisioned;
use super::scaling::{Bucket, Places};
use super::{
    BUSY_CONCURRENCY, INIT_LIMIT, MAX_ANSWER_BYTES, PATIENCE, QUEUE_LENGTH, QUEUE_LIMIT, Settings, Waiting,
};
use crate::child::Spawner;
use crate::template::Function;

/// The number, request id and trace header by which an invocation is identified.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The invocation's number, counted over all functions from the start of the stack.
    pub number: u64,
    /// The request id that the function receives.
    pub request_id: String,
    /// The trace header that the function receives.
    pub trace: String,
}

/// Why an invocation gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("no such function")]
    Unknown,
    /// No process became free in time.
    #[error("over the concurrency limit")]
    Throttled,
    /// The function reported this error, as JSON.
    #[error("the function failed: {}", String::from_utf8_lossy(.0))]
    Reported(Bytes),
    /// The invocation exceeded its time limit and its process was killed.
    #[error("the function timed out")]
    TimedOut,
    /// The process ended before it answered, or could not be started.
    #[error("the function's process ended")]
    Crashed,
}

impl Failure {
    /// The body for Lambda's caller: the function's own JSON, else the reason.
    #[must_use]
    pub fn body(self) -> Bytes {
        match self {
            Self::Reported(error) => error,
            other => serde_json::json!({"errorMessage": other.to_string()})
                .to_string()
                .into(),
        }
    }
}

/// The result of an invocation, with its times for the meter and the response.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) result: Result<Bytes, Failure>,
    /// The time since a process took the invocation. Zero if it was refused: Lambda does not bill a refused invocation.
    pub(super) duration: Duration,
    /// The part of the waiting time that was the platform's modelled share of a start.
    pub(super) modelled: Duration,
}

/// An invocation that waits for a process, with the channels for its process and its reply.
pub(super) struct Work {
    pub(super) invocation: Invocation,
    pub(super) event: Bytes,
    pub(super) taken: Option<oneshot::Sender<Taken>>,
    pub(super) reply: oneshot::Sender<Result<Bytes, Failure>>,
}

/// The message to a waiting invocation: the process that took it, whether that process is fresh, and when it took the
/// invocation.
pub(super) struct Taken {
    process: Arc<Process>,
    fresh: bool,
    at: Instant,
}

/// Processes without work. The process that became idle last is used first.
pub(super) type Idle = Vec<(Arc<Process>, oneshot::Sender<Work>)>;

pub(super) struct State {
    pub(super) idle: Idle,
    pub(super) waiting: VecDeque<Work>,
    pub(super) processes: Vec<Arc<Process>>,
    pub(super) provisioned: Provisioned,
    pub(super) reserved: Option<usize>,
    starts: Bucket,
    pub(super) figures: Processes,
    pub(super) stopping: bool,
}

impl State {
    fn new(reserved: Option<usize>, now: Instant) -> Self {
        Self {
            idle: Idle::new(),
            waiting: VecDeque::new(),
            processes: Vec::new(),
            provisioned: Provisioned::new(),
            reserved,
            starts: Bucket::of_starts(now),
            figures: Processes::default(),
            stopping: false,
        }
    }
}

pub(super) struct Pool {
    pub(super) function: Function,
    pub(super) settings: Arc<Settings>,
    spawner: Spawner,
    pub(super) places: Places,
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
    pub(super) fn new(
        function: Function,
        settings: Arc<Settings>,
        spawner: Spawner,
        places: Places,
    ) -> Arc<Self> {
        let state = State::new(function.reserved, Instant::now());
        Arc::new(Self {
            function,
            settings,
            spawner,
            places,
            state: Mutex::new(state),
            changed: Notify::new(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn figures(&self) -> Processes {
        let state = self.state();
        Processes {
            function: self.function.name.clone(),
            processes: state.processes.len(),
            ahead: state.provisioned_ready(),
            ..state.figures.clone()
        }
    }

    pub(super) async fn invoke(
        self: &Arc<Self>,
        invocation: Invocation,
        event: Bytes,
        waiting: Waiting,
    ) -> Ran {
        self.state().figures.running += 1;
        let mut start = Start {
            at: Instant::now(),
            modelled: Duration::ZERO,
        };
        let result = self.run(invocation, event, waiting, &mut start).await;
        let mut state = self.state();
        state.figures.running -= 1;
        state.figures.invocations += 1;
        let mut duration = start.at.elapsed();
        match &result {
            Ok(_) => {}
            Err(Failure::Throttled) => {
                state.figures.throttles += 1;
                duration = Duration::ZERO;
            }
            Err(_) => state.figures.errors += 1,
        }
        drop(state);
        Ran {
            result,
            duration,
            modelled: start.modelled,
        }
    }

    async fn run(
        self: &Arc<Self>,
        invocation: Invocation,
        event: Bytes,
        waiting: Waiting,
        start: &mut Start,
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
            Placed::Queued(when_taken) => self.wait(when_taken, waiting, start).await?,
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

    /// Passes the work to an idle process, else queues it.
    fn place(&self, mut work: Work) -> Result<Placed, Failure> {
        let mut state = self.state();
        let limited = self.limits_each(&state);
        while let Some((process, idle)) = state.take_idle(limited) {
            match idle.send(work) {
                Ok(()) => {
                    state.book_spill_over(&process);
                    return Ok(Placed::With(process));
                }
                // The process has ended while it was idle, so the next idle process is tried.
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

    /// Waits until a process takes the work. If no busy process becomes free in time, starts another process.
    async fn wait(
        self: &Arc<Self>,
        mut when_taken: oneshot::Receiver<Taken>,
        waiting: Waiting,
        start: &mut Start,
    ) -> Result<Arc<Process>, Failure> {
        let asked = Instant::now();
        let share = self.settings.on_demand.platform_share();
        let patience = if self.settings.on_demand.is_as_lambda() || self.state().processes.is_empty() {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let mut grown = Grown::Enough;
        let taken = match tokio::time::timeout(patience, &mut when_taken).await {
            Ok(taken) => taken,
            Err(_) => {
                grown = self.grow();
                if grown == Grown::Refused {
                    return Err(Failure::Throttled);
                }
                match waiting {
                    Waiting::Patiently => when_taken.await,
                    Waiting::Briefly => {
                        // A request for which a process was started may wait for the whole start. Any other request is
                        // refused after `QUEUE_LIMIT`.
                        let limit = match grown {
                            Grown::Started => INIT_LIMIT + QUEUE_LIMIT,
                            _ => QUEUE_LIMIT,
                        };
                        let left = (limit + share).saturating_sub(asked.elapsed());
                        match tokio::time::timeout(left, when_taken).await {
                            Ok(taken) => taken,
                            Err(_) => return Err(Failure::Throttled),
                        }
                    }
                }
            }
        };
        let taken = taken.map_err(|_| Failure::Crashed)?;
        start.at = taken.at;
        if grown != Grown::Full {
            // Without the platform's share, the process would have been available earlier by this time.
            start.modelled = share.min(taken.at.saturating_duration_since(asked));
        }
        let mut state = self.state();
        if grown == Grown::Started || taken.fresh {
            state.figures.waited_for_cold_start += 1;
        }
        state.book_spill_over(&taken.process);
        drop(state);
        Ok(taken.process)
    }

    /// Whether a process that has reached its request rate is skipped. It is not skipped when no further process may
    /// start.
    fn limits_each(&self, state: &State) -> bool {
        self.settings.on_demand.is_as_lambda() && state.processes.len() < self.most(state)
    }

    /// The largest number of processes: the stack's limit or the reserved concurrency, whichever is smaller.
    pub(super) fn most(&self, state: &State) -> usize {
        self.settings
            .concurrency
            .min(state.reserved.unwrap_or(usize::MAX))
    }

    /// Starts another process on demand, unless a limit is reached, enough processes are starting, or too many would
    /// compete for the cores.
    fn grow(self: &Arc<Self>) -> Grown {
        let process = {
            let mut state = self.state();
            let starting = state.processes.iter().filter(|p| p.is_starting()).count();
            if state.stopping || state.processes.len() >= self.most(&state) {
                return Grown::Full;
            }
            if starting >= state.waiting.len() {
                return Grown::Enough;
            }
            let place = self.places.take();
            let now = Instant::now();
            if self.settings.on_demand.is_as_lambda() {
                if place.is_none() || !state.starts.take(now) {
                    return Grown::Refused;
                }
            } else if state.processes.len() >= BUSY_CONCURRENCY
                && (place.is_none() || !self.places.take_idle_cores(now))
            {
                return Grown::Full;
            }
            let process = Arc::new(Process::on_demand(place));
            state.processes.push(Arc::clone(&process));
            state.figures.cold_starts += 1;
            process
        };
        self.launch(process);
        Grown::Started
    }

    /// Starts a task that runs a process of the list until the process ends.
    pub(super) fn launch(self: &Arc<Self>, process: Arc<Process>) {
        let pool = Arc::clone(self);
        let spawner = self.spawner.clone();
        tokio::spawn(async move {
            let initialised = process::run(&pool, &spawner, &process).await;
            pool.ended(&process, initialised);
        });
    }

    /// Answers a process that asks for work: it gets the oldest waiting invocation, else becomes idle.
    pub(super) fn next(&self, process: &Arc<Process>) -> Next {
        let mut state = self.state();
        if state.lets_go(process) {
            return Next::Never;
        }
        let rests =
            self.limits_each(&state) && !state.waiting.is_empty() && !process.may_serve(Instant::now());
        while !rests && let Some(mut work) = state.waiting.pop_front() {
            let taken = Taken {
                process: Arc::clone(process),
                fresh: process.is_fresh(),
                at: Instant::now(),
            };
            // An invocation that no longer waits has dropped the receiver, so its work is skipped.
            if work.taken.take().is_some_and(|t| t.send(taken).is_ok()) {
                return Next::Work(work);
            }
        }
        let (idle, work) = oneshot::channel();
        state.idle_like(process).push((Arc::clone(process), idle));
        Next::Idle(work)
    }

    fn ended(self: &Arc<Self>, process: &Arc<Process>, initialised: bool) {
        let more = {
            let mut state = self.state();
            state.processes.retain(|p| !Arc::ptr_eq(p, process));
            state.idle_like(process).retain(|(p, _)| !Arc::ptr_eq(p, process));
            if process.is_provisioned() && !initialised && !process.is_leaving() {
                state.provisioned.failed = true;
            }
            if !initialised && state.processes.is_empty() {
                // A process would not start for the waiting requests either. Clearing the queue drops their reply
                // channels, so that they fail immediately instead of after their time limit.
                state.waiting.clear();
            }
            !state.waiting.is_empty()
        };
        self.changed.notify_waiters();
        if more {
            self.grow();
        }
        self.fill();
    }

    /// Kills the process that runs an invocation. Returns false if no process runs it.
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

/// The time at which an invocation began to run, and the modelled part of its wait.
struct Start {
    at: Instant,
    modelled: Duration,
}

/// Whether another process was started on demand, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grown {
    Started,
    /// As many processes are starting as requests wait.
    Enough,
    /// The process limit is reached, or the processes compete for the cores.
    Full,
    /// Lambda's limit for the start rate or the account's concurrency is reached.
    Refused,
}

/// The process that took an invocation, or the channel that will report it.
enum Placed {
    With(Arc<Process>),
    Queued(oneshot::Receiver<Taken>),
}

/// The answer to a process that asks for work.
pub(super) enum Next {
    Work(Work),
    Idle(oneshot::Receiver<Work>),
    /// No work, since the process is about to be ended.
    Never,
}
