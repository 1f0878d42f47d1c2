//! Models the database ports of one environment: the adapters in memory, behind the tables' partitions.
//!
//! A call reads and writes the same items as the adapter in `shared/dynamodb`. Each request is sent once, and keys
//! that come back unprocessed are requested once more. [`stack_api::units`] counts the units of an item. The whole
//! time of a call passes before its effect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use domain::claim::Claim;
use domain::drops::{Drop, DropState, ListedDrop};
use domain::ids::{DropId, OrderId, ShardKey, ShopperId, SkuId};
use domain::limits::{DROP_COPIES, MAX_LINES};
use domain::order::{Order, OrderStatus, OrderStep, StockEffect};
use domain::rate::{CallsWanted, Turn, from_micros, micros};
use domain::shard::Shard;
use domain::status::DropStatus;
use domain::survey::SeenClaim;
use domain::time::Timestamp;
use memory::MemoryStore;
use ports::calls::TakeCalls;
use ports::drops::{
    FreeCounts, HoldLease, Lease, ListDrops, Listing, ReadCounts, ReadDrop, ReadStatus, StoreDrop,
    WriteStatus,
};
use ports::issuers::{IssuerList, IssuersDocument, ReadIssuers};
use ports::mail::{Contact, KeepContact};
use ports::orders::{
    AdvanceOrder, FindDueOrders, ListOpenOrders, ListOrders, NotPlaced, NoteDecline, OrderPage, PlaceOrder,
    Placing, PutOff, ReadOrder,
};
use ports::payment::CardFingerprint;
use ports::stock::{
    AllocateStock, ClaimStock, Consistency, CountLapse, GiveBackStock, Peek, PeekStock, ReadClaim,
    SurveyStock,
};
use ports::{Conditional, StoreError};
use stack_api::units;

use crate::behind::Behind;
use crate::lock;
use crate::process::Process;
use crate::tables::{Place, Tables, Touch};
use crate::world::World;

/// The number of times that unprocessed keys are requested again (`shared/dynamodb/src/batch.rs`).
const REPEATS: u32 = 1;
/// The largest number of keys of one batch (`shared/dynamodb/src/batch.rs`).
const BATCH_KEYS: usize = 100;
/// The number of concurrent batches of a survey (`shared/dynamodb/src/stock.rs`).
const SURVEY_CHUNKS: usize = 4;

/// A size in bytes that every stock shard is below (asserted in the domain when it is compiled).
const SHARD_BYTES: usize = domain::limits::WRITE_UNIT_BYTES;
/// The size of the names and the small attributes beside an order's document, in bytes.
const ORDER_ATTRIBUTES: usize = 160;
/// The size of a purchase counter, a lease, or an entry of a keys-only index, in bytes.
const SMALL_BYTES: usize = 120;

/// Sizes of documents in bytes, by key.
#[derive(Debug, Default)]
pub struct Sizes(Mutex<BTreeMap<String, usize>>);

impl Sizes {
    /// The size of the document under `key`; 0 if there is none.
    fn of(&self, key: &str) -> usize {
        lock(&self.0).get(key).copied().unwrap_or(0)
    }

    /// Records the size of the document under `key`, in bytes.
    pub fn put(&self, key: String, bytes: usize) {
        lock(&self.0).insert(key, bytes);
    }
}

fn json_bytes<T: serde::Serialize>(of: &T) -> usize {
    serde_json::to_vec(of).map_or(0, |json| json.len())
}

fn order_bytes(order: &Order) -> usize {
    json_bytes(order) + ORDER_ATTRIBUTES
}

/// Every database port of one environment.
#[derive(Clone)]
pub struct Store {
    pub process: Arc<Process>,
    pub memory: MemoryStore,
    pub sizes: Arc<Sizes>,
    pub behind: Arc<Behind>,
    /// For each line of gateway calls, the position that the environment read last, in µs
    /// (`shared/dynamodb/src/calls.rs`).
    pub lines: Arc<[AtomicI64; MAX_LINES as usize]>,
}

