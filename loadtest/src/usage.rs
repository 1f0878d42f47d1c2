//! Computes the usage of a drop from the stack's meter: write units per outcome, cold starts, and list prices.

use std::collections::BTreeMap;

use anyhow::Context as _;
use capacity::prices::Prices;
use domain::limits::FUNCTION_MEMORY_MB;
use serde::Serialize;
use stack_api::{FunctionUse, Meter, Processes, StackFile, TableUse};

use crate::audit::share;
use crate::control;

/// The list prices of reports: the list of pre-scaling, compiled in.
///
/// # Errors
/// When the list is malformed.
pub fn prices() -> anyhow::Result<Prices> {
    toml::from_str(include_str!("../../infra/prescale/prices.toml")).context("infra/prescale/prices.toml")
}

/// The memory of most functions, in GB.
pub const FUNCTION_GB: f64 = FUNCTION_MEMORY_MB as f64 / 1_024.0;
/// The number of units that prices per million are for.
const MILLION: f64 = 1e6;

/// The route of reservations, as the meter books it.
const RESERVE: &str = "POST /drops/{drop_id}/reservations";

#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub meter: Meter,
    pub processes: Vec<Processes>,
}

/// Reads the numbers of processes and invocations of each function from the stack.
///
/// # Errors
/// When the stack does not answer in the expected form.
pub async fn processes(stack: &StackFile) -> anyhow::Result<Vec<Processes>> {
    control::get(stack, "/functions").await
}

/// Reads the stack's meter.
///
/// # Errors
/// When the stack does not answer in the expected form.
pub async fn meter(stack: &StackFile) -> anyhow::Result<Meter> {
    control::get(stack, "/meter").await
}

/// Reads the stack's meter, and the numbers of processes and invocations of each function.
///
/// # Errors
/// When the stack does not answer in the expected form.
pub async fn snapshot(stack: &StackFile) -> anyhow::Result<Snapshot> {
    Ok(Snapshot {
        meter: meter(stack).await?,
        processes: processes(stack).await?,
    })
}

/// The report's figures that come from the stack's meter and processes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Processes of all functions that were started while an invocation waited.
    pub cold_starts: u64,
    /// Invocations that waited for the start of a process ÷ all invocations.
    pub cold_request_share: f64,
    /// Invocations refused because no process was available.
    pub throttles: u64,
    /// Write units on the stock table in reservation requests that ended 201 ÷ distinct reservations.
    pub wcu_per_reservation: Option<f64>,
    /// Write units on the stock table in other reservation requests ÷ their number; `None` without such requests.
    pub wcu_per_rejection: Option<f64>,
    /// All stock write units ÷ units sold.
    pub stock_wcu_per_sold_unit: Option<f64>,
    /// Read units on all tables in reservation requests that ended 201 ÷ distinct reservations.
    pub read_units_per_reservation: Option<f64>,
    /// Read units on all tables in other reservation requests ÷ their number.
    pub read_units_per_rejection: Option<f64>,
    /// The list price of everything metered, in US dollars ÷ orders.
    pub usd_per_order: Option<f64>,
    /// The date of the list prices.
    pub prices_as_of: String,
    /// The list price of each billed part, in US dollars. Their sum ÷ orders is `usd_per_order`.
    pub usd: BTreeMap<String, f64>,
    /// The whole usage of each table, including running invocations and callers that are not functions.
    pub tables: BTreeMap<String, TableUse>,
    /// The usage by functions, for each function, route and status.
    pub functions: Vec<FunctionUse>,
    pub processes: Vec<Processes>,
}

/// The reservations, orders and sold units of a run, by which the ratios of the usage divide.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sold {
    /// Distinct reservations answered 201.
    pub reservations: u64,
    /// Orders in the table.
    pub orders: u64,
    pub units: u64,
}

