//! Operate drops: create, edit, publish, pause, resume, extend, restock, cancel; and keep or end their orders that wait for the payment gateway ([`orders`]).
//!
//! **The problem.** An operator's act may be a thousand writes (publishing makes every stock shard), it may be sent
//! twice, two operators may act at once, and the process may die anywhere in between. Whatever happens, sending the same
//! request again must end where a single undisturbed request would have.
//!
//! **The model.** A drop is one document with a version. Every act is a pure function of the document
//! ([`domain::drops::Drop`]) that changes nothing the second time; [`change`] reads, applies and stores it over
//! exactly the version it was made from, and starts again when somebody else came first. What an act does besides the
//! document is either derived from it (the shards of a frozen plan: [`allocate`]) or left to the conductor (the sweep
//! after a cancellation).
//!
//! **A walk through publishing** ([`publish`]). First the plan is frozen and stored: *publishing*. Then every
//! shard of the plan that is missing is made, and all are read back, strongly consistent, until they add up to the plan
//! exactly. Only then is the drop *scheduled*, and only then do shoppers see it. A restock ([`restock`]) appends to
//! the plan first and then makes the shards, so that a repeat knows what is missing.
//!
//! **What it does not do.** It writes no status document: until the conductor has counted, shoppers are told that
//! everything allocated is available, which is true before the start. It returns no hold and undoes no order: a
//! cancelled drop is *cancelling* until the conductor has found nothing left.
#![forbid(unsafe_code)]

pub mod acts;
pub mod allocate;
pub mod audit;
pub mod change;
pub mod edit;
pub mod error;
pub mod http;
pub mod orders;
pub mod publish;
pub mod restock;

use domain::limits::{FunctionLimits, Trigger};

pub use error::NotDone;
pub use http::Api;

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(30, Trigger::Http);

const _: () = assert!(
    allocate::BUDGET_MS < LIMITS.timeout_ms(),
    "making shards must end before the function is ended"
);
