//! Stores the orders of a drop in which a card was declined: one item for each card.
//!
//! | key | item |
//! |---|---|
//! | `#card#{drop}#{the card's fingerprint}` | `orders`: a set of order ids |
//!
//! The item is in the table `purchases`. A purchase counter's key begins with its drop's id, so no counter can have the
//! key of such an item.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::ids::{DropId, OrderId};
use domain::limits::MAX_CARD_DECLINES;
use ports::StoreError;
use ports::orders::NoteDecline;
use ports::payment::CardFingerprint;

use crate::error::{Written, written};
use crate::item::{KEY, n, s};
use crate::orders::OrderStore;

const ORDERS: &str = "orders";

impl NoteDecline for OrderStore {
    async fn note_decline(
        &self,
        drop: &DropId,
        card: &CardFingerprint,
        order: &OrderId,
    ) -> Result<u32, StoreError> {
        let table = &self.clients.tables.purchases;
        let update = self
            .clients
            .client
            .update_item()
            .table_name(table)
            .key(KEY, s(format!("#card#{drop}#{}", card.as_str())))
            .update_expression("ADD #orders :order")
            .condition_expression("attribute_not_exists(#orders) OR size(#orders) < :most")
            .expression_attribute_names("#orders", ORDERS)
            .expression_attribute_values(":order", AttributeValue::Ss(vec![order.to_string()]))
            .expression_attribute_values(":most", n(MAX_CARD_DECLINES))
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::None);
        let orders = match written("UpdateItem", table, update.send().await)? {
            Written::Done(output) => output.attributes.unwrap_or_default().remove(ORDERS),
            Written::Refused(_) => None,
        };
        Ok(match orders {
            Some(AttributeValue::Ss(orders)) => u32::try_from(orders.len()).unwrap_or(MAX_CARD_DECLINES),
            _ => MAX_CARD_DECLINES,
        })
    }
}
