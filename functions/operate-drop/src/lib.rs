//! Lets operators manage drops: create, edit, publish, pause, resume, extend, restock, cancel; and keep or end
//! orders that wait for the payment gateway ([`orders`]).
//!
//! **The problem.** An operator's action may need a thousand writes (publishing creates every stock shard). It may be
//! sent twice, two operators may act at the same time, and the process may die at any point. In every case, a repeat of
//! the request must lead to the result of a single undisturbed request.
//!
//! **The model.** A drop is one document with a version. Every action is a pure function of the document
//! ([`domain::drops::Drop`]) that changes nothing the second time. [`change`] reads the document, applies the
//! action and stores the result on condition that the version is still the one read; after a conflict it
//! starts again. Effects outside the document either follow from it (the shards of a frozen plan:
//! [`allocate`]) or are left to the conductor (the sweep after a cancellation).
//!
//! **A walk through publishing** ([`publish`]). First the plan is frozen and stored: *publishing*. Then every
//! missing shard of the plan is created, and all are read back, strongly consistent, until they equal the
//! plan exactly. Only then is the drop *scheduled* and visible to shoppers. A restock ([`restock`]) first
//! extends the plan and then creates the shards, so that a repeat can find the missing ones.
//!
//! **What it does not do.** It writes no status document: until the first count of the conductor, the status
//! reports all allocated units as available, which is true before the start. It returns no hold and undoes no
//! order: a cancelled drop is *cancelling* until the conductor finds no hold and no open order.
#![forbid(unsafe_code)]

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

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(30, Trigger::Http);

const _: () = assert!(
    allocate::BUDGET_MS < LIMITS.timeout_ms(),
    "making shards must end before the function is ended"
);
