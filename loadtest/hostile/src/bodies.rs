//! Parses bodies of requests.

use api::operator::{DropBody, ExtendBody, RestockBody};
use api::orders::CheckoutBody;
use api::reservations::ReserveBody;
use domain::drops::{Drop, DropDraft};
use memory::TestRuntime;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The fuzz target `bodies`: panics if writing and parsing changes a body, or a plan has a wrong number of units.
pub fn target(input: &[u8]) {
    survives::<ReserveBody>(input);
    survives::<ExtendBody>(input);
    survives::<RestockBody>(input);
    if let Some(body) = survives::<CheckoutBody>(input) {
        let mistakes = body.mistakes();
        assert!(
            mistakes
                .iter()
                .all(|m| !m.field.is_empty() && m.message.len() < 256)
        );
    }
    if let Some(body) = survives::<DropBody>(input) {
        draft(body);
    }
}

/// Asserts that a parsed value is equal after it was written and parsed again; `None` if the input cannot be
/// parsed.
fn survives<T: DeserializeOwned + Serialize + PartialEq>(input: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(input).ok()?;
    let written = serde_json::to_vec(&read).expect("a body is written");
    assert!(serde_json::from_slice::<T>(&written).is_ok_and(|again| again == read));
    Some(read)
}

/// Asserts that the plan of a draft without mistakes has exactly the requested units.
fn draft(body: DropBody) {
    let asked: u64 = body.skus.iter().map(|sku| u64::from(sku.units)).sum();
    let draft = DropDraft::from(body);
    let mistakes = draft.mistakes();
    if !mistakes.is_empty() {
        return;
    }
    let drop = Drop::draft("d".parse().expect("an id"), draft);
    if let Ok(publishing) = drop.start_publishing(TestRuntime::START) {
        let planned: u64 = publishing.allocations().map(|(_, units)| u64::from(units)).sum();
        assert_eq!(planned, asked);
    }
}
