//! The profile that follows from the load of drops.
//!
//! **The problem.** A plan depends on its [profile](super::profile), and requests per shopper or a function's 95th
//! percentile cannot be guessed. Every drop shows them. But the values of one drop must neither be ignored nor be used
//! without limits.
//!
//! **The model.** A profile's learnable numbers have names ([`Number`]). For a [measured drop](super::measured), the
//! [`evidence`](evidence()) is the value of each number that would have caused exactly the measured load. There are two
//! ways to use it:
//!
//! * [`calibrate`](calibrate()) discards the old numbers: it takes the median over all runs, the largest for
//!   percentiles, and reports their spread.
//! * [`update`](update()) moves the old numbers by one drop: fully up, since missing capacity meant refused shoppers or
//!   waiting orders; half way down, since idle capacity only costs money, and one quiet drop is no proof.
//!
//! [`gaps`](gaps()) compares a plan with the measurements; a [`Lesson`] is the stored result of one drop.
//!
//! **A walk through.** `evidence` divides requests by shoppers or sold units, and units of tables and messages by sold
//! units. A number that the source did not measure has no evidence and stays unchanged. Requests that reach functions
//! over queues count in the tail, as in every profile, since queues even them out.
//!
//! **What it does not do.** Headroom, lead times, limits and the division into groups are set by hand. It cannot
//! separate a drop's own requests from other requests at the same time.

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
