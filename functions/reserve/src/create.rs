//! Creates a reservation: carries out the steps of [`domain::search`] over the ports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::crowd::{self, Demand, LookBudget, StockTable};
use domain::drops::Drop;
use domain::ids::{DropId, ShardKey, ShopperId, SkuId};
use domain::search::{Act, Look, Refused, Request, Reserved, Scarcity, Step, Wanted};
use domain::status::{Availability, SkuCounts};
use domain::time::Timestamp;
use ports::cached::{CachedDrops, Known};
use ports::drops::{FreeCounts, ReadCounts, ReadDrop, ReadStatus};
use ports::retry::{IN_REQUEST, Policy, Transient, retry};
use ports::runtime::Runtime;
use ports::stock::{ClaimStock, Peek, PeekStock};
use ports::{Conditional, StoreError};
use tokens::Scope;

use crate::shard_cache::ShardCache;

/// Why a request got no reservation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReserved {
    /// A rule refuses the request, or no unit was found.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The shopper's token is not valid for this drop.
    #[error("the token is for unlisted drops only")]
    OutOfScope,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The interval at which a process logs the number of requests that it answered without a look at the shards,
/// in milliseconds.
const LOG_INTERVAL_MS: i64 = 10_000;

/// The time within which a repeat is asked to come again when the process has no look for it, in milliseconds, since it
/// may have a reservation. The next request probably reaches another process.
const REPEAT_AGAIN_WITHIN_MS: u64 = 3_000;
/// A request that is refused without a look, while units may be free, is asked to come again within this part of the
/// time over which a crowd is spread when all units are held.
const SOONER: u64 = 10;

/// How many looks (reads of shards) a process may make, and how many requests were answered without a look.
#[derive(Debug, Default)]
pub struct ProcessBudget {
    looks: LookBudget,
    /// The number of requests that were answered without a look since the last log line.
    refused: u32,
    logged_at: Timestamp,
}

impl ProcessBudget {
    /// The budget of a process that has just started.
    #[must_use]
    pub fn at(table: StockTable) -> Self {
        Self {
            looks: LookBudget::at(table),
            ..Self::default()
        }
    }
}

fn demand(drop: &Drop) -> Demand {
    Demand {
        expected_shoppers: drop.expected_shoppers,
        shards: drop.skus.iter().map(|sku| u32::from(sku.plan.shards())).sum(),
    }
}

pub struct Create<D, S, T, R> {
    /// The drops, each read about once a second.
    pub drops: Arc<CachedDrops<D, R>>,
    pub stock: S,
    /// The conductor's status and counts.
    pub status: T,
    /// This process's cache of the stock.
    pub shard_cache: ShardCache,
    /// The budget that limits how often this process looks at shards.
    pub looks: Mutex<ProcessBudget>,
    /// The copy of the status documents that this process reads, among the copies of a drop.
    pub replica: u8,
    /// The clock, and the source of random numbers.
    pub runtime: R,
}

impl<D: ReadDrop, S: PeekStock + ClaimStock, T: ReadStatus + ReadCounts, R: Runtime> Create<D, S, T, R> {
    /// Reserves in a drop that `scope` covers, or returns the refusal. A repeat of the same request finds the same
    /// reservation.
    ///
    /// # Errors
    /// [`NotReserved`].
    pub async fn create(&self, request: &Request, scope: Scope) -> Result<Reserved, NotReserved> {
        let drop_id = &request.drop;
        let Known { drop, is_stale } = self.drops.get(drop_id).await?.ok_or(Refused::UnknownDrop)?;
        if !scope.covers(drop.listed) {
            return Err(NotReserved::OutOfScope);
        }
        match self.run_search(request, &drop, is_stale).await {
            Err(NotReserved::Refused(refused)) if is_stale && refused.needs_the_newest_drop() => {
                Err(StoreError::Busy.into())
            }
            Err(NotReserved::Refused(Refused::SoldOut(Availability::AllHeld))) => {
                Err(self.all_held(&drop).into())
            }
            outcome => outcome,
        }
    }

