//! Checks promises right after each write. The audit at the end could miss a violation that was corrected in
//! between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use domain::claim::{Claim, ClaimState};
use domain::drops::{Drop, DropState, Phase};
use domain::ids::{DropId, Nonce, OrderId, ReservationId, ShardKey, ShopperId, SkuId};
use domain::limits::{CACHE_MS, CLOCK_SKEW_MS, LATE_MS, READ_LAG_MS};
use domain::order::{Order, OrderStatus};
use domain::status::{Availability, DropStatus};
use domain::survey::{SeenClaim, Tally};
use domain::time::Timestamp;
use loadtest::audit::{Promise, expired, overdue, overdue_after_ms};
use loadtest::facts::{Entry, Sampled, UnitCounts};
use memory::MemoryStore;
use ports::drops::FreeCounts;

use crate::lock::lock;
use crate::plan::sku_name;
use crate::world::World;

/// The time after which a surplus hold may still be returned as such, in milliseconds: a step of a slow conductor.
const SURPLUS_MS: i64 = 40_000;
/// The largest age of the document that a conductor's status is based on, in milliseconds: a slow step.
const CONDUCTED_MS: i64 = 40_000;
/// The largest age of a replaced document that an answer is based on, in milliseconds before the request: a
/// fresh copy of a lagging read.
const FRESH_MS: i64 = CACHE_MS + READ_LAG_MS;

/// Whether the hold `claim` in `key` was a surplus among a shopper's claims of one moment. The shopper's orders and
/// newer holds precede the hold. It is a surplus if a newer hold has the same SKU, or if the limit has no room for
/// the preceding claims and this hold.
fn is_surplus(claims: &[SeenClaim], key: &ShardKey, claim: &Claim, per_shopper_limit: u32) -> bool {
    let there = claims
        .iter()
        .any(|seen| seen.shard == *key && seen.claim == *claim);
    let before = claims.iter().filter(|seen| {
        let ordered = seen.claim.state == ClaimState::Ordered;
        ordered || (seen.claim.deadline, &seen.shard) > (claim.deadline, key)
    });
    let (mut units, mut same_sku) = (claim.units, false);
    for seen in before {
        units += seen.claim.units;
        same_sku |= seen.claim.state == ClaimState::Held && seen.shard.sku == key.sku;
    }
    there && (same_sku || units > per_shopper_limit)
}

#[derive(Debug, Default)]
struct Seen {
    asked: BTreeMap<ShopperId, Vec<Nonce>>,
    /// Claims that were tried; a repeat is recognised by them.
    tried: BTreeSet<(ShardKey, ShopperId, String)>,
    /// The claims of each shopper after each change with its time, as far as they matter for a surplus.
    claims: BTreeMap<ShopperId, VecDeque<(i64, Vec<SeenClaim>)>>,
    /// Holds that were found overdue.
    overdue: BTreeSet<String>,
    samples: Vec<Entry>,
    newest: BTreeMap<String, (u64, Timestamp)>,
    fencing: u64,
    /// The drop's documents, each with the time from which it was the newest.
    documents: Vec<(i64, Drop)>,
    over_from: Option<Timestamp>,
    taken_back: BTreeSet<String>,
    /// The first time at which each kind of mail to an order's shopper was recorded.
    told: BTreeMap<(OrderId, String), i64>,
}

impl Seen {
    /// Whether `says_so` is true of a document of the drop that was the newest at `from_ms` or later.
    fn a_document_since(&self, from_ms: i64, says_so: impl Fn(&Drop) -> bool) -> bool {
        let replaced = self.documents.iter().skip(1).map(|(at_ms, _)| *at_ms);
        (self.documents.iter())
            .zip(replaced.chain([i64::MAX]))
            .filter(|(_, until_ms)| *until_ms >= from_ms)
            .any(|((_, drop), _)| says_so(drop))
    }
}

/// Checks promises after writes, and keeps the data that the checks need.
pub struct Watch {
    world: Arc<World>,
    memory: MemoryStore,
    seen: Mutex<Seen>,
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Checks of writes to `memory`.
    #[must_use]
    pub fn new(world: &Arc<World>, memory: &MemoryStore) -> Self {
        Self {
            world: Arc::clone(world),
            memory: memory.clone(),
            seen: Mutex::default(),
        }
    }

