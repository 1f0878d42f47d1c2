//! The stock: shards and the claims in them. Each write is one conditional update of one item.

use std::future::Future;

use domain::claim::Claim;
use domain::ids::{DropId, ShardKey, ShopperId};
use domain::lapse::Lapses;
use domain::shard::Shard;
use domain::survey::SeenClaim;

use crate::{Conditional, StoreError};

/// The result of a shopper's read of a few shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peek {
    /// The existing shards, in the requested order.
    pub shards: Vec<(ShardKey, Shard)>,
    /// Units the shopper has in open or paid orders of this drop.
    pub purchased: u32,
    /// The shopper's holds in this drop that expired unused.
    pub lapses: Option<Lapses>,
}

/// The largest number of shards in one peek.
pub const MOST_PEEKED: usize = 8;

/// The keys that a peek reads: each once, in the requested order.
///
/// # Errors
///
/// [`StoreError::Broken`] when there are more than [`MOST_PEEKED`], or one is of another drop.
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

/// Reads a few shards, eventually consistent and at low cost.
pub trait PeekStock: Send + Sync {
    /// The shards of `keys` (at most [`MOST_PEEKED`], all of `drop`) and `shopper`'s purchase counter, eventually consistent.
    fn peek(
        &self,
        drop: &DropId,
        shopper: &ShopperId,
        keys: &[ShardKey],
    ) -> impl Future<Output = Result<Peek, StoreError>> + Send;
}

/// Takes units.
pub trait ClaimStock: Send + Sync {
    /// Takes `claim.units` free units of the shard, unless `shopper` has a claim in it. Refused: the current
    /// shard, `None` if it does not exist. Done: the remaining free units are not returned; a peek reads
    /// them.
    ///
    /// The repeat of a claim that was taken is refused, and the returned shard contains the claim.
    fn claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
    ) -> impl Future<Output = Result<Conditional<Option<Shard>>, StoreError>> + Send;

    /// Replaces `victim`'s hold, exactly as `seen`, by `claim` for `shopper`. The caller has made sure that the hold is
    /// [returnable](Claim::is_returnable), or `shopper`'s own and no longer [live](Claim::is_live). Refused: the shard as it is.
    fn take_over(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
        victim: &ShopperId,
        seen: &Claim,
    ) -> impl Future<Output = Result<Conditional<Option<Shard>>, StoreError>> + Send;
}

/// Returns units.
pub trait GiveBackStock: Send + Sync {
    /// Returns the units of a *held* claim, exactly as read. Refused: that claim no longer exists.
    fn give_back(&self, seen: &SeenClaim)
    -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Counts holds that expire unused.
pub trait CountLapse: Send + Sync {
    /// Counts this hold on its shopper's purchases item, by [`Lapses::counting`]. Refused: it is counted already.
    fn count_lapse(
        &self,
        seen: &SeenClaim,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Reads one claim, strongly consistent.
pub trait ReadClaim: Send + Sync {
    /// `shopper`'s claim in the shard, strongly consistent; `None` if there is none.
    fn read_claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
    ) -> impl Future<Output = Result<Option<Claim>, StoreError>> + Send;
}

/// The consistency of a survey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Eventually consistent, at half the cost.
    Eventual,
    /// Strongly consistent.
    Strong,
}

/// Reads many shards.
pub trait SurveyStock: Send + Sync {
    /// The shards of `keys` that exist, in any order.
    fn survey(
        &self,
        keys: &[ShardKey],
        consistency: Consistency,
    ) -> impl Future<Output = Result<Vec<(ShardKey, Shard)>, StoreError>> + Send;
}

/// Creates shards.
pub trait AllocateStock: Send + Sync {
    /// Creates the shard with all its `units` free, unless it exists. Refused: it exists, in any state.
    fn allocate(
        &self,
        key: &ShardKey,
        units: u32,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}
