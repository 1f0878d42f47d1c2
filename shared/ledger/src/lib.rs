//! Implements the ledger port on PostgreSQL, with its migrations.
//!
//! **The problem.** Events arrive in batches, more than once, late and in any order. Some may contradict the ledger.
//! The final rows must be the same in every case, and one bad event must not block the others.
//!
//! **The model.** `ledger_orders` has each order at its latest version, `ledger_order_versions` every version that
//! arrived, and `ledger_entries` one capture for each paid order and one refund for each refunded order, each a double
//! entry. [`PostgresLedger`] writes a batch with *one statement*, hence in one transaction and one round trip. The
//! statement returns what it changed for each event. When a constraint refuses the batch, its events are written one by
//! one, and each refused event reports its constraint.
//!
//! **A connection is held for one batch.** Functions wait most of the time, and there may be more processes than a
//! small database has connections. So a connection is closed after its batch. A process that gets no connection waits
//! for the end of another batch, not for the end of another process.
//!
//! **A walk through.** A [`Database`] is an [`Address`], the trusted [`Roots`], and the [`SignIn`] method. [`migrate`]
//! applies migrations over its own connection. [`PostgresLedger::new`] makes the pool without connecting; each batch
//! connects. `project.sql` holds the rules of versions; constraints in `infra/migrations` hold the rules of content.
//!
//! **TLS and sign-in.** Every connection uses TLS, and one of the given roots must have signed the server's certificate
//! for the requested name. No setting weakens this. Each connection gets its own token or reads the password again, and
//! sends it after the TLS handshake: an IAM token is valid for 15 minutes, and a password may have changed
//! (`docs/adr/0020-tls-and-sign-in-to-the-ledger.md`).
//!
//! **Behind RDS Proxy.** The proxy lends a server connection for one transaction. It pins the connection to one client
//! when that client leaves session state: `SET`, `PREPARE`, temporary tables, session locks, sequences read explicitly.
//! This crate avoids all of them. Each statement is unnamed and sent with its parameter types (parse, bind and execute
//! of the extended protocol in one round trip). Keys come from the events and not from sequences. The client enforces
//! time limits instead of `SET statement_timeout`. A connection whose statement timed out is closed, since its answer
//! may still arrive.
//!
//! **Time-outs** ([`Limits`]) bound connecting, waiting for a connection and each statement. After a time-out the
//! outcome is unknown. A repeat is harmless, since every write is idempotent.
//!
//! **What it does not do.** It reads no rows back. It checks no certificate revocation lists and sends no client
//! certificate.
#![forbid(unsafe_code)]

mod address;
mod batch;
mod connect;
mod errors;
mod migrate;
mod pool;
mod projection;
mod sign_in;
mod tls;

pub use address::{Address, UrlError};
pub use connect::{ConnectError, Database, Running};
pub use migrate::{Migrated, MigrationError, Role, RoleError, migrate};
pub use pool::Limits;
pub use projection::PostgresLedger;
pub use sign_in::{SignIn, SignInError, TOKEN_SECONDS};
pub use tls::{Roots, RootsError};
