//! The capacity profile: the measured load of shoppers and sold units.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use domain::drops::FieldError;
use domain::ids::DropId;

use super::mistakes::Mistakes;
use crate::{members, scalars};

/// One value for each phase of a drop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByPhase<T> {
    /// Arrivals before the opening.
    pub before: T,
    /// The surge at the opening.
    pub opening: T,
    /// From the end of the surge to the end of the drop.
    pub sale: T,
    /// After the end, while open orders are paid or ended.
    pub tail: T,
}

members!(ByPhase<T>: before, opening, sale, tail);

/// The base of a group's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Requests for each expected shopper.
    Shopper,
    /// Requests for each unit on sale.
    Unit,
}

scalars!(Per);

/// How requests reach a group's functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    /// The HTTP API, whose rate limit counts them.
    Api,
    /// Queues, streams and schedules.
    Events,
}

scalars!(Through);

/// One function's part in its group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionShare {
    /// The function.
    pub function: String,
    /// The function's share of the group's requests, relative to the others' shares.
    pub share: f64,
    /// The 95th percentile of a request's duration, warm, in ms.
    pub p95_ms: f64,
    /// The mean duration of a request, warm, in ms; it determines the running cost.
    pub mean_ms: f64,
}

members!(FunctionShare: function, share, p95_ms, mean_ms);

/// Functions that are scaled together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// The base of the weights.
    pub per: Per,
    /// How its requests arrive.
    pub through: Through,
    /// Requests for each shopper or unit, in each phase.
    pub weight: ByPhase<f64>,
    /// Capacity over need, such as 1.2.
    pub headroom: f64,
    /// Set for a group that others must not starve: reserved concurrency over provisioned, such as 1.25. The part above
    /// 1 is left for spill-over. The reservation also limits the group, so that it cannot starve others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_over_provisioned: Option<f64>,
    /// The group's functions.
    pub functions: Vec<FunctionShare>,
}

members!(Group: name, per, through, weight, headroom, reserved_over_provisioned, functions);

/// The use of a table in a drop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableUse {
    /// The table.
    pub table: String,
    /// Write units for each unit sold, refused writes included.
    pub write_units_per_unit: f64,
    /// Read units for each request, by group.
    #[serde(default)]
    pub read_units_per_request: BTreeMap<String, f64>,
    /// Capacity over need.
    pub headroom: f64,
}

members!(TableUse:
    table, write_units_per_unit, read_units_per_request or BTreeMap::new(), headroom,
);

/// The downstream service of a queue's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Downstream {
    /// The payment gateway, with a limit on calls a second.
    Gateway,
    /// The ledger's database, with limits on connections and rows a second.
    Database,
}

scalars!(Downstream);

/// The messages of a queue in a drop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceUse {
    /// The event source, named after its queue.
    pub source: String,
    /// Messages for each unit sold.
    pub messages_per_unit: f64,
    /// The 95th percentile of the time to handle one message, in ms.
    pub handling_ms: f64,
    /// Calls to the gateway, or rows written, for each message.
    pub calls_per_message: f64,
    /// The receiver of those calls.
    pub downstream: Downstream,
    /// Capacity over need.
    pub headroom: f64,
}

members!(SourceUse:
    source, messages_per_unit, handling_ms, calls_per_message, downstream, headroom,
);

/// The ledger's writes in a drop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseUse {
    /// Rows written for each unit sold.
    pub rows_per_unit: f64,
    /// Capacity over need.
    pub headroom: f64,
}

members!(DatabaseUse: rows_per_unit, headroom);

/// The duration of each part of the preparation, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeadTimes {
    /// The longest time until the next run begins.
    pub schedule_seconds: u32,
    /// The time before the first unit of provisioned concurrency is allocated.
    pub preparation_seconds: u32,
    /// The time until a table has its warm throughput.
    pub table_seconds: u32,
    /// The time until the database has reached a higher minimum ACU.
    pub acu_seconds: u32,
    /// The time to change one database instance's class.
    pub class_seconds: u32,
    /// The time of a database failover.
    pub failover_seconds: u32,
    /// The time to read everything back and to invoke each function once.
    pub verification_seconds: u32,
    /// A margin for failures.
    pub margin_seconds: u32,
}

