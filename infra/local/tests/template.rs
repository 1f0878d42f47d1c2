//! The template of the project: what it says must hold together.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::path::Path;

use domain::limits::{PROCESS_ORDER_TIMEOUT_SECONDS, PROJECT_LEDGER_TIMEOUT_SECONDS};
use stampede_local::stack::sample_surroundings;
use stampede_local::template::{Model, Route, Surroundings, load, queue_arn, table_arn};

fn text() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml")).unwrap()
}

fn model() -> Model {
    load(&text(), &sample_surroundings()).unwrap()
}

#[test]
fn every_function_is_built_from_a_crate_of_its_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates: BTreeSet<String> = std::fs::read_dir(root.join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let functions: BTreeSet<String> = model().binaries().map(str::to_owned).collect();
    assert_eq!(functions, crates);
}

#[test]
fn tables_and_queues_have_their_names() {
    let model = model();
    let tables: Vec<&str> = model.tables.keys().map(String::as_str).collect();
    assert_eq!(
        tables,
        ["addresses", "drops", "orders", "prescale", "purchases", "status", "stock"]
    );
    let queues: Vec<&str> = model.queues.keys().map(String::as_str).collect();
    assert_eq!(
        queues,
        ["ledger", "ledger-dlq", "payments", "payments-dlq", "relay-parked"]
    );
    let streamed: Vec<&str> = model
        .tables
        .values()
        .filter(|t| t.streamed)
        .map(|t| t.name.as_str())
        .collect();
    assert_eq!(streamed, ["orders"], "above all the addresses are in no stream");
}

#[test]
fn every_variable_of_every_function_has_a_value() {
    for function in model().functions.values() {
        for (name, value) in &function.environment {
            assert!(
                !value.is_empty() && !value.contains("{{") && !value.contains("${"),
                "{} {name}={value}",
                function.name
            );
        }
    }
}

#[test]
fn a_variable_without_a_value_is_named() {
    let error = load(&text(), &Surroundings::default()).unwrap_err().to_string();
    assert!(
        error.contains("Environment") && error.contains("/stampede/"),
        "{error}"
    );
}

#[test]
fn a_received_message_stays_hidden_for_six_timeouts() {
    let model = model();
    for function in model.functions.values() {
        for source in &function.queues {
            let queue = &model.queues[&source.queue];
            assert!(
                queue.visibility >= function.timeout * 6,
                "{} and {}",
                queue.name,
                function.name
            );
            assert!(source.partial, "{} reports no partial failures", function.name);
            assert!(queue.redrive.is_some(), "{} has no dead-letter queue", queue.name);
        }
        for source in &function.streams {
            assert!(
                source.partial && source.bisect && source.on_failure.is_some(),
                "{}",
                function.name
            );
        }
    }
}

#[test]
fn an_api_function_answers_before_the_gateway_gives_up() {
    for function in model().functions.values().filter(|f| !f.routes.is_empty()) {
        assert!(function.timeout.as_secs() <= 30, "{}", function.name);
    }
}

#[test]
fn the_workers_timeouts_are_those_their_budgets_were_made_for() {
    for (function, seconds) in [
        ("process-order", PROCESS_ORDER_TIMEOUT_SECONDS),
        ("project-ledger", PROJECT_LEDGER_TIMEOUT_SECONDS),
    ] {
        assert_eq!(
            model().functions[function].timeout.as_secs(),
            u64::from(seconds),
            "{function}"
        );
    }
}

#[test]
fn no_statement_allows_more_than_it_names() {
    for function in model().functions.values() {
        for statement in &function.statements {
            assert_eq!(statement.effect, "Allow");
            assert!(
                !statement.resource.contains('*'),
                "{}: {}",
                function.name,
                statement.resource
            );
            for action in &statement.action {
                assert!(
                    !action.contains('*') && action.contains(':'),
                    "{}: {action}",
                    function.name
                );
            }
        }
    }
}

#[test]
fn what_a_function_is_told_of_it_may_use_and_the_other_way_round() {
    let model = model();
    for function in model.functions.values() {
        let told: BTreeSet<String> = function
            .environment
            .iter()
            .filter_map(|(name, value)| {
                if name.ends_with("_TABLE") {
                    Some(table_arn(value))
                } else {
                    name.ends_with("_QUEUE_URL")
                        .then(|| queue_arn(value.rsplit('/').next().unwrap()))
                }
            })
            .collect();
        let allowed: BTreeSet<String> = function
            .statements
            .iter()
            .map(|s| s.resource.split("/index/").next().unwrap().to_owned())
            .collect();
        assert_eq!(told, allowed, "{}", function.name);
    }
}

#[test]
fn only_the_functions_of_the_order_write_to_it() {
    let orders = table_arn("orders");
    let writers: BTreeSet<String> = model()
        .functions
        .values()
        .filter(|f| {
            f.statements.iter().any(|s| {
                s.resource == orders
                    && s.action
                        .iter()
                        .any(|a| a.ends_with("PutItem") || a.ends_with("UpdateItem"))
            })
        })
        .map(|f| f.name.clone())
        .collect();
    let expected = [
        "checkout",
        "conduct-drop",
        "get-order",
        "process-order",
        "sweep-orders",
    ];
    assert_eq!(writers.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn the_routes_are_those_of_the_api() {
    let mut routes: Vec<String> = model()
        .functions
        .values()
        .flat_map(|f| {
            f.routes.iter().map(|route| match route {
                Route::Path { method, path } => format!("{method} {path} {}", f.name),
                Route::Default => format!("$default {}", f.name),
            })
        })
        .collect();
    routes.sort();
    assert_eq!(
        routes,
        [
            "$default answer-default",
            "DELETE /drops/{drop_id}/reservations/{reservation_id} reserve",
            "GET /drops get-drop",
            "GET /drops/{drop_id} get-drop",
            "GET /drops/{drop_id}/reservations/{reservation_id} reserve",
            "GET /drops/{drop_id}/status get-drop",
            "GET /openapi.json answer-default",
            "GET /operator/drops/{drop_id} operate-drop",
            "GET /operator/drops/{drop_id}/readiness operate-drop",
            "GET /orders get-order",
            "GET /orders/{order_id} get-order",
            "POST /drops/{drop_id}/reservations reserve",
            "POST /operator/drops/{drop_id}/cancel operate-drop",
            "POST /operator/drops/{drop_id}/extend operate-drop",
            "POST /operator/drops/{drop_id}/pause operate-drop",
            "POST /operator/drops/{drop_id}/publish operate-drop",
            "POST /operator/drops/{drop_id}/restock operate-drop",
            "POST /operator/drops/{drop_id}/resume operate-drop",
            "POST /orders checkout",
            "POST /orders/{order_id}/cancel get-order",
            "PUT /operator/drops/{drop_id} operate-drop",
        ]
    );
}
