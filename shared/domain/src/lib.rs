//! The pure rules of a drop: stock, reservations, orders, money and limits.
//!
//! **The problem.** A few thousand units, hundreds of thousands of people, one minute. Nothing may be sold twice,
//! nothing may be lost, and the work must grow with the stock and not with the crowd.
//!
//! **The model.** A [`Drop`](drops::Drop) sells SKUs. Each SKU's allocation is cut by a frozen
//! [`ShardPlan`](plan::ShardPlan) into many small [`Shard`](shard::Shard)s, so that no stored item is hot. A shopper's hold
//! is a [`Claim`](claim::Claim) inside one shard; checking out turns the claim into *ordered* and makes an
//! [`Order`](order::Order); payment settles it into *sold*, or undoes it into *free*. In every shard, always:
//! `free + sold + Σ claims == allocated`.
//!
//! **A walk through.** [`choice`] names the shards in which a shopper looks, [`search`] says which of them to look at and
//! where to write; [`Shard::claim`](shard::Shard::claim) takes units; [`Claim::ordered`](claim::Claim::ordered) admits the hold to checkout unless it has expired;
//! [`Order`](order::Order)'s transitions say what may follow and what each does to the shard;
//! [`survey`] finds holds that must go back, and [`status`] says what shoppers are told.
//!
//! **What it does not do.** No input or output, no clock, no randomness: the moment is a
//! [`Timestamp`](time::Timestamp) argument and every choice is a hash. Adapters store what is decided here, and the
//! same rules run in memory in the tests.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod choice;
pub mod claim;
pub mod crowd;
pub mod drops;
pub mod ids;
pub mod lapse;
pub mod limits;
pub mod money;
pub mod order;
pub mod plan;
pub mod rate;
pub mod saga;
pub mod search;
pub mod shard;
pub mod status;
pub mod survey;
pub mod text;
pub mod time;
