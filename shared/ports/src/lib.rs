//! What the functions need from the outside, one small trait per capability.
//!
//! A function names exactly the capabilities it uses, so that its type says what it can do: whoever gets
//! [`stock::PeekStock`] cannot claim, and `reserve` cannot touch an order. Adapters implement the traits (DynamoDB, SQS,
//! PostgreSQL, a payment gateway, memory) and pass the same contract tests.
//!
//! **Errors.** Every database port fails with [`StoreError`], which separates what was certainly not done from what may
//! have been: a time-out after sending is [`StoreError::Unknown`], never a failure, and the caller repeats the same
//! conditional write or reads. [`retry`] does so, bounded and with jitter. Refusals are not errors: a condition that
//! does not hold is an outcome, with what was found.
//!
//! **Time and random numbers** come in through [`runtime::Clock`] and [`runtime::Random`], so that a whole drop replays
//! from a seed.
//!
//! [`cached::CachedDrops`] and [`timed_cache::TimedCache`], on which it is built, bound how often a process reads the same
//! thing.
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
pub mod retry;
pub mod runtime;
pub mod secrets;
pub mod stock;
mod time_limit;
pub mod timed_cache;

pub use error::{Conditional, StoreError};
