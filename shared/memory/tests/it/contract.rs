//! The contracts of the ports, on the adapters in memory.

mod stock {
    memory::stock_contract!(memory::MemoryStore::new());
}
mod orders {
    memory::orders_contract!(memory::MemoryStore::new());
}
mod calls {
    memory::calls_contract!(memory::MemoryStore::new());
}
mod drops {
    memory::drops_contract!(memory::MemoryStore::new());
}
mod status {
    memory::status_contract!(memory::MemoryStore::new());
}
mod issuers {
    memory::issuers_contract!(memory::MemoryStore::new());
}
mod messages {
    memory::messages_contract!(memory::MemoryQueues::new());
}
mod ledger {
    memory::ledger_contract!(memory::MemoryLedger::new());
}
mod prescale {
    memory::prescale_contract!(crate::contract::account());
}

/// An account by the project's own documents, of which only what runs leave behind is of interest here.
fn account() -> memory::MemoryAccount {
    let file = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/prescale");
        std::fs::read_to_string(format!("{folder}/{name}.toml")).unwrap()
    };
    let documents = capacity::documents::Documents {
        profile: toml::from_str(&file("profile")).unwrap(),
        baseline: toml::from_str(&file("baseline")).unwrap(),
        budget: toml::from_str(&file("budget")).unwrap(),
        prices: toml::from_str(&file("prices")).unwrap(),
        calendar: vec![],
    };
    let quotas = toml::from_str(&file("quotas")).unwrap();
    memory::MemoryAccount::at_baseline(documents, quotas, memory::TestEdge::new(1))
}
