//! Tests the contracts of the ports, on the adapters in memory.

mod stock {
    contracts::stock_contract!(memory::MemoryStore::new());
}
mod orders {
    contracts::orders_contract!(memory::MemoryStore::new());
}
mod calls {
    contracts::calls_contract!(memory::MemoryStore::new());
}
mod drops {
    contracts::drops_contract!(memory::MemoryStore::new());
}
mod status {
    contracts::status_contract!(memory::MemoryStore::new());
}
mod issuers {
    contracts::issuers_contract!(memory::MemoryStore::new());
}
mod messages {
    contracts::messages_contract!(memory::MemoryQueues::new());
}
mod ledger {
    contracts::ledger_contract!(memory::MemoryLedger::new());
}
mod prescale {
    contracts::prescale_contract!(crate::contract::account());
}

/// An account with the project's own documents. These tests use only the stored state of runs.
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
    memory::MemoryAccount::at_baseline(documents, quotas, memory::TestRuntime::new(1))
}