/// The list price of each billed part of a use between two snapshots, in US dollars.
fn list_prices(
    before: &Meter,
    after: &Meter,
    functions: &[FunctionUse],
    prices: &Prices,
) -> BTreeMap<String, f64> {
    let units = |of: fn(&TableUse) -> f64| -> f64 {
        let unattributed = |m: &Meter| m.unattributed.values().map(of).sum::<f64>();
        let of_functions = functions.iter().flat_map(|f| f.tables.values()).map(of);
        of_functions.sum::<f64>() + (unattributed(after) - unattributed(before))
    };
    let invocations = |of: fn(&FunctionUse) -> bool| -> u64 {
        let used = functions.iter().filter(|f| of(f));
        used.map(|f| f.invocations).sum()
    };
    let seconds: f64 = functions.iter().map(|f| f.duration_ms / 1e3).sum();
    let gb_seconds = seconds * FUNCTION_GB;
    let past = |action: &String| before.sqs_requests.get(action).copied().unwrap_or(0);
    let since = |(action, n): (&String, &u64)| n.saturating_sub(past(action));
    let sqs: u64 = after.sqs_requests.iter().map(since).sum();
    let http = float(invocations(|f| is_http(&f.route)));
    let all = float(invocations(|_| true));
    let (writes, reads) = (units(|t| t.wcu), units(|t| t.rcu));
    let million = |units: f64, usd: f64| units * usd / MILLION;
    [
        ("http_api", million(http, prices.api_per_million)),
        ("lambda_requests", million(all, prices.invocations_per_million)),
        ("lambda_gb_seconds", gb_seconds * prices.on_demand_gb_second),
        ("dynamodb_writes", million(writes, prices.write_units_per_million)),
        ("dynamodb_reads", million(reads, prices.read_units_per_million)),
        ("sqs", million(float(sqs), prices.sqs_requests_per_million)),
    ]
    .map(|(part, usd)| (part.to_owned(), usd))
    .into()
}

impl Usage {
    /// The usage between two snapshots.
    #[must_use]
    pub fn between(
        before: &Snapshot,
        after: &Snapshot,
        stock_table: &str,
        sold: Sold,
        prices: &Prices,
    ) -> Self {
        let functions = subtract(&before.meter.functions, &after.meter.functions);
        let processes = subtract_processes(&before.processes, &after.processes);
        let invocations: u64 = processes.iter().map(|p| p.invocations).sum();
        let waited: u64 = processes.iter().map(|p| p.waited_for_cold_start).sum();
        let reserving = |granted: bool| {
            let of_route = functions.iter().filter(|f| f.route == RESERVE);
            of_route.filter(move |f| (f.status == 201) == granted)
        };
        let stock_wcu = |f: &FunctionUse| f.tables.get(stock_table).map_or(0.0, |t| t.wcu);
        let reads = |f: &FunctionUse| f.tables.values().map(|t| t.rcu).sum::<f64>();
        let rejected: u64 = reserving(false).map(|f| f.invocations).sum();
        let stray = |m: &Meter| m.unattributed.get(stock_table).map_or(0.0, |t| t.wcu);
        let stray_stock = stray(&after.meter) - stray(&before.meter);
        let stock_sum = functions.iter().map(stock_wcu).sum::<f64>() + stray_stock;
        let usd = list_prices(&before.meter, &after.meter, &functions, prices);
        Self {
            cold_starts: processes.iter().map(|p| p.cold_starts).sum(),
            cold_request_share: share(waited, invocations).unwrap_or(0.0),
            throttles: processes.iter().map(|p| p.throttles).sum(),
            wcu_per_reservation: ratio(reserving(true).map(stock_wcu).sum(), sold.reservations),
            wcu_per_rejection: ratio(reserving(false).map(stock_wcu).sum(), rejected),
            stock_wcu_per_sold_unit: ratio(stock_sum, sold.units),
            read_units_per_reservation: ratio(reserving(true).map(reads).sum(), sold.reservations),
            read_units_per_rejection: ratio(reserving(false).map(reads).sum(), rejected),
            usd_per_order: ratio(usd.values().sum(), sold.orders),
            prices_as_of: prices.as_of.clone(),
            usd,
            tables: subtract_tables(&before.meter, &after.meter),
            functions,
            processes,
        }
    }
}

fn subtract_tables(before: &Meter, after: &Meter) -> BTreeMap<String, TableUse> {
    let past = |table: &String| before.tables.get(table).copied().unwrap_or_default();
    let since = |(table, used): (&String, &TableUse)| (table.clone(), used.since(&past(table)));
    after.tables.iter().map(since).collect()
}

