//! Makes keys and tokens. Their signatures are hashes ([`crate::hashed`]), since Ed25519 is not tested here;
//! everything else is real.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use memory::TestRuntime;
use tokens::{Audience, KeySet, SigningKey, Verifier};

use crate::hashed;
use crate::lock::lock;

/// The keys of shoppers and operators.
pub struct Keys {
    /// Checks shoppers' tokens.
    pub shoppers: Verifier,
    /// Checks operators' tokens.
    pub operators: Verifier,
    /// The bearer token of the operator.
    pub operator_token: Arc<str>,
    shopper_key: SigningKey,
    tokens: Mutex<BTreeMap<String, Arc<str>>>,
}

/// The time from a token's issue to the beginning of a run, and from this beginning to the token's expiry, in
/// seconds.
const VALID_SECONDS: i64 = 86_400;

fn sign(key: &SigningKey, audience: Audience, sub: &str) -> anyhow::Result<String> {
    let began = TestRuntime::START.as_seconds();
    key.sign(audience, sub, began - VALID_SECONDS, began + VALID_SECONDS)
        .context("signing a token")
}

impl Keys {
    /// Generates new keys. The history does not contain keys, so it does not depend on them.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn new() -> anyhow::Result<Arc<Self>> {
        // This has no effect in a program that has made keys before; its tokens keep their real signatures.
        hashed::install();
        let shopper_key = SigningKey::generate("shoppers")?;
        let operator_key = SigningKey::generate("operators")?;
        Ok(Arc::new(Self {
            shoppers: Verifier::new(Audience::Shopper, KeySet::of(&[&shopper_key])?),
            operators: Verifier::new(Audience::Operator, KeySet::of(&[&operator_key])?),
            operator_token: sign(&operator_key, Audience::Operator, "prover")?.into(),
            shopper_key,
            tokens: Mutex::default(),
        }))
    }

    /// The bearer token of a shopper.
    #[must_use]
    pub fn of_shopper(&self, name: &str) -> Arc<str> {
        let mut tokens = lock(&self.tokens);
        if let Some(token) = tokens.get(name) {
            return Arc::clone(token);
        }
        // A token that could not be signed is refused as unauthenticated, and the run reports this.
        let token: Arc<str> = sign(&self.shopper_key, Audience::Shopper, name)
            .unwrap_or_default()
            .into();
        tokens.insert(name.to_owned(), Arc::clone(&token));
        token
    }
}
