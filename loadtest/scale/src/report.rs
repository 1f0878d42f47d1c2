//! Makes `target/scale/report.json`.

use std::collections::BTreeMap;

use capacity::prices::Prices;
use loadtest::audit::Findings;
use loadtest::facts::{Ending, Entry, Sampled, UnitCounts};
use loadtest::measure::{Measured, Percentiles};
use loadtest::usage::FUNCTION_GB;
use serde::Serialize;

use crate::behind::QueueReport;
use crate::fleet::Fleet;
use crate::lambda::FunctionReport;
use crate::settings::Settings;
use crate::tables::PlaceReport;
use crate::world::{LEAD_US, Second, World};

/// The number of SQS requests for a message: it is sent, received and deleted, mostly in small batches.
const REQUESTS_PER_MESSAGE: f64 = 3.0;
const MILLION: f64 = 1e6;

/// The settings, measurements and findings of a run, from which its report is made.
pub struct Ingredients<'a> {
    pub world: &'a World,
    /// The functions and services of the run.
    pub fleet: &'a Fleet,
    /// The measurements of the shoppers' requests.
    pub measured: &'a Measured,
    /// The journal of the answers to shoppers, with the samples of the units.
    pub journal: &'a [Entry],
    /// The findings of the audit.
    pub findings: Findings,
    /// Whether the run was ended before all work was done.
    pub left_undone: bool,
    /// Answers that the API does not promise.
    pub surprises: BTreeMap<String, u64>,
    /// Shoppers who had not left when the run ended.
    pub unfinished: u64,
}

/// The requests and answers of one second of a run, and the demand on the busiest partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SecondReport {
    /// The number of the second, from the opening.
    pub second: i64,
    /// The requests, answers, refusals and waiting messages in the second.
    #[serde(flatten)]
    pub counts: Second,
    /// The demand on the busiest partition of all tables as a share of the partition's limit, in the worst
    /// placement.
    pub partition_use: f64,
}

/// The units by state at the time of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UnitsReport {
    /// The time, in ms from the opening.
    pub at_ms: i64,
    /// Units by state, over all SKUs.
    #[serde(flatten)]
    pub units: UnitCounts,
}

/// The time of the first refusal by one limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct First {
    /// The limit that refused.
    pub limit: String,
    /// The time, in ms from the opening.
    pub at_ms: i64,
}

/// The cost of the requests and their usage by list prices, in US dollars, without provisioned capacity,
/// whose cost `make prescale-plan` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cost {
    /// The requests to the API.
    pub api: f64,
    /// Invocations and their duration.
    pub functions: f64,
    /// The units of DynamoDB that were used.
    pub tables: f64,
    pub queues: f64,
    /// The sum of the other fields.
    pub total: f64,
}

