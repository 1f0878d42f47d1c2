//! Creating a reservation: one conditional write, on the shard most likely to have units.

use std::sync::Arc;

use domain::choice::{Choice, on_offer, well_filled};
use domain::claim::{Claim, ClaimState};
use domain::drops::{Drop, Phase, Sku};
use domain::ids::{DropId, Nonce, ReservationId, ShardKey, ShopperId, SkuId};
use domain::money::Money;
use domain::shard::Shard;
use domain::status::Availability;
use domain::time::Timestamp;
use ports::cached::CachedDrops;
use ports::drops::{FreeCounts, ReadCounts, ReadDrop, ReadStatus};
use ports::edge::Edge;
use ports::retry::{IN_REQUEST, retry};
use ports::stock::{ClaimStock, PeekStock};
use ports::{Conditional, StoreError};

use crate::knowledge::{Knowledge, Scarcity};

/// The most conditional writes one request makes: the first usually suffices, and a crowd that races for the last units
/// must not write in proportion to itself.
const MOST_WRITES: u32 = 3;

/// The most further shards one request looks at, beyond the shopper's own two.
const MOST_FURTHER: usize = 6;

/// A request for units.
#[derive(Debug, Clone)]
pub struct Request {
    /// Of which drop.
    pub drop: DropId,
    /// Of which SKU.
    pub sku: SkuId,
    /// How many.
    pub units: u32,
    /// For whom.
    pub shopper: ShopperId,
    /// The request's own key: the same for every repeat.
    pub idempotency_key: String,
}

/// A reservation that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// Its identifier.
    pub id: ReservationId,
    /// The claim.
    pub claim: Claim,
    /// The price of one unit.
    pub price: Money,
}

/// Why there is no reservation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReserved {
    /// No such drop, or not published.
    #[error("no such drop")]
    UnknownDrop,
    /// The drop has no such SKU.
    #[error("no such SKU")]
    UnknownSku,
    /// None, or more than one shopper may buy.
    #[error("a quantity from 1 to {limit}")]
    BadQuantity {
        /// The drop's limit.
        limit: u32,
    },
    /// Before the start, in this many milliseconds.
    #[error("not open for {in_ms} ms")]
    NotOpen {
        /// How long until the start.
        in_ms: i64,
    },
    /// An operator has stopped reservations.
    #[error("paused")]
    Paused,
    /// Over or cancelled.
    #[error("over")]
    Closed,
    /// No unit is free.
    #[error("sold out: {0:?}")]
    SoldOut(Availability),
    /// Not as many in one place.
    #[error("{0} left")]
    FewerLeft(u32),
    /// The shopper has bought as many as one may.
    #[error("limit reached")]
    LimitReached,
    /// The shopper holds another reservation of this SKU.
    #[error("another reservation is held")]
    Exists(ReservationId),
    /// Units are free only in a shard in which the shopper has an order in progress, and a shard has room for one claim of
    /// each shopper: this reservation became that order.
    #[error("an order is in the way")]
    OrderInProgress(ReservationId),
    /// The same key was used for another quantity.
    #[error("the key was used for another request")]
    OtherRequest,
    /// The same key's reservation has expired.
    #[error("the reservation has expired")]
    Expired,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use case, with its ports: stock to peek at and claim, status and counts to go by.
pub struct Create<D, S, T, E> {
    /// The drops, read at most once a second.
    pub drops: Arc<CachedDrops<D, E>>,
    /// The stock.
    pub stock: S,
    /// What the conductor publishes.
    pub status: T,
    /// What this process learnt.
    pub knowledge: Knowledge,
    /// Which copy of the status document this process reads.
    pub replica: u8,
    /// Clock and chance.
    pub edge: E,
}

/// One request on its way.
struct Search<'a> {
    request: &'a Request,
    drop: &'a Drop,
    sku: &'a Sku,
    nonce: Nonce,
    hold: Claim,
    now: Timestamp,
    writes_left: u32,
    best_offer: u32,
    peeked: Vec<u16>,
    /// The reservation whose order in progress keeps the shopper from units that were seen.
    in_the_way: Option<ReservationId>,
}

/// Free units by shard, and when they were counted; `None` where nothing was.
struct Counts {
    as_of: Option<Timestamp>,
    free: Vec<u32>,
}

impl Counts {
    fn in_shard(&self, index: u16) -> u32 {
        self.free.get(usize::from(index)).copied().unwrap_or(0)
    }
}