impl Store {
    /// The state that all parts of the run share.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.process.world
    }

    /// Whether an old design replaces the handler's own reads of `touch`.
    fn is_replaced(&self, touch: &Touch) -> bool {
        let design = self.world().settings.design;
        design.is_some_and(|design| design.replaces(touch.place))
    }

    fn ask(&self, touches: &[Touch], later: &[Touch]) -> Result<(), StoreError> {
        let world = self.world();
        if world.tables.ask(world.timeline.now_us(), touches, later) {
            return Ok(());
        }
        world.count(|second| second.throttled_items += 1);
        Err(StoreError::Busy)
    }

    /// Reads one item.
    async fn read(&self, touch: Touch) -> Result<(), StoreError> {
        match self.is_replaced(&touch) {
            true => Ok(()),
            false => self.read_units(touch).await,
        }
    }

    /// Reads one item, whichever design the run has.
    ///
    /// # Errors
    ///
    /// When the units of the read were refused.
    pub async fn read_units(&self, touch: Touch) -> Result<(), StoreError> {
        self.process.calls(self.world().settings.times.read_us).await;
        self.ask(&[touch], &[])
    }

    /// Reads a batch of keys, each of which may come back unprocessed.
    async fn batch(&self, mut wanted: Vec<Touch>) -> Result<(), StoreError> {
        wanted.retain(|touch| !self.is_replaced(touch));
        match wanted.is_empty() {
            true => Ok(()),
            false => self.batch_units(wanted).await,
        }
    }

    /// Reads a batch of keys, whichever design the run has.
    ///
    /// # Errors
    ///
    /// When some keys of the batch were finally refused.
    pub async fn batch_units(&self, mut wanted: Vec<Touch>) -> Result<(), StoreError> {
        for _ in 0..=REPEATS {
            self.process.calls(self.world().settings.times.read_us).await;
            let before = wanted.len();
            wanted.retain(|touch| self.ask(std::slice::from_ref(touch), &[]).is_err());
            match wanted.len() {
                0 => return Ok(()),
                // A batch without a processed key is refused as a whole.
                left if left == before => return Err(StoreError::Busy),
                _ => {}
            }
        }
        Err(StoreError::Busy)
    }

    /// Makes a write, sent once; with several `touches` it is a transaction. It uses the units of `touches`
    /// in any case, and those of `indexes` if `is_done` says that the write was applied.
    async fn write<T>(
        &self,
        touches: &[Touch],
        indexes: &[Touch],
        act: impl Future<Output = Result<T, StoreError>>,
        is_done: impl FnOnce(&T) -> bool,
    ) -> Result<T, StoreError> {
        let world = self.world();
        self.process.goes_on().await;
        let times = &world.settings.times;
        let keys: Vec<u64> = touches.iter().map(Tables::lock_key).collect();
        let (locked, takes_us) = if touches.len() == 1 {
            (None, times.write_us)
        } else if world.tables.conflicts(&keys) {
            world.takes(times.write_us).await;
            return Err(StoreError::Busy);
        } else {
            (Some(world.tables.lock(keys.clone())), times.transaction_us)
        };
        world.takes(takes_us).await;
        if locked.is_none() && world.tables.conflicts(&keys) {
            return Err(StoreError::Busy);
        }
        self.ask(touches, indexes)?;
        let answer = act.await;
        drop(locked);
        if answer.as_ref().is_ok_and(is_done) {
            world.tables.take(world.timeline.now_us(), indexes);
        }
        answer
    }

    /// Makes one write for each copy of a document. The model keeps the copies as one document, which counts
    /// as written when at least one copy was.
    async fn write_copies(
        &self,
        (copies, key): (u8, impl Fn(u8) -> String),
        bytes: usize,
        act: impl Future<Output = Result<Conditional<()>, StoreError>>,
    ) -> Result<Conditional<()>, StoreError> {
        let world = self.world();
        world.takes(world.settings.times.write_us).await;
        let written = (0..copies)
            .filter(|replica| (self.ask(&[one(Place::Status, key(*replica), bytes)], &[])).is_ok())
            .count();
        if written == 0 {
            return Err(StoreError::Busy);
        }
        let stored = act.await?;
        if written < usize::from(copies) && stored.is_done() {
            return Err(StoreError::Busy);
        }
        Ok(stored)
    }

    /// Like [`Store::write`]. A refused write uses no units of `indexes`.
    async fn conditional<T>(
        &self,
        touches: &[Touch],
        indexes: &[Touch],
        act: impl Future<Output = Result<Conditional<T>, StoreError>>,
    ) -> Result<Conditional<T>, StoreError> {
        self.write(touches, indexes, act, Conditional::is_done).await
    }

    /// Writes one item of a place without indexes.
    async fn write_one<T>(
        &self,
        touch: Touch,
        act: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.write(&[touch], &[], act, |_| true).await
    }
}