/// The content of `report.json`. Every figure is modelled.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Always true: every figure comes from a model, which docs/SCALE.md describes.
    pub modelled: bool,
    /// The settings, with the limits and all assumptions.
    pub settings: Settings,
    /// The number of shoppers' requests.
    pub requests: u64,
    /// Requests in the busiest second.
    pub peak_rps: u64,
    pub requests_per_shopper: f64,
    /// Requests answered other than 5xx and 429 ÷ all answered requests; `None` without any.
    pub served_share: Option<f64>,
    /// The demand on the busiest partition in its busiest second, as a share of the partition's limit.
    /// Refused requests count, and the value is that of the worst of ten placements.
    pub partition_use_max: f64,
    /// The first refusal by each limit that refused a request, the earliest first.
    pub first_refusals: Vec<First>,
    /// The time from the opening to the first sample without a free unit, in ms; `None` if there is no such
    /// sample. Samples are 500 ms apart.
    pub all_held_after_ms: Option<i64>,
    /// The time from the opening to the first sample in which every unit was sold, in ms; `None` if there is
    /// no such sample.
    pub all_paid_after_ms: Option<i64>,
    /// The longest time between the beginnings of two steps of the conductor after the opening, in ms.
    pub conductor_period_max_ms: i64,
    /// Units and promises, as in the audit of a load run.
    pub findings: Findings,
    /// The number of shoppers by the ending of their visit.
    pub endings: BTreeMap<Ending, u64>,
    /// Shoppers who had not left when the run ended.
    pub unfinished_shoppers: u64,
    /// Whether the run was ended before all work was done.
    pub left_undone: bool,
    /// Answers that the API does not promise.
    pub surprises: BTreeMap<String, u64>,
    /// Requests by endpoint, status and problem code.
    pub status_counts: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// Latency from the intended start by endpoint, in ms.
    pub latency_ms: BTreeMap<&'static str, Percentiles>,
    /// The invocations, cold starts and refusals of each function.
    pub functions: Vec<FunctionReport>,
    /// The demand on the partitions and keys of each table and index.
    pub tables: Vec<PlaceReport>,
    /// Writes that conflicted with a transaction.
    pub transaction_conflicts: u64,
    pub queues: [QueueReport; 3],
    /// Calls of the mail service, and those that it refused because of its rate.
    pub mail_calls: (u64, u64),
    /// Calls of the payment gateway, and those that it refused because of its rate.
    pub gateway_calls: (u64, u64),
    /// The list prices of what the run used.
    pub cost_usd: Cost,
    pub seconds: Vec<SecondReport>,
    /// The units by state, in each sample.
    pub units: Vec<UnitsReport>,
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

impl Report {
    /// The report of a run that has ended.
    #[must_use]
    pub fn new(of: Ingredients<'_>) -> Self {
        let counted = of.world.seconds();
        let busiest: BTreeMap<i64, f64> = of.world.tables.busiest().into_iter().collect();
        let seconds: Vec<SecondReport> = (counted.into_iter())
            .map(|(second, counts)| SecondReport {
                second,
                counts,
                partition_use: busiest.get(&second).copied().unwrap_or(0.0),
            })
            .collect();
        let sum = |count: fn(&Second) -> u64| seconds.iter().map(|second| count(&second.counts)).sum::<u64>();
        let requests = sum(|second| second.requests);
        let peak_rps = seconds.iter().map(|second| second.counts.requests).max();
        let ended = sum(|s| s.answered + s.refused + s.errors + s.too_many);
        let failed = sum(|second| second.errors + second.too_many);
        let tables = of.world.tables.report();
        let partition_uses = tables.iter().map(|table| table.partition_use_max);
        let functions = of.fleet.report();
        let units: Vec<UnitsReport> = of.journal.iter().filter_map(units).collect();
        let first = |is: &dyn Fn(&UnitCounts) -> bool| {
            let at = units.iter().find(|look| look.at_ms >= 0 && is(&look.units));
            at.map(|look| look.at_ms)
        };
        let mut endings: BTreeMap<Ending, u64> = BTreeMap::new();
        for entry in of.journal {
            if let Entry::Ended(ended) = entry {
                *endings.entry(ended.ending).or_default() += 1;
            }
        }
        let queues = of.fleet.behind.report();
        Self {
            modelled: true,
            settings: of.world.settings.clone(),
            requests,
            peak_rps: peak_rps.unwrap_or(0),
            requests_per_shopper: float(requests) / f64::from(of.world.settings.shoppers.max(1)),
            served_share: (ended > 0).then(|| 1.0 - float(failed) / float(ended)),
            partition_use_max: partition_uses.fold(0.0, f64::max),
            first_refusals: first_refusals(&tables, &functions, &seconds),
            all_held_after_ms: first(&|units| units.total() > 0 && units.free == 0),
            all_paid_after_ms: first(&|units| units.total() > 0 && units.sold == units.total()),
            conductor_period_max_ms: of.world.longest_step_ms(),
            findings: of.findings,
            endings,
            unfinished_shoppers: of.unfinished,
            left_undone: of.left_undone,
            surprises: of.surprises,
            status_counts: (of.measured.counts().into_iter())
                .map(|(endpoint, counts)| (endpoint.as_str(), counts))
                .collect(),
            latency_ms: (of.measured.latencies().into_iter())
                .map(|(endpoint, found)| (endpoint.as_str(), found))
                .collect(),
            transaction_conflicts: of.world.tables.conflicted(),
            mail_calls: of.fleet.mails.calls(),
            gateway_calls: of.fleet.rate.calls(),
            cost_usd: loadtest::usage::prices()
                .map(|prices| cost(&prices, requests, &functions, of.world.tables.units(), &queues))
                .unwrap_or_default(),
            functions,
            tables,
            queues,
            seconds,
            units,
        }
    }
}

