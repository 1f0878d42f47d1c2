//! Stores the documents of issuers, and the parameters from which they are made.

use std::collections::BTreeMap;

use ports::issuers::{
    ISSUER_COPIES, IssuerList, IssuersDocument, ParameterError, ReadIssuers, ReadParameter, StoreIssuers,
};
use ports::{Conditional, StoreError};

use crate::conditions::write_if;
use crate::faults::Op;
use crate::shared::Shared;
use crate::store::MemoryStore;
use crate::yielding::yield_now;

impl ReadIssuers for MemoryStore {
    async fn issuers(&self, list: IssuerList, copy: u8) -> Result<Option<IssuersDocument>, StoreError> {
        self.call(Op::Issuers, |state| {
            let document = state.issuers.get(&list).filter(|_| copy < ISSUER_COPIES);
            Ok(document.cloned())
        })
        .await
    }
}

impl StoreIssuers for MemoryStore {
    async fn store_issuers(
        &self,
        list: IssuerList,
        document: &IssuersDocument,
    ) -> Result<Conditional<()>, StoreError> {
        self.call(Op::StoreIssuers, |state| {
            let version = state.issuers.get(&list).map_or(0, |stored| stored.version);
            Ok(write_if(version.checked_add(1) == Some(document.version), || {
                state.issuers.insert(list, document.clone());
            }))
        })
        .await
    }
}

/// Parameters that tests change. Clones share the parameters.
#[derive(Debug, Clone, Default)]
pub struct MemoryParameters(Shared<Parameters>);

#[derive(Debug, Default)]
struct Parameters {
    values: BTreeMap<String, String>,
    silent: bool,
}

impl MemoryParameters {
    /// Sets the parameter `name` to this value.
    pub fn put(&self, name: &str, value: impl Into<String>) {
        self.0.lock().values.insert(name.to_owned(), value.into());
    }

    pub fn remove(&self, name: &str) {
        self.0.lock().values.remove(name);
    }

    /// With `silent`, the parameter store does not answer from now on.
    pub fn set_silent(&self, silent: bool) {
        self.0.lock().silent = silent;
    }
}

impl ReadParameter for MemoryParameters {
    async fn parameter(&self, name: &str) -> Result<String, ParameterError> {
        yield_now().await;
        let parameters = self.0.lock();
        if parameters.silent {
            return Err(ParameterError::Unavailable);
        }
        parameters
            .values
            .get(name)
            .cloned()
            .ok_or(ParameterError::Missing)
    }
}
