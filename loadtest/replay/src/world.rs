//! Holds the state that all parts of a replayed drop share: virtual time, the history, and the strokes and
//! situations so far.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::time::Timestamp;
use loadtest::audit::{Broken, Findings, Promise};
use memory::{MemoryStore, TestRuntime};

use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Stroke, Struck};
use crate::function::Function;
use crate::plan::{FaultPlan, Plan};
use crate::sabotage::Sabotage;
use crate::timeline::{Sleep, Timeline};

#[derive(Default)]
struct State {
    processes: u64,
    busy: u64,
    history: Option<String>,
    strokes: BTreeMap<String, Struck>,
    struck: BTreeMap<Fault, u64>,
    conductor_struck_ms: Option<i64>,
    gateway_failed_ms: Vec<i64>,
    situations: BTreeMap<&'static str, u64>,
    violations: Vec<Broken>,
}

/// The virtual time, the faults, the history and the strokes of a run, which all its parts share.
pub struct World {
    /// The plan's seed.
    pub seed: u64,
    pub faults: FaultPlan,
    /// The time after which no fault occurs, in milliseconds since the beginning.
    pub calm_ms: i64,
    /// The longest usual time of a call, in milliseconds.
    pub latency_ms: u32,
    /// The deliberate bug of the run; `None` for none.
    pub sabotage: Option<Sabotage>,
    /// Earlier states of the tables, the latest first, for reads that may lag.
    pub before: Mutex<VecDeque<MemoryStore>>,
    /// The virtual time and the tasks that wait for it.
    pub timeline: Arc<Timeline>,
    state: Mutex<State>,
}

