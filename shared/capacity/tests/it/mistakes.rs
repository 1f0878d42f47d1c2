//! Tests that all mistakes of all documents are reported together.

use capacity::amounts::Polling;
use capacity::database::DatabaseBaseline;
use capacity::documents::Documents;
use capacity::quotas::Quotas;

use crate::support::{at, documents, plenty, reference, with_classes};

fn fields(docs: &Documents, quotas: &Quotas) -> Vec<String> {
    docs.mistakes(quotas).into_iter().map(|m| m.field).collect()
}

#[test]
fn mistakes_of_every_document_are_named_together() {
    let mut docs = documents(vec![reference("spike", 10_000), reference("spike", 10_000)]);
    docs.profile.source = " ".into();
    docs.profile.at_once_share = 1.5;
    docs.profile.groups[0].headroom = 0.9;
    docs.profile.groups[0].weight.sale = f64::NAN;
    docs.profile.groups[1].name = "browse".into();
    docs.profile.groups[2].functions[0].function = "get-drop".into();
    docs.profile.groups[2].functions[1].share = 0.0;
    docs.profile.groups[3].functions[0].function = "unheard-of".into();
    docs.profile.tables[0]
        .read_units_per_request
        .insert("nobody".into(), 1.0);
    docs.profile.lead.margin_seconds = 1_000_000;
    docs.baseline.functions[0].memory_mb = 64;
    docs.baseline.functions[1].reserved = Some(1);
    docs.baseline.queues[0].polling = Polling::MaximumConcurrency(1);
    docs.baseline.queues[1].function = "nobody".into();
    docs.budget.usd_per_hour = -1.0;
    docs.prices.acu_hour = f64::INFINITY;
    docs.calendar[0].ends_at = at(9_000);
    docs.calendar[0].units = 0;
    let quotas = Quotas {
        provisioned_per_minute: 0,
        ..plenty()
    };
    let expected = [
        "profile.source",
        "profile.at_once_share",
        "profile.group[0].headroom",
        "profile.group[0].weight.sale",
        "profile.group[1].name",
        "profile.group[2].functions[0].function",
        "profile.group[2].functions[1].share",
        "profile.table[0].read_units_per_request.buy",
        "profile.table[0].read_units_per_request.nobody",
        "profile.lead.margin_seconds",
        "baseline.function[0].memory_mb",
        "baseline.function[1].reserved",
        "baseline.queue[0].polling",
        "baseline.queue[1].function",
        "budget.usd_per_hour",
        "prices.acu_hour",
        "quotas.provisioned_per_minute",
        "calendar[0].ends_at",
        "calendar[0].units",
        "calendar[0].opening.seconds",
        "calendar[1].id",
        "profile.group[3].functions[0].function",
    ];
    assert_eq!(fields(&docs, &quotas), expected);
}

#[test]
fn databases_keep_their_rules() {
    let mut docs = documents(vec![]);
    docs.baseline.database = DatabaseBaseline::Serverless {
        minimum_acu: 0.5,
        maximum_acu: 3.3,
        rows_per_second_per_acu: 100.0,
        connections: 10,
    };
    let at = "baseline.database";
    assert_eq!(
        fields(&docs, &plenty()),
        [format!("{at}.minimum_acu"), format!("{at}.maximum_acu")]
    );

    let mut docs = with_classes(vec![]);
    if let DatabaseBaseline::Provisioned {
        class,
        instances,
        ladder,
    } = &mut docs.baseline.database
    {
        *class = "tiny".into();
        instances[1] = "one".into();
        ladder.swap(0, 1);
    }
    let expected = [
        format!("{at}.class"),
        format!("{at}.instances[1]"),
        format!("{at}.ladder[1]"),
    ];
    assert_eq!(fields(&docs, &plenty()), expected);
}

#[test]
fn a_baseline_beyond_the_account_is_a_mistake() {
    let docs = documents(vec![]);
    // The baseline takes 2 + 2 + 50 + 4 units, and Lambda keeps 100 unreserved.
    let quotas = |account_concurrency| Quotas {
        account_concurrency,
        reserved_by_others: 0,
        ..plenty()
    };
    assert_eq!(fields(&docs, &quotas(158)), Vec::<String>::new());
    assert_eq!(fields(&docs, &quotas(157)), ["baseline.function"]);
}

#[test]
fn documents_survive_being_stored() {
    let docs = with_classes(vec![reference("spike", 10_000)]);
    let text = serde_json::to_string(&docs).unwrap();
    assert_eq!(serde_json::from_str::<Documents>(&text).unwrap(), docs);
    assert!(serde_json::from_str::<Documents>(&text.replace("\"budget\"", "\"bugdet\"")).is_err());
}
