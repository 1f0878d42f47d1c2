//! The conductor: counts the shards, returns expired and surplus holds, writes the status.
//!
//! **The problem.** A shopper who walks away leaves a hold behind; one who races may leave two; a cancelled drop leaves
//! holds and open orders. Their units must come back by themselves. And the crowd must learn what is left without
//! anyone of it counting.
//!
//! **The model.** A run is started every minute and lasts almost until its time-out of three minutes ([`run`]), so that
//! runs overlap. For each drop that is on ([`calendar`]) one run at a time holds the lease ([`lease`]); the others look
//! again each period, and take over within seconds when the holder dies. Whoever holds it makes a *step* each period
//! ([`step`]): read all shards ([`survey`]), make those that a restock left unmade, give back the holds whose time is over
//! ([`returns`]), and write the counts and the status document ([`publication`]) under the lease's fencing number. Of a
//! cancelled drop it also undoes the open orders ([`cancellation`]).
//!
//! Two conductors at once do no harm: every write to a shard or an order is conditional on exactly what was seen, and of
//! two status documents the one under the newer lease stays. The lease only keeps the work from being done twice.
//!
//! **When a drop is over.** A drop leaves the calendar's view once nothing can change any more: every unit is paid for, or
//! nothing is held or ordered and the last request that could have claimed something has long ended ([`LATE_MS`](domain::limits::LATE_MS)).
//! A run with nothing to conduct ends after a minute, when the next one has begun.
//!
//! **The cost.** One read unit for two shards, 16 write units for a changed status, 1 for each changed SKU, 1 for the
//! lease, each period and drop.
//!
//! **What it does not do.** It charges and refunds nothing: an order with a payment is only asked to end, and
//! the order's own worker finds out at the gateway whether money has moved.
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

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(180, Trigger::Schedule { every_seconds: 60 });
