//! Writes documents under the fencing number of a lease.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::time::Timestamp;
use ports::{Conditional, StoreError};

use crate::clients::Clients;
use crate::error::conditional;
use crate::item::{KEY, ms, n, s};

/// Stores `value` as `name`, unless the existing value was written under a newer lease, or under the same lease with a
/// later `as_of`: a delayed write must not undo a later write.
pub(crate) async fn replace(
    clients: &Clients,
    table: &str,
    key: String,
    (name, value): (&'static str, AttributeValue),
    fencing: u64,
    as_of: Timestamp,
) -> Result<Conditional<()>, StoreError> {
    let result = clients
        .client
        .put_item()
        .table_name(table)
        .item(KEY, s(key))
        .item(name, value)
        .item("fencing", n(fencing))
        .item("as_of", ms(as_of))
        .condition_expression(
            "attribute_not_exists(fencing) OR fencing < :fencing OR (fencing = :fencing AND as_of <= :as_of)",
        )
        .expression_attribute_values(":fencing", n(fencing))
        .expression_attribute_values(":as_of", ms(as_of))
        .send()
        .await;
    conditional("PutItem", table, result)
}
