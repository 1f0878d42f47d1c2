//! Defines the capacity profile: the load that shoppers and sold units cause, as measured or assumed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use domain::drops::FieldError;
use domain::ids::DropId;

use super::mistakes::Mistakes;
pub use super::phase::ByPhase;
use super::phase::Phase;
use crate::{members, scalars};

/// The unit to which a group's weights refer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// The weights count requests for each expected shopper.
    Shopper,
    /// The weights count requests for each unit on sale.
    Unit,
}

scalars!(Per);

/// How requests reach the functions of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    /// Requests arrive through the HTTP API, whose rate limit counts them.
    Api,
    /// Events arrive from queues, streams and schedules.
    Events,
}

scalars!(Through);

/// The part of one function in the requests of its group, and the duration of its requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionShare {
    /// The function, by its name in the baseline.
    pub function: String,
    /// The function's share of the group's requests, relative to the shares of the other functions.
    pub share: f64,
    /// The 95th percentile of the duration of a warm request, in ms. It determines the concurrency.
    pub p95_ms: f64,
    /// The mean duration of a warm request, in ms. It determines the cost of running.
    pub mean_ms: f64,
}

members!(FunctionShare: function, share, p95_ms, mean_ms);

/// Functions that are scaled together, since the same requests load them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The group's name, such as `buy`, by which tables and plans refer to the group.
    pub name: String,
    /// The unit to which the group's weights refer.
    pub per: Per,
    /// How the group's requests arrive.
    pub through: Through,
    /// The number of requests for each shopper or unit, in each phase.
    pub weight: ByPhase<f64>,
    /// The ratio of the planned capacity to the need, for example 1.2.
    pub headroom: f64,
    /// The ratio of reserved to provisioned concurrency, for example 1.25; `None` for a group without a
    /// reservation. A reservation guarantees the group its concurrency, and also limits the group, so that it
    /// cannot take the concurrency of others. The part of the ratio above 1 is for requests beyond
    /// provisioned concurrency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_over_provisioned: Option<f64>,
    /// The group's functions.
    pub functions: Vec<FunctionShare>,
}

members!(Group: name, per, through, weight, headroom, reserved_over_provisioned, functions);

/// The units of one table that a drop uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableUse {
    /// The table, by its name in the baseline.
    pub table: String,
    /// The write units for each unit sold, including those of refused writes.
    pub write_units_per_unit: f64,
    /// The read units for each request, by the name of the group.
    #[serde(default)]
    pub read_units_per_request: BTreeMap<String, f64>,
    /// The ratio of the planned capacity to the need, for example 1.2.
    pub headroom: f64,
}

members!(TableUse:
    table, write_units_per_unit, read_units_per_request or BTreeMap::new(), headroom,
);

impl TableUse {
    /// The read units for each request of `group`.
    #[must_use]
    pub fn reads(&self, group: &Group) -> f64 {
        let units = self.read_units_per_request.get(&group.name);
        units.copied().unwrap_or(0.0)
    }
}

/// The service that a queue's messages load, and whose limits bound the queue's invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Downstream {
    /// The payment gateway, which limits the calls a second.
    Gateway,
    /// The ledger's database, which limits the connections and the rows a second.
    Database,
}

scalars!(Downstream);

/// The messages of one queue that a drop causes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceUse {
    /// The name of the event source, which is that of its queue.
    pub source: String,
    /// The number of messages for each unit sold.
    pub messages_per_unit: f64,
    /// The 95th percentile of the time to handle one message, in ms.
    pub handling_ms: f64,
    /// The number of calls to the gateway, or of rows written, for each message.
    pub calls_per_message: f64,
    /// The service that receives these calls.
    pub downstream: Downstream,
    /// The ratio of the planned capacity to the need, for example 1.2.
    pub headroom: f64,
}

members!(SourceUse:
    source, messages_per_unit, handling_ms, calls_per_message, downstream, headroom,
);

