//! The contracts of the ports, on the adapters in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod stock {
    memory::stock_contract!(memory::MemoryStore::new());
}
mod orders {
    memory::orders_contract!(memory::MemoryStore::new());
}
mod drops {
    memory::drops_contract!(memory::MemoryStore::new());
}
mod status {
    memory::status_contract!(memory::MemoryStore::new());
}
mod messages {
    memory::messages_contract!(memory::MemoryQueues::new());
}
mod ledger {
    memory::ledger_contract!(memory::MemoryLedger::new());
}