impl Search<'_> {
    fn key(&self, index: u16) -> ShardKey {
        ShardKey {
            drop: self.request.drop.clone(),
            sku: self.request.sku.clone(),
            index,
        }
    }

    fn reserved(&self, key: &ShardKey, claim: Claim) -> Reserved {
        let id = ReservationId {
            shard: key.clone(),
            nonce: claim.nonce.clone(),
        };
        Reserved {
            id,
            claim,
            price: self.drop.price(self.sku),
        }
    }

    /// Notes what a shard could give to this shopper, or that an order of the shopper's own is in the way.
    fn note_offer(&mut self, key: &ShardKey, shard: &Shard) {
        let offer = on_offer(shard, self.request.units, self.now);
        match shard.claims.get(&self.request.shopper) {
            Some(mine) if mine.state == ClaimState::Ordered => {
                if offer >= self.request.units {
                    self.in_the_way = Some(self.reserved(key, mine.clone()).id);
                }
            }
            Some(mine) => self.best_offer = self.best_offer.max(shard.free + mine.units),
            None => self.best_offer = self.best_offer.max(offer),
        }
    }

    /// Why there is no reservation: scarcity, unless the shopper's own order is all that is in the way.
    fn refusal(&self, scarcity: Scarcity) -> NotReserved {
        match (&self.in_the_way, scarcity.availability) {
            (Some(reservation), _) => NotReserved::OrderInProgress(reservation.clone()),
            (None, Availability::Available) => NotReserved::FewerLeft(scarcity.available),
            (None, other) => NotReserved::SoldOut(other),
        }
    }

    /// What an earlier claim of the shopper means for this request; `None` if it is no obstacle.
    fn earlier(&self, key: &ShardKey, mine: &Claim) -> Option<Result<Reserved, NotReserved>> {
        let live = mine.is_live(self.now);
        if mine.nonce == self.nonce {
            return Some(if mine.units != self.request.units {
                Err(NotReserved::OtherRequest)
            } else if live {
                Ok(self.reserved(key, mine.clone()))
            } else {
                Err(NotReserved::Expired)
            });
        }
        let id = || ReservationId {
            shard: key.clone(),
            nonce: mine.nonce.clone(),
        };
        match mine.state {
            // An order in progress blocks only this shard; whether more may be bought is for the order to say.
            ClaimState::Ordered => None,
            ClaimState::Held => live.then(|| Err(NotReserved::Exists(id()))),
        }
    }
}

impl<D: ReadDrop, S: PeekStock + ClaimStock, T: ReadStatus + ReadCounts, E: Edge> Create<D, S, T, E> {
    /// Reserves, or says why not. Repeating the same request finds the same reservation.
    ///
    /// # Errors
    /// [`NotReserved`].
    pub async fn create(&self, request: &Request) -> Result<Reserved, NotReserved> {
        let drop = self
            .drops
            .get(&request.drop)
            .await?
            .ok_or(NotReserved::UnknownDrop)?;
        let now = self.edge.now();
        match drop.phase(now) {
            None => return Err(NotReserved::UnknownDrop),
            Some(Phase::Upcoming) => {
                return Err(NotReserved::NotOpen {
                    in_ms: drop.starts_at.millis_since(now),
                });
            }
            Some(Phase::Paused) => return Err(NotReserved::Paused),
            Some(Phase::Closed | Phase::Cancelled) => return Err(NotReserved::Closed),
            Some(Phase::Open) => {}
        }
        let sku = drop.sku(&request.sku).ok_or(NotReserved::UnknownSku)?;
        if !(1..=drop.per_shopper_limit).contains(&request.units) {
            return Err(NotReserved::BadQuantity {
                limit: drop.per_shopper_limit,
            });
        }
        let scarcity = self
            .knowledge
            .scarcity(&request.drop, &request.sku, request.units, now);
        if scarcity.is_some_and(|s| s.availability == Availability::Gone) {
            return Err(NotReserved::SoldOut(Availability::Gone));
        }
        let nonce = Nonce::of_request(&request.drop, &request.shopper, &request.idempotency_key);
        let hold = Claim::held(request.units, now.plus_seconds(drop.hold_seconds), nonce.clone());
        let mut search = Search {
            request,
            drop: &drop,
            sku,
            nonce,
            hold,
            now,
            writes_left: MOST_WRITES,
            best_offer: 0,
            peeked: Vec::new(),
            in_the_way: None,
        };

        let choice = Choice::of(&request.drop, &request.sku, &request.shopper, sku.plan.shards());
        if let Some(done) = self.without_peek(&mut search, choice).await? {
            return Ok(done);
        }
        let (first, second) = choice.pair();
        let pair = if first == second {
            vec![first]
        } else {
            vec![first, second]
        };
        if let Some(done) = self.among(&mut search, &pair, Some(first)).await? {
            return Ok(done);
        }
        // Others searched everywhere a moment ago: the look at the own two shards was for an earlier claim.
        if let Some(scarcity) = scarcity {
            return Err(search.refusal(scarcity));
        }
        let counts = self.counts(&search).await;
        let mut further = choice.further(&counts.free, request.units, MOST_FURTHER);
        if counts.as_of.is_some_and(|at| at > now) {
            // Counted while this request waited for its look at the own two: they may have changed since.
            further.extend(pair.iter().filter(|i| counts.in_shard(**i) >= request.units));
        }
        if let Some(done) = self.among(&mut search, &further, None).await? {
            return Ok(done);
        }
        Err(self.in_vain(&search, &counts.free).await)
    }

