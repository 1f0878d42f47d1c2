//! Defines the search for units: the steps of one request until it has a reservation or a refusal.
//!
//! A search is a state machine without I/O. Each [`Step`] names the next action, and takes the action's
//! result to return the next step. A result of the wrong kind does not compile. The caller does the reads
//! and writes:
//!
//! | step | action | result | next |
//! |---|---|---|---|
//! | [`Write`] in the first shard | claim if this process saw it [well filled](well_filled) | taken | done: reserved |
//! | | | refused, the image contains a claim that settles the request | done, as the claim determines |
//! | | | refused | read the shopper's shards |
//! | [`Look`] at the own shards | read both, and the shopper's purchases item | a claim that settles | done, as the claim determines |
//! | | | no such claim, and the item names a further shard | read that shard, then as below |
//! | | | no such claim, and the drop is paused or over | done: paused or closed |
//! | | | no such claim, and the look is [only to find](Look::only_to_find) | done: all held |
//! | | | orders and request together exceed the limit | done: limit reached |
//! | | | a waiting time of the shopper, since holds expired unused | done: wait |
//! | | | a shard that allows a write | write there, best shard first |
//! | | | no shard that allows a write, and scarcity was known | done: scarce, or order in progress |
//! | | | no shard that allows a write | count |
//! | [`Write`] after a look | claim free units, or take an expired hold over | taken | done: reserved |
//! | | | refused, the image contains a claim that settles the request | done, as the claim determines |
//! | | | refused, the image allows a write | write in the same shard |
//! | | | refused | the next best of the shards that were read, then as after the look |
//! | [`Count`] | read the conductor's free counts | other shards have enough units | read them |
//! | | | no shard has enough | not found |
//! | [`Look`] at further shards | as above | as above | as above, finally: not found |
//! | not found | | more units were counted or seen than could be claimed | done: all held, as units may return |
//! | | | the counts could not be read | done: all held; cached as scarce for later requests |
//! | | | an order of the shopper occupies the shard | done: order in progress |
//! | | | some shard has fewer units | done: fewer left |
//! | | | no units | read the status |
//! | reserved in a further shard | | the purchases item names another shard, or none | remember the shard |
//! | [`Remember`] | store the shard's index in the purchases item | stored, or not | done: reserved |
//! | [`ReadStatus`] | read the drop's status document | every unit of the plan is paid for | done: gone |
//! | | | anything else | done: all held |
//!
//! **Claims that settle a request.** The request's own claim settles it while the claim can be checked out or
//! is an order. So a repeat finds the reservation of the first attempt, also while the drop is paused or has
//! just ended. Another live hold of the shopper refuses the request. An order in progress of another request
//! only occupies its shard. An expired hold of the shopper is taken over once any shopper may do so, also by
//! a request with the idempotency key that made the hold. So a key that is used again after its reservation
//! has ended makes a new reservation.
//!
//! **Further shards are remembered.** A repeat cannot compute the further shard in which the first attempt made its
//! reservation, since that shard was chosen by the counts of that moment. The shopper's purchases item names the shard.
//!
//! **Invariants.**
//! * At most [`MOST_WRITES`] writes of shards and one of the purchases item, three looks, one read of the counts and
//!   one read of the status, whatever the results.
//! * A look reads distinct shards of the plan, and at most [`MOST_LOOKED_AT`].
//! * After a look, each write is allowed by the *last seen* image of its shard. A refusal replaces the image.
//!   So a shard that refused a write receives another write only if the image of the refusal, or of a later
//!   look, allows it.
//! * Every write contains the same claim. The caller repeats a write with an unknown outcome unchanged, on
//!   the same shard, until the outcome is known. If the lost write took effect, the refusal of its repeat
//!   contains the claim.

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::choice::{Choice, on_offer, well_filled};
use crate::claim::{Claim, ClaimState};
use crate::crowd;
use crate::drops::{Drop, Phase, Sku};
use crate::ids::{DropId, Nonce, ReservationId, ShardKey, ShopperId, SkuId};
use crate::lapse::Lapses;
use crate::money::Money;
use crate::shard::Shard;
use crate::status::{Availability, SkuCounts};
use crate::time::Timestamp;

