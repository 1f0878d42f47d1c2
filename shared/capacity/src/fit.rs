//! Finds the largest share of a drop's demand that fits the account's limits and the budget.
//!
//! The capacity of single functions is not reduced, since every function must serve an admitted shopper. So
//! one share reduces all rates of the drop equally, and the admission rate must be lowered to this share.
//! Drops are fitted in the order in which their preparation begins, so a later drop gets the capacity that
//! earlier drops leave.

use serde::Serialize;

use super::amounts::Capacity;
use super::calendar::CalendarDrop;
use super::cost;
use super::demand::Demand;
use super::documents::Documents;
use super::need::{invocations_most, invocations_wanted, need, rows_wanted, warm_most, warm_wanted};
use super::numbers::{Share, units_up};
use super::profile::Downstream;
use super::quotas::{ALWAYS_UNRESERVED, Quotas};

/// A limit that the demand of a drop exceeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Lambda's concurrency in the account, in units. It must suffice for the baseline's functions, the
    /// reservations of other functions, and the part that always stays unreserved.
    AccountConcurrency,
    /// API Gateway's rate, in requests a second.
    ApiRate,
    /// API Gateway's token bucket, in simultaneous requests.
    ApiBurst,
    /// A table's write units a second.
    TableWrites(String),
    /// A table's read units a second.
    TableReads(String),
    /// The warm write units that the baseline allows a table.
    AllowedWarmWrites(String),
    /// The warm read units that the baseline allows a table.
    AllowedWarmReads(String),
    /// The budget per hour, in US dollars.
    BudgetPerHour,
    /// The budget per drop, in US dollars.
    BudgetPerDrop,
    /// The database's largest size, in rows a second.
    DatabaseSize,
    /// The rate of calls that the payment gateway accepts, in calls a second; with the name of the queue
    /// whose function makes the calls.
    GatewayRate(String),
    /// The number of concurrent invocations that the database accepts; with the name of the queue whose
    /// function is invoked.
    DatabaseConnections(String),
}

/// The effect of a limit on the drop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Fewer shoppers are admitted each second, so that the demand stays within the limit.
    LowersAdmission,
    /// All shoppers are admitted, but their orders take longer than planned by this factor.
    DelaysOrders {
        /// The needed time divided by the planned time, with headroom.
        times: f64,
    },
}

/// A limit that the demand exceeds, with the limit's value and the needed value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitMet {
    /// The limit that is exceeded.
    pub limit: Limit,
    /// The value of the limit.
    pub is: f64,
    /// The value that the drop's whole demand needs.
    pub needed: f64,
    /// The effect of the limit on the drop.
    pub effect: Effect,
}

/// The share of a drop's demand that fits the limits, and the capacity for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// The share of the drop's demand that the capacity serves.
    pub share: Share,
    /// The capacity for this share and for the earlier drops.
    pub capacity: Capacity,
    /// The limits that the drop's whole demand exceeds.
    pub limits: Vec<LimitMet>,
}

/// Fits `drop`, for which capacity is held for `hours`, to the capacity that the `earlier` drops leave. Their
/// demand has already been fitted.
#[must_use]
pub fn fit(
    docs: &Documents,
    quotas: &Quotas,
    earlier: &[(&CalendarDrop, Demand)],
    drop: &CalendarDrop,
    hours: f64,
) -> Fit {
    let before = need(docs, quotas, &Demand::of_all(earlier));
    let with = |share: Share| {
        let mut all = earlier.to_vec();
        all.push((drop, Demand::at(docs, drop, share)));
        let demand = Demand::of_all(&all);
        let capacity = need(docs, quotas, &demand);
        (demand, capacity)
    };
    // The exceeded limits that lower the admission rate.
    let exceeded = |share: Share| {
        let (demand, capacity) = with(share);
        let mut met = Met(Vec::new());
        met.check_account(docs, quotas, &demand, &capacity);
        met.check_tables(docs, quotas, &demand);
        met.check_budget(docs, &capacity, &before, hours);
        met.0
    };
    let share = Share::largest(|share| exceeded(share).is_empty()).unwrap_or(Share::NONE);
    let mut limits = exceeded(Share::WHOLE);
    let (whole, for_all) = with(Share::WHOLE);
    limits.extend(delaying(docs, quotas, &whole, &for_all));
    let (_, capacity) = with(share);
    Fit {
        share,
        capacity,
        limits,
    }
}

/// The limits that are exceeded.
struct Met(Vec<LimitMet>);

impl Met {
    fn check(&mut self, limit: Limit, is: f64, needed: f64, ok: bool) {
        if !ok {
            self.add(limit, is, needed, Effect::LowersAdmission);
        }
    }

