//! Makes documents with round numbers, so that the expected results can be computed by hand.

use capacity::calendar::{CalendarDrop, CalendarState, NotReadyPolicy, Stretch};
use capacity::database::DatabaseBaseline;
use capacity::documents::Documents;
use capacity::observed::Observed;
use capacity::quotas::Quotas;
use domain::time::Timestamp;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// A drop of the size for which the expected results are computed, which opens at `starts_at` seconds.
pub(crate) fn reference(id: &str, starts_at: i64) -> CalendarDrop {
    CalendarDrop {
        id: id.parse().unwrap(),
        state: CalendarState::Scheduled,
        if_not_ready: NotReadyPolicy::AdmitFewer,
        starts_at: at(starts_at),
        ends_at: at(starts_at + 3_600),
        shoppers: 1_000_000,
        units: 10_000,
        peak_rps: Some(200_000),
        sold_within_seconds: 10,
        before: Stretch {
            seconds: 600,
            peak_factor: 2.0,
        },
        opening: Stretch {
            seconds: 60,
            peak_factor: 1.0,
        },
        sale_peak_factor: 1.0,
        tail: Stretch {
            seconds: 125,
            peak_factor: 1.0,
        },
    }
}

/// A drop with a hundredth of the reference's shoppers and units. Its rates follow from the shape of
/// its arrivals.
pub(crate) fn small(id: &str, starts_at: i64) -> CalendarDrop {
    CalendarDrop {
        shoppers: 10_000,
        units: 100,
        peak_rps: None,
        ..reference(id, starts_at)
    }
}

pub(crate) fn documents(calendar: Vec<CalendarDrop>) -> Documents {
    let docs: Documents = toml::from_str(
        r#"
        calendar = []

        [profile]
        source = "made up for tests"
        at_once_share = 0.1

        [[profile.group]]
        name = "browse"
        per = "shopper"
        through = "api"
        headroom = 1.2
        weight = { before = 1, opening = 4, sale = 1, tail = 0 }
        functions = [{ function = "get-drop", share = 1, p95_ms = 5, mean_ms = 4 }]

        [[profile.group]]
        name = "buy"
        per = "shopper"
        through = "api"
        headroom = 1.2
        reserved_over_provisioned = 1.25
        weight = { before = 0, opening = 8, sale = 1, tail = 0 }
        functions = [{ function = "reserve", share = 1, p95_ms = 20, mean_ms = 10 }]

        [[profile.group]]
        name = "order"
        per = "unit"
        through = "api"
        headroom = 1.2
        weight = { before = 0, opening = 4, sale = 4, tail = 1 }
        functions = [
            { function = "checkout", share = 3, p95_ms = 150, mean_ms = 50 },
            { function = "get-order", share = 7, p95_ms = 10, mean_ms = 5 },
        ]

        [[profile.group]]
        name = "settle"
        per = "unit"
        through = "events"
        headroom = 1.5
        weight = { before = 0, opening = 0, sale = 0, tail = 2.5 }
        functions = [{ function = "process-order", share = 1, p95_ms = 500, mean_ms = 300 }]

        [[profile.table]]
        table = "stock"
        write_units_per_unit = 6
        read_units_per_request = { buy = 0.2 }
        headroom = 1.25

        [[profile.queue]]
        source = "payments"
        messages_per_unit = 2.5
        handling_ms = 500
        calls_per_message = 2
        downstream = "gateway"
        headroom = 1.5

        [[profile.queue]]
        source = "ledger"
        messages_per_unit = 3
        handling_ms = 50
        calls_per_message = 2
        downstream = "database"
        headroom = 1.5

        [profile.database]
        rows_per_unit = 6
        headroom = 1.5

        [profile.lead]
        schedule_seconds = 60
        preparation_seconds = 120
        table_seconds = 300
        acu_seconds = 120
        class_seconds = 240
        failover_seconds = 120
        verification_seconds = 60
        margin_seconds = 120

        [baseline]
        [[baseline.function]]
        function = "get-drop"
        memory_mb = 256
        provisioned = 2
        [[baseline.function]]
        function = "reserve"
        memory_mb = 256
        provisioned = 2
        [[baseline.function]]
        function = "checkout"
        memory_mb = 256
        [[baseline.function]]
        function = "get-order"
        memory_mb = 256
        [[baseline.function]]
        function = "process-order"
        memory_mb = 256
        reserved = 50
        [[baseline.function]]
        function = "conduct-drop"
        memory_mb = 256
        reserved = 4

        [baseline.database]
        kind = "serverless"
        minimum_acu = 2
        maximum_acu = 64
        rows_per_second_per_acu = 100
        connections = 200

        [[baseline.table]]
        table = "stock"
        warm = { write_units = 4000, read_units = 12000 }
        allowed = { write_units = 12000, read_units = 40000 }

        [[baseline.queue]]
        source = "payments"
        function = "process-order"
        polling = { maximum_concurrency = 50 }

        [[baseline.queue]]
        source = "ledger"
        function = "conduct-drop"
        polling = { provisioned_pollers = { minimum = 2, maximum = 4 } }

        [budget]
        usd_per_hour = 200
        usd_per_drop = 400

        [prices]
        as_of = "made up for tests"
        region = "nowhere"
        api_per_million = 1
        invocations_per_million = 0.2
        on_demand_gb_second = 0.00002
        provisioned_gb_second = 0.00001
        held_gb_second = 0.000005
        held_rounding_seconds = 300
        write_units_per_million = 0.5
        read_units_per_million = 0.25
        sqs_requests_per_million = 0.4
        acu_hour = 0.1
        "#,
    )
    .unwrap();
    Documents { calendar, ..docs }
}

/// The documents of [`documents`], but with a provisioned database (a writer and two readers) instead of a serverless
/// database.
pub(crate) fn with_classes(calendar: Vec<CalendarDrop>) -> Documents {
    let mut docs = documents(calendar);
    docs.baseline.database = toml::from_str(
        r#"
        kind = "provisioned"
        class = "large"
        instances = ["one", "two", "three"]
        ladder = [
            { class = "large", rows_per_second = 200, connections = 50, usd_per_hour = 0.25 },
            { class = "xlarge", rows_per_second = 400, connections = 100, usd_per_hour = 0.5 },
            { class = "2xlarge", rows_per_second = 800, connections = 200, usd_per_hour = 1 },
        ]
        "#,
    )
    .map(|database: DatabaseBaseline| database)
    .unwrap();
    docs
}

/// Limits that the reference drop does not exceed.
pub(crate) fn plenty() -> Quotas {
    Quotas {
        account_concurrency: 40_000,
        reserved_by_others: 200,
        provisioned_per_minute: 6_000,
        api_requests_per_second: 250_000,
        api_burst: 25_000,
        table_write_units: 40_000,
        table_read_units: 40_000,
        gateway_calls_per_second: 2_000,
    }
}

/// The limits of an account that has not requested higher ones.
pub(crate) fn defaults() -> Quotas {
    Quotas {
        account_concurrency: 1_000,
        reserved_by_others: 0,
        api_requests_per_second: 10_000,
        api_burst: 5_000,
        gateway_calls_per_second: 100,
        ..plenty()
    }
}

pub(crate) fn at_baseline(docs: &Documents) -> Observed {
    Observed::at_baseline(&docs.baseline)
}
