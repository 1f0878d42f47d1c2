//! The contracts of the ports, on the adapters in memory.

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