/// The largest number of conditional writes of one request. The first write usually suffices. The limit
/// bounds the number of writes when many requests compete for the last units.
pub const MOST_WRITES: u32 = 3;

/// The largest number of shards in one look: the further shards, and the shopper's own two again.
pub const MOST_LOOKED_AT: usize = crowd::MOST_FURTHER + 2;

/// A shopper's request to reserve units of one SKU.
#[derive(Debug, Clone)]
pub struct Request {
    /// The drop that sells the units.
    pub drop: DropId,
    /// The SKU of the units.
    pub sku: SkuId,
    /// The number of units that the shopper wants.
    pub units: u32,
    /// The shopper who sends the request.
    pub shopper: ShopperId,
    /// The idempotency key, the same for every repeat of the request.
    pub idempotency_key: String,
    /// Whether the client repeats a request whose answer did not arrive, so that it may have a reservation.
    pub is_repeat: bool,
}

/// A reservation that can be checked out, or that an order was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The reservation's identifier.
    pub id: ReservationId,
    /// The claim that the shard contains.
    pub claim: Claim,
    /// The price of one unit.
    pub price: Money,
}

/// Why a request gets no reservation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{self:?}")]
pub enum Refused {
    /// The drop does not exist, or is not published.
    UnknownDrop,
    /// The drop has no such SKU.
    UnknownSku,
    /// The number of units is zero, or larger than the number that one shopper may buy.
    BadQuantity {
        /// The largest number of units that one shopper may buy.
        limit: u32,
    },
    /// The drop has not started yet.
    NotOpen {
        /// The milliseconds until the start.
        in_ms: i64,
    },
    /// An operator has paused reservations.
    Paused,
    /// The drop is over or cancelled.
    Closed,
    /// No unit is free. The availability says whether units may return.
    SoldOut(Availability),
    /// No shard has enough units for the request. The number is the largest that one shard has.
    FewerLeft(u32),
    /// The shopper's orders and the requested units together exceed the drop's limit for one shopper.
    LimitReached,
    /// The shopper holds another reservation of this SKU.
    Exists(ReservationId),
    /// Units are free only in a shard in which the shopper has an order in progress, and a shard has one claim per
    /// shopper. This reservation became that order.
    OrderInProgress(ReservationId),
    /// The shopper used the same idempotency key for another quantity.
    OtherRequest,
    /// All units are held, or the process has no look left in the budget that follows from the expected
    /// crowd. The waiting times spread the shoppers, so that no more of them ask at a time than the process
    /// can look for.
    Crowded {
        /// The milliseconds until the shopper should ask again.
        in_ms: i64,
    },
    /// Holds of the shopper expired unused, so the shopper must wait before a further hold.
    HoldsUnused {
        /// The waiting time in milliseconds.
        in_ms: i64,
    },
}

impl Refused {
    /// Whether a newer document of the drop may contradict the refusal, since the drop may have been
    /// published, resumed, extended or restocked. A process with an outdated copy of the drop must not answer
    /// with such a refusal.
    #[must_use]
    pub const fn needs_the_newest_drop(&self) -> bool {
        matches!(
            self,
            Self::UnknownDrop | Self::Paused | Self::Closed | Self::SoldOut(Availability::Gone)
        )
    }
}

/// The finding of a search that no shard has `units` units of a SKU. The process may cache it for
/// later requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scarcity {
    /// The number of units that the request wanted.
    pub units: u32,
    /// The largest number of units that one shard could have given.
    pub available: u32,
    /// The availability that shoppers see.
    pub availability: Availability,
}

impl Scarcity {
    /// Whether the finding concerns a request for `units` units. A failed search for more units says nothing about a
    /// request for fewer.
    #[must_use]
    pub const fn concerns(&self, units: u32) -> bool {
        self.units <= units
    }
}

impl From<Scarcity> for Refused {
    fn from(scarcity: Scarcity) -> Self {
        match scarcity.availability {
            Availability::Available => Self::FewerLeft(scarcity.available),
            other => Self::SoldOut(other),
        }
    }
}

/// The refusal of a request for which this process knows no free unit.
static HELD: Refused = Refused::SoldOut(Availability::AllHeld);

