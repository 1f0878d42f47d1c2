//! Reads secrets at run time from AWS Secrets Manager, and caches them.
//!
//! **Problem.** Every call that describes a function shows its environment variables, and a changed variable takes
//! effect only after a deployment. Reading the secret at each use would cost a call for each payment, and an outage of
//! the store would stop all payments.
//!
//! **Model.** A [`SecretName`] names a secret, [`SecretsManager`] fetches it, and [`CachedSecret`] caches it:
//!
//! | age of the last value | [`read`](ports::secrets::ReadSecret::read) returns |
//! |---|---|
//! | younger than [`LIFE_MS`] less up to a fifth, and not refused | the cached value, without a call |
//! | older, or refused | a new value; if the store does not answer, the cached value until it is [`STALE_MS`] old |
//! | older than [`STALE_MS`], or no value | a new value; if the store does not answer, an error |
//!
//! At most one fetch runs at a time in a process. No fetch begins within [`PAUSE_MS`] of the end of the last fetch;
//! until then the last result is returned again. During a fetch, other callers use the cached value if it was not
//! refused.
//!
//! **Walk-through.** A function parses the name at its start and makes the cache. The first use fetches the secret:
//!
//! ```ignore
//! let aws = startup::aws::service(config, secrets::ENDPOINT_VARIABLE);
//! let name: SecretName = config.made("GATEWAY_SECRET", str::parse)?;
//! let key = CachedSecret::new(SecretsManager::new(&aws, name), SystemRuntime);
//! ```
//!
//! **Permissions.** `secretsmanager:GetSecretValue` on the secret. With a customer managed KMS key also `kms:Decrypt`
//! of that key. The key policy can grant `kms:Decrypt` to all callers that come through Secrets Manager
//! (`kms:ViaService`), as the policy of the key `aws/secretsmanager` does.
//!
//! **What it does not do.** It does not write or rotate secrets. It does not read secrets from Parameter Store, whose
//! SDK has six times as many operations and takes minutes to compile.
#![forbid(unsafe_code)]

mod cached;
mod manager;
mod name;

pub use cached::{CachedSecret, FetchSecret, LIFE_MS, PAUSE_MS, STALE_MS};
pub use manager::{ENDPOINT_VARIABLE, FETCH_TIMEOUT_MS, SecretsManager};
pub use name::{NameError, SecretName};
