//! Conducts drops: counts the shards, returns expired and surplus holds, and writes the status.
//!
//! **The problem.** A shopper who leaves without buying leaves a hold; concurrent requests of a shopper may leave two;
//! a cancelled drop leaves holds and open orders. These units must return without a request. And shoppers must see the
//! remaining stock without each of them counting it.
//!
//! **The model.** A run starts every minute and lasts almost until its time limit of three minutes ([`run`]), so runs
//! overlap. For each drop that is on ([`calendar`]), one run at a time holds the lease ([`lease`]). The other runs
//! check again each period, and take over within seconds when the holder dies. The holder makes a *step* each period
//! ([`step`]): it reads all shards ([`survey`]), creates the shards that an interrupted restock left out, returns holds
//! that must go back ([`returns`]), and writes the counts and the status document ([`publication`]) under the lease's
//! fencing number. For a cancelled drop it also ends the open orders ([`cancellation`]).
//!
//! Two concurrent conductors are harmless: every write to a shard or an order is conditional on exactly what was read,
//! and of two status documents the one under the newer lease is kept. The lease only avoids doing the work twice.
//!
//! **When a drop is over.** A drop is no longer conducted once it cannot change any more: every unit is paid for, or no
//! unit is held or ordered and the last request that could have claimed a unit ended long ago
//! ([`LATE_MS`](domain::limits::LATE_MS)). A run without a drop ends after a minute, when the next run has begun.
//!
//! **The cost.** For each period and drop: one read unit for two shards, a write unit for each copy of a changed
//! status and of each changed SKU's counts (4 to 64 copies, by the expected shoppers), 1 for the lease.
//!
//! **What it does not do.** It charges and refunds nothing. For an order with a payment it only requests the end; the
//! order's own worker asks the gateway whether money has moved.
#![forbid(unsafe_code)]

pub mod bounds;
pub mod calendar;
pub mod cancellation;
pub mod lease;
pub mod progress;
pub mod publication;
pub mod returns;
pub mod run;
pub mod step;
pub mod survey;

use domain::limits::{FunctionLimits, Trigger};

pub use run::{Conductor, Settings};

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(180, Trigger::Schedule { every_seconds: 60 });