fn units(entry: &Entry) -> Option<UnitsReport> {
    let Entry::Sampled(Sampled { at_ms, skus, .. }) = entry else {
        return None;
    };
    let mut units = UnitCounts::default();
    for sku in skus {
        units.free += sku.free;
        units.held += sku.held;
        units.ordered += sku.ordered;
        units.sold += sku.sold;
    }
    let opened_ms = memory::TestRuntime::START.as_millis() + LEAD_US / 1_000;
    Some(UnitsReport {
        at_ms: at_ms - opened_ms,
        units,
    })
}

fn first_refusals(
    tables: &[PlaceReport],
    functions: &[FunctionReport],
    seconds: &[SecondReport],
) -> Vec<First> {
    let of_tables = tables.iter().filter_map(|table| {
        let at_ms = table.first_throttle_ms?;
        let key = table.first_throttled_key.as_deref().unwrap_or_default();
        let (place, access) = (table.place, table.access);
        let limit = format!("{place:?} {access:?} units, first of the key {key}");
        Some(First { limit, at_ms })
    });
    let of_functions = functions.iter().filter_map(|function| {
        let at_ms = function.first_refused_ms?;
        let limits = function.refused.keys().map(|limit| format!("{limit:?}"));
        let limits: Vec<String> = limits.collect();
        let limit = format!("{}: {}", function.function, limits.join(", "));
        Some(First { limit, at_ms })
    });
    let of_front = seconds.iter().find(|second| second.counts.too_many > 0);
    let of_front = of_front.map(|second| First {
        limit: "API Gateway's rate".to_owned(),
        at_ms: 1_000 * second.second,
    });
    let mut firsts: Vec<First> = of_tables.chain(of_functions).chain(of_front).collect();
    firsts.sort_by(|a, b| (a.at_ms, &a.limit).cmp(&(b.at_ms, &b.limit)));
    firsts
}

fn cost(
    prices: &Prices,
    requests: u64,
    functions: &[FunctionReport],
    (reads, writes): (f64, f64),
    queues: &[QueueReport],
) -> Cost {
    let invocations: u64 = functions.iter().map(|function| function.invocations).sum();
    let gb_seconds = |function: &FunctionReport| float(function.busy_ms) / 1e3 * FUNCTION_GB;
    let time: f64 = (functions.iter())
        .map(|function| {
            let price = match function.provisioned {
                0 => prices.on_demand_gb_second,
                _ => prices.provisioned_gb_second,
            };
            gb_seconds(function) * price
        })
        .sum();
    let sent: u64 = queues.iter().map(|queue| queue.sent).sum();
    let mut cost = Cost {
        api: float(requests) / MILLION * prices.api_per_million,
        functions: float(invocations) / MILLION * prices.invocations_per_million + time,
        tables: (reads * prices.read_units_per_million + writes * prices.write_units_per_million) / MILLION,
        queues: float(sent) * REQUESTS_PER_MESSAGE / MILLION * prices.sqs_requests_per_million,
        total: 0.0,
    };
    cost.total = cost.api + cost.functions + cost.tables + cost.queues;
    cost
}
