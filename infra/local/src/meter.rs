//! Meters consumed capacity and requests, by table and by function, route and outcome.
//!
//! A DynamoDB request names its invocation in the trace header that the SDK adds inside Lambda. The meter collects the
//! usage of a running invocation and books it to (function, route, status) at its end, so that the usage of refused and
//! of granted reservations is reported separately. Requests without a running invocation (an audit, a table's creation)
//! count only for their table.
//!
//! Run times are kept as histograms by function, over all routes and outcomes. The difference of two reports gives the
//! percentiles of the invocations between the reports.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use hdrhistogram::Histogram;
use stack_api::{FunctionUse, RunTimes, TableUse};

use crate::lock;

/// The usage of one request, by table.
pub type Uses = Vec<(String, TableUse)>;

#[derive(Debug, Default)]
struct Books {
    report: stack_api::Meter,
    running: HashMap<u64, Uses>,
    functions: HashMap<(String, String, u16), FunctionUse>,
    run_times: BTreeMap<String, Histogram<u64>>,
}

#[derive(Debug, Default)]
pub struct Meter {
    books: Mutex<Books>,
}

/// The origin of a request to DynamoDB or SQS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The invocation with this number.
    Invocation(u64),
    /// A caller that is not a function.
    Outside,
}

impl Caller {
    /// Parses the value of `X-Amzn-Trace-Id` that [`trace_header`] made. Any other value means [`Self::Outside`].
    #[must_use]
    pub fn from_trace(header: Option<&str>) -> Self {
        header
            .and_then(|h| h.split(';').find_map(|part| part.trim().strip_prefix("Root=1-")))
            .and_then(|root| root.split_once('-'))
            .and_then(|(_, unique)| unique.get(8..24))
            .and_then(|number| u64::from_str_radix(number, 16).ok())
            .map_or(Self::Outside, Self::Invocation)
    }
}

/// The trace header of an invocation: 8 hex digits of time, 8 of the stack's run, 16 of the invocation's number.
#[must_use]
pub fn trace_header(epoch_seconds: u64, run: u32, invocation: u64) -> String {
    format!(
        "Root=1-{:08x}-{run:08x}{invocation:016x};Parent={invocation:016x};Sampled=1",
        epoch_seconds & 0xffff_ffff
    )
}

impl Meter {
    /// Registers a running invocation. Requests that name it are booked to it until [`Self::end`].
    pub fn begin(&self, invocation: u64) {
        lock(&self.books).running.insert(invocation, Uses::new());
    }

    /// Ends an invocation, and books its collected usage and its run time to function, route and status.
    pub fn end(&self, invocation: u64, function: &str, route: &str, status: u16, duration: Duration) {
        let mut books = lock(&self.books);
        let uses = books.running.remove(&invocation).unwrap_or_default();
        let entry = books
            .functions
            .entry((function.to_owned(), route.to_owned(), status))
            .or_insert_with(|| FunctionUse {
                function: function.to_owned(),
                route: route.to_owned(),
                status,
                ..FunctionUse::default()
            });
        entry.invocations += 1;
        entry.duration_ms += duration.as_secs_f64() * 1_000.0;
        for (table, used) in &uses {
            add(&mut entry.tables, table, used);
        }
        // A refused invocation never ran, so it has no run time.
        if !duration.is_zero() {
            let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            update(&mut books.run_times, function, times_of_a_function, |times| {
                times.saturating_record(us);
            });
        }
    }

    /// Books the usage of an answered DynamoDB request.
    pub fn book(&self, caller: Caller, uses: Uses) {
        let mut guard = lock(&self.books);
        let books = &mut *guard;
        for (table, used) in &uses {
            add(&mut books.report.tables, table, used);
        }
        let Caller::Invocation(number) = caller else {
            return;
        };
        if let Some(running) = books.running.get_mut(&number) {
            books.report.attributed_requests += 1;
            running.extend(uses);
        } else {
            books.report.unattributed_requests += 1;
            for (table, used) in &uses {
                add(&mut books.report.unattributed, table, used);
            }
        }
    }

    /// Counts an SQS request.
    pub fn sqs(&self, action: &str) {
        let requests = &mut lock(&self.books).report.sqs_requests;
        update(requests, action, u64::default, |count| *count += 1);
    }

    /// Counts messages that were delivered to a function.
    pub fn messages(&self, queue: &str, count: usize) {
        if count > 0 {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            let messages = &mut lock(&self.books).report.messages;
            update(messages, queue, u64::default, |so_far| *so_far += count);
        }
    }

