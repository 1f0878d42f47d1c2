//! Defines the settings of a run: the crowd, AWS's limits, the planned capacity, and the assumed times.
//!
//! docs/SCALE.md names the source of each figure. A figure without a source is an assumption and is in
//! [`Times`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use capacity::amounts::{Concurrency, DatabaseSize, Polling, WarmThroughput};
use capacity::calendar::Stretch;
use capacity::fit::LimitMet;
use capacity::observed::{Observed, ObservedDatabase};
use capacity::plan::plan;
use capacity::quotas::Quotas;
use clap::ValueEnum;
use domain::time::Timestamp;
use prescale_plan::documents::Files;
use replay::function::Function;
use serde::Serialize;

/// The arrival rate of a crowd over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The highest rate at the opening, and half of it every ten seconds.
    Steep,
    /// The same rate for sixty seconds.
    Sustained,
    /// A rate that rises evenly for twenty seconds to twice that of the other crowds, so that each limit
    /// first refuses at its own rate.
    Ramp,
}

impl Shape {
    /// The number of shoppers of the full size.
    #[must_use]
    pub const fn shoppers(self) -> u32 {
        match self {
            Self::Steep => 1_000_000,
            // These shoppers send 12,000,000 requests within sixty seconds.
            Self::Sustained => 3_300_000,
            // These shoppers send 200,000 requests a second on average for twenty seconds.
            Self::Ramp => 1_430_000,
        }
    }

    /// The estimate that an operator gives for this many shoppers (`expected_shoppers`): five times the requests that
    /// they send in the busiest second, as the API asks for. That second has 200,000 requests of the full crowd.
    #[must_use]
    pub fn expects(self, shoppers: u32) -> u32 {
        let expects = u64::from(shoppers) * 1_000_000 / u64::from(self.shoppers());
        u32::try_from(expects).unwrap_or(u32::MAX).max(1)
    }
}

/// AWS's limits that do not depend on a plan.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Limits {
    /// Read units a second of one partition.
    pub partition_read_units: f64,
    /// Write units a second of one partition.
    pub partition_write_units: f64,
    /// Environments that a function may start within one moment after a pause (the burst).
    pub scaling_burst: f64,
    /// Environments that a function may start in each second after that.
    pub scaling_per_second: f64,
    /// The shortest time for which a request occupies an environment, in µs: ten requests a second.
    pub least_unit_us: i64,
    /// The time that a request waits for an environment before it is refused, in µs.
    pub waits_us: i64,
    /// The number of concurrent batches with which an event source of a queue begins.
    pub pollers: u32,
    /// The increase of the number of concurrent batches in each minute.
    pub pollers_per_minute: u32,
    /// The largest number of concurrent batches of an event source.
    pub pollers_most: u32,
    /// The number of lanes of one shard of a stream that are relayed concurrently.
    pub lanes_of_shard: u64,
    /// The rate of the mail service, in mails a second.
    pub mails_per_second: u32,
}

/// AWS's limits; docs/SCALE.md has the sources.
pub const LIMITS: Limits = Limits {
    partition_read_units: 3_000.0,
    partition_write_units: 1_000.0,
    scaling_burst: 1_000.0,
    scaling_per_second: 100.0,
    least_unit_us: 100_000,
    waits_us: 0,
    pollers: 5,
    pollers_per_minute: 300,
    pollers_most: 1_250,
    lanes_of_shard: 10,
    mails_per_second: 14,
};

/// The number of processes of a function on the local stack.
const PROCESSES_HERE: u32 = 8;
/// More of each resource than the local stack needs.
const PLENTY: u32 = 1_000_000;

impl Limits {
    /// The local stack's limits: a process serves one request after another, and a request waits a second for
    /// a process.
    #[must_use]
    pub const fn here() -> Self {
        Self {
            scaling_burst: PLENTY as f64,
            least_unit_us: 0,
            waits_us: 1_000_000,
            mails_per_second: PLENTY,
            ..LIMITS
        }
    }
}

impl Capacity {
    /// The local stack's capacity: a few processes of each function, new tables, and no other limit.
    #[must_use]
    pub fn here() -> Self {
        let of_function = |function: Function| {
            let concurrency = Concurrency {
                reserved: Some(PROCESSES_HERE),
                ..Concurrency::default()
            };
            (function.name().to_owned(), concurrency)
        };
        let new = Self::of_new_account();
        Self {
            quotas: Quotas {
                account_concurrency: PLENTY,
                api_requests_per_second: PLENTY,
                api_burst: PLENTY,
                gateway_calls_per_second: domain::limits::MAX_GATEWAY_CALLS_PER_SECOND,
                ..new.quotas
            },
            functions: Function::ALL.into_iter().map(of_function).collect(),
            ledger_rows_per_second: f64::from(PLENTY),
            ..new
        }
    }

