//! Pre-scaling: the capacity that drops need, when it must be ready, its cost, and the steps to it and back.
//!
//! **The problem.** At the opening of a drop, reactive scaling is too slow: functions start cold, and the database has
//! its baseline size. Capacity must be ready *before* the first shoppers, fit the account's limits and a budget, and be
//! returned afterwards.
//!
//! **The model.** [`Documents`](documents::Documents) contain the declarations: the [profile](profile) (the load of a
//! shopper and a unit), the [baseline](baseline) (the capacity between drops, including the [database]), the
//! [budget](quotas::Budget), the [prices](prices) and the [calendar](calendar). [`Quotas`](quotas::Quotas) and
//! [`Observed`](observed::Observed) are read from the account. Everything else is computed from these and a moment:
//!
//! | result | module |
//! |---|---|
//! | the declarations from JSON, or all mistakes of their form at once | [`read`] |
//! | rates in the busiest second of each phase of a drop | [`demand`] |
//! | the capacity for rates, never below the baseline | [`need`] |
//! | the largest share of the rates that fits limits and budget | [`fit`] |
//! | when to begin, computed backwards from the opening | [`lead`] |
//! | the capacity that all drops on the calendar need at a moment | [`wanted`] |
//! | the changes to make now: up at once, down when two runs agree | [`target`](mod@target) |
//! | whether another controller changes the same alias | [`others`] |
//! | the differences between the current and the target capacity | [`steps`] |
//! | one complete run, and its record for the next | [`reconcile`](mod@reconcile) |
//! | the same in readable form: rows, limits, warnings, cost | [`plan`](mod@plan), [`cost`] |
//! | whether a drop's capacity is ready, and what follows if not | [`readiness`](mod@readiness) |
//! | whether a deployment may begin | [`freeze`] |
//! | the measured load of a drop, and the updated profile | [`measured`], [`learn`] |
//!
//! **A walk through.** A run passes what it read to [`reconcile`](reconcile::reconcile), carries out the steps, and
//! stores the record. It keeps no other state, so a run may die at any point, be repeated or be late: the next one
//! reads the current capacity and finishes.
//!
//! **What it does not do.** It makes no calls and reads no clock. It handles one account and one region. It does not
//! predict: the profile and the expected number of shoppers are declared or measured.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod amounts;
pub mod baseline;
pub mod calendar;
pub mod cost;
pub mod database;
pub mod demand;
pub mod documents;
pub mod fit;
pub mod freeze;
pub mod lead;
pub mod learn;
pub mod measured;
mod mistakes;
pub mod need;
pub mod numbers;
pub mod observed;
pub mod others;
pub mod phase;
pub mod plan;
pub mod prices;
pub mod profile;
pub mod quotas;
pub mod read;
pub mod readiness;
pub mod reconcile;
pub mod steps;
pub mod target;
pub mod wanted;