impl World {
    /// The state at the beginning of a run. With `telling`, the run records a history.
    #[must_use]
    pub fn new(plan: &Plan, sabotage: Option<Sabotage>, telling: bool) -> Arc<Self> {
        let state = State {
            history: telling.then(String::new),
            ..State::default()
        };
        Arc::new(Self {
            seed: plan.seed,
            faults: plan.faults.clone(),
            calm_ms: i64::from(plan.system.calm_ms),
            latency_ms: plan.system.latency_ms,
            sabotage,
            before: Mutex::default(),
            timeline: Arc::default(),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Waits for `ms` milliseconds. Other tasks run first in any case.
    pub fn sleep(&self, ms: i64) -> Sleep {
        self.timeline.sleep(ms.saturating_mul(1_000))
    }

    /// Moves time by `ms` milliseconds without running a task.
    pub fn leap(&self, ms: i64) {
        self.timeline.leap(ms.saturating_mul(1_000));
    }

    /// Starts a task. With `process`, the task ends when that process dies.
    pub fn spawn(&self, process: Option<u64>, work: impl Future<Output = ()> + Send + 'static) {
        self.timeline.spawn(process, work);
    }

    /// Ends a process: none of its tasks makes another step.
    pub fn kill(&self, process: u64) {
        self.timeline.kill(process);
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
        let mut state = self.state();
        let now_ms = self.now_ms();
        if let Some(history) = &mut state.history {
            let (seconds, rest) = (now_ms / 1000, now_ms % 1000);
            // Writing to a string cannot fail.
            writeln!(history, "{seconds:>4}.{rest:03}  {}", line()).ok();
        }
    }

    /// Counts the occurrence of a situation.
    pub fn note(&self, situation: &'static str) {
        *self.state().situations.entry(situation).or_default() += 1;
    }

    /// Records a broken promise.
    pub fn broken(&self, promise: Promise, what: impl Into<String>) {
        let what = what.into();
        let broken = Broken { promise, what };
        self.tell(|| format!("!!! {broken}"));
        self.state().violations.push(broken);
    }

    /// Whether a promise was broken so far.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.state().violations.is_empty()
    }

    /// Whether an outage `fault` is in progress at the present time. Counts it as a stroke.
    pub fn is_away(&self, fault: Fault) -> bool {
        let now_ms = self.now_ms();
        let away = self.faults.outages.iter().any(|outage| {
            outage.fault == fault && (i64::from(outage.from_ms)..i64::from(outage.to_ms)).contains(&now_ms)
        });
        if away {
            self.count(fault);
        }
        away
    }

    /// Records that the gateway refuses or loses a call.
    pub fn gateway_fails(&self) {
        let now_ms = self.now_ms();
        self.state().gateway_failed_ms.push(now_ms);
    }

    /// The times at which the gateway refused or lost a call, in milliseconds since 1970.
    #[must_use]
    pub fn gateway_failed_ms(&self) -> Vec<i64> {
        let state = self.state();
        let at = |ms: &i64| TestRuntime::START.plus_millis(*ms).as_millis();
        state.gateway_failed_ms.iter().map(at).collect()
    }

    /// The time at which a fault last hit a conductor, in milliseconds since the beginning; `None` if none
    /// did.
    #[must_use]
    pub fn conductor_struck_ms(&self) -> Option<i64> {
        self.state().conductor_struck_ms
    }

    /// Whether calls of the database may fail permanently, which the API reports as an internal error.
    #[must_use]
    pub fn may_fail_for_good(&self) -> bool {
        let FaultPlan { rates, strokes, .. } = &self.faults;
        match strokes {
            Some(strokes) => strokes.values().any(|struck| struck.fault == Fault::BrokenCall),
            None => rates.contains_key(&Fault::BrokenCall),
        }
    }

    /// Counts a stroke of `fault`.
    pub fn count(&self, fault: Fault) {
        *self.state().struck.entry(fault).or_default() += 1;
    }

    /// Whether `fault` hits the `nth` call at `label`, and its effect: `stroke` turns a random number into a
    /// stroke.
    pub fn strikes(
        &self,
        fault: Fault,
        label: &str,
        nth: u64,
        stroke: impl FnOnce(u64) -> Option<Stroke>,
    ) -> Option<Stroke> {
        self.strike_one_of(label, key_of(label), nth, &[fault], |_, chance| stroke(chance))
    }

    /// The stroke that hits the `nth` call at `label`, by one of `faults`; `None` if none hits it.
    pub(crate) fn strike_one_of(
        &self,
        label: &str,
        key: u64,
        nth: u64,
        faults: &[Fault],
        stroke: impl FnOnce(Fault, u64) -> Option<Stroke>,
    ) -> Option<Stroke> {
        if let Some(strokes) = &self.faults.strokes {
            let place = format!("{label}#{nth}");
            let struck = strokes
                .get(&place)
                .filter(|struck| faults.contains(&struck.fault))?;
            return self.note_stroke(place, *struck);
        }
        if self.now_ms() >= self.calm_ms {
            return None;
        }
        for fault in faults {
            let Some(rate) = self.faults.rates.get(fault) else {
                continue;
            };
            let chance = keyed(self.seed ^ key_of(fault.name()), key, nth);
            if chance % 10_000 < u64::from(*rate) {
                let stroke = stroke(*fault, chance / 10_000)?;
                return self.note_stroke(
                    format!("{label}#{nth}"),
                    Struck {
                        fault: *fault,
                        stroke,
                    },
                );
            }
        }
        None
    }

    fn note_stroke(&self, place: String, struck: Struck) -> Option<Stroke> {
        self.tell(|| format!("*** {} at {place}: {:?}", struck.fault, struck.stroke));
        let mut state = self.state();
        *state.struck.entry(struck.fault).or_default() += 1;
        if place.starts_with(Function::ConductDrop.name()) {
            state.conductor_struck_ms = Some(self.now_ms());
        }
        state.strokes.insert(place, struck);
        Some(struck.stroke)
    }

    /// Takes the history, the strokes, the situations and the violations of the run out of the state.
    #[must_use]
    pub fn take_outcome(&self) -> Tallies {
        let mut state = self.state();
        Tallies {
            steps: self.timeline.steps(),
            virtual_ms: self.now_ms(),
            history: state.history.take().unwrap_or_default(),
            strokes: std::mem::take(&mut state.strokes),
            struck: std::mem::take(&mut state.struck),
            situations: std::mem::take(&mut state.situations),
            violations: std::mem::take(&mut state.violations),
            findings: Findings::default(),
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