/// An eventually consistent read of one item.
fn half(place: Place, key: impl Display, bytes: usize) -> Touch {
    Touch::read(place, key.to_string(), units::read(bytes, false))
}

/// A strongly consistent read of one item.
fn full(place: Place, key: impl Display, bytes: usize) -> Touch {
    Touch::read(place, key.to_string(), units::read(bytes, true))
}

/// A write of one item in a separate request.
fn one(place: Place, key: impl Display, bytes: usize) -> Touch {
    Touch::write(place, key.to_string(), units::write(bytes))
}

/// A write of one item in a transaction.
fn in_transaction(place: Place, key: impl Display, bytes: usize) -> Touch {
    Touch::write(place, key.to_string(), units::transaction_item(bytes, bytes))
}

fn counter(drop: &DropId, shopper: &ShopperId) -> String {
    format!("{drop}#{shopper}")
}

fn copy_key(drop: &DropId, copy: u8) -> String {
    format!("{drop}#copy#{copy}")
}

fn status_key(drop: &DropId, replica: u8) -> String {
    format!("{drop}#status#{replica}")
}

fn counts_key(drop: &DropId, sku: &SkuId, replica: u8) -> String {
    format!("{drop}#counts#{sku}#{replica}")
}

fn bucket_key(bucket: u8) -> String {
    format!("{bucket:x}")
}

const fn listing_key(listing: Listing) -> &'static str {
    match listing {
        Listing::Listed => "listed=1",
        Listing::Unlisted => "listed=0",
    }
}

impl PeekStock for Store {
    async fn peek(&self, drop: &DropId, shopper: &ShopperId, keys: &[ShardKey]) -> Result<Peek, StoreError> {
        let mut wanted: Vec<Touch> = (keys.iter())
            .map(|key| half(Place::Stock, key, SHARD_BYTES))
            .collect();
        wanted.push(half(Place::Purchases, counter(drop, shopper), SMALL_BYTES));
        self.batch(wanted).await?;
        self.memory.peek(drop, shopper, keys).await
    }
}

impl ClaimStock for Store {
    async fn claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        let act = self.memory.claim(key, shopper, claim);
        self.write_one(one(Place::Stock, key, SHARD_BYTES), act).await
    }

    async fn take_over(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
        victim: &ShopperId,
        seen: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        let act = self.memory.take_over(key, shopper, claim, victim, seen);
        self.write_one(one(Place::Stock, key, SHARD_BYTES), act).await
    }

    async fn remember(&self, key: &ShardKey, shopper: &ShopperId) -> Result<(), StoreError> {
        let touch = one(Place::Purchases, counter(&key.drop, shopper), SMALL_BYTES);
        self.write_one(touch, self.memory.remember(key, shopper)).await
    }
}

impl GiveBackStock for Store {
    async fn give_back(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        let touch = one(Place::Stock, &seen.shard, SHARD_BYTES);
        self.write_one(touch, self.memory.give_back(seen)).await
    }
}

impl CountLapse for Store {
    async fn count_lapse(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        let key = counter(&seen.shard.drop, &seen.shopper);
        let touch = one(Place::Purchases, key, SMALL_BYTES);
        self.write_one(touch, self.memory.count_lapse(seen)).await
    }
}

impl ReadClaim for Store {
    async fn read_claim(&self, key: &ShardKey, shopper: &ShopperId) -> Result<Option<Claim>, StoreError> {
        self.read(full(Place::Stock, key, SHARD_BYTES)).await?;
        self.memory.read_claim(key, shopper).await
    }
}

