use std::collections::BTreeSet;

use capacity::calendar::CalendarState;
use domain::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The project's own documents as they are stored, with two drops.
fn declared() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/prescale");
    let file = |name: &str| -> Value {
        let text = std::fs::read_to_string(format!("{folder}/{name}.toml")).unwrap();
        toml::from_str(&text).unwrap()
    };
    let mut quotas = file("quotas");
    for of_the_account in ["account_concurrency", "reserved_by_others"] {
        quotas.as_object_mut().unwrap().remove(of_the_account);
    }
    let mut all: Vec<(String, Value)> = ["profile", "baseline", "budget", "prices"]
        .map(|name| (name.to_owned(), file(name)))
        .to_vec();
    all.push(("quotas".to_owned(), quotas));
    for name in ["reference-spike", "small"] {
        all.push((format!("calendar/{name}"), file(&format!("drops/{name}"))));
    }
    all
}

/// The project's own documents, with instances of a class instead of a serverless database.
fn declared_with_classes() -> Vec<(String, Value)> {
    let mut all = declared();
    let baseline = all.iter_mut().find(|(name, _)| name == "baseline").unwrap();
    let size =
        |class: &str| json!({"class": class, "rows_per_second": 9, "connections": 8, "usd_per_hour": 0.5});
    baseline.1["database"] = json!({
        "kind": "provisioned", "class": "large", "instances": ["one", "two"],
        "ladder": [size("large"), size("xlarge")],
    });
    all
}

fn read(all: &[(String, Value)]) -> Readable<Documents> {
    let texts: Vec<Named> = all
        .iter()
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect();
    documents(&texts)
}

fn fields(all: &[(String, Value)]) -> BTreeSet<String> {
    let mistakes = read(all).expect_err("there are mistakes");
    let fields: BTreeSet<String> = mistakes.iter().map(|m| m.field.clone()).collect();
    assert_eq!(fields.len(), mistakes.len(), "each once: {mistakes:?}");
    fields
}

/// Every scalar value, as a pointer into its document and as a path in error messages.
fn leaves(document: &str, value: &Value) -> Vec<(String, String)> {
    let inside = |pointer: String, field: String, value: &Value| -> Vec<(String, String)> {
        let below = leaves(&field, value);
        below
            .into_iter()
            .map(|(p, f)| (format!("{pointer}{p}"), f))
            .collect()
    };
    match value {
        Value::Object(members) => (members.iter())
            .flat_map(|(name, value)| inside(format!("/{name}"), format!("{document}.{name}"), value))
            .collect(),
        Value::Array(all) => (all.iter().enumerate())
            .flat_map(|(n, value)| inside(format!("/{n}"), format!("{document}[{n}]"), value))
            .collect(),
        _ => vec![(String::new(), document.to_owned())],
    }
}

fn all_leaves(all: &[(String, Value)]) -> Vec<(usize, String, String)> {
    let of = |(n, (name, value)): (usize, &(String, Value))| {
        let leaves = leaves(name, value).into_iter();
        leaves
            .map(move |(pointer, field)| (n, pointer, field))
            .collect::<Vec<_>>()
    };
    all.iter().enumerate().flat_map(of).collect()
}

#[test]
fn the_projects_own_documents_are_right() {
    for all in [declared(), declared_with_classes()] {
        let docs = read(&all).unwrap();
        assert_eq!(docs.calendar.len(), 2);
        assert_eq!(
            docs.calendar[0].starts_at,
            Timestamp::from_millis(1_898_618_400_000)
        );
        assert_eq!(
            serde_json::to_value(&docs.baseline.database).unwrap()["kind"],
            all[1].1["database"]["kind"]
        );
    }
}

#[test]
fn whatever_value_is_wrong_is_named() {
    for all in [declared(), declared_with_classes()] {
        for (n, pointer, field) in all_leaves(&all) {
            let mut wrong = all.clone();
            *wrong[n].1.pointer_mut(&pointer).unwrap() = json!({"wrong": true});
            assert_eq!(fields(&wrong), [field].into());
        }
    }
}

#[test]
fn whatever_is_missing_is_named_where_it_is_missing() {
    // These values are optional.
    let optional = ["reserved_over_provisioned", "peak_rps", "allowed"];
    for all in [declared(), declared_with_classes()] {
        for (n, pointer, field) in all_leaves(&all) {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let mut without = all.clone();
            let parent = without[n].1.pointer_mut(parent).unwrap();
            let Some(members) = parent.as_object_mut() else {
                continue;
            };
            members.remove(name);
            let inside = field.strip_suffix(name).unwrap().trim_end_matches('.').to_owned();
            match read(&without) {
                Ok(_) => assert!(
                    optional.contains(&name) || inside.ends_with("read_units_per_request"),
                    "{field}"
                ),
                Err(mistakes) => {
                    let at = &mistakes[0].field;
                    assert!(*at == inside || *at == field, "{field}: {mistakes:?}");
                    assert!(
                        mistakes.len() == 1 && !optional.contains(&name),
                        "{field}: {mistakes:?}"
                    );
                    // An enum value without its member does not show the intended variant, so the mistake cannot name
                    // the member.
                    let told = mistakes[0].message.contains(name) || inside.ends_with("polling");
                    assert!(told || *at == field, "{mistakes:?}");
                }
            }
        }
    }
}

