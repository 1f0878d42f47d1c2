//! Models the asynchronous part: the stream of the orders table, the queues with their event sources, and the
//! schedules.
//!
//! The stream has a shard for each partition of the table, and ten lanes for each shard. A lane is relayed in
//! batches of the template's size. An event source of a queue begins with five batches at a time and may take three
//! hundred more in each minute, within its maximum concurrency. A failed batch is redelivered after the queue's
//! visibility timeout.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use capacity::amounts::Polling;
use domain::limits::Trigger;
use events::{OrderEvent, PaymentHint};
use futures_util::future::BoxFuture;
use memory::{MemoryStore, OrderChange};
use ports::messages::{Destination, HINT_DELAY_SECONDS, ParkRecord, SendError, SendEvents, SendHint};
use relay_events::{BatchReport, StreamBatch};
use replay::chance::key_of;
use replay::fleet::Invoked;
use replay::function::Function;
use replay::queue::{self, batch_json, consumer, name};
use replay::stream::record_json;

use crate::lock;
use crate::process::Process;
use crate::world::World;

/// The pause of an event source before it tries a batch of the stream again, in µs. The value is assumed.
const RETRY_US: i64 = 1_000_000;
/// The time between two looks for more messages while a batch is collected, in microseconds.
const LOOK_AGAIN_US: i64 = 100_000;

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
    /// Messages that a consumer processes, or that wait for their redelivery.
    away: u64,
    /// The number of batches that consumers process.
    batches: u32,
    first_us: Option<i64>,
    sent: u64,
    dead: u64,
    most_waiting: u64,
}

/// The numbers of messages of a queue, over a run and at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct QueueReport {
    /// The queue's name.
    pub queue: &'static str,
    /// Messages sent to the queue.
    pub sent: u64,
    /// The largest number of waiting messages at a time.
    pub most_waiting: u64,
    /// Messages that are left in the queue or with a consumer.
    pub left: u64,
    /// Dead letters.
    pub dead: u64,
}

/// The functions that the stream, the queues and the schedules invoke.
pub trait Consumers: Send + Sync {
    /// Passes a batch of the stream to the relay.
    fn relay(&self, batch: StreamBatch) -> BoxFuture<'_, Invoked<BatchReport>>;
    /// Passes a batch of the queue to its consumer.
    fn consume(&self, queue: Destination, event: SqsEvent) -> BoxFuture<'_, Invoked<SqsBatchResponse>>;
    /// Runs a function of a schedule once.
    fn run_scheduled(&self, function: Function) -> BoxFuture<'_, ()>;
}

/// The stream, the queues and the schedules of a run.
pub struct Behind {
    world: Arc<World>,
    consumers: OnceLock<Weak<dyn Consumers>>,
    lanes: Vec<Mutex<Lane>>,
    /// The number of the stream's last record.
    records: AtomicU64,
    payments: Mutex<Queue>,
    ledger: Mutex<Queue>,
    mail: Mutex<Queue>,
    parked: AtomicU64,
}

const fn source(of: Destination) -> &'static str {
    match of {
        Destination::Payments => "PaymentsQueue",
        Destination::Ledger => "LedgerQueue",
        Destination::Mail => "MailQueue",
    }
}

/// The limits of a queue's event source.
struct Source {
    /// The largest number of messages in a batch.
    batch: usize,
    /// How long a batch is collected until it is full, in microseconds.
    window_us: i64,
    /// The largest number of concurrent batches.
    concurrency: u32,
    /// The largest number of receives of a message.
    receives: u32,
}

fn trigger(of: Destination) -> Source {
    match consumer(of).limits().trigger {
        Trigger::Queue {
            batch_size,
            window_seconds,
            max_concurrency,
            max_receives,
        } => Source {
            batch: usize::try_from(batch_size).unwrap_or(1),
            window_us: i64::from(window_seconds) * 1_000_000,
            concurrency: max_concurrency,
            receives: max_receives,
        },
        _ => unreachable!("a queue invokes each consumer"),
    }
}

