//! Learns the capacity profile that follows from the measured load of drops.
//!
//! **The problem.** A plan depends on its [profile](super::profile). The requests of a shopper and the 95th
//! percentile of a function cannot be guessed, but every drop shows them. The values of one drop must not be
//! ignored, and must not be used without limits.
//!
//! **The model.** The learnable numbers of a profile have names ([`Number`]). The [`evidence`](evidence()) of
//! a [measured drop](super::measured) is the value of each number that would have caused exactly the measured
//! load. Evidence can be used in two ways:
//!
//! * [`calibrate`](calibrate()) discards the old numbers. It takes the median over all runs, and for
//!   percentiles the largest value, and reports the spread of the values.
//! * [`update`](update()) moves the old numbers by the evidence of one drop. An increase is used fully, since
//!   missing capacity meant refused shoppers or waiting orders. A decrease is used half, since idle capacity
//!   only costs money, and one quiet drop is no proof.
//!
//! [`gaps`](gaps()) compares a plan with the measurements. A [`Lesson`] is the stored result of learning from
//! one drop.
//!
//! **How evidence is computed.** `evidence` divides requests by shoppers or sold units, and divides units of
//! tables and messages by sold units. A number that the source did not measure has no evidence and stays
//! unchanged. Requests that reach functions over queues count in the tail, as in every profile, since queues
//! delay them.
//!
//! **What this module does not do.** Headroom, lead times, limits and the division into groups are set by
//! hand. The module cannot separate a drop's own requests from other requests at the same time.

mod calibrate;
mod evidence;
mod gaps;
mod lesson;
mod number;
mod update;

pub use calibrate::{Calibrated, Spread, calibrate};
pub use evidence::evidence;
pub use gaps::{Gap, MOST_APART, gaps, largest};
pub use lesson::{FORGETS_AFTER_MS, Lesson, SETTLES_MS, due};
pub use number::{Number, Numbers, numbers};
pub use update::{Change, Pace, Updated, update};