/// The rows that a drop writes to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseUse {
    /// The number of rows written for each unit sold.
    pub rows_per_unit: f64,
    /// The ratio of the planned capacity to the need, for example 1.2.
    pub headroom: f64,
}

members!(DatabaseUse: rows_per_unit, headroom);

/// The duration of each part of the preparation of a drop, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeadTimes {
    /// The longest time until the next run begins, in seconds.
    pub schedule_seconds: u32,
    /// The time before Lambda allocates the first unit of provisioned concurrency, in seconds.
    pub preparation_seconds: u32,
    /// The time until a table has its warm throughput, in seconds.
    pub table_seconds: u32,
    /// The time until the database has reached a higher minimum ACU, in seconds.
    pub acu_seconds: u32,
    /// The time to change the class of one database instance, in seconds.
    pub class_seconds: u32,
    /// The time of a failover of the database, in seconds.
    pub failover_seconds: u32,
    /// The time to read all settings back and to invoke each function once, in seconds.
    pub verification_seconds: u32,
    /// The additional time for failures, in seconds.
    pub margin_seconds: u32,
}

members!(LeadTimes:
    schedule_seconds, preparation_seconds, table_seconds, acu_seconds, class_seconds,
    failover_seconds, verification_seconds, margin_seconds,
);

/// The whole profile: the load of each group, table and queue, and the times of the preparation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapacityProfile {
    /// The origin of the numbers: the name of the measured run, or "assumed".
    pub source: String,
    /// The part of the busiest second's API requests that arrive simultaneously, since shoppers' pages open
    /// at the same time. The API's token bucket must be large enough for these requests.
    pub at_once_share: f64,
    /// Whether the measured load of each drop changes the numbers. If not, engineers maintain them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub learns: bool,
    /// The drop that changed the numbers last. It is written together with the numbers, so that one drop
    /// changes them only once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned_from: Option<DropId>,
    /// The groups of functions.
    #[serde(rename = "group")]
    pub groups: Vec<Group>,
    /// The tables that drops load heavily.
    #[serde(rename = "table", default)]
    pub tables: Vec<TableUse>,
    /// The queues whose messages drops cause.
    #[serde(rename = "queue", default)]
    pub queues: Vec<SourceUse>,
    /// The rows that drops write to the ledger.
    pub database: DatabaseUse,
    /// The durations of the parts of the preparation.
    pub lead: LeadTimes,
}

members!(CapacityProfile:
    source, at_once_share, learns or false, learned_from, groups as "group",
    tables as "table" or Vec::new(), queues as "queue" or Vec::new(), database, lead,
);