    /// The first capacity of an account, without a plan.
    #[must_use]
    pub const fn of_new_account() -> Self {
        Self {
            planned: false,
            quotas: Quotas {
                account_concurrency: 1_000,
                reserved_by_others: 0,
                provisioned_per_minute: 6_000,
                api_requests_per_second: 10_000,
                api_burst: 5_000,
                table_write_units: 40_000,
                table_read_units: 40_000,
                gateway_calls_per_second: 100,
            },
            functions: BTreeMap::new(),
            tables: BTreeMap::new(),
            queues: BTreeMap::new(),
            ledger_rows_per_second: 200.0,
            plan_limits: Vec::new(),
        }
    }
}

/// Assumed times, in microseconds: each is drawn evenly from the first to the second value.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Times {
    /// The way from the client through API Gateway to the function, and back.
    pub front_us: [i64; 2],
    /// A function's own work on a request, such as JSON and the check of the token's signature.
    pub work_us: [i64; 2],
    pub cold_start_us: [i64; 2],
    /// The time of one in twenty cold starts.
    pub slow_start_us: [i64; 2],
    /// A read of DynamoDB.
    pub read_us: [i64; 2],
    /// A write of one item.
    pub write_us: [i64; 2],
    pub transaction_us: [i64; 2],
    /// A call of the payment gateway.
    pub gateway_us: [i64; 2],
    /// A call of the mail service.
    pub mail_us: [i64; 2],
    /// Sending a batch to a queue.
    pub send_us: [i64; 2],
    /// The time from a change of an order to the relay of its record.
    pub stream_us: [i64; 2],
    /// The time from the send of a message to its receipt by an idle poller.
    pub queue_us: [i64; 2],
    /// The largest offset of an environment's clock.
    pub skew_us: i64,
    /// The time from a change at the payment gateway to the webhook about it.
    pub webhook_us: [i64; 2],
    /// The round trip of a connection to the ledger, without the time of the rows.
    pub ledger_us: [i64; 2],
}

/// The assumed times on AWS.
pub const TIMES: Times = Times {
    front_us: [4_000, 12_000],
    work_us: [500, 1_500],
    cold_start_us: [120_000, 280_000],
    slow_start_us: [280_000, 900_000],
    read_us: [2_000, 6_000],
    write_us: [3_000, 9_000],
    transaction_us: [8_000, 22_000],
    gateway_us: [150_000, 550_000],
    mail_us: [20_000, 60_000],
    send_us: [5_000, 20_000],
    stream_us: [50_000, 250_000],
    queue_us: [10_000, 60_000],
    skew_us: 20_000,
    webhook_us: [50_000, 300_000],
    ledger_us: [2_000, 8_000],
};

impl Times {
    /// The local stack's times: all services are on one machine, and the sandbox gateway answers immediately.
    #[must_use]
    pub const fn here() -> Self {
        Self {
            gateway_us: [5_000, 40_000],
            mail_us: [1_000, 10_000],
            send_us: [1_000, 5_000],
            stream_us: [5_000, 50_000],
            queue_us: [1_000, 20_000],
            webhook_us: [5_000, 50_000],
            skew_us: 0,
            ..TIMES
        }
    }
}

/// The capacity at the opening of the drop.
#[derive(Debug, Clone, Serialize)]
pub struct Capacity {
    /// Whether pre-scaling's plan was applied; otherwise the capacity is the declared baseline.
    pub planned: bool,
    /// The account's limits.
    pub quotas: Quotas,
    pub functions: BTreeMap<String, Concurrency>,
    /// The capacity by table. A table that no document names has the capacity of a new table.
    pub tables: BTreeMap<String, WarmThroughput>,
    /// The polling of each queue's event source, by the queue's name in the template.
    pub queues: BTreeMap<String, Polling>,
    pub ledger_rows_per_second: f64,
    /// The limits that the plan reaches.
    pub plan_limits: Vec<LimitMet>,
}

impl Capacity {
    /// The capacity of a table in a second, by its name in the template.
    #[must_use]
    pub fn warm(&self, table: &str) -> WarmThroughput {
        (self.tables.get(table)).map_or(NEW_TABLE, |warm| warm.max(NEW_TABLE))
    }
}

/// The capacity of a new on-demand table.
const NEW_TABLE: WarmThroughput = WarmThroughput {
    write_units: 4_000,
    read_units: 12_000,
};

