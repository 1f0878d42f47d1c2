//! Computes the figures by which runs with and without pre-scaling are compared.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use stack_api::Processes;

use crate::audit::share;
use crate::files::read;
use crate::measure::{Endpoint, Measured, Sample, percentiles};
use crate::run::Ran;
use crate::usage::is_http;

/// The message that `project-ledger` logs when events waited for a database connection.
const DELAYED: &str = "ledger writes waited for a connection";

/// The cold starts, latencies, errors and cost of one run, for the comparison with other runs. Latencies are those of
/// all requests to the API, from the time at which each was due to be sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Processes of the shoppers' functions that were started while a request waited, counted from just before the
    /// first arrival.
    pub cold_starts: u64,
    /// Processes of all other functions (queues, streams, schedules, operators, webhook) that were started while an
    /// invocation waited.
    pub cold_starts_elsewhere: u64,
    /// Requests to the shoppers' functions that waited for the start of a process ÷ all requests to these
    /// functions.
    pub cold_request_share: f64,
    /// 99th percentile of the latency of requests intended in the first second after the opening.
    pub first_second_p99_ms: f64,
    /// 99.9th percentile of the latency of requests intended in the first ten seconds after the opening.
    pub first_10s_p999_ms: f64,
    /// As `first_second_p99_ms`, without the modelled part of each request's time.
    pub first_second_p99_ms_measured_part: f64,
    /// The number of requests intended in the first second after the opening.
    pub first_second_requests: u64,
    /// Requests answered 5xx, or not at all.
    pub errors: u64,
    /// Requests to the shoppers' functions beyond the provisioned concurrency.
    pub spill_over: u64,
    /// Invocations of all other functions beyond their provisioned concurrency.
    pub spill_over_elsewhere: u64,
    /// Provisioned processes at the end of the run.
    pub held_ahead: u64,
    /// The time from the opening until no unit was free, in ms; `None` if some unit was always free.
    pub sold_out_after_ms: Option<i64>,
    /// Ledger writes that waited over a second for a database connection, or were repeated because no connection
    /// was available.
    pub orders_delayed_by_database: u64,
    /// The time from the end of the last visit to the end of the drain, in ms.
    pub drain_ms: u64,
    /// The cost of the plan beyond the same drop unscaled, in US dollars by list prices; 0 without a plan.
    pub usd_prescale: f64,
    /// Broken promises of the API.
    pub failures: Vec<String>,
}

impl Figures {
    /// Computes the figures of a run. `delayed` is the number of ledger writes that the database delayed.
    pub(super) fn of(ran: &Ran, delayed: u64) -> Self {
        let shoppers = shoppers_functions(ran);
        let (front, back): (Vec<&Processes>, Vec<&Processes>) =
            (ran.processes.iter()).partition(|p| shoppers.contains(p.function.as_str()));
        let sum = |of: &[&Processes], what: fn(&Processes) -> u64| of.iter().map(|p| what(p)).sum::<u64>();
        let invocations = sum(&front, |p| p.invocations);
        let waited = sum(&front, |p| p.waited_for_cold_start);
        let first = latencies(&ran.measured, 1_000, |s| s.latency_us);
        let without_model = |s: &Sample| s.latency_us.saturating_sub(s.modelled_us);
        let measured = latencies(&ran.measured, 1_000, without_model);
        let ten = latencies(&ran.measured, 10_000, |s| s.latency_us);
        Self {
            cold_starts: sum(&front, |p| p.cold_starts),
            cold_starts_elsewhere: sum(&back, |p| p.cold_starts),
            cold_request_share: share(waited, invocations).unwrap_or(0.0),
            first_second_p99_ms: percentiles(&first).p99,
            first_10s_p999_ms: percentiles(&ten).p999,
            first_second_p99_ms_measured_part: percentiles(&measured).p99,
            first_second_requests: u64::try_from(first.len()).unwrap_or(u64::MAX),
            errors: errors(&ran.measured),
            spill_over: sum(&front, |p| p.spill_over),
            spill_over_elsewhere: sum(&back, |p| p.spill_over),
            held_ahead: ran.processes.iter().map(|p| p.ahead as u64).sum(),
            sold_out_after_ms: ran.report.sold_out_after_ms,
            orders_delayed_by_database: delayed,
            drain_ms: whole_ms(ran.report.run.drain_s),
            usd_prescale: ran.prepared.map_or(0.0, |prepared| prepared.usd),
            failures: ran.report.failures.clone(),
        }
    }
}

