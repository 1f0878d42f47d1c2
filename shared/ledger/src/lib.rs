//! The PostgreSQL adapter of the ledger port, with its migrations.
//!
//! **The problem.** Events arrive more than once, late, in any order, and by the batch; some may contradict what the
//! ledger knows. What is written must be the same in the end, and one bad event must not keep the others out.
//!
//! **The model.** `ledger_orders` has each order at its latest version, `ledger_order_versions` every version that came,
//! and `ledger_entries` one capture per order paid and one refund per order given back, each a double entry.
//! [`PostgresLedger`] writes a batch with *one statement*, hence in one transaction and one round trip, and the statement
//! answers for each event what it changed. When a constraint refuses the batch, its events are written one by one, and
//! the refused ones are named by the constraint.
//!
//! **Connections are of those who work.** Functions wait most of the time, and there may be more processes than a small
//! database has connections. So a connection is closed when its batch is written: who finds none need only wait for
//! somebody's batch, not for a process to end.
//!
//! **A walk through.** A [`Database`] is an [`Address`], the [`Roots`] that are trusted, and how to [`SignIn`].
//! [`migrate`] brings it up to date, over a connection of its own. [`PostgresLedger::new`]
//! makes the pool without connecting; each batch connects. Rules of versions are in `project.sql`, rules of
//! content are constraints in `infra/migrations`.
//!
//! **TLS and sign-in.** Every connection is over TLS, to a server whose certificate one of the given roots signed for the name
//! that was asked for. There is no way to ask for less. What a connection signs in with is made or read for it alone, and sent
//! when TLS stands: a token of IAM holds for 15 minutes, and a secret may have been changed
//! (`docs/adr/0020-tls-and-sign-in-to-the-ledger.md`).
//!
//! **Behind RDS Proxy.** The proxy lends a server connection for a transaction at a time, and pins it to one client as
//! soon as that client leaves state behind: `SET`, `PREPARE`, temporary tables, session locks, sequences read by hand. So
//! there is none of that: each statement goes out unnamed, with its parameters' types (the extended protocol's parse,
//! bind and execute in one round trip), instead of being prepared under a name that only one server connection knows;
//! keys come from the events and never from sequences; and time-outs are kept on this side instead of by
//! `SET statement_timeout`. A connection whose statement timed out is thrown away, since its answer may still come.
//!
//! **Time-outs** ([`Limits`]) bound connecting, waiting for a connection and each statement. After one the outcome is
//! unknown, and repeating is harmless: every write is idempotent.
//!
//! **What it does not do.** It reads nothing back. It asks no list of revoked certificates, and shows no certificate of its own.
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
