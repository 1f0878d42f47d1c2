//! Makes a run, which is one invocation with many rounds. In each round, every drop that is on gets a step.

use std::collections::BTreeMap;
use std::convert::Infallible;

use domain::ids::DropId;
use domain::limits::CONDUCTOR_PERIOD_MS;
use domain::time::Timestamp;
use futures_util::{StreamExt as _, stream};
use ports::invocation::{Handle, Invocation};
use ports::runtime::{Metrics, Runtime};
use serde::de::IgnoredAny;
use startup::spans::of_drop;
use tracing::Instrument as _;

use crate::bounds::{CALENDAR_MS, DROPS_AT_ONCE, LINGER_MS, MARGIN_MS, PROGRESS_MS, SHORTEST_PAUSE_MS};
use crate::calendar::Calendar;
use crate::lease;
use crate::progress::Progress;
use crate::step::{Drops, Memory, Orders, Ports, Statuses, StepOutcome, Stock};

/// Makes the runs of a process, which share the ports, the calendar and the settings.
pub struct Conductor<D, S, O, T, R> {
    reach: Ports<D, S, O, T, R>,
    calendar: Calendar,
    settings: Settings,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The deployment stage, for the metrics.
    pub stage: String,
    /// How long a run without a drop waits for a drop, in milliseconds; at most [`LINGER_MS`].
    pub linger_ms: i64,
}

/// The settings of tests and tools: no stage, and the longest wait for a drop.
impl Default for Settings {
    fn default() -> Self {
        Self {
            stage: String::new(),
            linger_ms: LINGER_MS,
        }
    }
}

impl Settings {
    /// The settings of a stage whose runs wait `seconds` for a drop.
    ///
    /// # Errors
    /// When the text is not a number of seconds, or the number exceeds [`LINGER_MS`].
    pub fn new(stage: String, seconds: &str) -> Result<Self, String> {
        let linger_ms = seconds
            .parse::<i64>()
            .ok()
            .map(|seconds| seconds.saturating_mul(1_000));
        let allowed = linger_ms.filter(|ms| (0..=LINGER_MS).contains(ms));
        let linger_ms = allowed.ok_or(format!("a number from 0 to {}", LINGER_MS / 1_000))?;
        Ok(Self { stage, linger_ms })
    }
}

/// A run in progress, with the drops that are on and what the run remembers of each.
pub struct Run<'a, D, S, O, T, R> {
    conductor: &'a Conductor<D, S, O, T, R>,
    holder: String,
    on: BTreeMap<DropId, Memory>,
    looked_at: Option<Timestamp>,
    progress: Progress,
}

impl<D: Drops, S: Stock, O: Orders, T: Statuses, R: Runtime> Conductor<D, S, O, T, R> {
    /// A conductor that uses these ports and has read no drop yet.
    pub fn new(drops: D, stock: S, orders: O, statuses: T, runtime: R, settings: Settings) -> Self {
        Self {
            reach: Ports {
                drops,
                stock,
                orders,
                statuses,
                runtime,
            },
            calendar: Calendar::default(),
            settings,
        }
    }

    /// Begins a run as `holder`, which must be unique among runs.
    pub fn begin(&self, holder: impl Into<String>) -> Run<'_, D, S, O, T, R> {
        Run {
            conductor: self,
            holder: holder.into(),
            on: BTreeMap::new(),
            looked_at: None,
            progress: Progress::default(),
        }
    }

    /// Conducts round by round until shortly before `deadline`, or until there has been no drop for
    /// [`Settings::linger_ms`]. `tell` receives the progress at intervals. Returns the total progress.
    pub async fn run(
        &self,
        holder: impl Into<String>,
        deadline: Timestamp,
        mut tell: impl FnMut(&Progress, Timestamp),
    ) -> Progress {
        let runtime = &self.reach.runtime;
        let began = runtime.now();
        let mut run = self.begin(holder);
        let mut all = Progress::default();
        let mut told = began;
        loop {
            let round = runtime.now();
            if round.plus_millis(MARGIN_MS) >= deadline {
                break;
            }
            run.look().await;
            if run.on.is_empty() && round.millis_since(began) >= self.settings.linger_ms {
                break;
            }
            run.round().await;
            let now = runtime.now();
            if now.millis_since(told) >= PROGRESS_MS {
                let stretch = run.take_progress();
                tell(&stretch, now);
                all.add(&stretch);
                told = now;
            }
            let pause = (CONDUCTOR_PERIOD_MS - now.millis_since(round)).max(SHORTEST_PAUSE_MS);
            runtime.sleep(u64::try_from(pause).unwrap_or_default()).await;
        }
        run.release().await;
        let stretch = run.take_progress();
        tell(&stretch, runtime.now());
        all.add(&stretch);
        all
    }
}

