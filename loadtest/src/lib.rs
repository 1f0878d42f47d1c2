//! Sends an open-model load to a whole drop, audits the drop afterwards, and writes the report.
//!
//! **The problem.** Shoppers do not wait for the system. A generator that sends its next request only after the last
//! answer slows down with the system under test and hides its latency. And the system's own statements do not prove
//! that it sold every unit once.
//!
//! **The model.** Arrivals are drawn in advance from a profile and a seed ([`arrivals`], [`behaviour`]) and sent at
//! their time, whether or not earlier requests have been answered. Their lateness is measured, and a run with late
//! arrivals is void. Latency counts from the *intended* start ([`measure`]). The journal records every promise made
//! to a shopper ([`journal`]). Afterwards the [`mod@audit`] compares the journal with DynamoDB, the queues,
//! PostgreSQL and the gateway's log, each read directly ([`collect`]).
//!
//! **A walk through.** A [`drop_file`] describes the goods and the shoppers; [`stack`] starts the local stack;
//! [`operator`] publishes the drop; [`load`] sends the [`shopper`]s' requests while [`sampler`] reads the shards;
//! [`drain`] waits until no work is left; [`collect`] and [`mod@audit`] check the promises; [`usage`] applies prices to
//! the usage; [`report`] writes the results. [`demand`] records the load of each phase, and [`calibrate`] makes a
//! capacity profile from such records.
//!
//! **What it does not do.** The crate calls only the given stack, and proves nothing about capacity on AWS:
//! absolute times are those of the machine that runs it.
#![forbid(unsafe_code)]

pub mod arrivals;
pub mod audit;
pub mod behaviour;
pub mod calibrate;
pub mod client;
pub mod collect;
pub mod compare;
pub mod control;
pub mod demand;
pub mod drain;
pub mod drop_file;
pub mod facts;
pub mod faults;
mod files;
pub mod gateway;
pub mod journal;
pub mod load;
pub mod measure;
pub mod operator;
pub mod prescaling;
pub mod progress;
pub mod report;
pub mod room;
pub mod run;
pub mod sampler;
pub mod shopper;
pub mod stack;
pub mod usage;
pub mod world;
