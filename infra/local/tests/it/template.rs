//! Tests the consistency of the project's template.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use stampede_local::stack::sample_surroundings;
use stampede_local::template::{
    Function, Model, OnFailure, Route, Statement, Surroundings, bucket_arn, function_arn, load, queue_arn,
    stream_arn, table_arn,
};

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
    let mut functions: BTreeSet<String> = model().functions.into_keys().collect();
    // The function `migrate-ledger` is in the template of network and database, which is deployed before this template.
    functions.insert("migrate-ledger".to_owned());
    assert_eq!(functions, crates);
}

#[test]
fn tables_and_queues_have_their_names() {
    let model = model();
    let tables: Vec<&str> = model.tables.keys().map(String::as_str).collect();
    assert_eq!(
        tables,
        [
            "addresses",
            "drops",
            "orders",
            "prescale",
            "purchases",
            "status",
            "stock"
        ]
    );
    let queues: Vec<&str> = model.queues.keys().map(String::as_str).collect();
    assert_eq!(
        queues,
        [
            "ledger",
            "ledger-dlq",
            "mail",
            "mail-dlq",
            "payments",
            "payments-dlq",
            "relay-parked"
        ]
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
        error.contains("Environment") && error.contains("LedgerHost"),
        "{error}"
    );
}

