//! Stores leases, each in one item. The fencing number grows when the holder changes.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::StoreError;
use ports::drops::{HoldLease, Lease};

use crate::clients::Clients;
use crate::error::{Written, written};
use crate::item::{Item, KEY, moment, ms, n, number, s, text};
use crate::status::{StatusStore, TABLE};

pub(crate) struct LeaseItem<'a> {
    pub(crate) clients: &'a Clients,
    /// The purpose of the table, for errors.
    pub(crate) what: &'static str,
    pub(crate) table: &'a str,
    pub(crate) key: String,
}

impl LeaseItem<'_> {
    /// A conditional write on the lease that returns the resulting or the existing item.
    fn update(&self, holder: &str, until: Timestamp) -> UpdateItemFluentBuilder {
        let names = HashMap::from([
            ("#holder".to_owned(), "holder".to_owned()),
            ("#until".to_owned(), "until".to_owned()),
        ]);
        self.clients
            .client
            .update_item()
            .table_name(self.table)
            .key(KEY, s(self.key.as_str()))
            .set_expression_attribute_names(Some(names))
            .expression_attribute_values(":me", s(holder))
            .expression_attribute_values(":until", ms(until))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// Renews or takes the lease, and returns the whole resulting item. While another holder has the lease, the result
    /// is that holder's lease.
    pub(crate) async fn take(
        &self,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Result<Item, Lease>, StoreError> {
        // A renewal keeps the fencing number, so it is another write than taking the lease. The renewal is tried first,
        // since most calls of the conductor renew.
        let keep = self
            .update(holder, until)
            .update_expression("SET #until = :until")
            .condition_expression("#holder = :me");
        let seen = match written("UpdateItem", self.table, keep.send().await)? {
            Written::Done(output) => return Ok(Ok(shown(output)?)),
            Written::Refused(None) => None,
            Written::Refused(Some(item)) => Some(lease_of(self.what, &item)?),
        };
        if let Some(theirs) = seen
            && theirs.until > now
        {
            return Ok(Err(theirs));
        }
        let take = self
            .update(holder, until)
            .update_expression("SET #holder = :me, #until = :until ADD fencing :one")
            .condition_expression("attribute_not_exists(pk) OR #until <= :now")
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":now", ms(now));
        match written("UpdateItem", self.table, take.send().await)? {
            Written::Done(output) => Ok(Ok(shown(output)?)),
            Written::Refused(Some(item)) => Ok(Err(lease_of(self.what, &item)?)),
            Written::Refused(None) => Err(StoreError::Busy),
        }
    }
}

/// The lease in an item; `what` is its table's purpose.
pub(crate) fn lease_of(what: &'static str, item: &Item) -> Result<Lease, StoreError> {
    Ok(Lease {
        holder: text(what, item, "holder")?.to_owned(),
        fencing: number(what, item, "fencing")?,
        until: moment(what, item, "until")?,
    })
}

fn shown(output: UpdateItemOutput) -> Result<Item, StoreError> {
    let item = output.attributes;
    item.ok_or_else(|| StoreError::Broken("the lease was not shown after writing it".to_owned()))
}

impl HoldLease for StatusStore {
    async fn acquire(
        &self,
        drop: &DropId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Result<Lease, Lease>, StoreError> {
        let item = LeaseItem {
            clients: &self.clients,
            what: TABLE,
            table: &self.clients.tables.status,
            key: format!("{drop}#lease"),
        };
        match item.take(holder, now, until).await? {
            Ok(item) => Ok(Ok(lease_of(TABLE, &item)?)),
            Err(theirs) => Ok(Err(theirs)),
        }
    }
}
