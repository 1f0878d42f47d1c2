//! Reads many items, of one or more tables, with one call of `BatchGetItem`.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use ports::StoreError;

use crate::error::store_error;
use crate::item::{Item, KEY, s};

/// The largest number of keys in one `BatchGetItem`.
pub(crate) const MOST_KEYS: usize = 100;

/// How often unprocessed keys are requested again without a wait. After that the caller must wait, since only the
/// caller has a clock.
const REPEATS: u32 = 1;

/// The keys to read from one table; they must be distinct.
pub(crate) fn keys(
    keys: impl Iterator<Item = String>,
    consistent: bool,
) -> Result<KeysAndAttributes, BuildError> {
    keys.fold(KeysAndAttributes::builder(), |builder, key| {
        builder.keys(HashMap::from([(KEY.to_owned(), s(key))]))
    })
    .consistent_read(consistent)
    .build()
}

/// Reads items from several tables, and returns the items that exist, by table. A failure is logged with `table`, the
/// main table of the read.
pub(crate) async fn batch_get(
    client: &Client,
    table: &str,
    request: HashMap<String, KeysAndAttributes>,
) -> Result<HashMap<String, Vec<Item>>, StoreError> {
    const OPERATION: &str = "BatchGetItem";
    let mut found: HashMap<String, Vec<Item>> = HashMap::new();
    let mut pending = request;
    for _ in 0..=REPEATS {
        let output = client
            .batch_get_item()
            .set_request_items(Some(pending))
            .send()
            .await
            .map_err(|error| store_error(OPERATION, table, &error))?;
        let responses = output.responses.unwrap_or_default();
        if found.is_empty() {
            found = responses;
        } else {
            for (of, items) in responses {
                found.entry(of).or_default().extend(items);
            }
        }
        pending = output.unprocessed_keys.unwrap_or_default();
        if pending.is_empty() {
            return Ok(found);
        }
    }
    Err(StoreError::Busy)
}
