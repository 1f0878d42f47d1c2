//! Computes the cost of capacity, held and running, compared with the same drop without pre-scaling. The
//! costs are estimates before the drop: they apply list prices to the plan.

use serde::Serialize;

use super::amounts::{Capacity, WarmThroughput};
use super::calendar::CalendarDrop;
use super::documents::Documents;
use super::profile::{Group, Per, TableUse, Through};
use super::steps::Step;
use super::window::Window;

const MILLION: f64 = 1_000_000.0;
const SECONDS_PER_HOUR: f64 = 3_600.0;
const MB_PER_GB: f64 = 1_024.0;

/// The cost of a group of functions, in US dollars.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupCost {
    /// The group, by its name in the profile.
    pub group: String,
    /// The units of provisioned concurrency, over all functions of the group.
    pub provisioned: u32,
    /// The number of requests that are expected over the whole drop.
    pub requests: f64,
    /// The cost of the provisioned concurrency for an hour, in US dollars.
    pub held_usd_per_hour: f64,
    /// The cost of the provisioned concurrency for the whole window, in US dollars.
    pub held_usd: f64,
    /// The cost of the requests, in US dollars: API, invocations, and run time at the price of
    /// provisioned concurrency.
    pub running_usd: f64,
    /// The cost of the same requests on demand, without provisioned concurrency, in US dollars.
    pub unscaled_usd: f64,
}

/// The cost of a drop's plan, in US dollars by list prices. It counts all expected requests, even if limits
/// admit fewer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// The date of the price list.
    pub prices_as_of: String,
    /// The longest time for which capacity is held, in seconds, rounded up as AWS bills it.
    pub held_seconds: u32,
    /// The cost of each group of functions.
    pub groups: Vec<GroupCost>,
    /// The cost of the database for an hour at the planned size, in US dollars.
    pub database_usd_per_hour: f64,
    /// The cost of the database for the window at the planned size, in US dollars.
    pub database_usd: f64,
    /// The cost of the database for the window at its baseline size, in US dollars.
    pub database_unscaled_usd: f64,
    /// The cost of the tables' read and write units, in US dollars. Pre-scaling does not change this cost.
    pub tables_usd: f64,
    /// The one-time cost of the raised warm throughput, in US dollars; `None` if it is raised and the list
    /// has no price for it.
    pub warm_usd_once: Option<f64>,
    /// The cost for an hour of all capacity beyond the baseline, in US dollars.
    pub held_usd_per_hour: f64,
    /// The whole cost of this drop, in US dollars.
    pub total_usd: f64,
    /// The cost of the same drop without pre-scaling, in US dollars.
    pub unscaled_usd: f64,
}

/// The cost of holding `capacity` for an hour, in US dollars, whether or not it is used.
#[must_use]
pub fn usd_per_hour(docs: &Documents, capacity: &Capacity) -> f64 {
    let functions: f64 = (capacity.functions.iter())
        .map(|(name, concurrency)| held_usd_per_hour(docs, name, concurrency.provisioned))
        .sum();
    let database = &docs.baseline.database;
    functions + database.usd_per_hour(&capacity.database, docs.prices.acu_hour)
}

/// The change of the cost by a step, in US dollars: for an hour, and once (`None` if the list has no price
/// for it).
#[must_use]
pub fn step_usd(docs: &Documents, step: &Step) -> (f64, Option<f64>) {
    let database = &docs.baseline.database;
    let hourly = match step {
        Step::Provision { function, from, to } => {
            held_usd_per_hour(docs, function, *to) - held_usd_per_hour(docs, function, *from)
        }
        Step::SetMinimumAcu { from, to } => (to - from) * docs.prices.acu_hour,
        Step::ChangeClass { from, to, .. } => {
            database.class_usd_per_hour(to) - database.class_usd_per_hour(from)
        }
        Step::Warm { from, to, .. } => return (0.0, warm_usd(docs, *from, *to)),
        Step::Reserve { .. } | Step::FailOver { .. } | Step::Poll { .. } => 0.0,
    };
    (hourly, Some(0.0))
}