/// The functions that handle shoppers' requests.
fn shoppers_functions(ran: &Ran) -> BTreeSet<&str> {
    let uses = ran.report.usage.functions.iter();
    // Operators and the gateway call these routes; shoppers never do.
    let others = |route: &str| route.contains(" /operator") || route.contains(" /payments/");
    let shoppers = uses.filter(|f| is_http(&f.route) && !others(&f.route));
    shoppers.map(|f| f.function.as_str()).collect()
}

/// Latencies of all API requests that were intended in the first `ms` after the opening.
fn latencies(measured: &Measured, ms: i32, of: impl Fn(&Sample) -> u32) -> Vec<u32> {
    let early = |s: &&Sample| s.endpoint != Endpoint::Bank && (0..ms).contains(&s.intended_ms);
    measured.samples.iter().filter(early).map(of).collect()
}

fn errors(measured: &Measured) -> u64 {
    let failed = |s: &&Sample| {
        let outcome = measured.outcome(s);
        // A request that the shopper aborted by a reload is sent again and is not an error.
        s.endpoint != Endpoint::Bank && outcome != "reloaded" && !outcome.starts_with(['2', '3', '4'])
    };
    u64::try_from(measured.samples.iter().filter(failed).count()).unwrap_or(u64::MAX)
}

#[derive(Deserialize)]
struct Line {
    message: String,
    delayed_events: Option<u64>,
}

/// Counts the ledger writes that the database delayed, from the log of `project-ledger`.
///
/// # Errors
/// When a log exists and cannot be read.
pub(super) fn delayed_by_database(logs: &Path) -> anyhow::Result<u64> {
    let path = logs.join("project-ledger.log");
    if !path.exists() {
        return Ok(0);
    }
    Ok(delayed(&read(&path)?))
}

fn delayed(log: &str) -> u64 {
    let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    let about = lines.filter(|line: &Line| line.message == DELAYED);
    about.filter_map(|line| line.delayed_events).sum()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds of a drop"
)]
fn whole_ms(seconds: f64) -> u64 {
    (seconds * 1_000.0) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Recorder;

    #[test]
    fn only_delayed_writes_are_counted() {
        let log = [
            r#"{"timestamp":"t","level":"WARN","message":"ledger writes waited for a connection","delayed_events":3}"#,
            r#"{"timestamp":"t","level":"WARN","message":"the ledger is not available","left":7}"#,
            "thread panicked",
            r#"{"timestamp":"t","level":"WARN","message":"ledger writes waited for a connection","waited_ms":1200,"delayed_events":4}"#,
        ];
        assert_eq!(delayed(&log.join("\n")), 7);
    }

    #[test]
    fn the_first_second_is_of_the_api_alone_and_errors_are_what_got_no_answer_to_live_with() {
        let recorder = Recorder::default();
        let ms = Duration::from_millis;
        recorder.request_modelled(Endpoint::Reserve, 0, ms(120), 100_000, "201");
        recorder.request(Endpoint::ShowStatus, 999, ms(7), "200");
        recorder.request(Endpoint::ShowStatus, 1_000, ms(8), "503");
        recorder.request(Endpoint::ShowStatus, -1, ms(9), "timeout");
        recorder.request(Endpoint::Bank, 5, ms(10), "500");
        recorder.request(Endpoint::Checkout, 5_000, ms(11), "reloaded");
        recorder.request(Endpoint::Reserve, 5_000, ms(11), "409 sold_out gone");
        let measured = recorder.finish();
        assert_eq!(latencies(&measured, 1_000, |s| s.latency_us), [120_000, 7_000]);
        let without = latencies(&measured, 1_000, |s| s.latency_us - s.modelled_us);
        assert_eq!(without, [20_000, 7_000]);
        assert_eq!(latencies(&measured, 10_000, |s| s.latency_us).len(), 5);
        assert_eq!(errors(&measured), 2);
    }
}
