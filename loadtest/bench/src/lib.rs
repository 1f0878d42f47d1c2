//! Measures the cost of a reservation, the throughput of the stack, and the time of a cold start.
//!
//! **The problem.** A time on one machine says nothing about another machine. Ratios can be compared: the ratio to
//! the minimum that a function of the same kind must do, and to an implementation that most teams would have
//! written. A figure is also worthless if the requests behind it were refused.
//!
//! **The model.** Each measurement alternates with a reference measurement in the same run, and is reported with its
//! median, lowest and highest value. `bench-hello` is the smallest possible function; `bench-baseline` verifies one
//! signature and makes one `UpdateItem`; `node/` is the same reservation as a plain Node.js function. The Runtime API
//! and the DynamoDB of `infra/local` run all of them. `infra/tools/package` builds all programs: the functions as they
//! are deployed, the stand-ins in the same way.
//!
//! **A walk through.** [`cold`] starts processes and measures the time until they ask for work. [`host`] keeps one warm
//! process of each function, [`scene`] creates stock and shoppers so that each call makes the expected requests, and
//! [`cpu`] reads the process's CPU clock around blocks of calls and checks the meter. [`stage`] starts a whole stack,
//! and [`load`] sends it the [`mix`], first at the highest rate, then at half of that rate. [`summary`] collects the
//! measurements.
//!
//! **What it does not do.** It does not measure Lambda or DynamoDB themselves: the database is an emulator on the same
//! machine. Nothing of this crate is deployed.
#![forbid(unsafe_code)]

pub mod cold;
pub mod cpu;
pub mod event;
pub mod figure;
pub mod host;
pub mod load;
pub mod mix;
pub mod process;
pub mod scene;
pub mod stage;
pub mod summary;
pub mod verify;