/// A request that the drop admits, at least to find an earlier reservation. It stays unchanged during
/// the search.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The claim that every write of the search contains.
    pub hold: Claim,
    request: &'a Request,
    drop: &'a Drop,
    sku: &'a Sku,
    choice: Choice,
    now: Timestamp,
    /// Why the drop admits no new reservation at present; `None` if it admits one. A repeat still finds
    /// its reservation.
    shut: Option<Refused>,
}

impl<'a> Wanted<'a> {
    /// Checks the request against its drop at `now`.
    ///
    /// # Errors
    /// [`Refused`], when the request can be refused without a search.
    pub fn check(request: &'a Request, drop: &'a Drop, now: Timestamp) -> Result<Self, Refused> {
        let shut = match drop.phase(now) {
            None => return Err(Refused::UnknownDrop),
            Some(Phase::Upcoming) => {
                let in_ms = drop.starts_at.millis_since(now);
                return Err(Refused::NotOpen { in_ms });
            }
            Some(Phase::Cancelled) => return Err(Refused::Closed),
            Some(Phase::Closed) if now >= drop.last_hold_ends_at() => return Err(Refused::Closed),
            Some(Phase::Closed) => Some(Refused::Closed),
            Some(Phase::Paused) => Some(Refused::Paused),
            Some(Phase::Open) => None,
        };
        let sku = drop.sku(&request.sku).ok_or(Refused::UnknownSku)?;
        let limit = drop.per_shopper_limit;
        if !(1..=limit).contains(&request.units) {
            return Err(Refused::BadQuantity { limit });
        }
        let (drop_id, sku_id, shopper) = (&request.drop, &request.sku, &request.shopper);
        let nonce = Nonce::of_request(drop_id, sku_id, shopper, &request.idempotency_key, now);
        Ok(Self {
            hold: Claim::held(request.units, now.plus_seconds(drop.hold_seconds), nonce),
            // A restock must not change a shopper's shards; otherwise a repeat after the restock would read
            // the wrong shards.
            choice: Choice::of(drop_id, sku_id, shopper, sku.plan.first_shards()),
            request,
            drop,
            sku,
            now,
            shut,
        })
    }

    /// The first of the shopper's two shards.
    #[must_use]
    pub fn first_shard(&self) -> ShardKey {
        self.key(self.choice.pair().0)
    }

