//! One request, run on the emulator, with what it used.
//!
//! The consumed capacity is always asked for and taken out again when the caller did not ask; the same goes for the old
//! item on a refused write, whose size the price depends on.

use std::collections::HashMap;

use dynoxide::actions::batch_get_item::BatchGetItemRequest;
use dynoxide::actions::batch_write_item::BatchWriteItemRequest;
use dynoxide::actions::delete_item::DeleteItemRequest;
use dynoxide::actions::get_item::GetItemRequest;
use dynoxide::actions::put_item::PutItemRequest;
use dynoxide::actions::query::QueryRequest;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::actions::transact_get_items::TransactGetItemsRequest;
use dynoxide::actions::transact_write_items::{TransactWriteItem, TransactWriteItemsRequest};
use dynoxide::actions::update_item::UpdateItemRequest;
use dynoxide::types::{ConsumedCapacity, Item};
use dynoxide::{AttributeValue, Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::capacity::{refused_write, transaction_item};
use crate::meter::{TableUse, Uses};

type Outcome = (Result<String, DynoxideError>, Uses);

/// What asks for capacity and reports it, with `$count` saying how to book it.
macro_rules! counted {
    ($db:expr, $body:expr, $request:ty, $method:ident, $count:ident) => {{
        let mut request: $request = match decode($body) {
            Ok(request) => request,
            Err(error) => return (Err(error), Uses::new()),
        };
        let asked = ask(&mut request.return_consumed_capacity);
        match $db.$method(request) {
            Ok(mut response) => {
                let uses = $count(response.consumed_capacity.as_slice_of());
                if !asked {
                    response.consumed_capacity = None;
                }
                (encode(&response), uses)
            }
            Err(error) => (Err(error), Uses::new()),
        }
    }};
}

/// A write of one item, whose refusal has a price too.
macro_rules! write_one {
    ($db:expr, $body:expr, $request:ty, $method:ident) => {{
        let mut request: $request = match decode($body) {
            Ok(request) => request,
            Err(error) => return (Err(error), Uses::new()),
        };
        let asked = ask(&mut request.return_consumed_capacity);
        let old_item = &mut request.return_values_on_condition_check_failure;
        let wants_old = old_item.as_deref().is_some_and(|v| v != "NONE");
        if !wants_old {
            *old_item = Some("ALL_OLD".to_owned());
        }
        let table = request.table_name.clone();
        match $db.$method(request) {
            Ok(mut response) => {
                let uses = applied(response.consumed_capacity.as_slice_of());
                if !asked {
                    response.consumed_capacity = None;
                }
                (encode(&response), uses)
            }
            Err(DynoxideError::ConditionalCheckFailedException(message, old)) => {
                let used = TableUse {
                    wcu: refused_write(old.as_ref()),
                    refused_writes: 1,
                    ..TableUse::default()
                };
                let old = old.filter(|_| wants_old);
                (
                    Err(DynoxideError::ConditionalCheckFailedException(message, old)),
                    vec![(table, used)],
                )
            }
            Err(error) => (Err(error), Uses::new()),
        }
    }};
}

/// Whatever costs nothing.
macro_rules! free {
    ($db:expr, $body:expr, $method:ident) => {{
        let result = decode($body).and_then(|request| $db.$method(request));
        (result.and_then(|response| encode(&response)), Uses::new())
    }};
}

/// Runs `operation`.
pub(super) fn run(db: &Database, operation: &str, body: &[u8]) -> Outcome {
    match operation {
        "GetItem" => counted!(db, body, GetItemRequest, get_item, read),
        "BatchGetItem" => counted!(db, body, BatchGetItemRequest, batch_get_item, read),
        "Query" => counted!(db, body, QueryRequest, query, read),
        "Scan" => counted!(db, body, ScanRequest, scan, read),
        "TransactGetItems" => counted!(db, body, TransactGetItemsRequest, transact_get_items, read),
        "PutItem" => write_one!(db, body, PutItemRequest, put_item),
        "UpdateItem" => write_one!(db, body, UpdateItemRequest, update_item),
        "DeleteItem" => write_one!(db, body, DeleteItemRequest, delete_item),
        "BatchWriteItem" => batch_write(db, body),
        "TransactWriteItems" => transact_write(db, body),
        "CreateTable" => free!(db, body, create_table),
        "DeleteTable" => free!(db, body, delete_table),
        "DescribeTable" => free!(db, body, describe_table),
        "ListTables" => free!(db, body, list_tables),
        "UpdateTable" => free!(db, body, update_table),
        "ListStreams" => free!(db, body, list_streams),
        "DescribeStream" => free!(db, body, describe_stream),
        "GetShardIterator" => free!(db, body, get_shard_iterator),
        "GetRecords" => free!(db, body, get_records),
        "DescribeTimeToLive" => free!(db, body, describe_time_to_live),
        "UpdateTimeToLive" => free!(db, body, update_time_to_live),
        other => {
            let error = DynoxideError::ValidationException(format!("the local stack does not serve {other}"));
            (Err(error), Uses::new())
        }
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DynoxideError> {
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        // The emulator's own decoders mark their class in front of the message.
        match text.split_once(':') {
            Some((class, message)) if class.starts_with("VALIDATION") => {
                DynoxideError::ValidationException(message.to_owned())
            }
            _ => DynoxideError::SerializationException(text),
        }
    })
}

fn encode<T: Serialize>(response: &T) -> Result<String, DynoxideError> {
    serde_json::to_string(response).map_err(|e| DynoxideError::InternalServerError(e.to_string()))
}

/// Asks for the capacity; whether the caller had asked himself.
fn ask(member: &mut Option<String>) -> bool {
    let asked = member.as_deref().is_some_and(|v| v != "NONE");
    if !asked {
        *member = Some("TOTAL".to_owned());
    }
    asked
}

/// One capacity or a list of them.
trait Capacities {
    fn as_slice_of(&self) -> &[ConsumedCapacity];
}

impl Capacities for Option<ConsumedCapacity> {
    fn as_slice_of(&self) -> &[ConsumedCapacity] {
        self.as_slice()
    }
}

impl Capacities for Option<Vec<ConsumedCapacity>> {
    fn as_slice_of(&self) -> &[ConsumedCapacity] {
        self.as_deref().unwrap_or_default()
    }
}

fn book(capacities: &[ConsumedCapacity], used: impl Fn(&ConsumedCapacity) -> TableUse) -> Uses {
    capacities
        .iter()
        .map(|c| (c.table_name.clone(), used(c)))
        .collect()
}

fn read(capacities: &[ConsumedCapacity]) -> Uses {
    book(capacities, |c| TableUse {
        rcu: c.capacity_units,
        reads: 1,
        ..TableUse::default()
    })
}

fn applied(capacities: &[ConsumedCapacity]) -> Uses {
    book(capacities, |c| TableUse {
        wcu: c.capacity_units,
        writes: 1,
        ..TableUse::default()
    })
}

fn batch_write(db: &Database, body: &[u8]) -> Outcome {
    let mut request: BatchWriteItemRequest = match decode(body) {
        Ok(request) => request,
        Err(error) => return (Err(error), Uses::new()),
    };
    let asked = ask(&mut request.return_consumed_capacity);
    let items: HashMap<String, u64> = request
        .request_items
        .iter()
        .map(|(table, writes)| (table.clone(), writes.len() as u64))
        .collect();
    match db.batch_write_item(request) {
        Ok(mut response) => {
            let uses = book(response.consumed_capacity.as_slice_of(), |c| TableUse {
                wcu: c.capacity_units,
                writes: items.get(&c.table_name).copied().unwrap_or(1),
                ..TableUse::default()
            });
            if !asked {
                response.consumed_capacity = None;
            }
            (encode(&response), uses)
        }
        Err(error) => (Err(error), Uses::new()),
    }
}

fn transact_write(db: &Database, body: &[u8]) -> Outcome {
    let mut request: TransactWriteItemsRequest = match decode(body) {
        Ok(request) => request,
        Err(error) => return (Err(error), Uses::new()),
    };
    let asked = ask(&mut request.return_consumed_capacity);
    let places: Vec<Place> = request.transact_items.iter().filter_map(place).collect();
    match db.transact_write_items(request) {
        Ok(mut response) => {
            let uses = book(response.consumed_capacity.as_slice_of(), |c| {
                let wcu = c.write_capacity_units.unwrap_or(c.capacity_units);
                let rcu = c.read_capacity_units.unwrap_or(0.0);
                // A repeat under the same token is only read.
                TableUse {
                    wcu,
                    rcu,
                    transactions: u64::from(wcu > 0.0),
                    ..TableUse::default()
                }
            });
            if !asked {
                response.consumed_capacity = None;
            }
            (encode(&response), uses)
        }
        Err(error @ DynoxideError::TransactionCanceledException(..)) => (Err(error), cancelled(db, places)),
        Err(error) => (Err(error), Uses::new()),
    }
}

/// What a cancelled transaction has to be priced by: where each item lies, or what was to be put there.
struct Place {
    table: String,
    key: HashMap<String, AttributeValue>,
    new: Option<Item>,
}

fn place(item: &TransactWriteItem) -> Option<Place> {
    if let Some(put) = &item.put {
        return Some(Place {
            table: put.table_name.clone(),
            key: HashMap::new(),
            new: Some(put.item.clone()),
        });
    }
    let (table, key) = if let Some(update) = &item.update {
        (&update.table_name, &update.key)
    } else if let Some(delete) = &item.delete {
        (&delete.table_name, &delete.key)
    } else {
        let check = item.condition_check.as_ref()?;
        (&check.table_name, &check.key)
    };
    Some(Place {
        table: table.clone(),
        key: key.clone(),
        new: None,
    })
}

fn cancelled(db: &Database, places: Vec<Place>) -> Uses {
    let mut uses: HashMap<String, TableUse> = HashMap::new();
    for Place { table, mut key, new } in places {
        if let Some(new) = &new
            && let Ok(Some(metadata)) = db.get_table_metadata(&table)
        {
            key = dynoxide::streams::extract_keys(new, &metadata.key_schema);
        }
        let request = GetItemRequest {
            table_name: table.clone(),
            key,
            ..GetItemRequest::default()
        };
        let existing = db.get_item(request).ok().and_then(|r| r.item);
        let used = uses.entry(table).or_default();
        used.cancelled_transactions = 1;
        used.wcu += transaction_item(existing.as_ref(), new.as_ref());
    }
    uses.into_iter().collect()
}
