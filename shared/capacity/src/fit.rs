//! The largest share of a drop's demand that fits the account's limits and the budget.
//!
//! Capacity is not reduced for single functions, since an admitted shopper must be served by all of them. So one share
//! reduces all rates of the drop equally, and the admission rate must be lowered to it. Drops are fitted in the order
//! in which their preparation begins: a later one gets what earlier ones leave.

use serde::Serialize;

use super::amounts::Capacity;
use super::calendar::CalendarDrop;
use super::cost;
use super::demand::Demand;
use super::documents::Documents;
use super::need::{invocations_most, invocations_wanted, need, rows_wanted, warm_most, warm_wanted};
use super::numbers::{Share, units_up};
use super::profile::Downstream;
use super::quotas::{ALWAYS_UNRESERVED, Budget, Quotas};

/// A limit that the demand of a drop exceeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Lambda's concurrency in the account, in units: the baseline's functions, the reservations of others, and the
    /// part that always stays unreserved.
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
    /// Calls a second that the payment gateway accepts from a queue's function.
    GatewayRate(String),
    /// Concurrent invocations of a queue's function that the database accepts.
    DatabaseConnections(String),
}

/// The effect of a limit on the drop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Fewer shoppers are admitted each second.
    LowersAdmission,
    /// With everyone admitted, orders take longer than planned by this factor.
    DelaysOrders {
        /// The needed time over the planned time, with headroom.
        times: f64,
    },
}

/// A limit that is exceeded, its value, and the needed value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitMet {
    /// The limit.
    pub limit: Limit,
    /// The limit's value.
    pub is: f64,
    /// The value that the whole demand needs.
    pub needed: f64,
    /// The limit's effect at the current value.
    pub effect: Effect,
}

/// A drop fitted to the limits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// The share of the drop's demand that is served.
    pub share: Share,
    /// The capacity for that share, and for earlier drops.
    pub capacity: Capacity,
    /// Limits that the whole demand exceeds.
    pub limits: Vec<LimitMet>,
}

/// Fits `drop`, for which capacity is held for `hours`, beside `earlier` drops whose demand has already been fitted.
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
    let exceeded = |share: Share| {
        let (demand, capacity) = with(share);
        lowering(docs, quotas, &demand, &capacity, &before, hours)
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

/// The limits that `demand` exceeds and that lower the admission rate.
fn lowering(
    docs: &Documents,
    quotas: &Quotas,
    demand: &Demand,
    capacity: &Capacity,
    before: &Capacity,
    hours: f64,
) -> Vec<LimitMet> {
    let mut met = Met::default();
    met.check_account(docs, quotas, demand, capacity);
    met.check_tables(docs, quotas, demand);
    met.check_budget(docs, capacity, before, hours);
    met.0
}

/// Limits that lower the admission rate.
#[derive(Default)]
struct Met(Vec<LimitMet>);

impl Met {
    fn check(&mut self, limit: Limit, is: f64, needed: f64, ok: bool) {
        if !ok {
            self.0.push(LimitMet {
                limit,
                is,
                needed,
                effect: Effect::LowersAdmission,
            });
        }
    }

    fn check_units(&mut self, limit: Limit, is: u32, needed: u32) {
        self.check(limit, f64::from(is), f64::from(needed), needed <= is);
    }

    /// Lambda's concurrency and API Gateway's rate and burst.
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
        let Budget {
            usd_per_hour,
            usd_per_drop,
        } = docs.budget;
        self.check(Limit::BudgetPerHour, usd_per_hour, hourly, hourly <= usd_per_hour);
        self.check(
            Limit::BudgetPerDrop,
            usd_per_drop,
            for_drop,
            for_drop <= usd_per_drop,
        );
    }
}

/// The limits behind the queues: they delay orders and refuse no shopper.
fn delaying(docs: &Documents, quotas: &Quotas, demand: &Demand, capacity: &Capacity) -> Vec<LimitMet> {
    let mut met = Vec::new();
    let mut check = |limit: Limit, is: f64, needed: f64, times: f64| {
        if times > 1.0 {
            let effect = Effect::DelaysOrders { times };
            met.push(LimitMet {
                limit,
                is,
                needed,
                effect,
            });
        }
    };
    let rows = docs.baseline.database.rows_per_second(&capacity.database);
    let rows_wanted = rows_wanted(docs, demand);
    check(
        Limit::DatabaseSize,
        rows,
        rows_wanted,
        rows_wanted / rows.max(f64::MIN_POSITIVE),
    );
    for queue in &docs.profile.queues {
        let wanted = f64::from(invocations_wanted(queue, demand));
        match queue.downstream {
            Downstream::Gateway => {
                let calls = wanted * queue.calls_per_message * 1000.0 / queue.handling_ms;
                // However many workers there are, they keep to the rate.
                let is = f64::from(quotas.gateway_calls_per_second);
                check(
                    Limit::GatewayRate(queue.source.clone()),
                    is,
                    calls.ceil(),
                    calls / is,
                );
            }
            Downstream::Database => {
                let most = invocations_most(docs, quotas, queue, capacity);
                // What is declared stays, even if it is more than what is behind the queue takes.
                let set = capacity
                    .queues
                    .get(&queue.source)
                    .map_or(0, |polling| polling.invocations());
                let times = wanted / f64::from(set.max(1));
                check(
                    Limit::DatabaseConnections(queue.source.clone()),
                    f64::from(most),
                    wanted,
                    times,
                );
            }
        }
    }
    met
}
