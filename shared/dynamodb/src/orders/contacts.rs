//! Reads and updates the item beside an order in the table `addresses`, which has no stream: the address, and the
//! record of mails to the shopper.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::ids::OrderId;
use ports::StoreError;
use ports::mail::{Contact, KeepContact};
use ports::stock::Consistency::Strong;

use super::OrderStore;
use crate::error::conditional;
use crate::item::{text, unreadable};

const TABLE: &str = "addresses";
/// The attribute with the names of the sent news; absent while none was sent.
const SENT: &str = "told";

impl KeepContact for OrderStore {
    async fn contact(&self, order: &OrderId) -> Result<Option<Contact>, StoreError> {
        let table = &self.clients.tables.addresses;
        let Some(item) = self.clients.get(table, order.as_str(), Strong).await? else {
            return Ok(None);
        };
        let sent = match item.get(SENT) {
            None => Vec::new(),
            Some(AttributeValue::Ss(sent)) => sent.clone(),
            Some(_) => return Err(unreadable(TABLE, SENT)),
        };
        let address = text(TABLE, &item, "address")?.to_owned();
        Ok(Some(Contact { address, sent }))
    }

    async fn note_sent(&self, order: &OrderId, what: &str) -> Result<(), StoreError> {
        let table = &self.clients.tables.addresses;
        let result = self
            .clients
            .update(table, order.as_str())
            .update_expression("ADD #told :what")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_names("#told", SENT)
            .expression_attribute_values(":what", AttributeValue::Ss(vec![what.to_owned()]))
            .send()
            .await;
        if conditional("UpdateItem", table, result)?.is_done() {
            Ok(())
        } else {
            Err(StoreError::broken("the order has no address"))
        }
    }
}
