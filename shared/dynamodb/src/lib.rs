//! Implements the stock, order, drop, status and pre-scaling ports on DynamoDB.
//!
//! **The problem.** Thousands of units must be assigned within seconds, each exactly once, in a database that charges
//! for every write, including refused writes, and that may not answer after a request was sent.
//!
//! **The model.** Each port method is one request: a conditional write where one item is enough, a transaction where an
//! order and the stock change together. Conditions describe what the caller read, so a repeat changes nothing. A
//! refused condition is a normal outcome; the refusal contains the existing item at no further cost.
//!
//! **A walk through.** [`StockStore`] claims units by one `UpdateItem` and reads shards by one `BatchGetItem`.
//! [`OrderStore`] places an order by one `TransactWriteItems` over claim, purchase counter, order and address. It also
//! advances orders, and keeps the lines of the calls to the gateway. [`DropStore`] keeps drops and the calendar.
//! [`StatusStore`] keeps the documents that the conductor publishes, and the conductor's lease. [`IssuerStore`] keeps
//! the documents of token issuers. [`PrescaleStore`] keeps the lease and the record of pre-scaling's runs, the runs'
//! changes, and the readiness of drops. All stores are built from a [`Client`] and [`Tables`], and are cheap to clone.
//! [`orders::order_from_stream_json`] reads an order from a record of the table's stream.
//!
//! **Retries.** The client must send each request once, as `startup`'s clients do. If the SDK repeated a write, it would
//! report only the last attempt, and a throttled second attempt would hide that the first attempt may have been applied.
//! Repeats by the SDK would also multiply the caller's repeats. The caller decides about a repeat by the kind of error.
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
    /// The purchase counters of shoppers in drops, the orders by declined card, and the lines of the calls to the
    /// payment gateway.
    pub purchases: String,
    /// Orders; the table's stream is the outbox.
    pub orders: String,
    pub addresses: String,
    /// Drops and token issuers.
    pub drops: String,
    /// Status documents, free counts, and the conductors' leases.
    pub status: String,
    /// The stored state of pre-scaling.
    pub prescale: String,
}

/// One of the tables that [`Tables`] describes.
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