#[test]
fn functions_that_no_drop_scales_have_concurrency_of_their_own_where_the_stage_says_so() {
    let reserved = |value: &str| {
        let mut surroundings = sample_surroundings();
        (surroundings.parameters).insert("ReservedConcurrency".to_owned(), value.to_owned());
        let functions = load(&text(), &surroundings).unwrap().functions;
        let reserved = functions
            .into_iter()
            .filter_map(|(name, f)| Some((name, f.reserved?)));
        reserved.collect::<Vec<_>>()
    };
    assert_eq!(reserved("false"), [("prescale".to_owned(), 1)]);
    let all = reserved("true");
    assert_eq!(all.len(), 8, "{all:?}");
    // The parameter's description and infra/prescale/quotas-raised.toml state this number too.
    assert_eq!(all.iter().map(|(_, units)| units).sum::<usize>(), 206);
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

/// Permitted wide patterns, with the function's name (`-` means every function). They are for reads for which AWS has
/// no resource or that pre-scaling makes on all resources; for the cluster's instances, which a tag identifies; and for
/// resources whose names Lambda chooses, such as log streams.
const WIDE: [(&str, &str, &str); 11] = [
    ("prescale", "lambda:GetAccountSettings", "*"),
    ("prescale", "lambda:ListFunctions", "*"),
    ("prescale", "lambda:GetFunctionConcurrency", "*"),
    ("prescale", "lambda:ListProvisionedConcurrencyConfigs", "*"),
    ("prescale", "cloudwatch:GetMetricData", "*"),
    ("prescale", "rds:DescribeDBInstances", "db:*"),
    ("prescale", "rds:ModifyDBInstance", "db:*"),
    ("-", "logs:CreateLogStream", "-log:*"),
    ("-", "logs:PutLogEvents", "-log:*"),
    ("relay-events", "dynamodb:ListStreams", "table/orders/stream/*"),
    ("relay-events", "s3:PutObject", "relay-failures/aws/lambda/*"),
];

#[test]
fn no_statement_allows_more_than_it_names() {
    for function in model().functions.values() {
        for statement in &function.statements {
            assert_eq!(statement.effect, "Allow");
            for action in &statement.action {
                let wide = |(name, allowed, end): &(&str, &str, &str)| {
                    action == allowed
                        && [function.name.as_str(), "-"].contains(name)
                        && statement.resource.ends_with(end)
                };
                // Only Lambda itself may use these statements.
                let for_lambda = function.in_network
                    && action.starts_with("ec2:")
                    && statement.condition["Null"]["lambda:SourceFunctionArn"] == "true";
                assert!(
                    !statement.resource.contains('*') || for_lambda || WIDE.iter().any(wide),
                    "{}: {action} {}",
                    function.name,
                    statement.resource
                );
            }
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
        let mut told: BTreeSet<String> = function
            .environment
            .iter()
            .filter_map(|(name, value)| {
                if name.ends_with("_TABLE") {
                    Some(table_arn(value))
                } else if name.ends_with("_PARAMETER") {
                    Some(local("ssm", &format!("parameter{value}")))
                } else if name.ends_with("_SECRET") {
                    let id = value.strip_prefix("secretsmanager:")?.split('#').next()?;
                    Some(local("secretsmanager", &format!("secret:{id}-??????")))
                } else {
                    name.ends_with("_QUEUE_URL").then(|| queue_of(value))
                }
            })
            .collect();
        let sender = function.environment.get("MAIL_FROM");
        let domain = sender.and_then(|from| Some(from.split_once('@')?.1));
        told.extend(domain.map(|domain| local("ses", &format!("identity/{domain}"))));
        let database = function.environment.get("DATABASE_URL");
        told.extend(database.map(|url| user_arn(url)));
        let names = function.environment.get("NAMES");
        told.extend(names.into_iter().flat_map(|names| named(names)));
        if let Some(path) = function.environment.get("DOCUMENTS_PATH") {
            let parameter = |rest: &str| local("ssm", &format!("parameter{path}{rest}"));
            told.extend(["", "/calendar", "/profile", "/quotas"].map(parameter));
        }
        let mut allowed: BTreeSet<String> = function
            .statements
            .iter()
            .filter(|s| !of_source(function, s))
            .map(|s| s.resource.split("/index/").next().unwrap().to_owned())
            .collect();
        allowed.retain(|resource| !resource.ends_with('*'));
        assert_eq!(told, allowed, "{}", function.name);
    }
}

/// Whether the statement is about an event source of the function or its bucket for failed records. Lambda uses these
/// resources, so the function gets no variable for them.
fn of_source(function: &Function, statement: &Statement) -> bool {
    let queues = function.queues.iter().map(|source| queue_arn(&source.queue));
    let streams = function.streams.iter().map(|source| stream_arn(&source.table));
    let buckets = function
        .streams
        .iter()
        .filter_map(|source| match source.on_failure.as_ref()? {
            OnFailure::Bucket(name) => Some(bucket_arn(name)),
            OnFailure::Queue(_) => None,
        });
    queues
        .chain(streams)
        .chain(buckets)
        .any(|arn| arn == statement.resource)
}

fn queue_of(url: &str) -> String {
    queue_arn(url.rsplit('/').next().unwrap())
}

/// The ARN of the database user that a database URL names. The function with this URL may sign in as this user.
fn user_arn(url: &str) -> String {
    let (user, _) = url
        .strip_prefix("postgresql://")
        .unwrap()
        .split_once('@')
        .unwrap();
    local("rds-db", &format!("dbuser:cluster-LOCAL/{user}"))
}

fn local(service: &str, rest: &str) -> String {
    format!("arn:aws:{service}:us-east-1:000000000000:{rest}")
}

/// The ARNs of the resources that the variable `NAMES` of pre-scaling names.
fn named(names: &str) -> Vec<String> {
    let names: Value = serde_json::from_str(names).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = |kind: &str| names[kind].as_object().unwrap().values();
    let mut resources: Vec<String> = all("tables").map(|table| table_arn(&text(table))).collect();
    for source in all("sources") {
        resources.push(queue_of(&text(&source["queue_url"])));
        let mapping = text(&source["mapping"]);
        resources.push(local("lambda", &format!("event-source-mapping:{mapping}")));
    }
    for function in all("functions") {
        let arn = function_arn(&text(&function["name"]));
        resources.push(format!("{arn}:{}", text(&names["alias"])));
        resources.push(arn);
    }
    resources.push(local("rds", &format!("cluster:{}", text(&names["cluster"]))));
    resources
}

#[test]
fn prescaling_is_told_the_names_of_what_the_baseline_declares() {
    let model = model();
    let names: Value = serde_json::from_str(&model.functions["prescale"].environment["NAMES"]).unwrap();
    let baseline = Path::new(env!("CARGO_MANIFEST_DIR")).join("../prescale/baseline.toml");
    let baseline: toml::Value = toml::from_str(&std::fs::read_to_string(baseline).unwrap()).unwrap();
    for (kind, list, key) in [
        ("functions", "function", "function"),
        ("tables", "table", "table"),
        ("sources", "queue", "source"),
    ] {
        let declared = baseline[list].as_array().unwrap().iter();
        let declared: BTreeSet<&str> = declared.map(|one| one[key].as_str().unwrap()).collect();
        let told: BTreeSet<&str> = names[kind]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(told, declared, "{kind}");
    }
    let tables = names["tables"].as_object().unwrap().values();
    let mut scaled: BTreeSet<&str> = tables.map(|table| table.as_str().unwrap()).collect();
    scaled.insert("prescale");
    let every: BTreeSet<&str> = model.tables.keys().map(String::as_str).collect();
    assert_eq!(scaled, every, "a drop uses every table but pre-scaling's own");
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../prescale/profile.toml");
    let profile: toml::Value = toml::from_str(&std::fs::read_to_string(profile).unwrap()).unwrap();
    for list in ["table", "queue"] {
        let key = if list == "table" { "table" } else { "source" };
        let listed = |document: &toml::Value| -> BTreeSet<String> {
            let all = document[list].as_array().unwrap().iter();
            all.map(|one| one[key].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(listed(&profile), listed(&baseline), "{list}");
    }
    for (name, function) in names["functions"].as_object().unwrap() {
        assert_eq!(
            function["name"],
            name.as_str(),
            "locally a function is called as its binary"
        );
        let trial = function["trial"].as_str().unwrap();
        let routes = &model.functions[name].routes;
        let fits = |route: &Route| match route {
            Route::Path { method, path } => trial == format!("{method} {}", path.replace("{drop_id}", "-")),
            Route::Default => false,
        };
        // A trial invocation has no token. These functions refuse such a request before they read any data, so their
        // trial may be a POST.
        let has_a_token = ["reserve", "checkout", "get-order"].contains(&name.as_str());
        assert!(
            (trial == "batch" && routes.is_empty())
                || (routes.iter().any(fits) && (has_a_token || trial.starts_with("GET "))),
            "{name}: {trial}"
        );
    }
    for source in names["sources"].as_object().unwrap().values() {
        let queue = source["queue_url"].as_str().unwrap().rsplit('/').next().unwrap();
        let mapping = source["mapping"].as_str().unwrap();
        let mut sources = model.functions.values().flat_map(|f| &f.queues);
        assert!(
            sources.any(|source| source.id == mapping && source.queue == queue),
            "{mapping}"
        );
    }
}

#[test]
fn prescaling_runs_every_minute_one_at_a_time_and_knows_its_timeout() {
    let model = model();
    let prescale = &model.functions["prescale"];
    assert_eq!(prescale.reserved, Some(1));
    assert_eq!(prescale.async_retries, 0);
    let schedule = &prescale.schedules[0];
    assert_eq!(schedule.every.as_secs(), 60);
    assert_eq!(schedule.input.as_deref(), Some(r#"{"mode":"apply"}"#));
    let told: u64 = prescale.environment["TIMEOUT_SECONDS"].parse().unwrap();
    assert_eq!(told, prescale.timeout.as_secs());
    let others = model.functions.values().filter(|f| f.name != "prescale");
    for function in others {
        assert!(
            function.reserved.is_none() && !function.needs_control_planes(),
            "{}",
            function.name
        );
    }
    // Lambda allows 4 KB of environment variables. A name that CloudFormation makes may have 64 characters, and the
    // variables have up to 20 such names.
    let variables: usize = prescale.environment.iter().map(|(k, v)| k.len() + v.len()).sum();
    assert!(variables + 20 * 64 < 4_096, "{variables}");
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
        "operate-drop",
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
            "GET /operator/orders operate-drop",
            "GET /orders get-order",
            "GET /orders/{order_id} get-order",
            "POST /drops/{drop_id}/reservations reserve",
            "POST /operator/drops/{drop_id}/cancel operate-drop",
            "POST /operator/drops/{drop_id}/extend operate-drop",
            "POST /operator/drops/{drop_id}/message operate-drop",
            "POST /operator/drops/{drop_id}/pause operate-drop",
            "POST /operator/drops/{drop_id}/publish operate-drop",
            "POST /operator/drops/{drop_id}/reschedule operate-drop",
            "POST /operator/drops/{drop_id}/restock operate-drop",
            "POST /operator/drops/{drop_id}/resume operate-drop",
            "POST /operator/orders/{order_id}/end operate-drop",
            "POST /operator/orders/{order_id}/keep operate-drop",
            "POST /orders checkout",
            "POST /orders/{order_id}/cancel get-order",
            "POST /orders/{order_id}/payments get-order",
            "POST /payments/{gateway}/webhook receive-webhook",
            "PUT /operator/drops/{drop_id} operate-drop",
        ]
    );
}
