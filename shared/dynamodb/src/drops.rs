//! The drop ports: a drop is one document, written conditionally on its version; the calendar is a sparse index.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::drops::{Drop, DropState};
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::drops::{DropPage, ListDrops, Listing, ReadDrop, StoreDrop};
use ports::stock::Consistency::Strong;
use ports::{Conditional, StoreError, page};

use crate::Tables;
use crate::clients::Clients;
use crate::error::conditional;
use crate::item::{DOC, Item, KEY, document, json, ms, n, number, s, text, unreadable};
use crate::paging::query;

const TABLE: &str = "drops";
const CALENDAR_INDEX: &str = "calendar";

/// The value of the attribute `listed`, the index's partition key.
const fn part(listing: Listing) -> &'static str {
    match listing {
        Listing::Listed => "1",
        Listing::Unlisted => "0",
    }
}

#[derive(Debug, Clone)]
pub struct DropStore {
    clients: Clients,
}

impl DropStore {
    #[must_use]
    pub fn new(client: &Client, tables: &Tables) -> Self {
        Self {
            clients: Clients::new(client, tables),
        }
    }

    /// Writes everything except the drop's calendar attributes.
    fn update(&self, drop: &Drop, doc: AttributeValue) -> UpdateItemFluentBuilder {
        let update = self
            .clients
            .writes
            .update_item()
            .table_name(&self.clients.tables.drops)
            .key(KEY, s(drop.id.as_str()))
            .expression_attribute_names("#doc", DOC)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":doc", doc)
            .expression_attribute_values(":version", n(drop.version))
            .expression_attribute_values(":starts_at", ms(drop.starts_at));
        match drop.version.checked_sub(1) {
            None | Some(0) => update.condition_expression("attribute_not_exists(pk)"),
            Some(before) => update
                .condition_expression("#version = :before")
                .expression_attribute_values(":before", n(before)),
        }
    }
}

fn drop_of(item: &Item) -> Result<Drop, StoreError> {
    let drop: Drop = document(TABLE, item)?;
    if drop.id.as_str() != text(TABLE, item, KEY)? {
        return Err(unreadable(TABLE, KEY));
    }
    if drop.version != number::<u64>(TABLE, item, "version")? {
        return Err(unreadable(TABLE, "version"));
    }
    Ok(drop)
}

impl ReadDrop for DropStore {
    async fn drop(&self, id: &DropId) -> Result<Option<Drop>, StoreError> {
        let table = &self.clients.tables.drops;
        let item = self.clients.get(table, id.as_str(), Strong).await?;
        item.as_ref().map(drop_of).transpose()
    }
}

impl ListDrops for DropStore {
    async fn published(
        &self,
        listing: Listing,
        after: Option<&(Timestamp, DropId)>,
        limit: u16,
    ) -> Result<DropPage, StoreError> {
        let from = after.map(|(starts_at, id)| {
            Item::from([
                (KEY.to_owned(), s(id.as_str())),
                ("listed".to_owned(), s(part(listing))),
                ("starts_at".to_owned(), ms(*starts_at)),
            ])
        });
        let request = self
            .clients
            .reads
            .query()
            .table_name(&self.clients.tables.drops)
            .index_name(CALENDAR_INDEX)
            .key_condition_expression("listed = :listed")
            .expression_attribute_values(":listed", s(part(listing)))
            .scan_index_forward(false);
        // One more item than requested shows whether there is a next page.
        let items = query(request, &self.clients.tables.drops, from, usize::from(limit) + 1).await?;
        let mut drops = items.iter().map(drop_of).collect::<Result<Vec<_>, _>>()?;
        let next = page::cut(&mut drops, limit, |drop| (drop.starts_at, drop.id.clone()));
        Ok(DropPage { drops, next })
    }
}

impl StoreDrop for DropStore {
    async fn store(&self, drop: &Drop) -> Result<Conditional<()>, StoreError> {
        if drop.version == 0 {
            return Ok(Conditional::Refused(()));
        }
        let update = self.update(drop, json("a drop", drop)?);
        // A drop stays on the calendar in all later states, so only the state that adds it writes the calendar
        // attributes.
        let update = if drop.state == DropState::Scheduled {
            let listing = if drop.listed {
                Listing::Listed
            } else {
                Listing::Unlisted
            };
            update
                .update_expression(
                    "SET #doc = :doc, #version = :version, starts_at = :starts_at, listed = :listed",
                )
                .expression_attribute_values(":listed", s(part(listing)))
        } else {
            update.update_expression("SET #doc = :doc, #version = :version, starts_at = :starts_at")
        };
        conditional("UpdateItem", &self.clients.tables.drops, update.send().await)
    }
}
