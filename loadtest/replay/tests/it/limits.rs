//! Checks that the limits that the functions' libraries export are those of the template.

use std::collections::BTreeMap;
use std::path::Path;

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

#[test]
fn every_limit_is_the_templates() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/template.yaml");
    let model = load(&std::fs::read_to_string(path).unwrap(), &sample_surroundings()).unwrap();
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