members!(LeadTimes:
    schedule_seconds, preparation_seconds, table_seconds, acu_seconds, class_seconds,
    failover_seconds, verification_seconds, margin_seconds,
);

/// The whole profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapacityProfile {
    /// The origin of the numbers: the measured run, or "assumed".
    pub source: String,
    /// The part of the busiest second's API requests that arrive simultaneously, when shoppers' pages open together.
    /// The API's token bucket must be large enough for them.
    pub at_once_share: f64,
    /// Whether each drop's measured load changes the numbers. Otherwise they are maintained by hand.
    #[serde(default, skip_serializing_if = "is_false")]
    pub learns: bool,
    /// The drop that changed the numbers last. It is written together with them, so that one drop changes them only
    /// once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned_from: Option<DropId>,
    /// Functions, by group.
    #[serde(rename = "group")]
    pub groups: Vec<Group>,
    /// Hot tables.
    #[serde(rename = "table", default)]
    pub tables: Vec<TableUse>,
    /// Queues.
    #[serde(rename = "queue", default)]
    pub queues: Vec<SourceUse>,
    /// The ledger.
    pub database: DatabaseUse,
    /// The duration of the preparation.
    pub lead: LeadTimes,
}

members!(CapacityProfile:
    source, at_once_share, learns or false, learned_from, groups as "group",
    tables as "table" or Vec::new(), queues as "queue" or Vec::new(), database, lead,
);

