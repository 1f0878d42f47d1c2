//! What carries orders on: the stream of the orders table, the queues with their event sources, and the schedules.
//!
//! The stream has a shard for each partition of the table and ten lanes for each shard, relayed in the batches that the
//! template asks for. An event source of a queue begins with five batches at a time and may take three hundred more in each minute,
//! within its maximum concurrency. A batch that failed comes again after the queue's visibility time-out. The mail queue has
//! no consumer here: its messages are counted only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use aws_lambda_events::sqs::SqsEvent;
use capacity::capacity::Polling;
use domain::limits::{FunctionLimits, Trigger};
use events::{OrderEvent, PaymentHint};
use memory::{MemoryStore, OrderChange};
use ports::messages::{Destination, ParkRecord, SendError, SendEvents, SendHint};
use relay_events::StreamBatch;
use replay::chance::key_of;
use replay::fleet::Invoked;
use replay::process::Function;
use replay::queue::batch_json;
use replay::stream::record_json;

use crate::fleet::Fleet;
use crate::process::Process;
use crate::world::World;

/// How long an event source waits before it tries a batch of the stream again, in µs: assumed.
const RETRY_US: i64 = 1_000_000;

/// How long a webhook's hint is out of sight, in µs: as `shared/queues` sends it.
const HINT_US: i64 = 1_000_000;

#[derive(Default)]
struct Lane {
    records: VecDeque<(u64, OrderChange)>,
    relaying: bool,
}

#[derive(Debug, Clone)]
struct Message {
    id: String,
    body: String,
    receives: u32,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Message>,
    /// Messages in a consumer's hands, or away until they may be received again.
    away: u64,
    /// Batches in a consumer's hands.
    batches: u32,
    first_us: Option<i64>,
    sent: u64,
    dead: u64,
    most_waiting: u64,
}

/// A queue's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct QueueReport {
    /// Its name.
    pub queue: &'static str,
    /// Messages sent to it.
    pub sent: u64,
    /// The most that waited at a time.
    pub most_waiting: u64,
    /// Messages that are left.
    pub left: u64,
    /// Messages that were put aside.
    pub dead: u64,
}

/// See the module's page.
pub struct Behind {
    world: Arc<World>,
    fleet: OnceLock<Weak<Fleet>>,
    lanes: Vec<Mutex<Lane>>,
    numbers: Mutex<u64>,
    payments: Mutex<Queue>,
    ledger: Mutex<Queue>,
    mails: Mutex<u64>,
    parked: Mutex<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The two queues that have a consumer here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Payments,
    Ledger,
}

impl Of {
    const fn name(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Ledger => "ledger",
        }
    }

    const fn function(self) -> Function {
        match self {
            Self::Payments => Function::ProcessOrder,
            Self::Ledger => Function::ProjectLedger,
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::Payments => "PaymentsQueue",
            Self::Ledger => "LedgerQueue",
        }
    }

    const fn limits(self) -> FunctionLimits {
        self.function().limits()
    }
}

/// The most messages of a batch, the most batches at a time, and how often a message is received.
const fn trigger(limits: FunctionLimits) -> (u32, u32, u32) {
    match limits.trigger {
        Trigger::Queue {
            batch_size,
            max_concurrency,
            max_receives,
        } => (batch_size, max_concurrency, max_receives),
        _ => (1, 1, 1),
    }
}