    /// The first step of the search. `scarcity`, and the `free` units of the [first
    /// shard](Self::first_shard), are values that this process cached within the last
    /// [`CACHE_MS`](crate::limits::CACHE_MS).
    #[must_use]
    pub fn search(&'a self, scarcity: Option<Scarcity>, free: Option<u32>) -> Step<'a> {
        let scarcity = scarcity.filter(|scarcity| scarcity.concerns(self.hold.units));
        if scarcity.is_some_and(|scarcity| scarcity.availability == Availability::Gone) {
            return Step::refused(Refused::SoldOut(Availability::Gone));
        }
        let known = match &self.shut {
            Some(why) => Some(Known::Shut(why)),
            None => scarcity.map(Known::Scarce),
        };
        let search = Search {
            wanted: self,
            stage: Stage::Own { known },
            writes_left: MOST_WRITES,
            remembered: None,
            earlier: Vec::new(),
            shown: Shown::default(),
        };
        if self.shut.is_some() {
            return search.look_at(&self.own_shards());
        }
        let first = self.first_shard();
        let allocated = self.sku.plan.allocations().nth(usize::from(first.index));
        let allocated = allocated.map_or(0, |(_, units)| units);
        match free.filter(|free| well_filled(*free, allocated, self.hold.units)) {
            Some(free) => search.write(first, Act::Claim, free, None, Candidates::new()),
            None => search.look_at(&self.own_shards()),
        }
    }

    /// Why the drop admits no new reservation, so that a look can only find an earlier one; `None` if it admits one.
    #[must_use]
    pub const fn shut(&self) -> Option<&Refused> {
        self.shut.as_ref()
    }

    fn key(&self, index: u16) -> ShardKey {
        ShardKey::of(&self.request.drop, &self.request.sku, index)
    }

    fn own_shards(&self) -> Vec<u16> {
        let (first, second) = self.choice.pair();
        let mut own = vec![first, second];
        own.dedup();
        own
    }

    fn reserved(&self, shard: &ShardKey, claim: &Claim) -> Reserved {
        Reserved {
            id: claim.reservation_in(shard),
            claim: claim.clone(),
            price: self.drop.price(self.sku),
        }
    }

    /// The result that an earlier claim of the shopper in this shard determines; `None` if no claim settles
    /// the request.
    fn settled_by(&self, key: &ShardKey, shard: &Shard) -> Option<Result<Reserved, Refused>> {
        let mine = shard.claims.get(&self.request.shopper)?;
        let live = mine.is_live(self.now);
        match mine.state {
            // An expired hold no longer belongs to a request: the same idempotency key makes a
            // new reservation.
            ClaimState::Held if !live => None,
            _ if mine.nonce.is_same_request(&self.hold.nonce) => Some(if mine.units == self.hold.units {
                Ok(self.reserved(key, mine))
            } else {
                Err(Refused::OtherRequest)
            }),
            // An order in progress occupies only its shard. The order's transaction decides whether the
            // shopper may buy more.
            ClaimState::Ordered => None,
            ClaimState::Held => Some(Err(Refused::Exists(mine.reservation_in(key)))),
        }
    }

    /// The write that the shard's image allows; `None` if it allows none.
    fn allowed_by(&self, shard: &Shard) -> Option<Act> {
        let (units, shopper) = (self.hold.units, &self.request.shopper);
        match shard.claims.get(shopper) {
            // A shopper may renew an own expired hold no earlier than other shoppers may take it over.
            Some(mine) => (mine.is_returnable(self.now) && shard.free + mine.units >= units)
                .then(|| Act::take_over((shopper, mine))),
            None if shard.free >= units => Some(Act::Claim),
            None => shard.returnable(units, self.now).map(Act::take_over),
        }
    }
}

/// The next action of a search.
#[derive(Debug)]
pub enum Step<'a> {
    /// Read some shards and the shopper's purchases item.
    Look(Look<'a>),
    /// Write to one shard.
    Write(Write<'a>),
    /// Write the shard of the reservation into the shopper's purchases item.
    Remember(Remember),
    /// Read the free counts of the SKU.
    Count(Count<'a>),
    /// Read the status document of the drop.
    ReadStatus(ReadStatus<'a>),
    /// No action: the search has ended with this result. The process may cache the scarcity for
    /// [`CACHE_MS`](crate::limits::CACHE_MS).
    Done(Result<Reserved, Refused>, Option<Scarcity>),
}

impl Step<'_> {
    fn refused(why: Refused) -> Self {
        Self::Done(Err(why), None)
    }

    fn learnt(scarcity: Scarcity) -> Self {
        Self::Done(Err(scarcity.into()), Some(scarcity))
    }
}

/// A reason that is known before the look and refuses the request, unless the look at the shopper's shards
/// finds a claim or units.
#[derive(Debug)]
enum Known<'a> {
    /// A recent search in all shards failed. The look may still find units.
    Scarce(Scarcity),
    /// The look is only for an earlier claim: the drop admits no new reservation, or the budget of looks has room for
    /// no more than that.
    Shut(&'a Refused),
}

/// The shards at which the search is.
#[derive(Debug)]
enum Stage<'a> {
    /// The shopper's own two shards. `known` is a reason that ends the search after this stage.
    Own { known: Option<Known<'a>> },
    /// Further shards, chosen by the free units that were counted in each.
    Further {
        counted: Vec<u32>,
        /// Whether the conductor's counts could be read. If not, each shard counts with its whole allocation.
        known: bool,
    },
}

/// The state that one step passes to the next.
#[derive(Debug)]
struct Search<'a> {
    wanted: &'a Wanted<'a>,
    stage: Stage<'a>,
    writes_left: u32,
    /// The further shard that the shopper's purchases item names, by the last look.
    remembered: Option<u16>,
    /// The shards of the look before the look at the remembered shard.
    earlier: Vec<(ShardKey, Shard)>,
    shown: Shown,
}

/// Shards with their last seen image, the best first.
type Candidates = VecDeque<(ShardKey, Shard)>;

impl<'a> Search<'a> {
    fn look_at(self, indices: &[u16]) -> Step<'a> {
        let shards = indices.iter().map(|index| self.wanted.key(*index)).collect();
        Step::Look(Look { shards, search: self })
    }

    /// The step that ends the search with this result. A reservation in a further shard is remembered first.
    fn end(self, outcome: Result<Reserved, Refused>) -> Step<'a> {
        match outcome {
            Ok(reserved) if !self.finds(reserved.id.shard.index) => Step::Remember(Remember { reserved }),
            outcome => Step::Done(outcome, None),
        }
    }