impl Behind {
    /// An empty stream and empty queues.
    #[must_use]
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        let warm = world.settings.capacity.warm("OrdersTable");
        let writes = warm.write_units.div_ceil(1_000);
        let shards = u64::from(writes.max(warm.read_units.div_ceil(3_000)));
        let lanes = shards * world.settings.limits.lanes_of_shard;
        Arc::new(Self {
            world: Arc::clone(world),
            consumers: OnceLock::new(),
            lanes: (0..lanes).map(|_| Mutex::default()).collect(),
            records: AtomicU64::default(),
            payments: Mutex::default(),
            ledger: Mutex::default(),
            mail: Mutex::default(),
            parked: AtomicU64::default(),
        })
    }

    /// Sets the functions that the stream, the queues and the schedules invoke.
    pub fn lead_to(&self, consumers: Weak<dyn Consumers>) {
        self.consumers.set(consumers).ok();
    }

    fn consumers(&self) -> Option<Arc<dyn Consumers>> {
        self.consumers.get().and_then(Weak::upgrade)
    }

    fn queue(&self, of: Destination) -> MutexGuard<'_, Queue> {
        lock(match of {
            Destination::Payments => &self.payments,
            Destination::Ledger => &self.ledger,
            Destination::Mail => &self.mail,
        })
    }

    /// Moves the orders table's changes since the last call to the stream, and starts a relay for each lane with new
    /// records that has none.
    pub fn take_changes(self: &Arc<Self>, memory: &MemoryStore) {
        for change in memory.take_changes() {
            let number = self.records.fetch_add(1, Ordering::Relaxed) + 1;
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
                self.world.start(async move { behind.relay(at).await });
            }
        }
    }

    /// Relays the records of one lane, batch by batch, until the lane is empty. A lane is the part of a shard whose
    /// batches are processed one after another.
    async fn relay(&self, at: usize) {
        let (Some(lane), Some(consumers)) = (self.lanes.get(at), self.consumers()) else {
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
                let json = records.map(|(number, change)| record_json(*number, change));
                json.collect()
            };
            let size = batch.len();
            match consumers.relay(StreamBatch { records: batch }).await {
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

    fn take(self: &Arc<Self>, of: Destination, id: &str, body: String) {
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

    /// The number of batches that consumers may process concurrently now.
    fn batches_most(&self, queue: &Queue, of: Destination) -> u32 {
        let aws = &self.world.settings.limits;
        let now_us = self.world.timeline.now_us();
        let since_us = queue.first_us.map_or(0, |first_us| now_us - first_us);
        let more = since_us * i64::from(aws.pollers_per_minute) / 60_000_000;
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let pollers = aws.pollers.saturating_add(more);
        let polling = self.world.settings.capacity.queues.get(source(of)).copied();
        let (most, pollers) = match polling {
            Some(Polling::MaximumConcurrency(most)) => (most, pollers.min(aws.pollers_most)),
            Some(provisioned) => (u32::MAX, provisioned.invocations()),
            None => (trigger(of).concurrency, pollers),
        };
        pollers.min(most)
    }

    /// Starts consumers for the available messages.
    fn poll(self: &Arc<Self>, of: Destination) {
        let batch = trigger(of).batch;
        loop {
            {
                let mut queue = self.queue(of);
                let wanted = queue.waiting.len().div_ceil(batch);
                let idle = usize::try_from(queue.batches).unwrap_or(usize::MAX);
                // A consumer takes the messages that are available when it starts, so few more consumers
                // start than there are batches.
                if queue.batches >= self.batches_most(&queue, of) || wanted == 0 || idle > wanted + 4 {
                    return;
                }
                queue.batches += 1;
            }
            let behind = Arc::clone(self);
            self.world.start(async move {
                behind.world.takes(behind.world.settings.times.queue_us).await;
                while behind.consume(of).await {}
                behind.queue(of).batches -= 1;
            });
        }
    }

    /// Waits until the available messages are a full batch, or the window has passed. It does not wait when no message
    /// is available.
    async fn collect(&self, of: Destination, source: &Source) {
        let is_part = || (1..source.batch).contains(&self.queue(of).waiting.len());
        let timeline = &self.world.timeline;
        let end_us = timeline.now_us() + source.window_us;
        while is_part() && timeline.now_us() < end_us {
            timeline.sleep(LOOK_AGAIN_US).await;
        }
    }

    /// Passes one batch to the function; false if there is none.
    async fn consume(self: &Arc<Self>, of: Destination) -> bool {
        let source = trigger(of);
        self.collect(of, &source).await;
        let batch: Vec<Message> = {
            let mut queue = self.queue(of);
            let size = source.batch.min(queue.waiting.len());
            let mut batch: Vec<Message> = queue.waiting.drain(..size).collect();
            batch.iter_mut().for_each(|message| message.receives += 1);
            queue.away += batch.len() as u64;
            batch
        };
        if batch.is_empty() {
            return false;
        }
        // Time has passed since the last check, so more consumers may be allowed.
        self.poll(of);
        let messages = batch.iter().map(|m| (m.id.as_str(), m.receives, m.body.as_str()));
        let event = serde_json::from_value::<SqsEvent>(batch_json(name(of), messages));
        let (Ok(event), Some(consumers)) = (event, self.consumers()) else {
            return false;
        };
        let failed: Option<Vec<String>> = match consumers.consume(of, event).await {
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
            again.retain(|message| message.receives < trigger(of).receives);
            queue.dead += (before - again.len()) as u64;
            queue.away -= (handed - again.len()) as u64;
        }
        self.put_back(of, again);
        true
    }

    /// Makes messages available again after the visibility timeout.
    fn put_back(self: &Arc<Self>, of: Destination, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let behind = Arc::clone(self);
        let us = i64::from(consumer(of).limits().visibility_seconds()) * 1_000_000;
        self.world.start(async move {
            behind.world.timeline.sleep(us).await;
            {
                let mut queue = behind.queue(of);
                queue.away = queue.away.saturating_sub(messages.len() as u64);
                queue.waiting.extend(messages);
            }
            behind.poll(of);
        });
    }

    /// The number of messages that wait in the queue.
    #[must_use]
    pub fn waiting(&self, of: Destination) -> u64 {
        self.queue(of).waiting.len() as u64
    }

    /// Whether no work is left in the stream and the queues.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let empty = |lane: &Mutex<Lane>| lock(lane).records.is_empty();
        queue::ALL.iter().all(|of| self.waiting(*of) == 0)
            && self.lanes.iter().all(empty)
            && !self.world.is_busy()
    }

    /// The number of stream records that the relay could not read.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// The numbers of sent, waiting and dead messages of each queue.
    #[must_use]
    pub fn report(&self) -> [QueueReport; 3] {
        queue::ALL.map(|of| {
            let queue = self.queue(of);
            QueueReport {
                queue: name(of),
                sent: queue.sent,
                most_waiting: queue.most_waiting,
                left: queue.waiting.len() as u64 + queue.away,
                dead: queue.dead,
            }
        })
    }

    /// Starts conductor and sweeper each minute from now on.
    pub fn start_schedules(self: &Arc<Self>) {
        for function in [Function::ConductDrop, Function::SweepOrders] {
            let Trigger::Schedule { every_seconds } = function.limits().trigger else {
                continue;
            };
            let every_us = i64::from(every_seconds) * 1_000_000;
            let behind = Arc::clone(self);
            self.world.timeline.spawn(None, async move {
                // The first run is at a random time, since the schedule is independent of the drop's times.
                let early_us = i64::try_from(behind.world.draw() % every_us.unsigned_abs()).unwrap_or(0);
                let mut wait_us = early_us / 8;
                loop {
                    behind.world.timeline.sleep(wait_us).await;
                    wait_us = every_us;
                    let run = Arc::clone(&behind);
                    behind.world.timeline.spawn(None, async move {
                        if let Some(consumers) = run.consumers() {
                            consumers.run_scheduled(function).await;
                        }
                    });
                }
            });
        }
    }
}

/// The queue port of one Lambda execution environment.
#[derive(Clone)]
pub struct Queues {
    pub process: Arc<Process>,
    pub behind: Arc<Behind>,
}

impl SendEvents for Queues {
    async fn send(&self, to: Destination, events: &[OrderEvent]) -> Vec<Result<(), SendError>> {
        let world = &self.process.world;
        self.process.calls(world.settings.times.send_us).await;
        for event in events {
            if let Ok(body) = event.encode() {
                self.behind.take(to, &event.id(), body);
            }
        }
        events.iter().map(|_| Ok(())).collect()
    }
}

impl SendHint for Queues {
    async fn hint(&self, hint: &PaymentHint) -> Result<(), SendError> {
        let world = &self.process.world;
        self.process.calls(world.settings.times.send_us).await;
        if let Ok(body) = hint.encode() {
            let (behind, id) = (Arc::clone(&self.behind), hint.event.clone());
            world.start(async move {
                let delay_us = 1_000_000 * i64::from(HINT_DELAY_SECONDS);
                behind.world.timeline.sleep(delay_us).await;
                behind.take(Destination::Payments, &id, body);
            });
        }
        Ok(())
    }
}

impl ParkRecord for Queues {
    async fn park(&self, _: &str) -> Result<(), SendError> {
        self.behind.parked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