impl SurveyStock for Store {
    async fn survey(
        &self,
        keys: &[ShardKey],
        consistency: Consistency,
    ) -> Result<Vec<(ShardKey, Shard)>, StoreError> {
        let distinct: BTreeSet<&ShardKey> = keys.iter().collect();
        let touches: Vec<Touch> = (distinct.into_iter())
            .map(|key| match consistency {
                Consistency::Strong => full(Place::Stock, key, SHARD_BYTES),
                Consistency::Eventual => half(Place::Stock, key, SHARD_BYTES),
            })
            .collect();
        let chunks: Vec<&[Touch]> = touches.chunks(BATCH_KEYS).collect();
        for at_once in chunks.chunks(SURVEY_CHUNKS) {
            let batches = at_once.iter().map(|chunk| self.batch(chunk.to_vec()));
            futures_util::future::try_join_all(batches).await?;
        }
        self.memory.survey(keys, consistency).await
    }
}

impl AllocateStock for Store {
    async fn allocate(&self, key: &ShardKey, units: u32) -> Result<Conditional<()>, StoreError> {
        let touch = one(Place::Stock, key, SMALL_BYTES);
        self.write_one(touch, self.memory.allocate(key, units)).await
    }
}

/// The index writes of an order's change: the shopper's index, which contains all attributes, and the index
/// of open orders, whose entry moves when the order's due time changes.
fn index_touches(order: &Order, bytes: usize, is_new: bool) -> [Touch; 2] {
    let by_shopper = one(Place::OrdersByShopper, &order.shopper, bytes);
    // An order that has ended leaves its bucket.
    let was = Order {
        status: OrderStatus::Placed,
        ..order.clone()
    };
    let bucket = was.open_bucket().map_or_else(String::new, bucket_key);
    let mut open = one(Place::OrdersOpen, bucket, SMALL_BYTES);
    if !is_new && order.open_bucket().is_some() {
        open.units *= 2.0;
    }
    [by_shopper, open]
}

impl PlaceOrder for Store {
    async fn place(&self, placing: &Placing) -> Result<Conditional<NotPlaced>, StoreError> {
        let order = &placing.order;
        let bytes = order_bytes(order);
        let address_bytes = placing.address.len() + SMALL_BYTES;
        let key = &order.reservation.shard;
        let touches = [
            in_transaction(Place::Orders, &order.id, bytes),
            in_transaction(Place::Stock, key, SHARD_BYTES),
            in_transaction(Place::Purchases, counter(&key.drop, &order.shopper), SMALL_BYTES),
            in_transaction(Place::Addresses, &order.id, address_bytes),
        ];
        let indexes = index_touches(order, bytes, true);
        let act = self.memory.place(placing);
        let answer = self.conditional(&touches, &indexes, act).await;
        self.behind.take_changes(&self.memory);
        answer
    }
}

impl ReadOrder for Store {
    async fn order(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        // The document of an order with several cards is larger than 1 KB; no document is larger than 4 KB.
        self.read(full(Place::Orders, id, SHARD_BYTES)).await?;
        self.memory.order(id).await
    }
}

impl KeepContact for Store {
    async fn contact(&self, order: &OrderId) -> Result<Option<Contact>, StoreError> {
        self.read(full(Place::Addresses, order, SMALL_BYTES)).await?;
        self.memory.contact(order).await
    }

    async fn note_sent(&self, order: &OrderId, what: &str) -> Result<(), StoreError> {
        let touch = one(Place::Addresses, order, SMALL_BYTES);
        self.write_one(touch, self.memory.note_sent(order, what)).await
    }
}

