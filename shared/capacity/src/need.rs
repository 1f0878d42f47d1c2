//! Computes the capacity that given rates need.
//!
//! A unit of Lambda's concurrency runs one request at a time, and serves at most ten requests a second however short
//! they are. So `rps` requests of 95th percentile `p95` need `max(rps × p95, rps ÷ 10)` units, which is `rps × max(p95,
//! 100 ms)`. Each function of a group is rounded up separately: rounding only the group's sum would give a function
//! with a small share too little.

use domain::limits::payment_workers;

use super::amounts::{Capacity, Concurrency, WarmThroughput};
use super::demand::Demand;
use super::documents::Documents;
use super::numbers::{units_down, units_up};
use super::profile::{Downstream, SourceUse};
use super::quotas::Quotas;

/// The shortest time that a request occupies a unit of concurrency, in ms: ten requests a second.
pub const LEAST_UNIT_MS: f64 = 100.0;

/// The units of concurrency for `rps` requests a second, with headroom.
#[must_use]
pub fn concurrency(rps: f64, p95_ms: f64, headroom: f64) -> u32 {
    units_up(rps * p95_ms.max(LEAST_UNIT_MS) / 1000.0 * headroom)
}

/// The capacity for `demand`. It is never below the baseline, and has no more warm throughput than allowed.
#[must_use]
pub fn need(docs: &Documents, quotas: &Quotas, demand: &Demand) -> Capacity {
    let mut capacity = docs.baseline.capacity();
    for group in &docs.profile.groups {
        let group_rps = demand.group_rps.get(&group.name).copied().unwrap_or(0.0);
        for (function, part) in group.parts() {
            let Some(there) = capacity.functions.get_mut(&function.function) else {
                continue;
            };
            let provisioned =
                concurrency(group_rps * part, function.p95_ms, group.headroom).max(there.provisioned);
            // A reservation limits the function, so it must never be below the provisioned concurrency.
            let over = group
                .reserved_over_provisioned
                .filter(|_| provisioned > there.provisioned);
            let reserved = over.map(|over| units_up(f64::from(provisioned) * over));
            let kept = there.reserved.map(|reserved| reserved.max(provisioned));
            *there = Concurrency {
                provisioned,
                reserved: kept.max(reserved),
            };
        }
    }
    for table in &docs.profile.tables {
        if let Some(there) = capacity.tables.get_mut(&table.table) {
            let wanted = warm_wanted(demand, &table.table, table.headroom);
            *there = there.max(wanted.min(warm_most(docs, quotas, &table.table)));
        }
    }
    capacity.database = docs.baseline.database.size_for(rows_wanted(docs, demand));
    for queue in &docs.profile.queues {
        let wanted = invocations_wanted(queue, demand);
        let most = invocations_most(docs, quotas, queue, &capacity);
        if let Some(there) = capacity.queues.get_mut(&queue.source) {
            // `wanted` and `most` may both be below the setting that the baseline declares.
            *there = there.max(there.for_invocations(wanted.min(most)));
            if queue.downstream == Downstream::Gateway {
                let invocations = there.invocations();
                cap(docs, &mut capacity, &queue.source, invocations);
            }
        }
    }
    capacity
}

/// Lowers the concurrency of a queue's function to the number of invocations that its event source makes, but
/// not below the baseline.
fn cap(docs: &Documents, capacity: &mut Capacity, source: &str, invocations: u32) {
    let Some(declared) = docs.baseline.queues.iter().find(|queue| queue.source == source) else {
        return;
    };
    let before = docs.baseline.function(&declared.function);
    if let Some(function) = capacity.functions.get_mut(&declared.function) {
        let least = before.map_or(0, |function| function.provisioned);
        function.provisioned = function.provisioned.min(invocations.max(least));
        let least = before.and_then(|function| function.reserved).unwrap_or(0);
        function.reserved = function
            .reserved
            .map(|reserved| reserved.min(invocations.max(least)).max(function.provisioned));
    }
}

/// The warm throughput that a table needs, with headroom.
#[must_use]
pub fn warm_wanted(demand: &Demand, table: &str, headroom: f64) -> WarmThroughput {
    let rates = demand.tables.get(table).copied().unwrap_or_default();
    WarmThroughput {
        write_units: units_up(rates.write * headroom),
        read_units: units_up(rates.read * headroom),
    }
}

/// The largest warm throughput that a table may get: the allowed throughput within the account's limit, but
/// at least the existing one.
#[must_use]
pub fn warm_most(docs: &Documents, quotas: &Quotas, table: &str) -> WarmThroughput {
    let limit = WarmThroughput {
        write_units: quotas.table_write_units,
        read_units: quotas.table_read_units,
    };
    let declared = docs.baseline.tables.iter().find(|t| t.table == table);
    declared.map_or_else(WarmThroughput::default, |t| t.allowed.min(limit).max(t.warm))
}

/// The rows a second that the ledger must write, with headroom.
#[must_use]
pub fn rows_wanted(docs: &Documents, demand: &Demand) -> f64 {
    let used = docs.profile.database;
    demand.settled_units_per_second * used.rows_per_unit * used.headroom
}

/// The number of concurrent invocations that a queue needs, with headroom.
#[must_use]
pub fn invocations_wanted(queue: &SourceUse, demand: &Demand) -> u32 {
    let messages_per_second = demand.settled_units_per_second * queue.messages_per_unit;
    units_up(messages_per_second * queue.handling_ms / 1000.0 * queue.headroom)
}

/// The largest number of concurrent invocations that does not overload the queue's downstream service.
#[must_use]
pub fn invocations_most(docs: &Documents, quotas: &Quotas, queue: &SourceUse, capacity: &Capacity) -> u32 {
    let (calls_per_second, connections) = match queue.downstream {
        Downstream::Gateway => (
            f64::from(quotas.gateway_calls_per_second),
            payment_workers(quotas.gateway_calls_per_second),
        ),
        Downstream::Database => {
            let database = &docs.baseline.database;
            let size = &capacity.database;
            (database.rows_per_second(size), database.connections(size))
        }
    };
    if queue.calls_per_message <= 0.0 {
        return connections;
    }
    // One invocation makes `calls_per_message` calls in `handling_ms`.
    let by_rate = calls_per_second / queue.calls_per_message * queue.handling_ms / 1000.0;
    units_down(by_rate).min(connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_requests_a_second_is_what_a_unit_serves_at_most() {
        assert_eq!(concurrency(200_000.0, 5.0, 1.0), 20_000);
        assert_eq!(concurrency(200_000.0, 5.0, 1.2), 24_000);
        assert_eq!(concurrency(100.0, 100.0, 1.0), 10);
        assert_eq!(concurrency(100.0, 250.0, 1.0), 25);
        assert_eq!(concurrency(0.0, 250.0, 1.5), 0);
        assert_eq!(concurrency(0.1, 5.0, 1.0), 1);
    }
}