/// The largest weight, share, or number of units for each other unit.
pub(super) const MOST_PER: f64 = 100_000.0;
/// The largest headroom.
const MOST_HEADROOM: f64 = 10.0;
/// The longest run time of a function on Lambda, in ms.
pub(super) const MOST_MS: f64 = 900_000.0;
/// The shortest valid run time, in ms.
pub(super) const LEAST_MS: f64 = 0.1;
/// The longest duration of one part of the preparation that a profile may state, in seconds.
const MOST_LEAD_SECONDS: u32 = 14_400;

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl CapacityProfile {
    /// All mistakes within the profile; the list is empty if there are none.
    #[must_use]
    pub fn mistakes(&self) -> Vec<FieldError> {
        let mut m = Mistakes::default();
        m.part("profile", |m| self.check(m));
        m.found()
    }

    pub(super) fn check(&self, m: &mut Mistakes) {
        let is_named = !self.source.trim().is_empty();
        m.check(is_named, "source", "says where the numbers come from");
        m.within(self.at_once_share, 0.0, 1.0, "at_once_share");
        self.check_groups(m);
        self.check_tables(m);
        self.check_queues(m);
        m.part("database", |m| {
            m.within(self.database.rows_per_unit, 0.0, MOST_PER, "rows_per_unit");
            m.within(self.database.headroom, 1.0, MOST_HEADROOM, "headroom");
        });
        let lead = &self.lead;
        for (field, seconds) in [
            ("schedule_seconds", lead.schedule_seconds),
            ("preparation_seconds", lead.preparation_seconds),
            ("table_seconds", lead.table_seconds),
            ("acu_seconds", lead.acu_seconds),
            ("class_seconds", lead.class_seconds),
            ("failover_seconds", lead.failover_seconds),
            ("verification_seconds", lead.verification_seconds),
            ("margin_seconds", lead.margin_seconds),
        ] {
            let rule = format!("0 to {MOST_LEAD_SECONDS}");
            m.check(seconds <= MOST_LEAD_SECONDS, format!("lead.{field}"), rule);
        }
    }

    fn check_groups(&self, m: &mut Mistakes) {
        m.check(!self.groups.is_empty(), "group", "at least one");
        let mut earlier: Vec<&str> = Vec::new();
        m.list("group", &self.groups, ("name", |g| &g.name), |m, group| {
            m.within(group.headroom, 1.0, MOST_HEADROOM, "headroom");
            for phase in Phase::ALL {
                m.within(*group.weight.of(phase), 0.0, MOST_PER, format!("weight.{phase}"));
            }
            let over = group.reserved_over_provisioned.unwrap_or(1.0);
            m.within(over, 1.0, MOST_HEADROOM, "reserved_over_provisioned");
            m.check(!group.functions.is_empty(), "functions", "at least one");
            for (n, function) in group.functions.iter().enumerate() {
                m.part(format!("functions[{n}]"), |m| {
                    m.name(&function.function, earlier.iter().copied(), "function");
                    let (share, rule) = (function.share, format!("above 0, at most {MOST_PER}"));
                    m.check(share > 0.0 && share <= MOST_PER, "share", rule);
                    m.within(function.p95_ms, LEAST_MS, MOST_MS, "p95_ms");
                    m.within(function.mean_ms, LEAST_MS, MOST_MS, "mean_ms");
                });
                earlier.push(&function.function);
            }
        });
        let gathers = |group: &Group| group.per == Per::Shopper && group.weight.opening > 0.0;
        let rule = "some group counts shoppers' requests at the opening";
        m.check(self.groups.iter().any(gathers), "group", rule);
    }

    fn check_tables(&self, m: &mut Mistakes) {
        m.list("table", &self.tables, ("table", |t| &t.table), |m, table| {
            m.within(table.headroom, 1.0, MOST_HEADROOM, "headroom");
            m.within(table.write_units_per_unit, 0.0, MOST_PER, "write_units_per_unit");
            for (group, units) in &table.read_units_per_request {
                let at = format!("read_units_per_request.{group}");
                let known = self.groups.iter().any(|g| g.name == *group);
                m.check(known, &at, "names a group of the profile");
                m.within(*units, 0.0, MOST_PER, at);
            }
        });
    }

    fn check_queues(&self, m: &mut Mistakes) {
        m.list("queue", &self.queues, ("source", |q| &q.source), |m, queue| {
            m.within(queue.headroom, 1.0, MOST_HEADROOM, "headroom");
            m.within(queue.messages_per_unit, 0.0, MOST_PER, "messages_per_unit");
            m.within(queue.handling_ms, LEAST_MS, MOST_MS, "handling_ms");
            m.within(queue.calls_per_message, 0.0, MOST_PER, "calls_per_message");
        });
    }
}

impl Group {
    /// Each function of the group with its part of the group's requests, 0 to 1.
    pub fn parts(&self) -> impl Iterator<Item = (&FunctionShare, f64)> {
        let sum: f64 = self.functions.iter().map(|f| f.share).sum();
        self.functions
            .iter()
            .map(move |f| (f, if sum > 0.0 { f.share / sum } else { 0.0 }))
    }
}