/// The largest weight, share or number of units per other unit.
pub(super) const MOST_PER: f64 = 100_000.0;
/// The largest headroom.
const MOST_HEADROOM: f64 = 10.0;
/// The longest run time of a function on Lambda, in ms.
pub(super) const MOST_MS: f64 = 900_000.0;
/// The shortest valid run time, in ms.
pub(super) const LEAST_MS: f64 = 0.1;
/// The longest duration of one part of the preparation, in seconds.
const MOST_LEAD_SECONDS: u32 = 14_400;

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl CapacityProfile {
    /// All mistakes within the profile.
    #[must_use]
    pub fn mistakes(&self) -> Vec<FieldError> {
        let mut m = Mistakes::default();
        self.check(&mut m);
        m.found()
    }

    pub(super) fn check(&self, m: &mut Mistakes) {
        m.check(
            !self.source.trim().is_empty(),
            "profile.source",
            "says where the numbers come from",
        );
        m.within(self.at_once_share, 0.0, 1.0, "profile.at_once_share");
        self.check_groups(m);
        self.check_tables(m);
        self.check_queues(m);
        m.within(
            self.database.rows_per_unit,
            0.0,
            MOST_PER,
            "profile.database.rows_per_unit",
        );
        m.within(
            self.database.headroom,
            1.0,
            MOST_HEADROOM,
            "profile.database.headroom",
        );
        for (field, seconds) in self.lead.all() {
            m.check(
                seconds <= MOST_LEAD_SECONDS,
                format!("profile.lead.{field}"),
                format!("0 to {MOST_LEAD_SECONDS}"),
            );
        }
    }

    fn check_groups(&self, m: &mut Mistakes) {
        m.check(!self.groups.is_empty(), "profile.group", "at least one");
        for (n, group) in self.groups.iter().enumerate() {
            let at = format!("profile.group[{n}]");
            m.name(
                &group.name,
                self.groups.iter().take(n).map(|g| g.name.as_str()),
                format!("{at}.name"),
            );
            m.within(group.headroom, 1.0, MOST_HEADROOM, format!("{at}.headroom"));
            let ByPhase {
                before,
                opening,
                sale,
                tail,
            } = group.weight;
            for (phase, weight) in [
                ("before", before),
                ("opening", opening),
                ("sale", sale),
                ("tail", tail),
            ] {
                m.within(weight, 0.0, MOST_PER, format!("{at}.weight.{phase}"));
            }
            if let Some(over) = group.reserved_over_provisioned {
                m.within(
                    over,
                    1.0,
                    MOST_HEADROOM,
                    format!("{at}.reserved_over_provisioned"),
                );
            }
            m.check(
                !group.functions.is_empty(),
                format!("{at}.functions"),
                "at least one",
            );
            self.check_functions(m, n, group);
        }
        let gathered = self
            .groups
            .iter()
            .any(|g| g.per == Per::Shopper && g.weight.opening > 0.0);
        m.check(
            gathered,
            "profile.group",
            "some group counts shoppers' requests at the opening",
        );
    }

    fn check_tables(&self, m: &mut Mistakes) {
        for (n, table) in self.tables.iter().enumerate() {
            let at = format!("profile.table[{n}]");
            m.name(
                &table.table,
                self.tables.iter().take(n).map(|t| t.table.as_str()),
                format!("{at}.table"),
            );
            m.within(table.headroom, 1.0, MOST_HEADROOM, format!("{at}.headroom"));
            m.within(
                table.write_units_per_unit,
                0.0,
                MOST_PER,
                format!("{at}.write_units_per_unit"),
            );
            for (group, units) in &table.read_units_per_request {
                let at = format!("{at}.read_units_per_request.{group}");
                m.check(
                    self.groups.iter().any(|g| g.name == *group),
                    &at,
                    "names a group of the profile",
                );
                m.within(*units, 0.0, MOST_PER, at);
            }
        }
    }

    fn check_queues(&self, m: &mut Mistakes) {
        for (n, queue) in self.queues.iter().enumerate() {
            let at = format!("profile.queue[{n}]");
            m.name(
                &queue.source,
                self.queues.iter().take(n).map(|q| q.source.as_str()),
                format!("{at}.source"),
            );
            m.within(queue.headroom, 1.0, MOST_HEADROOM, format!("{at}.headroom"));
            m.within(
                queue.messages_per_unit,
                0.0,
                MOST_PER,
                format!("{at}.messages_per_unit"),
            );
            m.within(queue.handling_ms, LEAST_MS, MOST_MS, format!("{at}.handling_ms"));
            m.within(
                queue.calls_per_message,
                0.0,
                MOST_PER,
                format!("{at}.calls_per_message"),
            );
        }
    }

    fn check_functions(&self, m: &mut Mistakes, n: usize, group: &Group) {
        let earlier_groups = || self.groups.iter().take(n).flat_map(|g| &g.functions);
        for (k, function) in group.functions.iter().enumerate() {
            let at = format!("profile.group[{n}].functions[{k}]");
            let earlier = earlier_groups()
                .chain(group.functions.iter().take(k))
                .map(|f| f.function.as_str());
            m.name(&function.function, earlier, format!("{at}.function"));
            m.check(
                function.share > 0.0 && function.share <= MOST_PER,
                format!("{at}.share"),
                format!("above 0, at most {MOST_PER}"),
            );
            m.within(function.p95_ms, LEAST_MS, MOST_MS, format!("{at}.p95_ms"));
            m.within(function.mean_ms, LEAST_MS, MOST_MS, format!("{at}.mean_ms"));
        }
    }
}

impl Group {
    /// Each function with its part of the group's requests, 0 to 1.
    pub fn parts(&self) -> impl Iterator<Item = (&FunctionShare, f64)> {
        let sum: f64 = self.functions.iter().map(|f| f.share).sum();
        self.functions
            .iter()
            .map(move |f| (f, if sum > 0.0 { f.share / sum } else { 0.0 }))
    }
}

impl LeadTimes {
    const fn all(&self) -> [(&'static str, u32); 8] {
        [
            ("schedule_seconds", self.schedule_seconds),
            ("preparation_seconds", self.preparation_seconds),
            ("table_seconds", self.table_seconds),
            ("acu_seconds", self.acu_seconds),
            ("class_seconds", self.class_seconds),
            ("failover_seconds", self.failover_seconds),
            ("verification_seconds", self.verification_seconds),
            ("margin_seconds", self.margin_seconds),
        ]
    }
}
