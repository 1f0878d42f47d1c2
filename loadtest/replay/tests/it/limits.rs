//! Checks that the limits that the libraries export are those of the template.

use std::collections::BTreeMap;
use std::path::Path;

use conduct_drop::bounds::LINGER_MS;
use domain::crowd::StockTable;
use domain::limits::{FunctionLimits, Trigger};
use replay::function::Function;
use stampede_local::stack::sample_surroundings;
use stampede_local::template::{Model, load};

fn declared() -> BTreeMap<&'static str, FunctionLimits> {
    let replayed = Function::ALL.map(|function| (function.name(), function.limits()));
    let others = [
        ("answer-default", answer_default::LIMITS),
        ("fetch-keys", fetch_keys::LIMITS),
        ("prescale", prescale::LIMITS),
    ];
    replayed.into_iter().chain(others).collect()
}

fn number(of: impl TryInto<u32>) -> u32 {
    of.try_into().ok().unwrap()
}

/// Reads the limits of one function from the template.
fn in_template(model: &Model, name: &str) -> FunctionLimits {
    let function = &model.functions[name];
    let sources = (
        function.routes.as_slice(),
        function.queues.as_slice(),
        function.streams.as_slice(),
        function.schedules.as_slice(),
    );
    let trigger = match sources {
        ([_, ..], [], [], []) => Trigger::Http,
        ([], [source], [], []) => Trigger::Queue {
            batch_size: number(source.batch_size),
            window_seconds: number(source.window.as_secs()),
            max_concurrency: number(source.max_concurrency),
            max_receives: model.queues[&source.queue].redrive.as_ref().unwrap().1,
        },
        ([], [], [source], []) => Trigger::Stream {
            batch_size: number(source.batch_size),
            window_seconds: number(source.window.as_secs()),
            parallelization: number(source.parallelization),
            max_age_seconds: {
                assert_eq!(source.max_retries, None, "{name}: its records' age is the limit");
                number(source.max_age.unwrap().as_secs())
            },
        },
        ([], [], [], [schedule]) => {
            assert_eq!(
                function.async_retries, 0,
                "{name}: the next run replaces a failed one"
            );
            Trigger::Schedule {
                every_seconds: number(schedule.every.as_secs()),
            }
        }
        _ => panic!("{name} has sources of two kinds, or none"),
    };
    let limits = FunctionLimits {
        timeout_seconds: number(function.timeout.as_secs()),
        memory_mb: function.memory_mb,
        reserved_concurrency: function.reserved.map(number),
        trigger,
    };
    for source in &function.queues {
        let visibility = model.queues[&source.queue].visibility.as_secs();
        assert_eq!(
            visibility,
            u64::from(limits.visibility_seconds()),
            "{name}: visibility"
        );
    }
    limits
}

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/template.yaml");
    load(&std::fs::read_to_string(path).unwrap(), &sample_surroundings()).unwrap()
}

#[test]
fn every_limit_is_the_templates() {
    let model = model();
    let declared = declared();
    assert!(
        model
            .functions
            .keys()
            .map(String::as_str)
            .eq(declared.keys().copied())
    );
    for (name, limits) in declared {
        assert_eq!(in_template(&model, name), limits, "{name}: template and library");
    }
}

/// The template gives each of these parameters to a function, here with the parameter's default.
#[test]
fn every_parameters_default_is_the_librarys() {
    let model = model();
    let default = |function: &str, variable: &str| -> i64 {
        model.functions[function].environment[variable].parse().unwrap()
    };
    let rate = i64::from(process_order::DEFAULT_CALLS_PER_SECOND);
    for function in ["operate-drop", "process-order", "prescale"] {
        assert_eq!(default(function, "GATEWAY_CALLS_PER_SECOND"), rate, "{function}");
    }
    let stock = (
        default("reserve", "STOCK_READ_UNITS"),
        default("reserve", "STOCK_WRITE_UNITS"),
    );
    let new = StockTable::NEW;
    assert_eq!(stock, (new.read_units.into(), new.write_units.into()));
    assert_eq!(1_000 * default("conduct-drop", "LINGER_SECONDS"), LINGER_MS);
}