    /// Records that the shopper of `order` got the mail `what`. Returns the time of an earlier record of the
    /// same mail.
    pub fn told(&self, order: &OrderId, what: &str) -> Option<i64> {
        let mut seen = self.seen();
        let key = (order.clone(), what.to_owned());
        let before_ms = seen.told.get(&key).copied();
        seen.told.entry(key).or_insert(self.world.now_ms());
        before_ms
    }

    /// The mails that the shopper of `order` got.
    #[must_use]
    pub fn news_of(&self, order: &OrderId) -> Vec<String> {
        let seen = self.seen();
        let of = seen.told.keys().filter(|(id, _)| id == order);
        of.map(|(_, what)| what.clone()).collect()
    }

    /// Counts the units by SKU and state, after every change. A load run does this at intervals.
    pub fn sample(&self) {
        let skus = self.world.plan.drop.units.len();
        let counts = (0..skus).map(|number| {
            let sku = sku_name(number);
            let mut tally = Tally::default();
            self.memory.look_at_shards(|key, shard| {
                if key.sku.as_str() == sku {
                    tally.add(shard);
                }
            });
            UnitCounts::from(tally)
        });
        let skus = counts.collect();
        let at_ms = self.world.now().as_millis();
        let mut at_their_end = Vec::new();
        self.memory.look_at_shards(|key, shard| {
            at_their_end.extend(expired([(key, shard)].into_iter(), at_ms));
        });
        self.seen().samples.push(Entry::Sampled(Sampled {
            at_ms,
            skus,
            // Broken shards and overdue holds are reported when they are found, so no sample lists them.
            broken: Vec::new(),
            overdue: BTreeMap::new(),
            expired: at_their_end,
        }));
    }

    /// Checks that no hold exists long after its deadline: the conductor returns it, or a shopper takes it
    /// over. After a fault of the conductor, the time counts from that fault and is longer, since the next
    /// conductor may start a minute later.
    pub fn none_overdue(&self) {
        let at_ms = self.world.now().as_millis();
        let mut found = BTreeMap::new();
        self.memory
            .look_at_shards(|key, shard| found.extend(overdue([(key, shard)].into_iter(), at_ms)));
        let struck_ms = self.world.conductor_struck_ms();
        let undisturbed_ms = struck_ms.map(|struck_ms| self.world.now_ms() - struck_ms);
        for (reservation, by_ms) in found {
            let alone_ms = undisturbed_ms.map_or(by_ms, |undisturbed| undisturbed.min(by_ms));
            if alone_ms > overdue_after_ms(undisturbed_ms.is_some())
                && self.seen().overdue.insert(reservation.clone())
            {
                let what = format!("{reservation} is still held {by_ms} ms after its deadline");
                self.world.broken(Promise::OverdueHolds, what);
            }
        }
    }

    /// Removes and returns all counts so far.
    pub fn take_samples(&self) -> Vec<Entry> {
        std::mem::take(&mut self.seen().samples)
    }

    /// Records that a shopper requests a reservation.
    pub fn asks(&self, drop: &DropId, sku: &SkuId, shopper: &ShopperId, idempotency_key: &str) {
        let nonce = Nonce::of_request(drop, sku, shopper, idempotency_key, self.world.now());
        self.seen().asked.entry(shopper.clone()).or_default().push(nonce);
    }

    /// Whether this claim, with the same content, was tried before. Records the try.
    pub fn is_repeat(&self, key: &ShardKey, shopper: &ShopperId, claim: &Claim) -> bool {
        let tried = (key.clone(), shopper.clone(), claim.to_string());
        !self.seen().tried.insert(tried)
    }

    /// Reservations that the system rightly returned before their time.
    pub fn taken_back(&self) -> BTreeSet<String> {
        self.seen().taken_back.clone()
    }

    /// Checks that no unit of a shard appears or disappears.
    pub fn adds_up(&self, key: &ShardKey) {
        self.sample();
        self.memory.look_at_shard(key, |shard| {
            if !shard.adds_up() {
                self.world
                    .broken(Promise::Oversold, format!("{key} does not add up: {shard:?}"));
            }
        });
    }

