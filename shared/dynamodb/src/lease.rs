//! The conductor's lease: one item, whose fencing number grows whenever it changes hands.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::StoreError;
use ports::drops::{HoldLease, Lease};

use crate::error::{Written, written};
use crate::item::{Item, KEY, moment, ms, n, number, s, text};
use crate::status::{StatusStore, TABLE};

impl StatusStore {
    /// A conditional write on a lease that answers the lease as it then is, written or not.
    fn lease_update(&self, drop: &DropId, holder: &str, until: Timestamp) -> UpdateItemFluentBuilder {
        let names = HashMap::from([
            ("#holder".to_owned(), "holder".to_owned()),
            ("#until".to_owned(), "until".to_owned()),
        ]);
        self.clients
            .writes
            .update_item()
            .table_name(&self.clients.tables.status)
            .key(KEY, s(format!("{drop}#lease")))
            .set_expression_attribute_names(Some(names))
            .expression_attribute_values(":me", s(holder))
            .expression_attribute_values(":until", ms(until))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

fn lease_of(item: &Item) -> Result<Lease, StoreError> {
    Ok(Lease {
        holder: text(TABLE, item, "holder")?.to_owned(),
        fencing: number(TABLE, item, "fencing")?,
        until: moment(TABLE, item, "until")?,
    })
}

fn granted(output: &UpdateItemOutput) -> Result<Lease, StoreError> {
    let item = output.attributes.as_ref();
    lease_of(item.ok_or_else(|| StoreError::Broken("the lease was not shown after writing it".to_owned()))?)
}

impl HoldLease for StatusStore {
    async fn acquire(
        &self,
        drop: &DropId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Result<Lease, Lease>, StoreError> {
        // Keeping it is the common case, and the only one that leaves the fencing number alone.
        let keep = self
            .lease_update(drop, holder, until)
            .update_expression("SET #until = :until")
            .condition_expression("#holder = :me");
        let seen = match written("UpdateItem", keep.send().await)? {
            Written::Done(output) => return Ok(Ok(granted(&output)?)),
            Written::Refused(None) => None,
            Written::Refused(Some(item)) => Some(lease_of(&item)?),
        };
        if let Some(theirs) = seen
            && theirs.until > now
        {
            return Ok(Err(theirs));
        }
        let take = self
            .lease_update(drop, holder, until)
            .update_expression("SET #holder = :me, #until = :until ADD fencing :one")
            .condition_expression("attribute_not_exists(pk) OR #until <= :now")
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":now", ms(now));
        match written("UpdateItem", take.send().await)? {
            Written::Done(output) => Ok(Ok(granted(&output)?)),
            Written::Refused(Some(item)) => Ok(Err(lease_of(&item)?)),
            Written::Refused(None) => Err(StoreError::Busy),
        }
    }
}
