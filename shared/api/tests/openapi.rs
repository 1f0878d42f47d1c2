//! Compares the contract with a golden file. `make openapi` writes the file anew, so that the change is visible in
//! review.
#![cfg(test)]

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_document_is_the_golden_file() {
    let golden = root().join("docs/openapi.json");
    let document = api::openapi::document().unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &document).unwrap();
    }
    let kept = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(
        kept == document,
        "the contract has changed: look at it, then run `make openapi`"
    );
}

#[test]
fn the_document_has_the_templates_routes() {
    let document: serde_json::Value = serde_json::from_str(&api::openapi::document().unwrap()).unwrap();
    let documented: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = ["get", "put", "post", "delete", "patch"];
            methods
                .into_iter()
                .filter(|m| item.get(m).is_some())
                .map(move |m| format!("{} {path}", m.to_uppercase()))
        })
        .collect();
    let template = std::fs::read_to_string(root().join("infra/template.yaml")).unwrap();
    let template: yaml_serde::Value = yaml_serde::from_str(&template).unwrap();
    let mut served = BTreeSet::new();
    for (_, resource) in template["Resources"].as_mapping().unwrap() {
        let Some(events) = resource["Properties"]
            .get("Events")
            .and_then(|events| events.as_mapping())
        else {
            continue;
        };
        for (_, event) in events
            .iter()
            .filter(|(_, event)| event["Type"].as_str() == Some("HttpApi"))
        {
            let text = |name: &str| {
                event["Properties"][name]
                    .as_str()
                    .unwrap_or("$default")
                    .to_owned()
            };
            served.insert(format!("{} {}", text("Method").to_uppercase(), text("Path")));
        }
    }
    served.retain(|route| !route.contains("$default"));
    assert_eq!(documented, served);
}

#[test]
fn every_refusal_is_a_problem_document_with_codes_of_its_status() {
    use api::problem::Code;
    let document: serde_json::Value = serde_json::from_str(&api::openapi::document().unwrap()).unwrap();
    let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(
        document["components"]["schemas"]["Code"]["enum"],
        serde_json::json!(all)
    );
    let mut documented = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                if status.starts_with('2') {
                    continue;
                }
                let shared = response["$ref"]
                    .as_str()
                    .map(|r| document.pointer(&r[1..]).unwrap());
                let content = shared.unwrap_or(response)["content"].as_object().unwrap();
                let types: Vec<&String> = content.keys().collect();
                assert_eq!(types, ["application/problem+json"], "{status} of {operation}");
                let codes = &content[types[0]]["schema"]["allOf"][1]["properties"]["code"]["enum"];
                for code in codes.as_array().unwrap() {
                    let code: Code = serde_json::from_value(code.clone()).unwrap();
                    assert_eq!(code.status().to_string(), *status, "{code:?} of {operation}");
                    documented.insert(code.as_str());
                }
            }
        }
    }
    // No operation answers `method_not_allowed`: the route `$default` does.
    let elsewhere = [Code::MethodNotAllowed.as_str()];
    assert!(documented.is_disjoint(&BTreeSet::from(elsewhere)));
    documented.extend(elsewhere);
    assert_eq!(documented, all.into_iter().collect());
}

#[test]
fn the_documents_bounds_are_the_domains() {
    use domain::limits as l;
    let document: serde_json::Value = serde_json::from_str(&api::openapi::document().unwrap()).unwrap();
    for (schema, property, bound, expected) in [
        (
            "ReserveBody",
            "quantity",
            "maximum",
            i64::from(l::MAX_PER_SHOPPER),
        ),
        (
            "DropBody",
            "title",
            "maxLength",
            i64::try_from(l::MAX_TITLE_BYTES).unwrap(),
        ),
        (
            "DropBody",
            "hold_seconds",
            "minimum",
            i64::from(l::MIN_HOLD_SECONDS),
        ),
        (
            "DropBody",
            "hold_seconds",
            "maximum",
            i64::from(l::MAX_HOLD_SECONDS),
        ),
        (
            "DropBody",
            "payment_seconds",
            "minimum",
            i64::from(l::MIN_PAYMENT_SECONDS),
        ),
        (
            "DropBody",
            "payment_seconds",
            "maximum",
            i64::from(l::MAX_PAYMENT_SECONDS),
        ),
        (
            "DropBody",
            "per_shopper_limit",
            "maximum",
            i64::from(l::MAX_PER_SHOPPER),
        ),
        (
            "DropBody",
            "expected_shoppers",
            "maximum",
            i64::from(*domain::crowd::EXPECTED_SHOPPERS.end()),
        ),
        (
            "DropBody",
            "skus",
            "maxItems",
            i64::try_from(l::MAX_SKUS).unwrap(),
        ),
        ("SkuBody", "price_minor", "maximum", l::MAX_ORDER_MINOR),
        (
            "Shipping",
            "name",
            "maxLength",
            i64::try_from(l::MAX_ADDRESS_LINE_BYTES).unwrap(),
        ),
    ] {
        let property = &document["components"]["schemas"][schema]["properties"][property];
        assert_eq!(property[bound].as_i64(), Some(expected), "{schema}: {property}");
    }
}