    /// Checks a claim that was made: it belongs to a request, and the drop was not long over.
    pub fn claimed(&self, key: &ShardKey, shopper: &ShopperId, claim: &Claim) {
        self.adds_up(key);
        self.claims_changed(&key.drop, shopper);
        if self.memory.claims_of(&key.drop, shopper) >= 2 {
            self.world.note("two claims of one shopper");
        }
        let seen = self.seen();
        // The conductor expects no claim after this time, so it might never return a later claim.
        if (seen.over_from).is_some_and(|over| self.world.now() >= over.plus_millis(LATE_MS)) {
            let what = format!("{shopper} claimed in {key} long after the drop was over");
            self.world.broken(Promise::LeakedHolds, what);
        }
        let mut asked = seen.asked.get(shopper).into_iter().flatten();
        if !asked.any(|nonce| nonce.is_same_request(&claim.nonce)) {
            let what = format!("{shopper} has the claim {claim} in {key}, for which there was no request");
            self.world.broken(Promise::UnaskedReservations, what);
        }
    }

    /// Checks that a hold may be returned. Until the hold has expired on the slowest clock, the return needs a reason:
    /// its shopper returned it, the drop was cancelled, or the hold was a surplus.
    pub fn returned(&self, key: &ShardKey, shopper: &ShopperId, claim: &Claim, by_shopper: bool) {
        self.claims_changed(&key.drop, shopper);
        let expired_everywhere = claim.deadline.plus_millis(CLOCK_SKEW_MS / 2) <= self.world.now();
        if by_shopper || expired_everywhere {
            return;
        }
        let state = self.memory.drop_state(&key.drop);
        let cancelled = matches!(state, Some(DropState::Cancelling | DropState::Cancelled));
        let limit = self.world.plan.drop.per_shopper_limit;
        let mut seen = self.seen();
        let mut moments = seen.claims.get(shopper).into_iter().flatten();
        if cancelled || moments.any(|(_, claims)| is_surplus(claims, key, claim, limit)) {
            let id = ReservationId {
                shard: key.clone(),
                nonce: claim.nonce.clone(),
            };
            seen.taken_back.insert(id.to_string());
            self.world.note(if cancelled {
                "given back with the drop"
            } else {
                "a surplus hold went back"
            });
        } else {
            let what = format!(
                "{shopper}'s hold {claim} in {key} went back while a slow clock could still order it"
            );
            self.world.broken(Promise::LostRequests, what);
        }
    }

    /// Records a shopper's claims after a change.
    pub fn claims_changed(&self, drop: &DropId, shopper: &ShopperId) {
        let mut claims = Vec::new();
        self.memory.look_at_shards(|key, shard| {
            let claim = shard.claims.get(shopper).filter(|_| key.drop == *drop);
            claims.extend(claim.map(|claim| SeenClaim {
                shard: key.clone(),
                shopper: shopper.clone(),
                claim: claim.clone(),
            }));
        });
        let now_ms = self.world.now_ms();
        let mut seen = self.seen();
        let moments = seen.claims.entry(shopper.clone()).or_default();
        moments.push_back((now_ms, claims));
        // The claims of an entry were valid until the time of the next entry.
        while moments
            .get(1)
            .is_some_and(|(until_ms, _)| now_ms - until_ms >= SURPLUS_MS)
        {
            moments.pop_front();
        }
    }

    /// Checks that the shopper has no more units in open and paid orders than the limit.
    pub fn within_limit(&self, drop: &DropId, shopper: &ShopperId, limit: u32) {
        let units = self.memory.purchased(drop, shopper);
        if units > limit {
            let what = format!("{shopper} has {units} units, the limit is {limit}");
            self.world.broken(Promise::OverLimitShoppers, what);
        }
    }

    /// Records that a lease was granted.
    pub fn lease_held(&self, fencing: u64) {
        let mut seen = self.seen();
        if seen.fencing > 0 && fencing > seen.fencing {
            self.world.note("a conductor took over");
        }
        seen.fencing = fencing.max(seen.fencing);
    }

    /// Records a new document of the drop.
    pub fn drop_stored(&self, drop: &Drop) {
        let mut seen = self.seen();
        seen.documents.push((self.world.now_ms(), drop.clone()));
        seen.over_from = match drop.state {
            DropState::Scheduled => Some(drop.ends_at),
            DropState::Cancelling | DropState::Cancelled => seen.over_from.min(Some(self.world.now())),
            DropState::Draft | DropState::Publishing => None,
        };
    }