pub(crate) fn is_http(route: &str) -> bool {
    route == "$default" || route.contains(" /")
}

fn ratio(amount: f64, by: u64) -> Option<f64> {
    (by > 0).then(|| amount / float(by))
}

/// Converts a count, exactly, since counts stay far below 2^53.
#[allow(clippy::cast_precision_loss, reason = "counts of a drop")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

fn subtract(before: &[FunctionUse], after: &[FunctionUse]) -> Vec<FunctionUse> {
    let nothing = FunctionUse::default();
    let past = |f: &FunctionUse| before.iter().find(|b| b.is_like(f)).unwrap_or(&nothing);
    let rest = after.iter().map(|f| f.since(past(f)));
    rest.filter(|f| f.invocations > 0).collect()
}

pub(crate) fn subtract_processes(before: &[Processes], after: &[Processes]) -> Vec<Processes> {
    let nothing = Processes::default();
    let past = |p: &Processes| before.iter().find(|b| b.function == p.function);
    let since = |p: &Processes| p.since(past(p).unwrap_or(&nothing));
    after.iter().map(since).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(function: &str, route: &str, status: u16, invocations: u64, wcu: f64, rcu: f64) -> FunctionUse {
        FunctionUse {
            function: function.into(),
            route: route.into(),
            status,
            invocations,
            duration_ms: 1_000.0,
            tables: BTreeMap::from([(
                "stock".into(),
                TableUse {
                    wcu,
                    rcu,
                    ..TableUse::default()
                },
            )]),
        }
    }

    fn snapshot(functions: Vec<FunctionUse>, receives: u64) -> Snapshot {
        let sqs_requests = BTreeMap::from([("ReceiveMessage".to_owned(), receives)]);
        Snapshot {
            meter: Meter {
                functions,
                sqs_requests,
                ..Meter::default()
            },
            processes: vec![Processes {
                function: "reserve".into(),
                cold_starts: receives,
                invocations: 10 * receives,
                waited_for_cold_start: receives,
                ..Processes::default()
            }],
        }
    }

    #[test]
    fn granted_and_refused_reservations_are_told_apart_and_the_past_is_left_out() {
        let before = snapshot(vec![used("reserve", RESERVE, 201, 1, 100.0, 7.0)], 1);
        let after = snapshot(
            vec![
                used("reserve", RESERVE, 201, 11, 111.0, 12.0),
                used("reserve", RESERVE, 409, 100, 2.0, 30.0),
                used("reserve", RESERVE, 503, 100, 2.0, 30.0),
                used("checkout", "POST /orders", 202, 8, 39.0, 0.0),
                used("relay-events", "stream:orders", 200, 5, 0.0, 0.0),
            ],
            3,
        );
        let sold = Sold {
            reservations: 10,
            orders: 8,
            units: 6,
        };
        let usage = Usage::between(&before, &after, "stock", sold, &prices().unwrap());
        assert_eq!(usage.wcu_per_reservation, Some(1.1));
        assert_eq!(usage.wcu_per_rejection, Some(0.02));
        assert_eq!(usage.read_units_per_reservation, Some(0.5));
        assert_eq!(usage.read_units_per_rejection, Some(0.3));
        assert_eq!(usage.stock_wcu_per_sold_unit, Some(9.0));
        assert_eq!(usage.cold_starts, 2);
        assert_eq!(usage.cold_request_share, 0.1);
        // The run has 218 HTTP requests, which cost one dollar per million.
        assert!((usage.usd["http_api"] - 218.0 / 1e6).abs() < 1e-12);
        assert!((usage.usd["sqs"] - 2.0 * 0.4 / 1e6).abs() < 1e-12);
        assert!((usage.usd["dynamodb_writes"] - 54.0 * 0.625 / 1e6).abs() < 1e-12);
        let total: f64 = usage.usd.values().sum();
        assert!((usage.usd_per_order.unwrap() - total / 8.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_refused_is_no_figure() {
        let usage = Usage::between(
            &Snapshot::default(),
            &Snapshot::default(),
            "stock",
            Sold::default(),
            &prices().unwrap(),
        );
        assert_eq!(usage.wcu_per_rejection, None);
        assert_eq!(usage.wcu_per_reservation, None);
        assert_eq!(usage.usd_per_order, None);
    }
}
