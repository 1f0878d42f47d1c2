//! Runs a drop of full size in virtual time: the real handlers of every function, on models of what AWS
//! limits.
//!
//! **The problem.** A machine cannot show what happens when 200,000 requests a second meet some 20,000
//! environments. The limits that matter there are not reached at a small scale: units of one partition,
//! environments that a function may start, calls that a gateway takes.
//!
//! **The model.** [`settings`] define the crowd and the capacity. The [`crowd`] is the load test's: the same
//! shoppers by the same code, who reach the API through [`front`] instead of a connection. Functions are
//! built by the constructors that their `main.rs` call ([`fleet`]), one for each of [`lambda`]'s
//! environments, over the adapters in memory behind the partitions of [`tables`] ([`store`]). [`behind`] has
//! the stream, the queues and the schedules. Time is virtual ([`replay::timeline`]), and the whole run is one
//! thread: the same settings give the same report, byte for byte.
//!
//! **A walk through.** [`run::run`] publishes a drop through `operate-drop`, sends the crowd's requests,
//! waits until no work is left, passes the facts to `loadtest::audit` and writes a [`report`].
//!
//! **What it does not do.** It does not measure the time of code on Lambda, of networks, or of AWS's own
//! faults. Such times are assumed, and the report names them. docs/SCALE.md states which parts are real and
//! which are modelled.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::float_cmp
    )
)]
// The handlers' futures, nested in routers, exceed the compiler's default recursion limit.
#![recursion_limit = "256"]

pub mod behind;
pub mod crowd;
pub mod find;
pub mod fleet;
pub mod front;
pub mod lambda;
pub mod old;
pub mod outside;
pub mod page;
pub mod process;
pub mod report;
pub mod run;
pub mod settings;
pub mod store;
pub mod tables;
pub mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
