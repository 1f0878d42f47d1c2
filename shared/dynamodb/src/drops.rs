//! Implements the drop ports: a drop is one document, written conditionally on its version. One transaction writes a
//! published drop with all its copies. The calendar is a sparse index of the entries that lists show.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Update};
use domain::drops::{Drop, DropState, ListedDrop};
use domain::ids::DropId;
use domain::limits::DROP_COPIES;
use ports::drops::{ListDrops, Listing, ReadDrop, StoreDrop};
use ports::stock::Consistency::{Eventual, Strong};
use ports::{Conditional, StoreError};

use crate::Tables;
use crate::clients::Clients;
use crate::item::{DOC, Item, KEY, document, json, ms, n, number, s, text, unreadable};
use crate::paging::query;
use crate::transact;

const TABLE: &str = "drops";
const CALENDAR_INDEX: &str = "calendar";
/// The attribute with the drop's entry in the list, as JSON. The index contains this attribute instead of the document.
const ENTRY: &str = "entry";

/// The value of the attribute `listed`, the partition key of the index `calendar`.
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

    /// Writes the drop's item. A drop stays on the calendar in all later states, so only a write in the state
    /// `Scheduled` sets the calendar's attribute `listed`.
    fn update(&self, drop: &Drop, doc: &AttributeValue) -> Result<UpdateBuilder, StoreError> {
        let update = Update::builder()
            .table_name(&self.clients.tables.drops)
            .key(KEY, s(drop.id.as_str()))
            .expression_attribute_names("#doc", DOC)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":doc", doc.clone())
            .expression_attribute_values(":version", n(drop.version))
            .expression_attribute_values(":starts_at", ms(drop.starts_at))
            .expression_attribute_values(":entry", json("an entry of the list", &drop.entry())?);
        let set = "SET #doc = :doc, #version = :version, starts_at = :starts_at, entry = :entry";
        let update = match drop.version.checked_sub(1) {
            None | Some(0) => update.condition_expression("attribute_not_exists(pk)"),
            Some(before) => update
                .condition_expression("#version = :before")
                .expression_attribute_values(":before", n(before)),
        };
        if drop.state != DropState::Scheduled {
            return Ok(update.update_expression(set));
        }
        let listing = if drop.listed {
            Listing::Listed
        } else {
            Listing::Unlisted
        };
        Ok(update
            .update_expression(format!("{set}, listed = :listed"))
            .expression_attribute_values(":listed", s(part(listing))))
    }

    /// Writes one of the drop's copies, which are not on the calendar.
    fn update_copy(&self, drop: &Drop, doc: &AttributeValue, copy: u8) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.clients.tables.drops)
            .key(KEY, s(copy_key(&drop.id, copy)))
            .expression_attribute_names("#doc", DOC)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":doc", doc.clone())
            .expression_attribute_values(":version", n(drop.version))
            .update_expression("SET #doc = :doc, #version = :version")
    }
}

fn copy_key(id: &DropId, copy: u8) -> String {
    format!("{id}#copy#{copy}")
}

/// The drop in the item under `key`, which is the drop's own key or the key of a copy.
fn drop_of(item: &Item, key: &str) -> Result<Drop, StoreError> {
    let drop: Drop = document(TABLE, item)?;
    let of = text(TABLE, item, KEY)?;
    if of != key || of.split('#').next() != Some(drop.id.as_str()) {
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
        item.as_ref().map(|item| drop_of(item, id.as_str())).transpose()
    }

    async fn copy(&self, id: &DropId, copy: u8) -> Result<Option<Drop>, StoreError> {
        let (table, key) = (&self.clients.tables.drops, copy_key(id, copy));
        let item = self.clients.get(table, &key, Eventual).await?;
        item.as_ref().map(|item| drop_of(item, &key)).transpose()
    }
}

/// The entry in an item of the index.
fn entry_of(item: &Item) -> Result<ListedDrop, StoreError> {
    let entry: ListedDrop =
        serde_json::from_str(text(TABLE, item, ENTRY)?).map_err(|_| unreadable(TABLE, ENTRY))?;
    if text(TABLE, item, KEY)? != entry.id.as_str() {
        return Err(unreadable(TABLE, KEY));
    }
    Ok(entry)
}

impl ListDrops for DropStore {
    async fn published(&self, listing: Listing, most: u16) -> Result<Vec<ListedDrop>, StoreError> {
        let request = self
            .clients
            .client
            .query()
            .table_name(&self.clients.tables.drops)
            .index_name(CALENDAR_INDEX)
            .key_condition_expression("listed = :listed")
            .expression_attribute_values(":listed", s(part(listing)))
            .scan_index_forward(false);
        let items = query(request, &self.clients.tables.drops, None, usize::from(most)).await?;
        let mut drops = items.iter().map(entry_of).collect::<Result<Vec<_>, _>>()?;
        // An index does not order items with the same start.
        drops.sort_by(|one, other| other.position().cmp(&one.position()));
        Ok(drops)
    }
}

impl StoreDrop for DropStore {
    async fn store(&self, drop: &Drop) -> Result<Conditional<()>, StoreError> {
        if drop.version == 0 {
            return Ok(Conditional::Refused(()));
        }
        let doc = json("a drop", drop)?;
        let mut writes = vec![transact::update(self.update(drop, &doc)?.build())?];
        if drop.is_published() {
            for copy in 0..DROP_COPIES {
                writes.push(transact::update(self.update_copy(drop, &doc, copy).build())?);
            }
        }
        transact::conditional(&self.clients.client, &self.clients.tables.drops, writes).await
    }
}
