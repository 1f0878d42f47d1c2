//! Tests the contract of an account's control planes, on the account in memory.

use capacity::documents::Documents;
use capacity::quotas::Quotas;
use contracts::account::{AccountPorts, ControlPlanes, account_fixtures};
use memory::{MemoryAccount, TestRuntime};

/// A time longer than any change of the account takes, in seconds.
const ALL_OF_IT_SECONDS: u32 = 600;

struct MemoryControlPlanes {
    account: MemoryAccount,
    runtime: TestRuntime,
    documents: Documents,
}

fn control_planes(documents: Documents) -> MemoryControlPlanes {
    let runtime = TestRuntime::new(1);
    let quotas = Quotas {
        account_concurrency: 1_000,
        reserved_by_others: 10,
        provisioned_per_minute: 6_000,
        api_requests_per_second: 10_000,
        api_burst: 5_000,
        table_write_units: 40_000,
        table_read_units: 40_000,
        gateway_calls_per_second: 100,
    };
    MemoryControlPlanes {
        account: MemoryAccount::at_baseline(documents.clone(), quotas, runtime.clone()),
        runtime,
        documents,
    }
}

impl ControlPlanes for MemoryControlPlanes {
    fn account(&self) -> impl AccountPorts {
        self.account.clone()
    }

    fn documents(&self) -> &Documents {
        &self.documents
    }

    async fn declare(&self, documents: &Documents) {
        self.account.declare(|declared| *declared = documents.clone());
    }

    async fn settle(&self) {
        self.runtime.advance_seconds(ALL_OF_IT_SECONDS);
    }

    async fn send(&self) {
        self.account.set_draining(true);
    }

    async fn spoil(&self) {
        self.account.set_silent(account_fixtures::API, true);
    }
}

mod with_a_serverless_cluster {
    contracts::account_contract!(super::control_planes(super::account_fixtures::serverless()));
    contracts::serverless_contract!(super::control_planes(super::account_fixtures::serverless()));
}

mod with_instances {
    contracts::account_contract!(super::control_planes(super::account_fixtures::provisioned([
        "one", "two", "three"
    ])));
    contracts::classes_contract!(super::control_planes(super::account_fixtures::provisioned([
        "one", "two", "three"
    ])));
}
