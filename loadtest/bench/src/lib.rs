//! What a reserve costs, what the stack serves, what a cold start takes.
//!
//! **The problem.** A time on one machine says nothing on another. What can be compared is a ratio: to the least that a
//! function of the same kind must do, and to what most teams would have written instead. And a figure is worth nothing if
//! the requests behind it were refused.
//!
//! **The model.** Everything is measured beside something else in the same run, in alternating rounds, and stands with its
//! median, lowest and highest value. `bench-hello` is the smallest function there is; `bench-baseline` verifies one
//! signature and makes one `UpdateItem`; `node/` is the same reserve as a plain Node.js function. All of them are driven by
//! the Runtime API and the DynamoDB of `infra/local`. All programs are those that `infra/tools/package` builds: the functions as
//! they are deployed, the stand-ins in the same way.
//!
//! **A walk through.** [`cold`] starts processes until they ask for work. [`host`] keeps one warm process of each function,
//! [`scene`] lays out stock and shoppers so that each call does what it is said to do, and [`cpu`] reads the process's CPU
//! clock around blocks of calls and checks by the meter what they did. [`stage`] starts a whole stack, and [`load`] sends it
//! the [`mix`], first as fast as it goes, then at half of that rate. [`summary`] puts it together.
//!
//! **What it does not do.** It does not speak of Lambda's own time or of DynamoDB's: the database is an emulator and shares
//! the machine. Nothing of it is deployed.
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