    /// Claims in the first shard at once, if this process saw it well filled a moment ago.
    async fn without_peek(
        &self,
        search: &mut Search<'_>,
        choice: Choice,
    ) -> Result<Option<Reserved>, NotReserved> {
        let (first, _) = choice.pair();
        let key = search.key(first);
        let allocated = search
            .sku
            .plan
            .allocations()
            .nth(usize::from(first))
            .map_or(0, |(_, units)| units);
        match self.knowledge.free_in(&key, search.now) {
            Some(free) if well_filled(free, allocated, search.request.units) => {
                self.claim(search, &key, free).await.map(Result::ok)
            }
            _ => Ok(None),
        }
    }

    /// Looks at some shards and claims in the best; `preferred` wins if it is well filled.
    async fn among(
        &self,
        search: &mut Search<'_>,
        indices: &[u16],
        preferred: Option<u16>,
    ) -> Result<Option<Reserved>, NotReserved> {
        if indices.is_empty() {
            return Ok(None);
        }
        let keys: Vec<ShardKey> = indices.iter().map(|index| search.key(*index)).collect();
        let request = search.request;
        let peek = retry(&self.edge, IN_REQUEST, || {
            self.stock.peek(&request.drop, &request.shopper, &keys)
        })
        .await?;
        search.peeked.extend_from_slice(indices);
        for (key, shard) in &peek.shards {
            self.knowledge.note_free(key, shard.free, search.now);
            if let Some(mine) = shard.claims.get(&request.shopper)
                && let Some(outcome) = search.earlier(key, mine)
            {
                return outcome.map(Some);
            }
        }
        if peek.purchased + request.units > search.drop.per_shopper_limit {
            return Err(NotReserved::LimitReached);
        }
        let mut shards = peek.shards;
        let units = request.units;
        let rank = |key: &ShardKey, shard: &Shard| {
            let preferred = preferred == Some(key.index) && well_filled(shard.free, shard.allocated, units);
            (preferred, shard.free >= units, shard.free)
        };
        shards.sort_by_key(|(key, shard)| std::cmp::Reverse(rank(key, shard)));
        for (key, shard) in shards {
            let mut seen = shard;
            // What a refusal shows may still be worth a write; each one is counted.
            while search.writes_left > 0 && self.worth_trying(search, &seen) {
                let outcome = if seen.free >= units && !seen.claims.contains_key(&request.shopper) {
                    self.claim(search, &key, seen.free).await?
                } else {
                    self.take_over(search, &key, &seen).await?
                };
                match outcome {
                    Ok(reserved) => return Ok(Some(reserved)),
                    Err(Some(found)) => seen = found,
                    Err(None) => break,
                }
            }
            search.note_offer(&key, &seen);
        }
        Ok(None)
    }

    /// Whether the shard, as seen, would take this request.
    fn worth_trying(&self, search: &Search<'_>, shard: &Shard) -> bool {
        let units = search.request.units;
        match shard.claims.get(&search.request.shopper) {
            // One's own hold need not have expired on every clock: whoever asks anew gives it up.
            Some(mine) => !mine.is_live(search.now) && shard.free + mine.units >= units,
            None => on_offer(shard, units, search.now) >= units,
        }
    }

    /// One conditional claim. `Err` holds the shard as it is.
    async fn claim(
        &self,
        search: &mut Search<'_>,
        key: &ShardKey,
        free: u32,
    ) -> Result<Result<Reserved, Option<Shard>>, NotReserved> {
        search.writes_left -= 1;
        let (shopper, hold) = (&search.request.shopper, &search.hold);
        let outcome = retry(&self.edge, IN_REQUEST, || self.stock.claim(key, shopper, hold)).await?;
        self.resolve(search, key, outcome, free.saturating_sub(hold.units))
    }

