//! The DynamoDB adapters of the stock, order, drop, status and pre-scaling ports.
//!
//! **The problem.** Thousands of units must be assigned within seconds, each exactly once, in a database that charges
//! for every write, including refused ones, and that may not answer after a request was sent.
//!
//! **The model.** Each port method is one request: a conditional write where one item is enough, a transaction where an
//! order and the stock change together. Conditions describe what the caller read, so a repeat changes nothing. A
//! refused condition is a normal outcome; the refusal contains the existing item at no further cost.
//!
//! **A walk through.** [`StockStore`] claims units by one `UpdateItem` and looks at shards by one `BatchGetItem`;
//! [`OrderStore`] places an order by one `TransactWriteItems` over claim, purchase counter, order and address, and
//! advances it the same way, and keeps the lines of the calls to the gateway; [`DropStore`] keeps drops and the calendar; [`StatusStore`] keeps what the conductor
//! publishes, and its lease; [`IssuerStore`] keeps who may sign tokens; [`PrescaleStore`] keeps lease and record of pre-scaling's runs, their changes, and how ready
//! drops are. All are built from a [`Client`] and [`Tables`], and are cheap to clone.
//! [`orders::order_from_stream_json`] reads an order out of the table's stream.
//!
//! **Retries.** Each request is sent once. Of a write the SDK reports the last attempt only, so a throttled second attempt
//! would hide that the first may have been applied; and repeats of the SDK would multiply the caller's own. The caller
//! decides about retries by the kind of error.
//!
//! **What it does not do.** It creates no tables, waits for nothing, and contains no rules of the domain except the
//! conditions.
#![forbid(unsafe_code)]

mod batch;
mod clients;
mod declines;
mod drops;
mod error;
mod fenced;
mod issuers;
mod item;
mod lease;
pub mod orders;
mod paging;
mod prescale;
mod shard;
mod status;
mod stock;
mod transact;

pub use aws_sdk_dynamodb::Client;
pub use drops::DropStore;
pub use issuers::IssuerStore;
pub use orders::OrderStore;
pub use prescale::{AUDIT_DAYS, PrescaleStore};
pub use status::StatusStore;
pub use stock::StockStore;

/// The names of the tables. A store uses only its own tables; a process leaves the other names empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    pub stock: String,
    /// Units in open and paid orders, by drop and shopper; the lines of the calls to the payment gateway.
    pub purchases: String,
    /// Orders; the table's stream is the outbox.
    pub orders: String,
    pub addresses: String,
    /// Drops and token issuers.
    pub drops: String,
    /// Status documents, free counts, leases.
    pub status: String,
    /// The stored state of pre-scaling.
    pub prescale: String,
}

/// A table; [`Tables`] describes each one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Stock,
    Purchases,
    Orders,
    Addresses,
    Drops,
    Status,
    Prescale,
}

impl Tables {
    /// The names of the tables that a process uses, each read from its environment variable by `read`.
    pub fn read<const N: usize>(used: [Table; N], mut read: impl FnMut(&str) -> String) -> Self {
        let mut tables = Self::default();
        for table in used {
            let (name, variable) = match table {
                Table::Stock => (&mut tables.stock, "STOCK_TABLE"),
                Table::Purchases => (&mut tables.purchases, "PURCHASES_TABLE"),
                Table::Orders => (&mut tables.orders, "ORDERS_TABLE"),
                Table::Addresses => (&mut tables.addresses, "ADDRESSES_TABLE"),
                Table::Drops => (&mut tables.drops, "DROPS_TABLE"),
                Table::Status => (&mut tables.status, "STATUS_TABLE"),
                Table::Prescale => (&mut tables.prescale, "PRESCALE_TABLE"),
            };
            *name = read(variable);
        }
        tables
    }
}