impl ListOrders for Store {
    async fn orders_of(
        &self,
        shopper: &ShopperId,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> Result<OrderPage, StoreError> {
        let touch = half(Place::OrdersByShopper, shopper, SHARD_BYTES);
        self.read(touch).await?;
        self.memory.orders_of(shopper, after, limit).await
    }
}

impl FindDueOrders for Store {
    async fn due_orders(&self, bucket: u8, now: Timestamp, limit: u16) -> Result<Vec<OrderId>, StoreError> {
        let due = self.memory.due_orders(bucket, now, limit).await?;
        let bytes = due.len() * SMALL_BYTES;
        self.read(half(Place::OrdersOpen, bucket_key(bucket), bytes))
            .await?;
        Ok(due)
    }
}

impl PutOff for Store {
    async fn put_off(&self, seen: &Order, due_at: Timestamp) -> Result<Conditional<()>, StoreError> {
        let bytes = order_bytes(seen);
        let touches = [one(Place::Orders, &seen.id, bytes)];
        let indexes = index_touches(seen, bytes, false);
        let act = self.memory.put_off(seen, due_at);
        self.conditional(&touches, &indexes, act).await
    }
}

impl ListOpenOrders for Store {
    async fn open_orders(
        &self,
        bucket: u8,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> Result<OrderPage, StoreError> {
        let page = self.memory.open_orders(bucket, after, limit).await?;
        let entries = page.orders.len() * SMALL_BYTES;
        let mut wanted = vec![half(Place::OrdersOpen, bucket_key(bucket), entries)];
        let orders = page.orders.iter();
        wanted.extend(orders.map(|order| full(Place::Orders, &order.id, order_bytes(order))));
        self.batch(wanted).await?;
        Ok(page)
    }
}

impl TakeCalls for Store {
    async fn take_calls(&self, wanted: CallsWanted) -> Result<Turn, StoreError> {
        let touch = one(Place::Purchases, format!("#gateway#{}", wanted.line), SMALL_BYTES);
        let Some(seen_line) = self.lines.get(usize::from(wanted.line)) else {
            return Err(StoreError::broken("no such line"));
        };
        let seen = seen_line.load(Ordering::Relaxed);
        let begins = wanted.begins_us(Some(seen));
        if begins > micros(wanted.latest) {
            return Ok(Turn::Later(from_micros(begins)));
        }
        let taking = self.memory.take_calls(wanted);
        let turn = self.write_one(touch.clone(), taking).await?;
        let line = match turn {
            Turn::From(at) => micros(at).saturating_add(wanted.rate.span_us(wanted.calls)),
            Turn::Later(at) => micros(at),
        };
        seen_line.store(line, Ordering::Relaxed);
        // When another environment has moved the line, or no worker has moved it yet, the first write has the
        // wrong position and is refused, so a second write follows.
        let follows = matches!(turn, Turn::From(at) if at > wanted.now);
        if matches!(turn, Turn::From(_)) && follows != (begins == seen) {
            self.write_one(touch, std::future::ready(Ok(()))).await?;
        }
        Ok(turn)
    }
}

impl NoteDecline for Store {
    async fn note_decline(
        &self,
        drop: &DropId,
        card: &CardFingerprint,
        order: &OrderId,
    ) -> Result<u32, StoreError> {
        let key = format!("#card#{drop}#{}", card.as_str());
        let act = self.memory.note_decline(drop, card, order);
        self.write_one(one(Place::Purchases, key, SMALL_BYTES), act).await
    }
}

impl AdvanceOrder for Store {
    async fn advance(&self, step: &OrderStep) -> Result<Conditional<()>, StoreError> {
        let order = &step.order;
        let bytes = order_bytes(order);
        let key = &order.reservation.shard;
        let touches = match step.effect {
            None => vec![one(Place::Orders, &order.id, bytes)],
            Some(effect) => {
                let mut touches = vec![
                    in_transaction(Place::Orders, &order.id, bytes),
                    in_transaction(Place::Stock, key, SHARD_BYTES),
                ];
                if effect == StockEffect::Undo {
                    let counter = counter(&key.drop, &order.shopper);
                    touches.push(in_transaction(Place::Purchases, counter, SMALL_BYTES));
                }
                touches
            }
        };
        let indexes = index_touches(order, bytes, false);
        let act = self.memory.advance(step);
        let answer = self.conditional(&touches, &indexes, act).await;
        self.behind.take_changes(&self.memory);
        answer
    }
}

impl ReadDrop for Store {
    async fn drop(&self, id: &DropId) -> Result<Option<Drop>, StoreError> {
        let bytes = self.sizes.of(id.as_str());
        self.read(full(Place::Drops, id, bytes)).await?;
        self.memory.drop(id).await
    }