impl<D: Drops, S: Stock, O: Orders, T: Statuses, R: Runtime + Metrics> Handle for Conductor<D, S, O, T, R> {
    type Event = IgnoredAny;
    type Answer = Progress;
    type Error = Infallible;

    async fn handle(&self, _: IgnoredAny, invocation: &Invocation) -> Result<Progress, Infallible> {
        let runtime = &self.reach.runtime;
        // CloudWatch bills a metric for each hour in which it is written, so a run without a drop writes none.
        let tell = |progress: &Progress, now| {
            if *progress != Progress::default() {
                runtime.put_metrics(progress.metrics(&self.settings.stage, now));
            }
        };
        let holder = invocation.unique_name(runtime);
        Ok(self.run(holder, invocation.deadline, tell).await)
    }
}

impl<D: Drops, S: Stock, O: Orders, T: Statuses, R: Runtime> Run<'_, D, S, O, T, R> {
    /// The drops that were on at the last calendar read.
    pub fn on(&self) -> impl Iterator<Item = &DropId> {
        self.on.keys()
    }

    /// Reads the calendar if it is due. When it cannot be read, the known drops stay.
    pub async fn look(&mut self) {
        let Conductor { reach, calendar, .. } = self.conductor;
        let now = reach.runtime.now();
        let fresh = |looked: Timestamp| (0..CALENDAR_MS).contains(&now.millis_since(looked));
        if self.looked_at.is_some_and(fresh) {
            return;
        }
        match calendar.on(&reach.drops, &reach.statuses, &reach.runtime).await {
            Ok(on) => {
                let mut before = std::mem::take(&mut self.on);
                let with_memory = |id: DropId| {
                    let memory = before.remove(&id).unwrap_or_default();
                    (id, memory)
                };
                self.on = on.into_iter().map(with_memory).collect();
                self.looked_at = Some(now);
            }
            Err(error) => tracing::warn!(%error, "the calendar cannot be read; the run tries again"),
        }
    }

    /// Makes a step for every drop that is on. The steps are independent of each other.
    pub async fn round(&mut self) {
        let Conductor { reach, calendar, .. } = self.conductor;
        let holder = self.holder.as_str();
        let steps = std::mem::take(&mut self.on)
            .into_iter()
            .map(|(id, mut memory)| async move {
                let step = reach.step(calendar, &id, holder, &mut memory);
                let stepped = step.instrument(of_drop(&id)).await;
                (id, memory, stepped)
            });
        let steps: Vec<_> = stream::iter(steps)
            .buffer_unordered(DROPS_AT_ONCE)
            .collect()
            .await;
        self.progress.drops = u64::try_from(steps.len()).unwrap_or(u64::MAX);
        for (id, memory, stepped) in steps {
            let _about = of_drop(&id).entered();
            match stepped {
                Ok(stepped) => {
                    self.progress.count(&stepped);
                    log(&stepped);
                    if !matches!(stepped, StepOutcome::Over(_)) {
                        self.on.insert(id, memory);
                    }
                }
                Err(error) => {
                    self.progress.failed_steps += 1;
                    tracing::warn!(%error, "a step of this drop failed; the next round makes the next step");
                    self.on.insert(id, memory);
                }
            }
        }
    }

    /// Ends every lease, so that the next run takes over immediately.
    pub async fn release(&mut self) {
        let reach = &self.conductor.reach;
        for (id, memory) in std::mem::take(&mut self.on) {
            if memory.holds_lease() {
                lease::release(&reach.statuses, &reach.runtime, &id, &self.holder).await;
            }
        }
    }

    /// Returns the progress since the last call, and begins to count anew.
    pub fn take_progress(&mut self) -> Progress {
        std::mem::take(&mut self.progress)
    }
}

/// Logs one line for a step with changes, with failed writes, or after which the drop is over; none for other steps.
fn log(stepped: &StepOutcome) {
    let (report, over) = match stepped {
        StepOutcome::Standby => return,
        StepOutcome::Conducted(report) => (report, false),
        StepOutcome::Over(report) => (report, true),
    };
    let (returned, asked) = (report.returned, report.asked);
    let made = report.healed + report.lapsed + returned.done() + asked.asked;
    if over || made + returned.failed + asked.failed > 0 {
        tracing::info!(
            over,
            shards = report.shards,
            healed = report.healed,
            lapsed = report.lapsed,
            expired = returned.expired,
            surplus = returned.surplus,
            cancelled = returned.cancelled,
            changed = returned.changed,
            not_returned = returned.failed,
            orders_asked = asked.asked,
            orders_not_asked = asked.failed,
            "a step of the drop ended; what `not_returned` and `orders_not_asked` count is tried again"
        );
    }
}
