//! The profile that follows from what drops caused.
//!
//! **The problem.** A plan is as good as its [profile](super::profile), and nobody can guess requests for each shopper or a
//! function's 95th percentile. Every drop shows them. But one drop is one drop: what it says must neither be ignored nor
//! believed without bounds.
//!
//! **The model.** A profile's learnable numbers have names ([`Number`]). A [measured drop](super::measured) says what each
//! would have to be to have caused just that: its [`evidence`](evidence()). From there, two ways:
//!
//! * [`calibrate`](calibrate()) forgets the old numbers: the median over all runs, the largest for percentiles, and how far
//!   the runs are apart.
//! * [`update`](update()) moves the old numbers by one drop: up at once, since what was short was a refused shopper or a
//!   waiting order; down half way, since what was idle was only money, and one quiet drop is no proof.
//!
//! [`gaps`](gaps()) compares a plan with what came; a [`Lesson`] is all that one drop taught, as it is kept.
//!
//! **A walk through.** `evidence` divides: requests by shoppers or units sold, units of tables and messages by units sold.
//! What a source left out is no evidence, and its number stays as it was, by name. What reaches functions over queues is
//! counted in the tail, as in every profile: the queues even it out.
//!
//! **What it does not do.** Headroom, lead times, limits and how groups are cut are people's. It does not tell a drop's own
//! requests from others' that came at the same time.

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
