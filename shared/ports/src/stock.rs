//! Defines the ports of the stock: shards and the claims in them. Each write of a shard is one conditional update
//! of one item.

use std::future::Future;

use domain::claim::Claim;
use domain::ids::{DropId, ShardKey, ShopperId};
use domain::lapse::Lapses;
use domain::shard::Shard;
use domain::survey::SeenClaim;

use crate::{Conditional, StoreError};

/// The result of a read of a few shards for a shopper.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peek {
    /// The shards that exist, in the requested order.
    pub shards: Vec<(ShardKey, Shard)>,
    /// The units that the shopper has in open or paid orders of this drop.
    pub purchased: u32,
    /// The shopper's lapses in this drop; `None` if there are none.
    pub lapses: Option<Lapses>,
    /// The index of the shard that was last [remembered](ClaimStock::remember) for the shopper and the SKU of the first
    /// key; `None` if none was, or there are no keys.
    pub remembered: Option<u16>,
}

/// The largest number of shards in one peek.
pub const MOST_PEEKED: usize = 8;

/// The keys that a peek reads: each key once, in the requested order.
///
/// # Errors
///
/// [`StoreError::Broken`] when there are more than [`MOST_PEEKED`] keys, or a key is of another drop.
pub fn keys_to_peek<'a>(drop: &DropId, keys: &'a [ShardKey]) -> Result<Vec<&'a ShardKey>, StoreError> {
    if keys.len() > MOST_PEEKED || keys.iter().any(|key| key.drop != *drop) {
        return Err(StoreError::broken(format!(
            "a peek looks at no more than {MOST_PEEKED} shards of one drop"
        )));
    }
    let mut distinct = Vec::with_capacity(keys.len());
    for key in keys {
        if !distinct.contains(&key) {
            distinct.push(key);
        }
    }
    Ok(distinct)
}

/// Reads a few shards for a shopper's request, eventually consistent.
pub trait PeekStock: Send + Sync {
    /// The shards of `keys` (at most [`MOST_PEEKED`], all of `drop`), and `shopper`'s purchase counter, lapses and
    /// remembered shard, eventually consistent.
    fn peek(
        &self,
        drop: &DropId,
        shopper: &ShopperId,
        keys: &[ShardKey],
    ) -> impl Future<Output = Result<Peek, StoreError>> + Send;
}

/// Takes units for a shopper, and remembers where the units are.
pub trait ClaimStock: Send + Sync {
    /// Takes `claim.units` free units of the shard, unless `shopper` has a claim in it. Done: the units are
    /// taken; the number of the remaining free units is not returned. Refused: contains the current shard, or
    /// `None` if the shard does not exist.
    ///
    /// If the claim was taken and its answer was lost, a repeat is refused, and the returned shard contains
    /// the claim.
    fn claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
    ) -> impl Future<Output = Result<Conditional<Option<Shard>>, StoreError>> + Send;

    /// Replaces `victim`'s hold, exactly as `seen`, by `claim` for `shopper`. The caller must have checked
    /// that the hold is [returnable](Claim::is_returnable), or `shopper`'s own and no longer
    /// [live](Claim::is_live). Refused: contains the current shard, or `None` if the shard does not exist.
    fn take_over(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
        victim: &ShopperId,
        seen: &Claim,
    ) -> impl Future<Output = Result<Conditional<Option<Shard>>, StoreError>> + Send;

    /// Stores on `shopper`'s purchases item that the shopper's last reservation of this SKU outside the own two shards
    /// is in the shard `key`. It replaces the shard that was stored before.
    fn remember(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Returns the units of holds.
pub trait GiveBackStock: Send + Sync {
    /// Returns the units of a *held* claim, exactly as the claim was read. Refused: the shard no longer
    /// contains this claim.
    fn give_back(&self, seen: &SeenClaim)
    -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Counts the holds of a shopper that expired unused.
pub trait CountLapse: Send + Sync {
    /// Counts the hold on the purchases item of its shopper, by [`Lapses::counting`]. Refused: the hold has
    /// already been counted.
    fn count_lapse(
        &self,
        seen: &SeenClaim,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Reads the claim of one shopper.
pub trait ReadClaim: Send + Sync {
    /// `shopper`'s claim in the shard, strongly consistent; `None` if the shard contains no such claim.
    fn read_claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
    ) -> impl Future<Output = Result<Option<Claim>, StoreError>> + Send;
}

/// Whether a survey must show all earlier writes, or may miss the latest ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Eventually consistent: the read costs half, and may miss the latest writes.
    Eventual,
    /// Strongly consistent: the read shows all earlier writes.
    Strong,
}

/// Reads all shards of a drop or many of them.
pub trait SurveyStock: Send + Sync {
    /// The shards of `keys` that exist, in any order.
    fn survey(
        &self,
        keys: &[ShardKey],
        consistency: Consistency,
    ) -> impl Future<Output = Result<Vec<(ShardKey, Shard)>, StoreError>> + Send;
}

/// Creates the shards of a drop.
pub trait AllocateStock: Send + Sync {
    /// Creates the shard with all its `units` free, unless the shard exists. Refused: the shard exists, in
    /// any state.
    fn allocate(
        &self,
        key: &ShardKey,
        units: u32,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}
