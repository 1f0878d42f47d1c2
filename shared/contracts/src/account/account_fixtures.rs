//! Makes the documents of the tests' account, and the names of its resources.

use capacity::amounts::{Polling, WarmThroughput};
use capacity::baseline::{Baseline, FunctionBaseline, QueueBaseline, TableBaseline};
use capacity::calendar::{CalendarDrop, CalendarState, NotReadyPolicy, Stretch};
use capacity::database::{ClassSize, DatabaseBaseline};
use capacity::documents::Documents;
use capacity::prices::Prices;
use capacity::profile::{
    ByPhase, CapacityProfile, DatabaseUse, FunctionShare, Group, LeadTimes, Per, Through,
};
use capacity::quotas::Budget;

use crate::fixtures::{NOW, id};

/// A function that answers requests.
pub const API: &str = "get-drop";
/// A function that handles a queue's messages.
pub const WORKER: &str = "process-order";
pub const TABLE: &str = "OrdersTable";
/// The queue's event source.
pub const SOURCE: &str = "PaymentsQueue";
/// The class of instances between drops.
pub const SMALL: &str = "db.r6g.large";
/// The larger class that instances may get.
pub const LARGE: &str = "db.r6g.xlarge";
/// The throughput of a new table.
pub const NEW_TABLE: WarmThroughput = WarmThroughput {
    write_units: 4_000,
    read_units: 12_000,
};

/// The calendar entry of a drop with the id `name`.
#[must_use]
pub fn drop_on(name: &str) -> CalendarDrop {
    let even = |seconds| Stretch {
        seconds,
        peak_factor: 1.0,
    };
    CalendarDrop {
        id: id(name),
        state: CalendarState::Scheduled,
        if_not_ready: NotReadyPolicy::MoveStart { at_most_seconds: 300 },
        starts_at: NOW.plus_seconds(3_600),
        ends_at: NOW.plus_seconds(7_200),
        shoppers: 10_000,
        units: 500,
        peak_rps: Some(900),
        sold_within_seconds: 10,
        before: even(600),
        opening: Stretch {
            seconds: 60,
            peak_factor: 2.5,
        },
        sale_peak_factor: 1.5,
        tail: even(120),
    }
}

/// Documents of an account with a Serverless v2 cluster.
#[must_use]
pub fn serverless() -> Documents {
    documents(DatabaseBaseline::Serverless {
        minimum_acu: 2.0,
        maximum_acu: 64.0,
        rows_per_second_per_acu: 100.0,
        connections: 1_000,
    })
}

/// Documents of an account with a cluster of these instances, the first of which writes.
#[must_use]
pub fn provisioned(instances: [&str; 3]) -> Documents {
    let size = |class: &str, rows_per_second| ClassSize {
        class: class.to_owned(),
        rows_per_second,
        connections: 500,
        usd_per_hour: 0.25,
    };
    documents(DatabaseBaseline::Provisioned {
        class: SMALL.to_owned(),
        instances: instances.map(str::to_owned).to_vec(),
        ladder: vec![size(SMALL, 1_000.0), size(LARGE, 2_000.0)],
    })
}

fn documents(database: DatabaseBaseline) -> Documents {
    let function = |name: &str, reserved| FunctionBaseline {
        function: name.to_owned(),
        memory_mb: 256,
        provisioned: 0,
        reserved,
    };
    Documents {
        profile: profile(),
        baseline: Baseline {
            functions: vec![function(API, None), function(WORKER, Some(20))],
            database,
            tables: vec![TableBaseline {
                table: TABLE.to_owned(),
                warm: NEW_TABLE,
                allowed: WarmThroughput {
                    write_units: 8_000,
                    read_units: 20_000,
                },
            }],
            queues: vec![QueueBaseline {
                source: SOURCE.to_owned(),
                function: WORKER.to_owned(),
                polling: Polling::MaximumConcurrency(10),
            }],
        },
        budget: Budget {
            usd_per_hour: 100.0,
            usd_per_drop: 250.5,
        },
        prices: prices(),
        calendar: vec![drop_on("autumn"), drop_on("winter")],
    }
}

fn profile() -> CapacityProfile {
    let share = |name: &str| FunctionShare {
        function: name.to_owned(),
        share: 1.0,
        p95_ms: 20.0,
        mean_ms: 8.5,
    };
    CapacityProfile {
        source: "assumed".to_owned(),
        at_once_share: 0.1,
        learns: false,
        learned_from: None,
        groups: vec![Group {
            name: "browse".to_owned(),
            per: Per::Shopper,
            through: Through::Api,
            weight: ByPhase {
                before: 1.0,
                opening: 4.0,
                sale: 2.0,
                tail: 0.0,
            },
            headroom: 1.2,
            reserved_over_provisioned: None,
            functions: vec![share(API)],
        }],
        tables: vec![],
        queues: vec![],
        database: DatabaseUse {
            rows_per_unit: 6.0,
            headroom: 1.5,
        },
        lead: LeadTimes {
            schedule_seconds: 60,
            preparation_seconds: 120,
            table_seconds: 300,
            acu_seconds: 120,
            class_seconds: 600,
            failover_seconds: 120,
            verification_seconds: 60,
            margin_seconds: 120,
        },
    }
}

fn prices() -> Prices {
    Prices {
        as_of: "a test".to_owned(),
        region: "eu-central-1".to_owned(),
        api_per_million: 1.0,
        invocations_per_million: 0.2,
        on_demand_gb_second: 0.000_013,
        provisioned_gb_second: 0.000_008,
        held_gb_second: 0.000_003,
        held_rounding_seconds: 300,
        write_units_per_million: 0.625,
        read_units_per_million: 0.125,
        sqs_requests_per_million: 0.4,
        acu_hour: 0.12,
        warm_write_unit: None,
        warm_read_unit: Some(0.01),
    }
}