#[test]
fn a_name_that_nobody_reads_is_a_mistake_wherever_it_is() {
    for all in [declared(), declared_with_classes()] {
        for (n, pointer, field) in all_leaves(&all) {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let mut more = all.clone();
            let Some(members) = more[n].1.pointer_mut(parent).unwrap().as_object_mut() else {
                continue;
            };
            if parent.ends_with("read_units_per_request") || parent.ends_with("polling") {
                continue;
            }
            members.insert("typo".to_owned(), json!(1));
            let inside = field.strip_suffix(name).unwrap();
            assert_eq!(fields(&more), [format!("{inside}typo")].into());
        }
    }
}

#[test]
fn wrong_unknown_and_missing_values_are_told_together() {
    let mut all = declared();
    let lead = all[0].1["lead"].as_object_mut().unwrap();
    lead.remove("acu_seconds");
    lead.insert("typo".to_owned(), json!(1));
    all[0].1["source"] = json!(1);
    all[1].1["table"][0]["warm"] = json!([]);
    let expected = [
        "profile.lead",
        "profile.lead.typo",
        "profile.source",
        "baseline.table[0].warm",
    ];
    assert_eq!(fields(&all), expected.map(str::to_owned).into());
}

/// Other code parses the same types with serde, for instance from files.
#[test]
fn serde_reads_the_same() {
    for all in [declared(), declared_with_classes()] {
        let docs = read(&all).unwrap();
        assert_eq!(docs.profile, serde_json::from_value(all[0].1.clone()).unwrap());
        assert_eq!(docs.baseline, serde_json::from_value(all[1].1.clone()).unwrap());
        assert_eq!(docs.budget, serde_json::from_value(all[2].1.clone()).unwrap());
        assert_eq!(docs.prices, serde_json::from_value(all[3].1.clone()).unwrap());
        let small: CalendarDrop<Moment> = serde_json::from_value(all[6].1.clone()).unwrap();
        assert_eq!(docs.calendar[1], small.with_moments(|moment| moment.0));
    }
}

#[test]
fn a_whole_document_that_is_missing_unknown_or_no_json_is_a_mistake() {
    let mut all = declared();
    all.retain(|(name, _)| name != "budget");
    all.push(("budgets".to_owned(), json!({})));
    let mut texts: Vec<Named> = all
        .iter()
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect();
    texts.push(("calendar/nothing".to_owned(), String::new()));
    let mistakes = documents(&texts).unwrap_err();
    let fields: Vec<&str> = mistakes.iter().map(|m| m.field.as_str()).collect();
    assert_eq!(fields, ["budgets", "budget", "calendar/nothing"]);
}

#[test]
fn a_drop_under_another_name_is_a_mistake() {
    let mut all = declared();
    all[6].1["id"] = json!("large");
    assert_eq!(fields(&all), ["calendar/small.id".to_owned()].into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Exactly the wrong values are reported, whatever their number and their kind.
    #[test]
    fn all_mistakes_are_told_together(
        classes in any::<bool>(),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize), 1..9),
    ) {
        let all = if classes { declared_with_classes() } else { declared() };
        let leaves = all_leaves(&all);
        let mut broken = all.clone();
        let mut expected = BTreeSet::new();
        for (at, how) in wrong {
            let (n, pointer, field) = at.get(&leaves);
            // None of these values is a number, a text, a moment or a choice.
            let value = [json!({"wrong": 1}), json!([[]]), json!(true), json!({})][how].clone();
            *broken[*n].1.pointer_mut(pointer).unwrap() = value;
            expected.insert(field.clone());
        }
        // The kind of a database determines which other members are parsed.
        if expected.contains("baseline.database.kind") {
            expected.retain(|field| !field.starts_with("baseline.database") || field.ends_with("kind"));
        }
        prop_assert_eq!(fields(&broken), expected);
    }

    /// Any text is either parsed or refused.
    #[test]
    fn any_text_is_an_answer(text in "[\\[\\]{}:,\"a-z0-9. -]{0,60}") {
        let mut mistakes = Vec::new();
        let read = read::document::<CalendarState>("calendar/a", &text, &mut mistakes);
        prop_assert_eq!(read.is_none(), !mistakes.is_empty());
    }
}
