//! Contains the pure rules of a drop: stock, reservations, orders, money and limits.
//!
//! **The problem.** Hundreds of thousands of shoppers want a few thousand units within one minute. No unit
//! may be sold twice or lost, and the work must grow with the stock and not with the number of shoppers.
//!
//! **The model.** A [`Drop`](drops::Drop) sells SKUs. A frozen [`ShardPlan`](plan::ShardPlan) divides each
//! SKU's units among many small [`Shard`](shard::Shard)s, so that no stored item receives too many
//! requests. A shopper's hold is a [`Claim`](claim::Claim) inside one shard. A checkout turns the claim
//! into *ordered* and makes an [`Order`](order::Order). When the order is paid, the claim's units become
//! *sold*; when the order ends unpaid, they become *free* again. In every shard, at every time: `free +
//! sold + Σ claims == allocated`.
//!
//! **The path of a request.** [`choice`] names the shards that a shopper's request reads; [`search`] decides
//! which of them to read next and where to write. [`Shard::claim`](shard::Shard::claim) takes units.
//! [`Claim::ordered`](claim::Claim::ordered) admits a hold to checkout unless the hold has expired.
//! [`Order`](order::Order)'s transitions define what may follow and the effect on the shard. [`survey`] finds
//! the holds whose units must be returned, and [`status`] defines the document that shoppers read.
//!
//! **What the crate does not do.** It has no input or output, no clock and no random numbers: the current
//! time is a [`Timestamp`](time::Timestamp) argument, and every choice is a hash. Adapters store the results,
//! and the tests run the same rules in memory.
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
mod order_status;
pub mod plan;
pub mod rate;
pub mod saga;
pub mod search;
pub mod shard;
pub mod status;
pub mod survey;
pub mod text;
pub mod time;