    /// The refusal while all units are held. For a large crowd, the times of the next requests are spread.
    fn all_held(&self, drop: &Drop) -> Refused {
        match self.budget().looks.spread_seconds(demand(drop)) {
            Some(seconds) => self.ask_again_within(u64::from(seconds) * 1_000),
            None => Refused::SoldOut(Availability::AllHeld),
        }
    }

    /// The refusal of a request for which this process has no look, or whose look the table refused. Units may be free,
    /// unless `scarce`.
    fn no_look(&self, request: &Request, drop: &Drop, scarce: bool) -> Refused {
        match self.budget().looks.spread_seconds(demand(drop)) {
            _ if request.is_repeat => self.ask_again_within(REPEAT_AGAIN_WITHIN_MS),
            Some(seconds) if !scarce => self.ask_again_within(u64::from(seconds) * 1_000 / SOONER),
            _ => Refused::SoldOut(Availability::AllHeld),
        }
    }

    /// A refusal with a random time until the next request.
    fn ask_again_within(&self, ms: u64) -> Refused {
        let drawn = self.runtime.random() % ms.max(1);
        Refused::Crowded {
            in_ms: i64::try_from(drawn).unwrap_or(0),
        }
    }

    async fn run_search(
        &self,
        request: &Request,
        drop: &Drop,
        is_stale: bool,
    ) -> Result<Reserved, NotReserved> {
        let (drop_id, shopper) = (&request.drop, &request.shopper);
        let now = self.runtime.now();
        let wanted = Wanted::check(request, drop, now)?;
        let of_sku = (drop_id.clone(), request.sku.clone());
        let known = &self.shard_cache;
        let scarcity = known.scarce.fresh(&of_sku, now);
        let scarcity = scarcity.filter(|scarcity| scarcity.concerns(request.units));
        let free = known.free.fresh(&wanted.first_shard(), now);
        let unseen = || match wanted.shut() {
            Some(shut) => shut.clone(),
            None => self.no_look(request, drop, scarcity.is_some()),
        };
        let mut step = wanted.search(scarcity, free);
        loop {
            step = match step {
                Step::Look(look) => {
                    let only_finds = scarcity.is_some() || wanted.shut().is_some();
                    let look = match self.may_look(&look, drop, only_finds, now) {
                        true => look,
                        false if request.is_repeat && self.budget().looks.take_in_advance(now) => {
                            look.only_to_find()
                        }
                        false => return Err(unseen().into()),
                    };
                    let peeked = self.peek(drop_id, shopper, &look.shards, now).await;
                    // While no unit is known to be free, a look can only find the shopper's earlier reservation. A
                    // later request's look finds this reservation as well.
                    if peeked.as_ref().is_err_and(Transient::is_transient) && scarcity.is_some() {
                        return Err(unseen().into());
                    }
                    let peek = peeked?;
                    for (key, shard) in &peek.shards {
                        known.free.note(key.clone(), shard.free, now);
                    }
                    look.showed(peek.shards, peek.purchased, peek.lapses, peek.remembered)
                }
                Step::Write(write) => {
                    let (key, hold) = (&write.shard, &wanted.hold);
                    let outcome = retry(&self.runtime, IN_REQUEST, || async {
                        match &write.act {
                            Act::Claim => self.stock.claim(key, shopper, hold).await,
                            Act::TakeOver { victim, seen } => {
                                self.stock.take_over(key, shopper, hold, victim, seen).await
                            }
                        }
                    })
                    .await?;
                    match outcome {
                        Conditional::Done => {
                            known.free.note(key.clone(), write.free_after, now);
                            write.taken()
                        }
                        Conditional::Refused(found) => {
                            if let Some(shard) = &found {
                                known.free.note(key.clone(), shard.free, now);
                            }
                            write.refused(found)
                        }
                    }
                }
                Step::Remember(remember) => {
                    let shard = remember.shard();
                    let stored =
                        retry(&self.runtime, IN_REQUEST, || self.stock.remember(shard, shopper)).await;
                    if let Err(error) = stored {
                        tracing::warn!(%error, "a repeat may not find a reservation, since its shard was not stored");
                    }
                    remember.attempted()
                }
                Step::Count(count) => {
                    let counts = self.counts(&of_sku, self.copy_of(drop), now).await;
                    let counts = counts.as_ref().map(|counts| (counts.as_of, &*counts.free));
                    let free = counts.map_or(0, |(_, free)| free.iter().map(|free| u32::from(*free)).sum());
                    let chance = self.runtime.random();
                    let further = self.budget().looks.further_shards(demand(drop), free, chance);
                    count.showed(counts, further)
                }
                Step::ReadStatus(status) => {
                    status.showed(self.surveyed(&of_sku, self.copy_of(drop)).await.as_ref())
                }
                Step::Done(outcome, learnt) => {
                    // By a stale copy of the drop, all units may be sold although a newer document has more units.
                    let holds =
                        |scarcity: &Scarcity| !is_stale || scarcity.availability != Availability::Gone;
                    if let Some(scarcity) = learnt.filter(holds) {
                        known.scarce.note(of_sku, scarcity, now);
                    }
                    return Ok(outcome?);
                }
            }
        }
    }