impl Behind {
    /// Nothing under way.
    #[must_use]
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        let warm = world.settings.capacity.warm("OrdersTable");
        let shards = u64::from(
            warm.write_units
                .div_ceil(1_000)
                .max(warm.read_units.div_ceil(3_000)),
        );
        Arc::new(Self {
            world: Arc::clone(world),
            fleet: OnceLock::new(),
            lanes: (0..shards * world.settings.limits.lanes_of_shard)
                .map(|_| Mutex::default())
                .collect(),
            numbers: Mutex::default(),
            payments: Mutex::default(),
            ledger: Mutex::default(),
            mails: Mutex::default(),
            parked: Mutex::default(),
        })
    }

    /// Leads to the functions.
    pub fn lead_to(&self, fleet: &Arc<Fleet>) {
        self.fleet.set(Arc::downgrade(fleet)).ok();
    }

    fn fleet(&self) -> Option<Arc<Fleet>> {
        self.fleet.get().and_then(Weak::upgrade)
    }

    fn queue(&self, of: Of) -> MutexGuard<'_, Queue> {
        lock(match of {
            Of::Payments => &self.payments,
            Of::Ledger => &self.ledger,
        })
    }

    /// Takes the orders table's latest changes up.
    pub fn take_changes(self: &Arc<Self>, memory: &MemoryStore) {
        for change in memory.take_changes() {
            let number = {
                let mut numbers = lock(&self.numbers);
                *numbers += 1;
                *numbers
            };
            let lanes = (self.lanes.len() as u64).max(1);
            let at = usize::try_from(key_of(change.after.id.as_str()) % lanes).unwrap_or(0);
            let Some(lane) = self.lanes.get(at) else {
                continue;
            };
            let mut lane = lock(lane);
            lane.records.push_back((number, change));
            if !lane.relaying {
                lane.relaying = true;
                let behind = Arc::clone(self);
                self.world.begin();
                self.world.timeline.spawn(None, async move {
                    behind.relay(at).await;
                    behind.world.done();
                });
            }
        }
    }

    /// Relays one lane until it is empty.
    async fn relay(&self, at: usize) {
        let (Some(lane), Some(fleet)) = (self.lanes.get(at), self.fleet()) else {
            return;
        };
        let most = match relay_events::LIMITS.trigger {
            Trigger::Stream { batch_size, .. } => batch_size,
            _ => 1,
        };
        let most = usize::try_from(most).unwrap_or(1);
        self.world.takes(self.world.settings.times.stream_us).await;
        loop {
            let batch: Vec<serde_json::Value> = {
                let mut lane = lock(lane);
                if lane.records.is_empty() {
                    lane.relaying = false;
                    return;
                }
                let records = lane.records.iter().take(most);
                records
                    .map(|(number, change)| record_json(*number, change))
                    .collect()
            };
            let size = batch.len();
            match fleet.relay(StreamBatch { records: batch }).await {
                Invoked::Answered(report) => {
                    let failed = report.batch_item_failures.first();
                    let failed = failed.and_then(|failure| failure.item_identifier.parse::<u64>().ok());
                    let mut lane = lock(lane);
                    for _ in 0..size {
                        let number = lane.records.front().map(|(number, _)| *number);
                        if failed.is_some_and(|failed| number.is_some_and(|number| number >= failed)) {
                            break;
                        }
                        lane.records.pop_front();
                    }
                }
                Invoked::Failed => self.world.timeline.sleep(RETRY_US).await,
            }
        }
    }

    fn accept(self: &Arc<Self>, of: Of, event: &OrderEvent) {
        if let Ok(body) = event.encode() {
            self.take(of, &event.id(), body);
        }
    }

    /// Takes a webhook's hint, which can be received a second later.
    fn accept_hint(self: &Arc<Self>, hint: &PaymentHint) {
        let (Ok(body), id) = (hint.encode(), hint.event.clone()) else {
            return;
        };
        let behind = Arc::clone(self);
        self.world.begin();
        self.world.timeline.spawn(None, async move {
            behind.world.timeline.sleep(HINT_US).await;
            behind.take(Of::Payments, &id, body);
            behind.world.done();
        });
    }

    fn take(self: &Arc<Self>, of: Of, id: &str, body: String) {
        let now_us = self.world.timeline.now_us();
        {
            let mut queue = self.queue(of);
            queue.sent += 1;
            queue.first_us.get_or_insert(now_us);
            let id = format!("{id}-{}", queue.sent);
            queue.waiting.push_back(Message {
                id,
                body,
                receives: 0,
            });
            queue.most_waiting = queue.most_waiting.max(queue.waiting.len() as u64);
        }
        self.poll(of);
    }

    /// How many batches may be in consumers' hands now.
    fn batches_most(&self, queue: &Queue, of: Of) -> u32 {
        let limits = &self.world.settings.limits;
        let since_us = queue
            .first_us
            .map_or(0, |first_us| self.world.timeline.now_us() - first_us);
        let more = since_us * i64::from(limits.pollers_per_minute) / 60_000_000;
        let pollers = limits
            .pollers
            .saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        let polling = self.world.settings.capacity.queues.get(of.source()).copied();
        let (most, pollers) = match polling {
            Some(Polling::MaximumConcurrency(most)) => (most, pollers.min(limits.pollers_most)),
            Some(provisioned) => (u32::MAX, provisioned.invocations()),
            None => (trigger(of.limits()).1, pollers),
        };
        pollers.min(most)
    }

    /// Starts consumers as far as there are messages for them.
    fn poll(self: &Arc<Self>, of: Of) {
        let batch = usize::try_from(trigger(of.limits()).0).unwrap_or(1);
        loop {
            {
                let mut queue = self.queue(of);
                let wanted = queue.waiting.len().div_ceil(batch);
                let idle = usize::try_from(queue.batches).unwrap_or(usize::MAX);
                // A consumer takes a batch of what is there when it comes, so no more come than there are batches.
                if queue.batches >= self.batches_most(&queue, of) || wanted == 0 || idle > wanted + 4 {
                    return;
                }
                queue.batches += 1;
            }
            let behind = Arc::clone(self);
            self.world.begin();
            self.world.timeline.spawn(None, async move {
                behind.world.takes(behind.world.settings.times.queue_us).await;
                while behind.consume(of, batch).await {}
                behind.queue(of).batches -= 1;
                behind.world.done();
            });
        }
    }

    /// Hands one batch over; false if there is none.
    async fn consume(self: &Arc<Self>, of: Of, most: usize) -> bool {
        let batch: Vec<Message> = {
            let mut queue = self.queue(of);
            let size = most.min(queue.waiting.len());
            let mut batch: Vec<Message> = queue.waiting.drain(..size).collect();
            batch.iter_mut().for_each(|message| message.receives += 1);
            queue.away += batch.len() as u64;
            batch
        };
        if batch.is_empty() {
            return false;
        }
        // More consumers may come by now.
        self.poll(of);
        let messages = batch.iter().map(|m| (m.id.as_str(), m.receives, m.body.as_str()));
        let event = serde_json::from_value::<SqsEvent>(batch_json(of.name(), messages));
        let (Ok(event), Some(fleet)) = (event, self.fleet()) else {
            return false;
        };
        let answered = match of {
            Of::Payments => fleet.process(event).await,
            Of::Ledger => fleet.project(event).await,
        };
        let failed: Option<Vec<String>> = match answered {
            Invoked::Answered(report) => {
                let failures = report.batch_item_failures.into_iter();
                Some(failures.map(|failure| failure.item_identifier).collect())
            }
            Invoked::Failed => None,
        };
        let handed = batch.len();
        let mut again: Vec<Message> = (batch.into_iter())
            .filter(|message| failed.as_ref().is_none_or(|failed| failed.contains(&message.id)))
            .collect();
        {
            let mut queue = self.queue(of);
            let before = again.len();
            again.retain(|message| message.receives < trigger(of.limits()).2);
            queue.dead += (before - again.len()) as u64;
            queue.away -= (handed - again.len()) as u64;
        }
        self.put_back(of, again);
        true
    }

    /// Lets messages be received again once the visibility time-out is over.
    fn put_back(self: &Arc<Self>, of: Of, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let behind = Arc::clone(self);
        let us = i64::from(of.limits().visibility_seconds()) * 1_000_000;
        self.world.begin();
        self.world.timeline.spawn(None, async move {
            behind.world.timeline.sleep(us).await;
            {
                let mut queue = behind.queue(of);
                queue.away = queue.away.saturating_sub(messages.len() as u64);
                queue.waiting.extend(messages);
            }
            behind.poll(of);
            behind.world.done();
        });
    }

    /// Messages that wait in the queues `payments` and `ledger`.
    #[must_use]
    pub fn waiting(&self) -> (u64, u64) {
        let of = |of| self.queue(of).waiting.len() as u64;
        (of(Of::Payments), of(Of::Ledger))
    }

    /// Whether everything was carried on.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let empty = |lane: &Mutex<Lane>| lock(lane).records.is_empty();
        self.waiting() == (0, 0) && self.lanes.iter().all(empty) && !self.world.is_busy()
    }

    /// Messages to shoppers.
    #[must_use]
    pub fn mails(&self) -> u64 {
        *lock(&self.mails)
    }

    /// Records of the stream that could not be read.
    #[must_use]
    pub fn parked(&self) -> u64 {
        *lock(&self.parked)
    }

    /// The queues' figures.
    #[must_use]
    pub fn report(&self) -> [QueueReport; 2] {
        [Of::Payments, Of::Ledger].map(|of| {
            let queue = self.queue(of);
            QueueReport {
                queue: of.name(),
                sent: queue.sent,
                most_waiting: queue.most_waiting,
                left: queue.waiting.len() as u64 + queue.away,
                dead: queue.dead,
            }
        })
    }

    /// Starts conductor and sweeper each minute, from now on.
    pub fn start_schedules(self: &Arc<Self>) {
        for conducts in [true, false] {
            let limits = if conducts {
                conduct_drop::LIMITS
            } else {
                sweep_orders::LIMITS
            };
            let Trigger::Schedule { every_seconds } = limits.trigger else {
                continue;
            };
            let every_us = i64::from(every_seconds) * 1_000_000;
            let behind = Arc::clone(self);
            self.world.timeline.spawn(None, async move {
                // The schedule's minute is not the drop's.
                let early_us = i64::try_from(behind.world.draw() % every_us.unsigned_abs()).unwrap_or(0);
                let mut wait_us = early_us / 8;
                loop {
                    behind.world.timeline.sleep(wait_us).await;
                    wait_us = every_us;
                    let run = Arc::clone(&behind);
                    behind.world.timeline.spawn(None, async move {
                        if let Some(fleet) = run.fleet() {
                            match conducts {
                                true => fleet.conduct().await,
                                false => fleet.sweep().await,
                            }
                        }
                    });
                }
            });
        }
    }
}

