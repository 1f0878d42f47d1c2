//! Secrets read at run time from AWS Secrets Manager, cached.
//!
//! **Problem.** A secret in an environment variable is shown by every call that describes the function, and a changed one is
//! used only after a deployment. Read at each use, it would cost a call for each payment, and an outage of the store of
//! secrets would stop all payments.
//!
//! **Model.** A [`SecretName`] says where a secret is; [`SecretsManager`] fetches it; [`CachedSecret`] keeps it:
//!
//! | the value that was fetched last | [`read`](ports::secrets::ReadSecret::read) answers |
//! |---|---|
//! | is younger than [`LIFE_MS`] to [`LIFE_MS`] and a fifth, and nobody refused it | that value, without a call |
//! | is older, or was refused | a new one; if the store does not answer, that value until it is [`STALE_MS`] old |
//! | is older than [`STALE_MS`], or there is none | a new one; if the store does not answer, an error |
//!
//! At most one fetch runs at a time in a process, and none begins within [`PAUSE_MS`] of the end of the last: what that one
//! found is answered again. While one runs, whoever has a value that nobody refused goes on with it.
//!
//! **Walk-through.** A function reads the name at its start and makes the cache; the first use fetches:
//!
//! ```ignore
//! let aws = startup::aws::service(config, secrets::ENDPOINT_VARIABLE);
//! let name: SecretName = config.made("GATEWAY_SECRET", str::parse)?;
//! let key = CachedSecret::new(SecretsManager::new(&aws, name), SystemEdge);
//! ```
//!
//! **Permissions.** `secretsmanager:GetSecretValue` on the secret. Under a KMS key of the account's own also `kms:Decrypt` of
//! that key, which its key policy can give to all who come through Secrets Manager (`kms:ViaService`), as the policy of
//! the key `aws/secretsmanager` does.
//!
//! **What it does not do.** It writes and rotates no secret, and reads none from Parameter Store: its SDK has
//! six times as many operations and takes minutes to compile.
#![forbid(unsafe_code)]

mod cached;
mod manager;
mod name;

pub use cached::{CachedSecret, FetchSecret, LIFE_MS, PAUSE_MS, STALE_MS};
pub use manager::{ENDPOINT_VARIABLE, FETCH_TIMEOUT_MS, SecretsManager};
pub use name::{NameError, SecretName};