    /// Reads shards. When the table refuses a look, this process makes fewer looks for a minute and repeats none.
    async fn peek(
        &self,
        drop: &DropId,
        shopper: &ShopperId,
        shards: &[ShardKey],
        now: Timestamp,
    ) -> Result<Peek, StoreError> {
        let policy = if self.budget().looks.is_reduced(now) {
            Policy::at_once(0)
        } else {
            IN_REQUEST
        };
        let peeked = retry(&self.runtime, policy, || self.stock.peek(drop, shopper, shards)).await;
        if peeked.as_ref().is_err_and(Transient::is_transient) {
            self.budget().looks.refused(now);
        }
        peeked
    }

    fn budget(&self) -> MutexGuard<'_, ProcessBudget> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the budget of looks has room for `look`. A request that has looked once continues, and later
    /// requests wait for the budget. `only_finds` means that the look can hardly be followed by a write.
    fn may_look(&self, look: &Look<'_>, drop: &Drop, only_finds: bool, now: Timestamp) -> bool {
        let mut budget = self.budget();
        if !look.is_first() {
            budget.looks.charge(look.shards.len());
            return true;
        }
        let chance = self.runtime.random();
        let may = budget.looks.take(demand(drop), only_finds, now, chance);
        budget.refused += u32::from(!may);
        if budget.refused > 0 && !(0..LOG_INTERVAL_MS).contains(&now.millis_since(budget.logged_at)) {
            tracing::info!(
                refused = budget.refused,
                "requests were answered without a read of the stock, to limit the reads of the table"
            );
            (budget.refused, budget.logged_at) = (0, now);
        }
        may
    }

    /// The copy of the status documents of `drop` that this process reads.
    fn copy_of(&self, drop: &Drop) -> u8 {
        self.replica % crowd::status_copies(drop.expected_shoppers)
    }

    /// The conductor's free counts, at most a second old. If they cannot be read, the search continues without them.
    async fn counts(&self, of_sku: &(DropId, SkuId), copy: u8, now: Timestamp) -> Option<Arc<FreeCounts>> {
        let known = &self.shard_cache.counts;
        if let Some(counts) = known.fresh(of_sku, now) {
            return Some(counts);
        }
        let counts = Arc::new(self.status.counts(&of_sku.0, &of_sku.1, copy).await.ok()??);
        known.note(of_sku.clone(), Arc::clone(&counts), now);
        Some(counts)
    }

    /// The SKU's counts in the status document. If they cannot be read, the search continues without them.
    async fn surveyed(&self, (drop, sku): &(DropId, SkuId), copy: u8) -> Option<SkuCounts> {
        let status = self.status.status(drop, copy).await.ok()??;
        status.of(sku).cloned()
    }
}