/// The cost of holding `capacity` for `drop` over `window`, and of running the drop.
#[must_use]
pub fn cost(docs: &Documents, drop: &CalendarDrop, window: &Window, capacity: &Capacity) -> Cost {
    let prices = &docs.prices;
    let rounding = prices.held_rounding_seconds.max(1);
    let held_seconds = window.held_seconds().div_ceil(rounding).saturating_mul(rounding);
    let hours = f64::from(held_seconds) / SECONDS_PER_HOUR;
    let baseline = docs.baseline.capacity();
    let groups = docs.profile.groups.iter();
    let groups: Vec<GroupCost> = groups
        .map(|group| group_cost(docs, drop, group, capacity, hours))
        .collect();
    let database = |size| docs.baseline.database.usd_per_hour(size, prices.acu_hour);
    let (database_usd_per_hour, everyday) = (database(&capacity.database), database(&baseline.database));
    let tables_usd = tables_usd(docs, drop);
    let warm = capacity.tables.iter();
    let warm = warm.map(|(name, to)| warm_usd(docs, baseline.table(name), *to));
    let warm_usd_once = warm.sum::<Option<f64>>();
    let sum = |of: fn(&GroupCost) -> f64| -> f64 { groups.iter().map(of).sum() };
    Cost {
        prices_as_of: prices.as_of.clone(),
        held_seconds,
        database_usd_per_hour,
        database_usd: database_usd_per_hour * hours,
        database_unscaled_usd: everyday * hours,
        tables_usd,
        warm_usd_once,
        held_usd_per_hour: usd_per_hour(docs, capacity) - usd_per_hour(docs, &baseline),
        total_usd: sum(|g| g.held_usd + g.running_usd)
            + database_usd_per_hour * hours
            + tables_usd
            + warm_usd_once.unwrap_or(0.0),
        unscaled_usd: sum(|g| g.unscaled_usd) + everyday * hours + tables_usd,
        groups,
    }
}

fn gigabytes(docs: &Documents, function: &str) -> f64 {
    let function = docs.baseline.function(function);
    function.map_or(0.0, |f| f64::from(f.memory_mb) / MB_PER_GB)
}

fn held_usd_per_hour(docs: &Documents, function: &str, provisioned: u32) -> f64 {
    f64::from(provisioned) * gigabytes(docs, function) * docs.prices.held_gb_second * SECONDS_PER_HOUR
}

/// The number of a group's requests over the whole drop.
fn requests(drop: &CalendarDrop, group: &Group) -> f64 {
    let count = match group.per {
        Per::Shopper => f64::from(drop.shoppers),
        Per::Unit => f64::from(drop.units),
    };
    count * group.weight.all().iter().sum::<f64>()
}

fn group_cost(
    docs: &Documents,
    drop: &CalendarDrop,
    group: &Group,
    capacity: &Capacity,
    hours: f64,
) -> GroupCost {
    let prices = &docs.prices;
    let requests = requests(drop, group);
    let api = if group.through == Through::Api {
        prices.api_per_million
    } else {
        0.0
    };
    let fees = requests * (api + prices.invocations_per_million) / MILLION;
    let gb_seconds: f64 = (group.parts())
        .map(|(f, part)| requests * part * f.mean_ms / 1000.0 * gigabytes(docs, &f.function))
        .sum();
    let provisioned = |function: &str| capacity.function(function).provisioned;
    let functions = || group.functions.iter().map(|f| f.function.as_str());
    let held: f64 = functions()
        .map(|name| held_usd_per_hour(docs, name, provisioned(name)))
        .sum();
    GroupCost {
        group: group.name.clone(),
        provisioned: functions().map(provisioned).sum(),
        requests,
        held_usd_per_hour: held,
        held_usd: held * hours,
        running_usd: fees + gb_seconds * prices.provisioned_gb_second,
        unscaled_usd: fees + gb_seconds * prices.on_demand_gb_second,
    }
}

fn tables_usd(docs: &Documents, drop: &CalendarDrop) -> f64 {
    let prices = &docs.prices;
    let of = |table: &TableUse| {
        let writes = f64::from(drop.units) * table.write_units_per_unit;
        let reads: f64 = (docs.profile.groups.iter())
            .map(|g| table.reads(g) * requests(drop, g))
            .sum();
        (writes * prices.write_units_per_million + reads * prices.read_units_per_million) / MILLION
    };
    docs.profile.tables.iter().map(of).sum()
}

fn warm_usd(docs: &Documents, from: WarmThroughput, to: WarmThroughput) -> Option<f64> {
    let priced = |units: u32, price: Option<f64>| match (units, price) {
        (0, _) => Some(0.0),
        (units, price) => price.map(|usd| f64::from(units) * usd),
    };
    let writes = to.write_units.saturating_sub(from.write_units);
    let reads = to.read_units.saturating_sub(from.read_units);
    let writes = priced(writes, docs.prices.warm_write_unit)?;
    let reads = priced(reads, docs.prices.warm_read_unit)?;
    Some(writes + reads)
}
