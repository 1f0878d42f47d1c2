//! Open-model load on a whole drop, the audit after it, and the report.
//!
//! **The problem.** A drop is a crowd that does not wait. A generator that sends its next request only once the last was
//! answered slows down with the system under test and hides exactly what should be seen. And what a system says of itself
//! is no evidence that it sold every unit once.
//!
//! **The model.** Arrivals are drawn up front from a profile and a seed ([`arrivals`], [`behaviour`]) and sent at
//! their time, whatever became of earlier ones; how late they were is measured, and a run that was late is void. Latency
//! counts from the *intended* start ([`measure`]). Everything a shopper was promised is journalled ([`journal`]).
//! Afterwards the [`mod@audit`] compares the journal with DynamoDB, the queues, PostgreSQL and the gateway's log, each read
//! directly ([`collect`]).
//!
//! **A walk through.** A [`drop_file`] says what is sold and who comes; [`stack`] starts the local stack; [`operator`]
//! publishes the drop; [`load`] sends the crowd of [`shopper`]s while [`sampler`] looks at the shards; [`drain`]
//! waits until nothing is left to do; [`collect`] and [`mod@audit`] check the promises; [`usage`] puts prices on what
//! was used; [`report`] writes it all down. [`demand`] notes what each phase caused, and [`calibrate`] makes a capacity profile
//! of such notes.
//!
//! **What it does not do.** It never calls anything but the stack it was given, and it proves nothing about capacity on
//! AWS: absolute times are those of the machine it ran on.
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
pub mod journal;
pub mod load;
pub mod measure;
pub mod operator;
pub mod prescaling;
pub mod progress;
pub mod report;
pub mod run;
pub mod sampler;
pub mod shopper;
pub mod stack;
pub mod usage;
pub mod world;