    /// Checks a limit of a service that processes the queues' messages. `times` is the factor by which orders take
    /// longer.
    fn check_delay(&mut self, limit: Limit, is: f64, needed: f64, times: f64) {
        if times > 1.0 {
            self.add(limit, is, needed, Effect::DelaysOrders { times });
        }
    }

    fn add(&mut self, limit: Limit, is: f64, needed: f64, effect: Effect) {
        self.0.push(LimitMet {
            limit,
            is,
            needed,
            effect,
        });
    }

    fn check_units(&mut self, limit: Limit, is: u32, needed: u32) {
        self.check(limit, f64::from(is), f64::from(needed), needed <= is);
    }

    /// Checks Lambda's concurrency, and API Gateway's rate and burst.
    fn check_account(&mut self, docs: &Documents, quotas: &Quotas, demand: &Demand, capacity: &Capacity) {
        let taken = capacity.concurrency_taken();
        let beside = u64::from(quotas.reserved_by_others) + u64::from(ALWAYS_UNRESERVED);
        let needed = f64::from(u32::try_from(taken + beside).unwrap_or(u32::MAX));
        let fits = taken <= u64::from(quotas.concurrency_for_us());
        let is = f64::from(quotas.account_concurrency);
        self.check(Limit::AccountConcurrency, is, needed, fits);
        let rps = units_up(demand.api_rps);
        self.check_units(Limit::ApiRate, quotas.api_requests_per_second, rps);
        let at_once = units_up(demand.api_rps * docs.profile.at_once_share);
        self.check_units(Limit::ApiBurst, quotas.api_burst, at_once);
    }

    fn check_tables(&mut self, docs: &Documents, quotas: &Quotas, demand: &Demand) {
        for used in &docs.profile.tables {
            let table = || used.table.clone();
            let wanted = warm_wanted(demand, &used.table, used.headroom);
            let most = warm_most(docs, quotas, &used.table);
            let (writes, reads) = (wanted.write_units, wanted.read_units);
            let most_writes = quotas.table_write_units.max(most.write_units);
            let most_reads = quotas.table_read_units.max(most.read_units);
            self.check_units(Limit::TableWrites(table()), most_writes, writes);
            self.check_units(Limit::TableReads(table()), most_reads, reads);
            self.check_units(Limit::AllowedWarmWrites(table()), most.write_units, writes);
            self.check_units(Limit::AllowedWarmReads(table()), most.read_units, reads);
        }
    }

    fn check_budget(&mut self, docs: &Documents, capacity: &Capacity, before: &Capacity, hours: f64) {
        let usd = |capacity: &Capacity| cost::usd_per_hour(docs, capacity);
        let hourly = usd(capacity) - usd(&docs.baseline.capacity());
        let for_drop = (usd(capacity) - usd(before)) * hours;
        let most = docs.budget.usd_per_hour;
        self.check(Limit::BudgetPerHour, most, hourly, hourly <= most);
        let most = docs.budget.usd_per_drop;
        self.check(Limit::BudgetPerDrop, most, for_drop, for_drop <= most);
    }
}

/// The exceeded limits of the services that process the queues' messages. These limits delay orders but
/// refuse no shopper.
fn delaying(docs: &Documents, quotas: &Quotas, demand: &Demand, capacity: &Capacity) -> Vec<LimitMet> {
    let mut met = Met(Vec::new());
    let rows = docs.baseline.database.rows_per_second(&capacity.database);
    let wanted = rows_wanted(docs, demand);
    let times = wanted / rows.max(f64::MIN_POSITIVE);
    met.check_delay(Limit::DatabaseSize, rows, wanted, times);
    for queue in &docs.profile.queues {
        let wanted = f64::from(invocations_wanted(queue, demand));
        let source = queue.source.clone();
        match queue.downstream {
            Downstream::Gateway => {
                let calls = wanted * queue.calls_per_message * 1000.0 / queue.handling_ms;
                // More workers do not help: all workers together keep to the gateway's rate.
                let is = f64::from(quotas.gateway_calls_per_second);
                met.check_delay(Limit::GatewayRate(source), is, calls.ceil(), calls / is);
            }
            Downstream::Database => {
                let most = f64::from(invocations_most(docs, quotas, queue, capacity));
                // The declared setting stays, even if it allows more invocations than the database accepts.
                let set = capacity.queues.get(&source);
                let set = set.map_or(0, |polling| polling.invocations());
                let times = wanted / f64::from(set.max(1));
                met.check_delay(Limit::DatabaseConnections(source), most, wanted, times);
            }
        }
    }
    met.0
}
