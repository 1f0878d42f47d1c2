//! The contract of an account's control planes.

mod with_a_serverless_cluster {
    memory::account_contract!(crate::local::account::Local::serverless().await);
    memory::serverless_contract!(crate::local::account::Local::serverless().await);
}

mod with_instances {
    memory::account_contract!(crate::local::account::Local::provisioned().await);
    memory::classes_contract!(crate::local::account::Local::provisioned().await);
}
