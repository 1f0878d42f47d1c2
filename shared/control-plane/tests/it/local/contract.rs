//! Runs the contract tests of an account's control planes on the emulators.

mod with_a_serverless_cluster {
    contracts::account_contract!(crate::local::account::Local::serverless().await);
    contracts::serverless_contract!(crate::local::account::Local::serverless().await);
}

mod with_instances {
    contracts::account_contract!(crate::local::account::Local::provisioned().await);
    contracts::classes_contract!(crate::local::account::Local::provisioned().await);
}
