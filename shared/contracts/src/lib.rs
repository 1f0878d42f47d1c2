//! Defines the contract tests: what each port promises, as tests that every adapter must pass.
//!
//! The tests are ordinary async functions over the ports, so that the same code tests the adapters in memory and the
//! adapters of real services. Each test expects an empty database. A test file passes an expression that makes an empty
//! database to the macro of a group, and gets a test with each function's name:
//!
//! ```ignore
//! mod stock { contracts::stock_contract!(memory::MemoryStore::new()); }
//! ```
//!
//! Races run many futures in one task: with a server each future is a separate request, and in memory every call first
//! yields to the other futures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests, in a library so that several crates can run them"
)]
#![allow(
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a test fails by panicking, and its name is its documentation"
)]

pub mod account;
pub mod calls;
pub mod drops;
pub mod fixtures;
pub mod gateway;
pub mod issuers;
mod leases;
pub mod ledger;
pub mod messages;
pub mod orders;
pub mod prescale;
mod race;
pub mod status;
pub mod stock;

use std::fmt::{Debug, Display};
use std::future::Future;

use domain::ids::OrderId;
use domain::shard::Shard;
use ports::calls::TakeCalls;
use ports::drops::{HoldLease, ListDrops, ReadCounts, ReadDrop, ReadStatus, StoreDrop, WriteStatus};
use ports::issuers::{ReadIssuers, StoreIssuers};
use ports::mail::KeepContact;
use ports::orders::{
    AdvanceOrder, FindDueOrders, ListOpenOrders, ListOrders, NoteDecline, PlaceOrder, PutOff, ReadOrder,
};
use ports::stock::{
    AllocateStock, ClaimStock, Consistency, CountLapse, GiveBackStock, PeekStock, ReadClaim, SurveyStock,
};
use ports::{Conditional, StoreError};

use memory::MemoryStore;

/// Makes a trait of several ports, which every type with these ports implements.
macro_rules! port_group {
    ($(#[$doc:meta])* $name:ident: $($port:ident),+ $(,)?) => {
        $(#[$doc])*
        pub trait $name: $($port +)+ {}
        impl<T: $($port +)+> $name for T {}
    };
}
pub(crate) use port_group;

port_group!(StockPorts: PeekStock, ClaimStock, GiveBackStock, CountLapse, ReadClaim, SurveyStock, AllocateStock);
port_group!(
    OrderPorts: PlaceOrder, ReadOrder, ListOrders, FindDueOrders, ListOpenOrders, PutOff, AdvanceOrder,
    KeepContact, TakeCalls, NoteDecline,
);
port_group!(DropPorts: ReadDrop, ListDrops, StoreDrop);
port_group!(StatusPorts: ReadStatus, ReadCounts, WriteStatus, HoldLease);
port_group!(IssuerPorts: ReadIssuers, StoreIssuers);

/// A database under test, with its ports.
pub trait Database {
    fn stock(&self) -> impl StockPorts;
    fn orders(&self) -> impl OrderPorts;
    fn drops(&self) -> impl DropPorts;
    fn status(&self) -> impl StatusPorts;
    fn issuers(&self) -> impl IssuerPorts;
    /// The address stored for an order, read without the ports.
    fn address(&self, id: &OrderId) -> impl Future<Output = Option<String>>;
}

impl Database for MemoryStore {
    fn stock(&self) -> impl StockPorts {
        self.clone()
    }

    fn orders(&self) -> impl OrderPorts {
        self.clone()
    }

    fn drops(&self) -> impl DropPorts {
        self.clone()
    }

    fn status(&self) -> impl StatusPorts {
        self.clone()
    }

    fn issuers(&self) -> impl IssuerPorts {
        self.clone()
    }

    async fn address(&self, id: &OrderId) -> Option<String> {
        self.addresses().get(id).cloned()
    }
}

/// The outcome of a conditional write whose condition does not hold.
const REFUSED: Conditional<()> = Conditional::Refused(());

/// The result of a call that must not fail.
#[track_caller]
fn answered<T>(result: Result<T, impl Display>) -> T {
    match result {
        Ok(answer) => answer,
        Err(error) => panic!("the call failed: {error}"),
    }
}

/// Asserts that a conditional write was done.
#[track_caller]
fn done<T: Debug>(result: Result<Conditional<T>, impl Display>) {
    let outcome = answered(result);
    assert!(outcome.is_done(), "{outcome:?}");
}

/// Reads one shard with strong consistency. The shard must exist and add up.
async fn shard(stock: &impl StockPorts, index: u16) -> Shard {
    let mut found = answered(stock.survey(&[fixtures::key(index)], Consistency::Strong).await);
    assert_eq!(found.len(), 1, "shard {index} exists");
    let (key, shard) = found.remove(0);
    assert_eq!(key, fixtures::key(index));
    assert!(shard.adds_up(), "{shard:?}");
    shard
}

/// Allocates shard 0 with `units` free units.
async fn allocated(stock: &impl StockPorts, units: u32) {
    done(stock.allocate(&fixtures::key(0), units).await);
}

/// Asserts that a call failed with an error that a repeat cannot remove.
fn assert_broken<T: Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Broken(_))), "{result:?}");
}

/// Makes a test of each named contract function.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    (@one $setup:expr, [$($group:tt)+], $test:ident) => {
        #[tokio::test]
        async fn $test() {
            let database = $setup;
            $crate::$($group)+::$test(&database).await;
        }
    };
    ($setup:expr => $group:tt: $($test:ident),+ $(,)?) => {
        $($crate::contract_tests!(@one $setup, $group, $test);)+
    };
}