    /// Whether a repeat reads the shard `index`.
    fn finds(&self, index: u16) -> bool {
        self.remembered == Some(index) || self.wanted.own_shards().contains(&index)
    }

    /// The step that writes to a shard. `free` is the number of its free units, as far as known.
    fn write(
        mut self,
        shard: ShardKey,
        act: Act,
        free: u32,
        image: Option<Shard>,
        others: Candidates,
    ) -> Step<'a> {
        self.writes_left -= 1;
        let returned = match &act {
            Act::Claim => 0,
            Act::TakeOver { seen, .. } => seen.units,
        };
        Step::Write(Write {
            shard,
            act,
            free_after: (free + returned).saturating_sub(self.wanted.hold.units),
            search: self,
            image,
            others,
        })
    }

    /// The next write that the candidates' images allow; if there is none, the step that follows from
    /// the stage.
    fn try_in(mut self, mut candidates: Candidates) -> Step<'a> {
        while let Some((shard, image)) = candidates.pop_front() {
            match self.wanted.allowed_by(&image) {
                Some(act) if self.writes_left > 0 => {
                    return self.write(shard, act, image.free, Some(image), candidates);
                }
                _ => self.shown.note(self.wanted, &shard, &image),
            }
        }
        match self.stage {
            Stage::Own {
                known: Some(Known::Shut(why)),
            } => Step::refused(why.clone()),
            Stage::Own {
                known: Some(Known::Scarce(scarcity)),
            } => Step::refused(match self.shown.in_the_way {
                Some(reservation) => Refused::OrderInProgress(reservation),
                None => scarcity.into(),
            }),
            Stage::Own { known: None } => Step::Count(Count(self)),
            Stage::Further { counted, known } => self.shown.explain_refusal(self.wanted, &counted, known),
        }
    }
}

/// The findings of the search in the shards that it read.
#[derive(Debug, Default)]
struct Shown {
    looked_at: Vec<u16>,
    /// The largest number of units that one of the read shards could give to this shopper.
    best_offer: u32,
    /// The reservation of the shopper's order in progress that occupies a shard with enough units; `None` if
    /// none does.
    in_the_way: Option<ReservationId>,
}

impl Shown {
    /// Records the offer of a shard to which this search will not write any more.
    fn note(&mut self, wanted: &Wanted<'_>, key: &ShardKey, shard: &Shard) {
        let units = wanted.hold.units;
        let offer = match shard.claims.get(&wanted.request.shopper) {
            Some(mine) if mine.state == ClaimState::Ordered => {
                if on_offer(shard, units, wanted.now) >= units {
                    self.in_the_way = Some(mine.reservation_in(key));
                }
                return;
            }
            Some(mine) => shard.free + mine.units,
            None => on_offer(shard, units, wanted.now),
        };
        self.best_offer = self.best_offer.max(offer);
    }

    /// The step when no shard is left to try. The available amount follows from the shards that were read,
    /// and from the free units `counted` in the other shards.
    fn explain_refusal<'a>(self, wanted: &'a Wanted<'a>, counted: &[u32], known: bool) -> Step<'a> {
        let unseen = (0u16..)
            .zip(counted)
            .filter(|(index, _)| !self.looked_at.contains(index));
        let counted = unseen.map(|(_, free)| *free).max().unwrap_or(0);
        let (units, available) = (wanted.hold.units, counted.max(self.best_offer));
        if available >= units {
            let availability = Availability::AllHeld;
            // Other requests were faster, or the count is outdated, so units may be free again soon. Without
            // counts, the process must cache the failed search; otherwise each of its requests would read as
            // many shards without a result.
            return match (known, &self.in_the_way) {
                (false, None) if self.best_offer < units => Step::learnt(Scarcity {
                    units,
                    available: 0,
                    availability,
                }),
                _ => Step::refused(Refused::SoldOut(availability)),
            };
        }
        if let Some(reservation) = self.in_the_way {
            return Step::refused(Refused::OrderInProgress(reservation));
        }
        if available == 0 {
            return Step::ReadStatus(ReadStatus(wanted));
        }
        Step::learnt(Scarcity {
            units,
            available,
            availability: Availability::Available,
        })
    }
}

