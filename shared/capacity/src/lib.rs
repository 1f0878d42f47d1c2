//! Contains the rules of pre-scaling: the capacity that drops need, when it must be ready, its cost, and the
//! steps to it and back.
//!
//! **The problem.** At the opening of a drop, reactive scaling is too slow: functions start cold, and the
//! database has its baseline size. Capacity must be ready *before* the first shoppers, must fit the account's
//! limits and a budget, and must be returned afterwards.
//!
//! **The model.** [`Documents`](documents::Documents) contain the declarations: the [profile](profile) (the
//! load of a shopper and a unit), the [baseline](baseline) (the capacity between drops, including the
//! [database]), the [budget](quotas::Budget), the [prices](prices) and the [calendar](calendar).
//! [`Quotas`](quotas::Quotas) and [`Observed`](observed::Observed) are read from the account. Everything else
//! is computed from these values and the current time:
//!
//! | result | module |
//! |---|---|
//! | the declarations from JSON, or all mistakes of their form together | [`read`] |
//! | rates in the busiest second of each phase of a drop | [`demand`] |
//! | the capacity for rates, never below the baseline | [`need`] |
//! | the largest share of the rates that fits limits and budget | [`fit`] |
//! | when to begin, computed backwards from the opening | [`lead`] |
//! | the capacity that all drops on the calendar need at a moment | [`wanted`] |
//! | the changes to make now: increases immediately, reductions when two runs agree | [`target`](mod@target) |
//! | whether another controller changes the same alias | [`others`] |
//! | the differences between the current and the target capacity | [`steps`] |
//! | one complete run, and its record for the next run | [`reconcile`](mod@reconcile) |
//! | the plan of one drop for people: rows, limits, warnings, cost | [`plan`](mod@plan), [`cost`] |
//! | whether a drop's capacity is ready, and the consequence if it is not | [`readiness`](mod@readiness) |
//! | whether a deployment may begin | [`freeze`] |
//! | the measured load of a drop, and the updated profile | [`measured`], [`learn`] |
//!
//! **The path of a run.** A run passes the values that it read to [`reconcile`](reconcile::reconcile),
//! carries out the steps, and stores the record. A run keeps no other state, so it may die at any point, run
//! twice or run late: the next run reads the current capacity and completes the work.
//!
//! **What the crate does not do.** It makes no calls and reads no clock. It handles one account and one
//! region. It does not predict: the profile and the expected number of shoppers are declared or measured.

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
pub mod window;