/// The queues as one environment reaches them.
#[derive(Clone)]
pub struct Queues {
    process: Arc<Process>,
    behind: Arc<Behind>,
}

impl Queues {
    /// The queues as `process` reaches them.
    #[must_use]
    pub fn new(process: &Arc<Process>, behind: &Arc<Behind>) -> Self {
        Self {
            process: Arc::clone(process),
            behind: Arc::clone(behind),
        }
    }
}

impl SendEvents for Queues {
    async fn send(&self, to: Destination, events: &[OrderEvent]) -> Vec<Result<(), SendError>> {
        let world = &self.process.world;
        self.process.goes_on().await;
        world.takes(world.settings.times.send_us).await;
        for event in events {
            match to {
                Destination::Payments => self.behind.accept(Of::Payments, event),
                Destination::Ledger => self.behind.accept(Of::Ledger, event),
                Destination::Mail => *lock(&self.behind.mails) += 1,
            }
        }
        events.iter().map(|_| Ok(())).collect()
    }
}

impl SendHint for Queues {
    async fn hint(&self, hint: &PaymentHint) -> Result<(), SendError> {
        let world = &self.process.world;
        self.process.goes_on().await;
        world.takes(world.settings.times.send_us).await;
        self.behind.accept_hint(hint);
        Ok(())
    }
}

impl ParkRecord for Queues {
    async fn park(&self, _: &str) -> Result<(), SendError> {
        *lock(&self.behind.parked) += 1;
        Ok(())
    }
}