/// A step that reads some shards and the shopper's purchases item.
#[derive(Debug)]
pub struct Look<'a> {
    /// The shards to read: distinct, from 1 to [`MOST_LOOKED_AT`].
    pub shards: Vec<ShardKey>,
    search: Search<'a>,
}

impl<'a> Look<'a> {
    /// Whether this is the first look of the search.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.search.shown.looked_at.is_empty()
    }

    /// The same look, after which the search ends: it finds an earlier reservation of the request, and claims no
    /// units.
    #[must_use]
    pub fn only_to_find(mut self) -> Self {
        let why = match self.search.stage {
            Stage::Own {
                known: Some(Known::Shut(why)),
            } => why,
            _ => &HELD,
        };
        self.search.stage = Stage::Own {
            known: Some(Known::Shut(why)),
        };
        self
    }

    /// Takes the result of the read: the shards that exist, in the requested order; the units of the drop
    /// that the shopper has `purchased` in open or paid orders; the shopper's [`Lapses`] in the drop; and the index of
    /// the `remembered` further shard.
    #[must_use]
    pub fn showed(
        self,
        mut shards: Vec<(ShardKey, Shard)>,
        purchased: u32,
        lapses: Option<Lapses>,
        remembered: Option<u16>,
    ) -> Step<'a> {
        let is_first = self.is_first();
        let mut search = self.search;
        let (wanted, units) = (search.wanted, search.wanted.hold.units);
        search
            .shown
            .looked_at
            .extend(self.shards.iter().map(|key| key.index));
        search.remembered = remembered;
        if let Some(outcome) = shards
            .iter()
            .find_map(|(key, shard)| wanted.settled_by(key, shard))
        {
            return search.end(outcome);
        }
        let unread =
            |index: &u16| *index < wanted.sku.plan.shards() && !search.shown.looked_at.contains(index);
        if is_first && let Some(index) = remembered.filter(unread) {
            search.earlier = shards;
            return search.look_at(&[index]);
        }
        shards.append(&mut search.earlier);
        let only_finds = matches!(
            search.stage,
            Stage::Own {
                known: Some(Known::Shut(_))
            }
        );
        if only_finds {
            return search.try_in(Candidates::new());
        }
        if purchased.saturating_add(units) > wanted.drop.per_shopper_limit {
            return Step::refused(Refused::LimitReached);
        }
        let in_ms = lapses.map_or(0, |lapses| lapses.wait_ms(wanted.drop.hold_seconds, wanted.now));
        if in_ms > 0 {
            return Step::refused(Refused::HoldsUnused { in_ms });
        }
        // Of the shopper's two shards, the first is preferred if it is well filled, so that shoppers spread evenly.
        let own = matches!(search.stage, Stage::Own { .. });
        shards.sort_by_key(|(key, shard)| {
            let first = own && key.index == wanted.choice.pair().0;
            Reverse((
                first && well_filled(shard.free, shard.allocated, units),
                shard.free,
            ))
        });
        search.try_in(shards.into())
    }
}

/// The kind of a write. A write of either kind takes the units of [`Wanted::hold`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Takes free units of the shard.
    Claim,
    /// Replaces an expired hold, on condition that the hold is still stored exactly as it was read.
    TakeOver {
        /// The owner of the expired hold, who may be the same shopper.
        victim: ShopperId,
        /// The expired hold as it was read.
        seen: Claim,
    },
}

impl Act {
    fn take_over((victim, seen): (&ShopperId, &Claim)) -> Self {
        let (victim, seen) = (victim.clone(), seen.clone());
        Self::TakeOver { victim, seen }
    }
}

/// A step that makes one conditional write. While the outcome is unknown, the caller repeats the same write.
#[derive(Debug)]
pub struct Write<'a> {
    /// The shard to write to.
    pub shard: ShardKey,
    /// The kind of the write.
    pub act: Act,
    /// The number of the shard's free units once the write has taken effect, as far as known.
    pub free_after: u32,
    search: Search<'a>,
    /// The image of the shard that allows this write; `None` if the search did not read the shard.
    image: Option<Shard>,
    others: Candidates,
}

