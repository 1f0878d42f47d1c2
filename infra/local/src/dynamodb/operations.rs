//! Runs one request on the emulator and returns the consumed capacity.
//!
//! The capacity is always requested from the emulator, and removed from the answer when the caller did not request it.
//! The same applies to the old item of a refused write, whose size determines the cost.

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

use stack_api::TableUse;

use super::capacity::{refused_write, transaction_item};
use crate::meter::Uses;

/// A failed request and the capacity that it consumed.
struct Failed {
    error: DynoxideError,
    uses: Uses,
}

impl From<DynoxideError> for Failed {
    fn from(error: DynoxideError) -> Self {
        Self {
            error,
            uses: Uses::new(),
        }
    }
}

type Outcome = Result<(String, Uses), Failed>;

/// Runs an operation that reports its capacity. `$before` gets the request before it runs, `$uses` books the capacity
/// of a success, and `$failed` the capacity of a failure. `$uses` and `$failed` also get the result of `$before`.
macro_rules! counted {
    ($db:expr, $body:expr, $request:ty, $method:ident, $uses:expr) => {
        counted!(
            $db,
            $body,
            $request,
            $method,
            |_: &mut $request| (),
            |capacities: &[ConsumedCapacity], ()| $uses(capacities),
            |error, ()| Failed::from(error)
        )
    };
    ($db:expr, $body:expr, $request:ty, $method:ident, $before:expr, $uses:expr, $failed:expr) => {{
        let mut request: $request = decode($body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let known = $before(&mut request);
        match $db.$method(request) {
            Ok(mut response) => {
                let uses = $uses(response.consumed_capacity.as_slice_of(), known);
                if !asked {
                    response.consumed_capacity = None;
                }
                Ok((encode(&response)?, uses))
            }
            Err(error) => Err($failed(error, known)),
        }
    }};
}

/// Runs a write of one item, and books the capacity that a refused write consumes too.
macro_rules! write_one {
    ($db:expr, $body:expr, $request:ty, $method:ident) => {
        counted!(
            $db,
            $body,
            $request,
            $method,
            |request: &mut $request| {
                let old_item = &mut request.return_values_on_condition_check_failure;
                let wants_old = old_item.as_deref().is_some_and(|v| v != "NONE");
                if !wants_old {
                    *old_item = Some("ALL_OLD".to_owned());
                }
                (request.table_name.clone(), wants_old)
            },
            |capacities: &[ConsumedCapacity], _| applied(capacities),
            refused
        )
    };
}

/// Runs an operation that consumes no capacity.
macro_rules! free {
    ($db:expr, $body:expr, $method:ident) => {
        Ok((encode(&$db.$method(decode($body)?)?)?, Uses::new()))
    };
}

/// Runs `operation` and returns its answer and the consumed capacity.
pub(super) fn run(db: &Database, operation: &str, body: &[u8]) -> (Result<String, DynoxideError>, Uses) {
    match carry_out(db, operation, body) {
        Ok((answer, uses)) => (Ok(answer), uses),
        Err(Failed { error, uses }) => (Err(error), uses),
    }
}

fn carry_out(db: &Database, operation: &str, body: &[u8]) -> Outcome {
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
            let message = format!("the local stack does not serve {other}");
            Err(DynoxideError::ValidationException(message).into())
        }
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DynoxideError> {
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        // The emulator's decoders put the error class before the message.
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

/// Sets `ReturnConsumedCapacity` to `TOTAL` if the request has none or `NONE`. Returns whether the request had another
/// value.
fn ask(member: &mut Option<String>) -> bool {
    let asked = member.as_deref().is_some_and(|v| v != "NONE");
    if !asked {
        *member = Some("TOTAL".to_owned());
    }
    asked
}

/// An answer's consumed capacities. Operations on one table return one, other operations a list.
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
    let all = capacities.iter();
    all.map(|c| (c.table_name.clone(), used(c))).collect()
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

/// The failure of a single write, with the capacity that it consumed if its condition did not hold.
fn refused(error: DynoxideError, (table, wants_old): (String, bool)) -> Failed {
    let DynoxideError::ConditionalCheckFailedException(message, old) = error else {
        return error.into();
    };
    let used = TableUse {
        wcu: refused_write(old.as_ref()),
        refused_writes: 1,
        ..TableUse::default()
    };
    let old = old.filter(|_| wants_old);
    Failed {
        error: DynoxideError::ConditionalCheckFailedException(message, old),
        uses: vec![(table, used)],
    }
}

fn batch_write(db: &Database, body: &[u8]) -> Outcome {
    counted!(
        db,
        body,
        BatchWriteItemRequest,
        batch_write_item,
        |request: &mut BatchWriteItemRequest| {
            let items = request.request_items.iter();
            let items = items.map(|(table, writes)| (table.clone(), writes.len() as u64));
            items.collect::<HashMap<String, u64>>()
        },
        |capacities: &[ConsumedCapacity], items: HashMap<String, u64>| book(capacities, |c| TableUse {
            wcu: c.capacity_units,
            writes: items.get(&c.table_name).copied().unwrap_or(1),
            ..TableUse::default()
        }),
        |error, _| Failed::from(error)
    )
}

fn transact_write(db: &Database, body: &[u8]) -> Outcome {
    counted!(
        db,
        body,
        TransactWriteItemsRequest,
        transact_write_items,
        |request: &mut TransactWriteItemsRequest| {
            let places = request.transact_items.iter().filter_map(place);
            places.collect::<Vec<Place>>()
        },
        |capacities: &[ConsumedCapacity], _| book(capacities, |c| {
            let wcu = c.write_capacity_units.unwrap_or(c.capacity_units);
            // DynamoDB charges a repeat with the same token as a read.
            TableUse {
                wcu,
                rcu: c.read_capacity_units.unwrap_or(0.0),
                transactions: u64::from(wcu > 0.0),
                ..TableUse::default()
            }
        }),
        |error, places| {
            let uses = match error {
                DynoxideError::TransactionCanceledException(..) => cancelled(db, places),
                _ => Uses::new(),
            };
            Failed { error, uses }
        }
    )
}

/// An item of a transaction: its key, or the whole item of a put. If the transaction is cancelled, its cost follows
/// from these items.
struct Place {
    table: String,
    key: HashMap<String, AttributeValue>,
    new: Option<Item>,
}

fn place(item: &TransactWriteItem) -> Option<Place> {
    let new = item.put.as_ref().map(|put| put.item.clone());
    let unknown = HashMap::new();
    let (table, key) = if let Some(put) = &item.put {
        (&put.table_name, &unknown)
    } else if let Some(update) = &item.update {
        (&update.table_name, &update.key)
    } else if let Some(delete) = &item.delete {
        (&delete.table_name, &delete.key)
    } else {
        let check = item.condition_check.as_ref()?;
        (&check.table_name, &check.key)
    };
    let (table, key) = (table.clone(), key.clone());
    Some(Place { table, key, new })
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
