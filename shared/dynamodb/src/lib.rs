//! The DynamoDB adapters of the stock, order, drop and status ports, and of those to what pre-scaling leaves behind.
//!
//! **The problem.** Thousands of units must change hands within seconds, exactly once each, in a database that charges
//! for every write, a refused one included, and that may fall silent after a request was sent.
//!
//! **The model.** Each port method is one request: a conditional write of one item where one item is enough, a
//! transaction where an order and the stock change together. Conditions state what the caller saw, so a repeat changes
//! nothing. A condition that does not hold is an outcome; what it found comes back with the refusal, at no further cost.
//!
//! **A walk through.** [`StockStore`] claims units by one `UpdateItem` and looks at shards by one `BatchGetItem`;
//! [`OrderStore`] places an order by one `TransactWriteItems` over claim, purchase counter, order and address, and
//! advances it the same way; [`DropStore`] keeps drops and the calendar; [`StatusStore`] keeps what the conductor
//! publishes, and its lease; [`IssuerStore`] keeps who may sign tokens; [`PrescaleStore`] keeps lease and record of pre-scaling's runs, their changes, and how ready
//! drops are. All are built from a [`Client`] and [`Tables`], and are cheap to clone.
//! [`orders::order_from_stream_json`] reads an order out of the table's stream.
//!
//! **Retries.** Reads keep the retries the client was configured with. Writes are sent once: the SDK answers for the
//! last attempt only, and a throttled second attempt would hide that the first one may have been applied. The caller
//! decides, knowing which error it was.
//!
//! **What it does not do.** It makes no tables, waits for nothing, and knows no rule of the domain beyond the
//! conditions themselves.
#![forbid(unsafe_code)]

mod batch;
mod clients;
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

/// The names of the tables. A store uses only those it is about; a process leaves the others empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// Stock shards.
    pub stock: String,
    /// Units in open and paid orders, by drop and shopper.
    pub purchases: String,
    /// Orders; its stream is the outbox.
    pub orders: String,
    /// Shipping addresses, by order.
    pub addresses: String,
    /// Drops, and who may sign tokens.
    pub drops: String,
    /// Status documents, free counts, leases.
    pub status: String,
    /// What runs of pre-scaling leave behind.
    pub prescale: String,
}

/// A table; [`Tables`] says what each one holds.
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
    /// The names of those tables that a process uses, each from the environment variable that `read` is asked for.
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