    /// Replaces a hold that has expired: the shopper's own, or the returnable one that frees just enough.
    async fn take_over(
        &self,
        search: &mut Search<'_>,
        key: &ShardKey,
        seen: &Shard,
    ) -> Result<Result<Reserved, Option<Shard>>, NotReserved> {
        let shopper = &search.request.shopper;
        let own = seen.claims.get_key_value(shopper);
        let Some((victim, stale)) = own.or_else(|| seen.returnable(search.hold.units, search.now)) else {
            return Ok(Err(None));
        };
        search.writes_left -= 1;
        let hold = &search.hold;
        let outcome = retry(&self.edge, IN_REQUEST, || {
            self.stock.take_over(key, shopper, hold, victim, stale)
        })
        .await?;
        let free = (seen.free + stale.units).saturating_sub(hold.units);
        self.resolve(search, key, outcome, free)
    }

    fn resolve(
        &self,
        search: &Search<'_>,
        key: &ShardKey,
        outcome: Conditional<Option<Shard>>,
        free_after: u32,
    ) -> Result<Result<Reserved, Option<Shard>>, NotReserved> {
        let found = match outcome {
            Conditional::Done => {
                self.knowledge.note_free(key, free_after, search.now);
                return Ok(Ok(search.reserved(key, search.hold.clone())));
            }
            Conditional::Refused(found) => found,
        };
        if let Some(shard) = &found {
            self.knowledge.note_free(key, shard.free, search.now);
            // A write whose answer was lost shows itself here: the claim is there, with this request's nonce.
            if let Some(mine) = shard.claims.get(&search.request.shopper)
                && let Some(outcome) = search.earlier(key, mine)
            {
                return outcome.map(Ok);
            }
        }
        Ok(Err(found))
    }

    /// Free units by shard: the conductor's counts, or the allocation where it has not counted yet.
    async fn counts(&self, search: &Search<'_>) -> Counts {
        let (drop, sku) = (&search.request.drop, &search.request.sku);
        let known = match self.knowledge.counts(drop, sku, search.now) {
            Some(counts) => Some(counts),
            // Counts only guide; without them every shard is worth a look.
            None => match self.status.counts(drop, sku).await {
                Ok(Some(counts)) => {
                    let counts: Arc<FreeCounts> = Arc::new(counts);
                    self.knowledge.note_counts(drop, sku, counts.clone(), search.now);
                    Some(counts)
                }
                _ => None,
            },
        };
        let counted = |index: u16| {
            known
                .as_ref()
                .and_then(|c| c.free.get(usize::from(index)))
                .map(|f| u32::from(*f))
        };
        let allocations = search.sku.plan.allocations();
        Counts {
            as_of: known.as_ref().map(|c| c.as_of),
            free: allocations
                .map(|(index, units)| counted(index).unwrap_or(units))
                .collect(),
        }
    }

    /// Nothing was found: says how much there is, and remembers it for a moment.
    async fn in_vain(&self, search: &Search<'_>, counts: &[u32]) -> NotReserved {
        let (drop, sku, units) = (&search.request.drop, &search.request.sku, search.request.units);
        let unseen = counts
            .iter()
            .enumerate()
            .filter(|(n, _)| !search.peeked.iter().any(|i| usize::from(*i) == *n));
        let counted = unseen.map(|(_, free)| *free).max().unwrap_or(0);
        if counted >= units || search.best_offer >= units {
            // Others were faster, or the count is late: units may be there in a moment.
            return NotReserved::SoldOut(Availability::AllHeld);
        }
        if let Some(reservation) = &search.in_the_way {
            return NotReserved::OrderInProgress(reservation.clone());
        }
        let available = counted.max(search.best_offer);
        let availability = if available > 0 {
            Availability::Available
        } else {
            self.all_held_or_gone(search).await
        };
        let scarcity = Scarcity {
            units,
            available,
            availability,
        };
        self.knowledge.note_scarcity(drop, sku, scarcity, search.now);
        search.refusal(scarcity)
    }

    /// *Gone* is said only when the last survey saw every unit of the present plan paid for.
    async fn all_held_or_gone(&self, search: &Search<'_>) -> Availability {
        let status = self.status.status(&search.request.drop, self.replica).await;
        let counts = status
            .ok()
            .flatten()
            .and_then(|s| s.of(&search.request.sku).cloned());
        match counts {
            Some(counts)
                if counts.allocated == search.sku.plan.units() && counts.sold == counts.allocated =>
            {
                Availability::Gone
            }
            _ => Availability::AllHeld,
        }
    }
}