    async fn copy(&self, id: &DropId, copy: u8) -> Result<Option<Drop>, StoreError> {
        let bytes = self.sizes.of(id.as_str());
        self.read(half(Place::Drops, copy_key(id, copy), bytes)).await?;
        self.memory.copy(id, copy).await
    }
}

/// The size of an entry of the calendar, in bytes.
fn entry_bytes(entry: &ListedDrop) -> usize {
    json_bytes(entry) + SMALL_BYTES
}

impl ListDrops for Store {
    async fn published(&self, listing: Listing, most: u16) -> Result<Vec<ListedDrop>, StoreError> {
        let entries = self.memory.published(listing, most).await?;
        let bytes = entries.iter().map(entry_bytes).sum();
        self.read(half(Place::Calendar, listing_key(listing), bytes))
            .await?;
        Ok(entries)
    }
}

impl StoreDrop for Store {
    async fn store(&self, drop: &Drop) -> Result<Conditional<()>, StoreError> {
        // A drop that is no draft is counted with the attributes of the calendar.
        let entry = entry_bytes(&drop.entry());
        let attributes = match drop.state {
            DropState::Draft => 0,
            _ => entry,
        };
        let bytes = json_bytes(drop) + attributes;
        let copies = if drop.is_published() { DROP_COPIES } else { 0 };
        let copies = (0..copies).map(|copy| copy_key(&drop.id, copy));
        let touches: Vec<Touch> = std::iter::once(drop.id.to_string())
            .chain(copies)
            .map(|key| in_transaction(Place::Drops, key, bytes))
            .collect();
        let listing = match drop.listed {
            true => Listing::Listed,
            false => Listing::Unlisted,
        };
        // A drop is on the calendar once it is scheduled.
        let index = match drop.state {
            DropState::Draft | DropState::Publishing => None,
            _ => Some(one(Place::Calendar, listing_key(listing), entry)),
        };
        let act = self.memory.store(drop);
        let stored = self.conditional(&touches, index.as_slice(), act).await?;
        if stored.is_done() {
            self.sizes.put(drop.id.to_string(), bytes);
        }
        Ok(stored)
    }
}

impl ReadStatus for Store {
    async fn status(&self, drop: &DropId, replica: u8) -> Result<Option<DropStatus>, StoreError> {
        let bytes = self.sizes.of(&status_key(drop, 0));
        let key = status_key(drop, replica);
        self.read(half(Place::Status, key, bytes)).await?;
        self.memory.status(drop, replica).await
    }
}

impl ReadCounts for Store {
    async fn counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        replica: u8,
    ) -> Result<Option<FreeCounts>, StoreError> {
        let bytes = self.sizes.of(&counts_key(drop, sku, 0));
        let key = counts_key(drop, sku, replica);
        self.read(half(Place::Status, key, bytes)).await?;
        self.memory.counts(drop, sku, replica).await
    }
}

impl WriteStatus for Store {
    async fn write_counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        counts: &FreeCounts,
        copies: u8,
    ) -> Result<Conditional<()>, StoreError> {
        let bytes = counts.free.len() + SMALL_BYTES;
        self.sizes.put(counts_key(drop, sku, 0), bytes);
        let key = |replica| counts_key(drop, sku, replica);
        let write = self.memory.write_counts(drop, sku, counts, copies);
        self.write_copies((copies, key), bytes, write).await
    }

    async fn write_status(&self, status: &DropStatus, copies: u8) -> Result<Conditional<()>, StoreError> {
        let bytes = json_bytes(status) + SMALL_BYTES;
        self.sizes.put(status_key(&status.drop, 0), bytes);
        let key = |replica| status_key(&status.drop, replica);
        let write = self.memory.write_status(status, copies);
        self.write_copies((copies, key), bytes, write).await
    }
}

impl HoldLease for Store {
    async fn acquire(
        &self,
        drop: &DropId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Result<Lease, Lease>, StoreError> {
        let touch = one(Place::Status, format!("{drop}#lease"), SMALL_BYTES);
        let act = self.memory.acquire(drop, holder, now, until);
        let answer = self.write_one(touch, act).await;
        if matches!(answer, Ok(Ok(_))) {
            self.world().note_step();
        }
        answer
    }
}

impl ReadIssuers for Store {
    async fn issuers(&self, list: IssuerList, copy: u8) -> Result<Option<IssuersDocument>, StoreError> {
        let key = format!("issuers#{}#{copy}", list.as_str());
        let found = self.memory.issuers(list, copy).await?;
        let bytes = found.as_ref().map(|document| document.text.len() + SMALL_BYTES);
        let touch = half(Place::Drops, key, bytes.unwrap_or(0));
        self.read(touch).await?;
        Ok(found)
    }
}