/// The capacity by the documents in `files`, for a drop of `units` whose operator `expects` so many shoppers.
///
/// # Errors
///
/// When a document cannot be read, or pre-scaling has no capacity planned for the drop.
pub fn capacity(
    files: &Files,
    shape: Shape,
    expects: u32,
    units: u32,
    planned: bool,
) -> anyhow::Result<Capacity> {
    let reference = files.folder.join("drops/reference-spike.toml");
    let mut input = prescale_plan::documents::read(files, &reference, &[])?;
    let drop =
        (input.documents.calendar.first_mut()).context("the reference spike is not on its calendar")?;
    drop.shoppers = expects;
    drop.units = units;
    drop.peak_rps = Some(capacity::calendar::peak_rps(expects, units));
    if shape == Shape::Sustained {
        drop.opening = Stretch {
            seconds: 60,
            peak_factor: 1.0,
        };
    }
    let hour_before = Timestamp::from_millis(drop.starts_at.as_millis() - 3_600_000);
    let baseline = &input.documents.baseline;
    let mut there = Observed::at_baseline(baseline);
    let mut plan_limits = Vec::new();
    if planned {
        let plan = plan(&input.documents, &input.quotas, &there, &input.drop, hour_before)?;
        there = plan.up.iter().fold(there, |there, step| there.after(&step.step));
        plan_limits = plan.limits;
    }
    let rows_per_second = match there.database {
        ObservedDatabase::Serverless { minimum_acu } => {
            (baseline.database).rows_per_second(&DatabaseSize::MinimumAcu(minimum_acu))
        }
        ObservedDatabase::Provisioned { .. } => 0.0,
    };
    Ok(Capacity {
        planned,
        quotas: input.quotas,
        functions: (there.functions.into_iter())
            .map(|(name, function)| (name, function.asked))
            .collect(),
        tables: there.tables,
        queues: there.queues,
        ledger_rows_per_second: rows_per_second.max(1.0),
        plan_limits,
    })
}

impl Settings {
    /// An account with its first limits and without a plan or a crowd.
    #[must_use]
    pub const fn of_new_account() -> Self {
        Self {
            seed: 1,
            shape: Shape::Steep,
            drop: None,
            shoppers: 0,
            expects: 1,
            units: 1,
            skus: 1,
            cdn: false,
            lifted: Vec::new(),
            design: None,
            seconds: None,
            hold_seconds: 15,
            payment_seconds: 20,
            open_seconds: 120,
            capacity: Capacity::of_new_account(),
            limits: LIMITS,
            times: TIMES,
        }
    }
}

/// A limit that a run may lift, to observe the other limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Lifted {
    /// API Gateway's rate.
    Api,
    /// Environments: every function has provisioned environments for all its requests.
    Environments,
    /// The table of the stock.
    Stock,
    /// The table of the purchase counters.
    Purchases,
    /// The table of the orders and its indexes.
    Orders,
    /// The table of the drops and its calendar.
    Drops,
    /// The table of the status documents.
    Status,
}

/// A former design of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OldDesign {
    /// Every environment reads the single item of its drop once a second, strongly consistent, and cannot
    /// continue when that read is refused.
    OneDropItem,
    /// An allocation is divided into shards of 24 units for a crowd of any size, and every reservation
    /// request reads both shards of its shopper.
    FewShards,
    /// One item of counts for each SKU, which every environment of `reserve` reads once a second. When it
    /// cannot be read, six more shards are read, and no result is cached.
    OneCountsItem,
}

/// The settings of a whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// The seed of all random numbers.
    pub seed: u64,
    /// The arrival rate of the crowd over time.
    pub shape: Shape,
    /// The drop file that replaces the goods, the shoppers and their arrival times; `None` for the settings'
    /// own.
    pub drop: Option<PathBuf>,
    /// The number of shoppers.
    pub shoppers: u32,
    /// The operator's estimate of the number of shoppers, which a drop file replaces.
    pub expects: u32,
    /// Units on sale.
    pub units: u32,
    /// The number of SKUs, among which the units are divided evenly.
    pub skus: u32,
    /// Whether a CDN is in front of the cacheable routes.
    pub cdn: bool,
    /// Lifted limits, which refuse nothing.
    pub lifted: Vec<Lifted>,
    /// The former design of the hot path that replaces the current design; `None` for the current design.
    pub design: Option<OldDesign>,
    /// The longest run after the opening, in virtual seconds; `None` to run until no work is left.
    pub seconds: Option<u32>,
    /// The time that a reservation is held, in seconds.
    pub hold_seconds: u32,
    /// The time limit for actions that the payment requires of the shopper, in seconds.
    pub payment_seconds: u32,
    /// The time from the opening to the end of the drop, in seconds.
    pub open_seconds: u32,
    /// The capacity at the opening.
    pub capacity: Capacity,
    /// AWS's limits that do not depend on a plan.
    pub limits: Limits,
    /// The assumed times.
    pub times: Times,
}
