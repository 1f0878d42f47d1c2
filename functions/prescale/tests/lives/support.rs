//! Simulates complete drops minute by minute, on an account in memory.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use capacity::amounts::Target;
use capacity::calendar::{CalendarDrop, CalendarState, NotReadyPolicy, Stretch};
use capacity::documents::Documents;
use capacity::observed::Observed;
use capacity::quotas::Quotas;
use capacity::steps::{Step, steps};
use domain::drops::Drop;
use domain::time::Timestamp;
use memory::{MemoryAccount, MemoryStore, TestRuntime, fixtures};
use ports::runtime::Clock as _;
use prescale::outcome::Outcome;
use prescale::{Mode, Prescaler, RunError, TIMEOUT_SECONDS};

pub(crate) type Ran = Result<Outcome, RunError>;

/// The project's own documents, with the test's calendar.
pub(crate) fn documents(calendar: Vec<CalendarDrop>) -> Documents {
    let file = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/prescale");
        std::fs::read_to_string(format!("{folder}/{name}.toml")).unwrap()
    };
    Documents {
        profile: toml::from_str(&file("profile")).unwrap(),
        baseline: toml::from_str(&file("baseline")).unwrap(),
        budget: toml::from_str(&file("budget")).unwrap(),
        prices: toml::from_str(&file("prices")).unwrap(),
        calendar,
    }
}

/// The same documents with a database of instance classes: three instances, one of them the writer.
pub(crate) fn with_classes(mut docs: Documents) -> Documents {
    docs.baseline.database = toml::from_str(
        r#"
        kind = "provisioned"
        class = "large"
        instances = ["one", "two", "three"]
        ladder = [
            { class = "large", rows_per_second = 1, connections = 50, usd_per_hour = 0.25 },
            { class = "xlarge", rows_per_second = 4000, connections = 100, usd_per_hour = 0.5 },
        ]
        "#,
    )
    .unwrap();
    docs
}

pub(crate) fn quotas() -> Quotas {
    Quotas {
        account_concurrency: 20_000,
        reserved_by_others: 100,
        provisioned_per_minute: 6_000,
        api_requests_per_second: 100_000,
        api_burst: 50_000,
        table_write_units: 40_000,
        table_read_units: 40_000,
        gateway_calls_per_second: 1_000,
    }
}

pub(crate) fn in_minutes(minutes: i64) -> Timestamp {
    TestRuntime::START.plus_millis(minutes * 60_000)
}

/// A short drop that opens `minutes` after the beginning of the test.
pub(crate) fn drop_at(id: &str, minutes: i64) -> CalendarDrop {
    CalendarDrop {
        id: id.parse().unwrap(),
        state: CalendarState::Scheduled,
        if_not_ready: NotReadyPolicy::AdmitFewer,
        starts_at: in_minutes(minutes),
        ends_at: in_minutes(minutes + 5),
        shoppers: 60_000,
        units: 2_000,
        peak_rps: None,
        sold_within_seconds: 10,
        before: Stretch {
            seconds: 120,
            peak_factor: 2.0,
        },
        opening: Stretch {
            seconds: 60,
            peak_factor: 2.0,
        },
        sale_peak_factor: 1.5,
        tail: Stretch {
            seconds: 60,
            peak_factor: 1.0,
        },
    }
}

/// Simulates an account, and the schedule that runs the function on the account.
pub(crate) struct World {
    pub(crate) account: MemoryAccount,
    /// The drops' own documents. Without a document, the calendar alone determines a drop's start.
    pub(crate) drops: MemoryStore,
    pub(crate) runtime: TestRuntime,
    pub(crate) runs: u32,
    pub(crate) docs: Documents,
}

impl World {
    pub(crate) fn new(docs: Documents) -> Self {
        let runtime = TestRuntime::new(7);
        let account = MemoryAccount::at_baseline(docs.clone(), quotas(), runtime.clone());
        assert_eq!(docs.mistakes(&quotas()), vec![]);
        Self {
            account,
            drops: MemoryStore::new(),
            runtime,
            runs: 0,
            docs,
        }
    }

    /// Publishes the document of the drop that `entry` describes.
    pub(crate) fn publish(&self, entry: &CalendarDrop) {
        let mut draft = fixtures::draft(&self.runtime, &[("A", entry.units)], 2);
        (draft.starts_at, draft.ends_at) = (entry.starts_at, entry.ends_at);
        draft.expected_shoppers = entry.shoppers;
        let drop = Drop::draft(entry.id.clone(), draft);
        let drop = drop.start_publishing(self.runtime.now()).unwrap();
        self.drops.put_drop(&drop.finish_publishing().unwrap());
    }

    /// Makes one run now. Returns `None` if the process of the run died.
    pub(crate) fn run(&mut self, mode: Mode) -> Option<Ran> {
        self.runs += 1;
        let ran = invoke(
            self.account.clone(),
            self.drops.clone(),
            self.runtime.clone(),
            mode,
            self.runs,
        );
        let ran = drive(&self.account, ran);
        if self.account.is_dead() {
            self.account.clear_faults();
        }
        ran
    }

    /// Makes the scheduled runs of each minute before `minute`, then sets the time to `minute`.
    pub(crate) fn until(&mut self, minute: i64) -> Vec<Option<Ran>> {
        let mut all = Vec::new();
        let mut next = self.minute();
        while next < minute {
            self.runtime.set(in_minutes(next).max(self.runtime.now()));
            all.push(self.run(Mode::Apply));
            next += 1;
        }
        self.runtime.set(in_minutes(minute).max(self.runtime.now()));
        all
    }

    /// The first whole minute that is not over.
    fn minute(&self) -> i64 {
        let ms = self.runtime.now().millis_since(TestRuntime::START);
        (ms + 59_999).div_euclid(60_000)
    }

    pub(crate) fn observed(&self) -> Observed {
        self.account.look().observed
    }

    /// The steps from the current capacity to the baseline. Tables are left out, since their warm throughput cannot be
    /// lowered.
    pub(crate) fn off_baseline(&self) -> Vec<Step> {
        let observed = self.observed();
        let baseline = self.docs.baseline.capacity();
        let target = Target {
            functions: baseline.functions,
            database: Some(baseline.database),
            tables: observed.tables.clone(),
            queues: baseline.queues,
        };
        steps(&observed, &target)
    }

    /// The steps between two moments that reduced capacity or interrupted the database.
    pub(crate) fn lowered(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Step)> {
        let database = &self.docs.baseline.database;
        let mut changes = self.account.changes();
        changes.retain(|(at, step)| from <= *at && *at < to && step.needs_certainty(database));
        changes
    }
}

pub(crate) async fn invoke(
    account: MemoryAccount,
    drops: MemoryStore,
    runtime: TestRuntime,
    mode: Mode,
    number: u32,
) -> Ran {
    let deadline = runtime.now().plus_seconds(TIMEOUT_SECONDS);
    let prescaler = Prescaler::new(account.clone(), account, drops, runtime, "test");
    prescaler.run(mode, &format!("run-{number}"), deadline).await
}

/// Polls until a call hangs; returns false when the future completes first.
pub(crate) fn stalls<T>(account: &MemoryAccount, mut future: Pin<&mut impl Future<Output = T>>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let mut done = false;
    while !done && !account.is_hanging() {
        done = future.as_mut().poll(&mut context).is_ready();
    }
    !done
}

/// Polls until completion; `None` when the process has died.
pub(crate) fn drive<T>(account: &MemoryAccount, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
        if account.is_dead() {
            return None;
        }
    }
}
