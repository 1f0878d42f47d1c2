//! Defines the ports: the capabilities that functions need from outside, as one small trait for each.
//!
//! A function names exactly the capabilities that it uses, so its type shows what it can do. With
//! [`stock::PeekStock`] a function cannot claim units, and `reserve` cannot change an order. The
//! adapters (DynamoDB, SQS, PostgreSQL, a payment gateway, memory) implement the traits and pass the
//! same contract tests.
//!
//! **Errors.** Every database port fails with a [`StoreError`]. It distinguishes a call that certainly had
//! no effect from a call that may have had one. A time-out after sending is [`StoreError::Unknown`] and
//! never a failure: the caller repeats the same conditional write, or reads. [`retry`] repeats calls, with
//! jitter and a limit. A condition that does not hold is not an error but an outcome, which contains the
//! state that was found.
//!
//! **Time and random numbers** come from [`runtime::Clock`] and [`runtime::Random`], so that a whole drop can
//! be repeated from a seed.
//!
//! **Caches.** [`cached::CachedDrops`], which is built on [`timed_cache::TimedCache`], limits how often a
//! process reads the same drop. [`renewed::Renewed`] caches one value that changes rarely, such as a secret.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod cached;
pub mod calls;
pub mod change;
pub mod drops;
mod error;
pub mod invocation;
pub mod issuers;
pub mod ledger;
pub mod mail;
pub mod messages;
pub mod orders;
pub mod page;
pub mod payment;
pub mod prescale;
pub mod renewed;
pub mod retry;
pub mod runtime;
pub mod secrets;
pub mod stock;
mod time_limit;
pub mod timed_cache;

pub use error::{Conditional, StoreError};