impl<'a> Write<'a> {
    /// Takes the result that the write took effect.
    #[must_use]
    pub fn taken(self) -> Step<'a> {
        let wanted = self.search.wanted;
        self.search.end(Ok(wanted.reserved(&self.shard, &wanted.hold)))
    }

    /// Takes the result that the write was refused. `found` is the current shard; `None` if the shard does
    /// not exist.
    #[must_use]
    pub fn refused(self, found: Option<Shard>) -> Step<'a> {
        let (mut search, mut others, shard) = (self.search, self.others, self.shard);
        let wanted = search.wanted;
        if let Some(outcome) = found.as_ref().and_then(|found| wanted.settled_by(&shard, found)) {
            return search.end(outcome);
        }
        match (self.image, found) {
            (None, _) => return search.look_at(&wanted.own_shards()),
            (Some(_), Some(found)) => others.push_front((shard, found)),
            (Some(image), None) => search.shown.note(wanted, &shard, &image),
        }
        search.try_in(others)
    }
}

/// A step that stores in the shopper's purchases item in which further shard the reservation is, so that a repeat
/// finds it. Without this write the reservation is valid too.
#[derive(Debug)]
pub struct Remember {
    reserved: Reserved,
}

impl Remember {
    /// The shard of the reservation.
    #[must_use]
    pub const fn shard(&self) -> &ShardKey {
        &self.reserved.id.shard
    }

    /// Ends the search, whether or not the shard was stored.
    #[must_use]
    pub fn attempted<'a>(self) -> Step<'a> {
        Step::Done(Ok(self.reserved), None)
    }
}

/// A step that reads the conductor's free counts of the SKU.
#[derive(Debug)]
pub struct Count<'a>(Search<'a>);

impl<'a> Count<'a> {
    /// Takes the free units by shard index, and the time of the count; `None` if the counts could not be
    /// read. Counts only guide the search: a shard without a count counts with its whole allocation. The
    /// search reads at most `most_further` further shards. With 0 it reads none, nor the shopper's own
    /// shards again.
    #[must_use]
    pub fn showed(self, counts: Option<(Timestamp, &[u8])>, most_further: usize) -> Step<'a> {
        let mut search = self.0;
        let (wanted, units) = (search.wanted, search.wanted.hold.units);
        let known = counts.is_some();
        let (as_of, free) = counts.unwrap_or((wanted.now, &[]));
        let counted = |index: u16| free.get(usize::from(index)).map(|free| u32::from(*free));
        let allocations = wanted.sku.plan.allocations();
        let counted: Vec<u32> = allocations
            .map(|(index, all)| counted(index).unwrap_or(all))
            .collect();
        let mut further = wanted.choice.further(&counted, units, most_further);
        if as_of > wanted.now && most_further > 0 {
            // The counts are newer than the start of this request, so they may be newer than its look at the
            // shopper's own shards: units may have returned there since.
            let enough = |index: &u16| {
                counted
                    .get(usize::from(*index))
                    .is_some_and(|free| *free >= units)
            };
            further.extend(wanted.own_shards().into_iter().filter(enough));
        }
        search.stage = Stage::Further { counted, known };
        if further.is_empty() {
            return search.try_in(Candidates::new());
        }
        search.look_at(&further)
    }
}

/// A step that reads the drop's status document.
#[derive(Debug)]
pub struct ReadStatus<'a>(&'a Wanted<'a>);

impl<'a> ReadStatus<'a> {
    /// Takes the SKU's counts of the last survey; `None` if they could not be read. The search reports *gone*
    /// only when every unit of the current plan is paid for.
    #[must_use]
    pub fn showed(self, counts: Option<&SkuCounts>) -> Step<'a> {
        let planned = self.0.sku.plan.units();
        let gone = counts.is_some_and(|counts| counts.allocated == planned && counts.sold == planned);
        let availability = if gone {
            Availability::Gone
        } else {
            Availability::AllHeld
        };
        Step::learnt(Scarcity {
            units: self.0.hold.units,
            available: 0,
            availability,
        })
    }
}

#[cfg(test)]
mod tests;
