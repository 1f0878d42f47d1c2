//! Pre-scale: the capacity that drops want, when it must be there, what it costs, and the steps to it and back.
//!
//! **The problem.** At the opening of a drop everything that scales by reacting is too late: functions start cold,
//! the database is at its everyday size. Capacity has to be there *before* the crowd, fit the account's limits and a
//! budget, and be gone afterwards.
//!
//! **The model.** [`Documents`](documents::Documents) hold what people declare: the [profile](profile) (what a shopper
//! and a unit cause), the [baseline](baseline) (what is there between drops, the [database] among it), the [budget](quotas::Budget), the
//! [prices](prices) and the [calendar](calendar). [`Quotas`](quotas::Quotas) and [`Observed`](observed::Observed) are
//! read from the account. Everything else follows from these and a moment:
//!
//! | step | module |
//! |---|---|
//! | rates at the busiest second of each phase of a drop | [`demand`] |
//! | the capacity for rates, never below the baseline | [`need`] |
//! | the largest share of the rates that fits limits and budget | [`fit`] |
//! | when to begin, solved backwards from the opening | [`lead`] |
//! | what all drops on the calendar want at a moment | [`wanted`] |
//! | what is changed now: up at once, down when two runs agree | [`target`](mod@target) |
//! | whether another controller changes the same | [`others`] |
//! | differences between what is there and what shall be | [`steps`] |
//! | one run of all that, and its record for the next | [`reconcile`](mod@reconcile) |
//! | the same for people: rows, limits, warnings, cost | [`plan`](mod@plan), [`cost`] |
//! | whether a drop's capacity is there, and what follows if not | [`readiness`](mod@readiness) |
//! | whether a deployment may begin | [`freeze`] |
//! | what a drop caused, and the profile that follows from it | [`measured`], [`learn`] |
//!
//! **A walk through.** A run calls [`reconcile`](reconcile::reconcile) with what it read, carries out the steps, and
//! stores the record. It keeps nothing else in mind, so a run may die anywhere, be repeated or be late: the next one
//! sees what is there and finishes.
//!
//! **What it does not do.** It calls nothing and reads no clock. It knows one account and one region. It does not
//! predict: the profile and the expected number of shoppers come from people and from measured drops.

pub mod baseline;
pub mod calendar;
pub mod capacity;
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
pub mod readiness;
pub mod reconcile;
pub mod steps;
pub mod target;
pub mod wanted;
