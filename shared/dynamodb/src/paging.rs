//! Reads a complete page of an index.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use ports::StoreError;

use crate::error::store_error;
use crate::item::Item;

/// The first `most` items of a query after the key `from`. Several requests may be necessary, since one answer has at
/// most 1 MB. A failure is logged with the `table`.
pub(crate) async fn query(
    query: QueryFluentBuilder,
    table: &str,
    from: Option<Item>,
    most: usize,
) -> Result<Vec<Item>, StoreError> {
    let mut items: Vec<Item> = Vec::new();
    let mut from = from;
    loop {
        let missing = i32::try_from(most.saturating_sub(items.len())).unwrap_or(i32::MAX);
        if missing == 0 {
            return Ok(items);
        }
        let output = query
            .clone()
            .set_exclusive_start_key(from)
            .limit(missing)
            .send()
            .await
            .map_err(|error| store_error("Query", table, &error))?;
        items.extend(output.items.unwrap_or_default());
        from = output.last_evaluated_key;
        if from.is_none() {
            return Ok(items);
        }
    }
}
