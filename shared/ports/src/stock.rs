//! The stock: shards and the claims in them. Each write is one conditional update of one item.

use std::future::Future;

use domain::claim::Claim;
use domain::ids::{DropId, ShardKey, ShopperId};
use domain::lapse::Lapses;
use domain::shard::Shard;
use domain::survey::SeenClaim;

use crate::{Conditional, StoreError};

/// What a shopper's look at a few shards found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peek {
    /// The shards that exist, in the order asked for.
    pub shards: Vec<(ShardKey, Shard)>,
    /// Units the shopper has in open or paid orders of this drop.
    pub purchased: u32,
    /// The shopper's holds in this drop that expired unused.
    pub lapses: Option<Lapses>,
}

/// The most shards that one peek may look at.
pub const MOST_PEEKED: usize = 8;

/// The keys that a peek looks at: each once, in the order asked for.
///
/// # Errors
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

/// Looks at a few shards, cheaply and possibly a moment old.
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
    /// Takes `claim.units` free units of the shard, unless `shopper` has a claim in it. Refused: the shard as it is,
    /// `None` if there is no such shard. Done: the units still free are not told; a peek finds them.
    ///
    /// The repeat of a claim that was taken is refused, and the shard that comes back holds it.
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

/// Gives units back.
pub trait GiveBackStock: Send + Sync {
    /// Returns the units of a *held* claim, exactly as seen. Refused: that claim is no longer there.
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

/// Reads one claim, as it certainly is.
pub trait ReadClaim: Send + Sync {
    /// `shopper`'s claim in the shard, strongly consistent; `None` if there is none.
    fn read_claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
    ) -> impl Future<Output = Result<Option<Claim>, StoreError>> + Send;
}

/// How fresh a survey must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Possibly a moment old, at half the price.
    Eventual,
    /// As it certainly is.
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

/// Makes shards.
pub trait AllocateStock: Send + Sync {
    /// Makes the shard with all its `units` free, unless it exists. Refused: it exists, whatever has happened to it since.
    fn allocate(
        &self,
        key: &ShardKey,
        units: u32,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}
