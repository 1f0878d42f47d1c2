//! One client for reads, and one for writes that never sends twice.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;

use crate::Tables;

/// What every store is made of. Both clients share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) reads: Client,
    pub(crate) writes: Client,
    pub(crate) tables: Arc<Tables>,
}

impl Clients {
    pub(crate) fn new(client: &Client, tables: &Tables) -> Self {
        let once = client.config().to_builder().retry_config(RetryConfig::disabled());
        Self {
            reads: client.clone(),
            writes: Client::from_conf(once.build()),
            tables: Arc::new(tables.clone()),
        }
    }
}