    /// Checks a checkout that was refused because of the limit: with this order, the shopper would have more
    /// units in open and paid orders than the limit.
    pub fn limit_reached(&self, order: &Order, limit: u32) {
        let of_shopper = |other: &&Order| {
            let counts = !matches!(other.status, OrderStatus::Declined | OrderStatus::Cancelled);
            counts && other.shopper == order.shopper
        };
        let orders = self.memory.orders();
        let units: u32 = orders.values().filter(of_shopper).map(|order| order.units).sum();
        if units + order.units <= limit {
            let (shopper, wanted) = (&order.shopper, order.units);
            let what = format!("{shopper} was refused {wanted} units at {units} of {limit}");
            self.world.broken(Promise::LostRequests, what);
        }
    }

    /// Checks a written status: it does not replace a newer status, and each SKU that it calls *gone* is
    /// gone.
    pub fn status_written(&self, status: &DropStatus) {
        self.never_back("the status", (status.fencing, status.as_of));
        for counts in &status.skus {
            if Availability::of(&counts.tally()) == Availability::Gone && counts.allocated > 0 {
                let from_ms = self.world.now_ms() - CONDUCTED_MS;
                self.gone_since(from_ms, &status.drop, &counts.sku, "the status says");
            }
        }
    }

    /// Checks the written counts of a SKU: they do not replace newer counts.
    pub fn counts_written(&self, sku: &SkuId, counts: &FreeCounts) {
        self.never_back(&format!("the counts of {sku}"), (counts.fencing, counts.as_of));
    }

    fn never_back(&self, what: &str, place: (u64, Timestamp)) {
        let mut seen = self.seen();
        let newest = seen.newest.entry(what.to_owned()).or_insert(place);
        if place < *newest {
            let what = format!("{what} went back from {newest:?} to {place:?}");
            self.world.broken(Promise::Inconsistencies, what);
        }
        *newest = place.max(*newest);
    }

    /// Checks an answer that the drop takes no reservations, permanently or because it is paused: a document
    /// with this state was the newest shortly before a function began to process the request, at `begun_at`,
    /// or later.
    pub fn shut(&self, begun_at: Timestamp, paused: bool, who: &str) {
        let from_ms = self.ms_of(begun_at) - FRESH_MS;
        let by = self.world.now().plus_millis(CLOCK_SKEW_MS / 2);
        let says_so = self.seen().a_document_since(from_ms, |drop| {
            if paused {
                drop.paused
            } else {
                matches!(drop.phase(by), None | Some(Phase::Closed | Phase::Cancelled))
            }
        });
        if !says_so {
            let state = if paused { "paused" } else { "over" };
            let what =
                format!("{who} that the drop is {state}, by a document that was not the newest any more");
            self.world.broken(Promise::Undersold, what);
        }
    }

    /// Checks an answer that a SKU is gone: every unit is sold of a document that was the newest shortly before a function
    /// began to process the request, at `begun_at`, or later. A process remembers a search without a result for
    /// [`CACHE_MS`].
    pub fn gone(&self, begun_at: Timestamp, drop: &DropId, sku: &SkuId, who: &str) {
        self.gone_since(self.ms_of(begun_at) - FRESH_MS - CACHE_MS, drop, sku, who);
    }

    fn gone_since(&self, from_ms: i64, drop: &DropId, sku: &SkuId, who: &str) {
        let (_, sold) = self.memory.allocated_and_sold(drop, sku);
        let planned = |drop: &Drop| drop.sku(sku).map_or(0, |sku| sku.plan.units());
        if !self
            .seen()
            .a_document_since(from_ms, |drop| planned(drop) <= sold)
        {
            let what = format!(
                "{who} that {sku} is gone, and {sold} units are sold, fewer than in each document of that time"
            );
            self.world.broken(Promise::Undersold, what);
        }
    }

    /// The virtual time of `at`.
    fn ms_of(&self, at: Timestamp) -> i64 {
        self.world.now_ms() - self.world.now().millis_since(at)
    }
}