    /// The usage so far of tables, queues and functions. The usage of running invocations is included only in that of
    /// the tables.
    #[must_use]
    pub fn report(&self) -> stack_api::Meter {
        let books = lock(&self.books);
        let mut report = books.report.clone();
        report.functions = books.functions.values().cloned().collect();
        report.run_times = (books.run_times.iter())
            .map(|(function, times)| (function.clone(), run_times(times)))
            .collect();
        report
            .functions
            .sort_by(|a, b| (&a.function, &a.route, a.status).cmp(&(&b.function, &b.route, b.status)));
        report
    }
}

/// An empty histogram of run times from 1 µs to Lambda's fifteen minutes, with two significant digits.
#[allow(
    clippy::expect_used,
    reason = "constant bounds, which the constructor accepts"
)]
fn times_of_a_function() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 900_000_000, 2).expect("valid bounds")
}

fn run_times(times: &Histogram<u64>) -> RunTimes {
    RunTimes {
        p95_ms: Duration::from_micros(times.value_at_quantile(0.95)).as_secs_f64() * 1_000.0,
        counts: (times.iter_recorded())
            .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
            .collect(),
    }
}

fn add(tables: &mut BTreeMap<String, TableUse>, table: &str, used: &TableUse) {
    update(tables, table, TableUse::default, |entry| *entry += used);
}

/// Changes the value under `key`, which is `new` if there is none. Only a new key is copied: each request of a run books
/// several values while it holds the lock.
fn update<V>(map: &mut BTreeMap<String, V>, key: &str, new: fn() -> V, change: impl FnOnce(&mut V)) {
    if let Some(value) = map.get_mut(key) {
        change(value);
    } else {
        let mut value = new();
        change(&mut value);
        map.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(wcu: f64) -> Uses {
        vec![(
            "stock".to_owned(),
            TableUse {
                wcu,
                writes: 1,
                ..TableUse::default()
            },
        )]
    }

    #[test]
    fn a_trace_header_leads_back_to_its_invocation() {
        let header = trace_header(1_700_000_000, 7, 0xdead_beef);
        assert_eq!(Caller::from_trace(Some(&header)), Caller::Invocation(0xdead_beef));
        for other in [None, Some("Root=1-5759e988-bd862e"), Some("Parent=1"), Some("")] {
            assert_eq!(Caller::from_trace(other), Caller::Outside, "{other:?}");
        }
    }

    #[test]
    fn run_times_are_a_functions_over_all_its_routes() {
        let meter = Meter::default();
        for ms in 1..=100 {
            let route = if ms % 2 == 0 { "GET /a" } else { "POST /b" };
            meter.end(ms, "get-drop", route, 200, Duration::from_millis(ms));
        }
        meter.end(101, "reserve", "POST /r", 503, Duration::ZERO);
        let report = meter.report();
        let times = report.run_times.get("get-drop").unwrap();
        assert!((times.p95_ms - 95.0).abs() < 1.0, "{}", times.p95_ms);
        assert_eq!(times.counts.iter().map(|(_, count)| count).sum::<u64>(), 100);
        assert!(!report.run_times.contains_key("reserve"));
    }

    #[test]
    fn messages_are_counted_by_queue() {
        let meter = Meter::default();
        meter.messages("payments", 0);
        meter.messages("payments", 7);
        meter.messages("ledger", 1);
        meter.messages("payments", 3);
        let wanted = BTreeMap::from([("payments".to_owned(), 10), ("ledger".to_owned(), 1)]);
        assert_eq!(meter.report().messages, wanted);
    }

    #[test]
    fn what_an_invocation_used_is_booked_under_its_outcome() {
        let meter = Meter::default();
        meter.begin(1);
        meter.begin(2);
        meter.book(Caller::Invocation(1), writes(1.0));
        meter.book(Caller::Invocation(2), writes(2.0));
        meter.book(Caller::Invocation(1), writes(4.0));
        meter.book(Caller::Outside, writes(8.0));
        meter.end(1, "reserve", "POST /r", 201, Duration::from_millis(3));
        meter.end(2, "reserve", "POST /r", 409, Duration::from_millis(4));
        meter.book(Caller::Invocation(2), writes(16.0));
        let report = meter.report();
        let by_status = |status| {
            report
                .functions
                .iter()
                .find(|f| f.status == status)
                .map(|f| f.tables.get("stock").unwrap().wcu)
        };
        assert_eq!(by_status(201), Some(5.0));
        assert_eq!(by_status(409), Some(2.0));
        assert_eq!(report.tables.get("stock").unwrap().wcu, 31.0);
        assert_eq!(report.unattributed.get("stock").unwrap().wcu, 16.0);
        assert_eq!(report.attributed_requests, 3);
        assert_eq!(report.unattributed_requests, 1);
    }
}
