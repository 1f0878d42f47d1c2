//! Holds the state that all parts of a replayed drop share: the plan, virtual time, the history, and the strokes and
//! situations so far.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use domain::time::Timestamp;
use loadtest::audit::{Broken, Findings, Promise};
use loadtest::facts::Entry;
use memory::{MemoryStore, TestRuntime};

use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Stroke, Struck};
use crate::function::Function;
use crate::lock::lock;
use crate::plan::Plan;
use crate::sabotage::Sabotage;
use crate::timeline::{Sleep, Timeline};

#[derive(Default)]
struct State {
    processes: u64,
    busy: u64,
    conductor_struck_ms: Option<i64>,
    gateway_failed_ms: Vec<i64>,
    journal: Vec<Entry>,
    tallies: Tallies,
}

/// The plan, the virtual time, the history and the strokes of a run, which all its parts share.
pub struct World {
    pub plan: Plan,
    /// The deliberate bug of the run; `None` for none.
    pub sabotage: Option<Sabotage>,
    /// Earlier states of the tables, the latest first, for reads that may lag.
    pub before: Mutex<VecDeque<MemoryStore>>,
    /// The virtual time and the tasks that wait for it.
    pub timeline: Arc<Timeline>,
    telling: bool,
    state: Mutex<State>,
}

impl World {
    /// The state at the beginning of a run. With `telling`, the run records a history.
    #[must_use]
    pub fn new(plan: &Plan, sabotage: Option<Sabotage>, telling: bool) -> Arc<Self> {
        Arc::new(Self {
            plan: plan.clone(),
            sabotage,
            before: Mutex::default(),
            timeline: Arc::default(),
            telling,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether the run has this bug.
    #[must_use]
    pub fn is_sabotaged(&self, by: Sabotage) -> bool {
        self.sabotage == Some(by)
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.timeline.now_us() / 1_000
    }

    /// The true time, which no process can read exactly.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        TestRuntime::START.plus_millis(self.now_ms())
    }

    /// A number of milliseconds below `below`, by the plan's seed. It depends on no other number.
    #[must_use]
    pub fn drawn_ms(&self, purpose: u64, key: u64, nth: u64, below: u64) -> i64 {
        i64::try_from(keyed(self.plan.seed ^ purpose, key, nth) % below).unwrap_or(0)
    }

    /// Waits for `ms` milliseconds. Other tasks run first in any case.
    pub fn sleep(&self, ms: i64) -> Sleep {
        self.timeline.sleep(ms.saturating_mul(1_000))
    }

    /// Starts a task. With `process`, the task ends when that process dies.
    pub fn spawn(&self, process: Option<u64>, work: impl Future<Output = ()> + Send + 'static) {
        self.timeline.spawn(process, work);
    }

    /// The number of a new process.
    pub fn next_process(&self) -> u64 {
        let mut state = self.state();
        state.processes += 1;
        state.processes
    }

    /// Counts work in progress that must end before the drop is drained; [`World::done`] marks its end.
    pub fn begin(&self) {
        self.state().busy += 1;
    }

    /// Marks the end of work in progress.
    pub fn done(&self) {
        let mut state = self.state();
        state.busy = state.busy.saturating_sub(1);
    }

    /// Whether work is in progress.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.state().busy > 0
    }

    /// Adds a line to the history, if the run records a history.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        if self.telling {
            let now_ms = self.now_ms();
            let (seconds, rest) = (now_ms / 1000, now_ms % 1000);
            let mut state = self.state();
            // Writing to a string cannot fail.
            writeln!(state.tallies.history, "{seconds:>4}.{rest:03}  {}", line()).ok();
        }
    }

    /// Adds an entry to the journal of the answers to shoppers, as the shoppers received them.
    pub fn record(&self, entry: Entry) {
        self.state().journal.push(entry);
    }

    /// Takes the journal out of the state.
    #[must_use]
    pub fn take_journal(&self) -> Vec<Entry> {
        std::mem::take(&mut self.state().journal)
    }

    /// Counts the occurrence of a situation.
    pub fn note(&self, situation: &'static str) {
        *self.state().tallies.situations.entry(situation).or_default() += 1;
    }

    /// Records a broken promise.
    pub fn broken(&self, promise: Promise, what: impl Into<String>) {
        let what = what.into();
        let broken = Broken { promise, what };
        self.tell(|| format!("!!! {broken}"));
        self.state().tallies.violations.push(broken);
    }

    /// Whether a promise was broken so far.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.state().tallies.violations.is_empty()
    }

    /// Whether an outage `fault` is in progress at the present time. Counts it as a stroke.
    pub fn is_away(&self, fault: Fault) -> bool {
        let now_ms = self.now_ms();
        let away = self.plan.faults.outages.iter().any(|outage| {
            outage.fault == fault && (i64::from(outage.from_ms)..i64::from(outage.to_ms)).contains(&now_ms)
        });
        if away {
            self.count(fault);
        }
        away
    }

    /// Records that the gateway refuses or loses a call.
    pub fn gateway_fails(&self) {
        let now_ms = self.now().as_millis();
        self.state().gateway_failed_ms.push(now_ms);
    }

    /// The times at which the gateway refused or lost a call, in milliseconds since 1970.
    #[must_use]
    pub fn gateway_failed_ms(&self) -> Vec<i64> {
        self.state().gateway_failed_ms.clone()
    }

    /// The time at which a fault last hit a conductor, in milliseconds since the beginning; `None` if none
    /// did.
    #[must_use]
    pub fn conductor_struck_ms(&self) -> Option<i64> {
        self.state().conductor_struck_ms
    }

    /// Counts a stroke of `fault`.
    pub fn count(&self, fault: Fault) {
        *self.state().tallies.struck.entry(fault).or_default() += 1;
    }

    /// Whether `fault` hits the `nth` call at `label`, and its effect: `stroke` turns a random number into a
    /// stroke.
    pub fn strikes(
        &self,
        fault: Fault,
        label: &str,
        nth: u64,
        stroke: impl FnOnce(u64) -> Stroke,
    ) -> Option<Stroke> {
        self.strike_one_of(label, key_of(label), nth, [fault], |_, chance| {
            Some(stroke(chance))
        })
    }

    /// The stroke that hits the `nth` call at `label`, by one of `faults`; `None` if none hits it.
    pub(crate) fn strike_one_of(
        &self,
        label: &str,
        key: u64,
        nth: u64,
        faults: impl IntoIterator<Item = Fault>,
        stroke: impl FnOnce(Fault, u64) -> Option<Stroke>,
    ) -> Option<Stroke> {
        let place = || format!("{label}#{nth}");
        let mut faults = faults.into_iter();
        let plan = &self.plan.faults;
        let struck = if let Some(strokes) = &plan.strokes {
            let struck = strokes.get(&place())?;
            faults.any(|fault| fault == struck.fault).then_some(*struck)?
        } else if self.now_ms() >= i64::from(self.plan.system.calm_ms) {
            return None;
        } else {
            let drawn = |fault: &Fault| keyed(self.plan.seed ^ key_of(fault.name()), key, nth);
            let fault = faults.find(|fault| {
                let rate = plan.rates.get(fault);
                rate.is_some_and(|rate| drawn(fault) % 10_000 < u64::from(*rate))
            })?;
            let stroke = stroke(fault, drawn(&fault) / 10_000)?;
            Struck { fault, stroke }
        };
        let place = place();
        self.tell(|| format!("*** {} at {place}: {:?}", struck.fault, struck.stroke));
        self.count(struck.fault);
        let mut state = self.state();
        if place.starts_with(Function::ConductDrop.name()) {
            state.conductor_struck_ms = Some(self.now_ms());
        }
        state.tallies.strokes.insert(place, struck);
        Some(struck.stroke)
    }

    /// Takes the history, the strokes, the situations and the violations of the run out of the state.
    #[must_use]
    pub fn take_outcome(&self) -> Tallies {
        Tallies {
            steps: self.timeline.steps(),
            virtual_ms: self.now_ms(),
            ..std::mem::take(&mut self.state().tallies)
        }
    }
}

/// The outcome of a run: its history, the strokes that hit calls, the situations that occurred, and the
/// broken promises.
#[derive(Debug, Clone, Default)]
pub struct Tallies {
    /// The number of steps of all tasks.
    pub steps: u64,
    /// The length of the run, in milliseconds of virtual time.
    pub virtual_ms: i64,
    /// The history, line by line.
    pub history: String,
    /// The strokes that hit calls, by place.
    pub strokes: BTreeMap<String, Struck>,
    /// The number of strokes of each fault.
    pub struck: BTreeMap<Fault, u64>,
    /// The number of occurrences of each situation.
    pub situations: BTreeMap<&'static str, u64>,
    /// Broken promises.
    pub violations: Vec<Broken>,
    /// The findings of the audit; the default for a drop that was not published.
    pub findings: Findings,
}
