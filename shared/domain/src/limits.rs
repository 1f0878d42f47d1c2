//! Limits that several crates share, and the relations between them, which are checked when this crate is compiled.

/// The longest drop id, in bytes.
pub const DROP_ID_MAX_BYTES: usize = 20;
/// The longest SKU, in bytes.
pub const SKU_ID_MAX_BYTES: usize = 16;
/// The longest shopper id, in bytes.
pub const SHOPPER_ID_MAX_BYTES: usize = 16;
/// The length of a nonce, in characters of 6 bits.
pub const NONCE_BYTES: usize = 10;
/// The length of an order id: `o` and 130 bits in base32.
pub const ORDER_ID_BYTES: usize = 27;
/// The length of a claim in its stored form.
pub const CLAIM_BYTES: usize = 20;

/// The most units one stock shard may be allocated.
pub const MAX_SHARD_UNITS: u32 = 24;
/// The most shards one SKU may have, over its allocation and all restocks.
pub const MAX_SHARDS_PER_SKU: u16 = 4096;
/// The most SKUs one drop may have.
pub const MAX_SKUS: usize = 40;
/// The most restocks one SKU may get.
pub const MAX_SEGMENTS_PER_SKU: usize = 32;
/// The highest limit per shopper an operator may set, in units.
pub const MAX_PER_SHOPPER: u32 = 12;
/// The longest title of a drop or SKU, in bytes.
pub const MAX_TITLE_BYTES: usize = 120;
/// The highest amount of one order, in minor units: the largest amount of one payment at a card gateway
/// (Stripe: eight digits).
pub const MAX_ORDER_MINOR: i64 = 99_999_999;

/// The largest size of an item that a conditional write stores for one write unit, in bytes (DynamoDB's unit
/// of writing).
pub const WRITE_UNIT_BYTES: usize = 1024;

/// How far the clocks of two processes may be apart, in milliseconds: each is within two seconds of the true time, so two of
/// them are at most four apart.
pub const CLOCK_SKEW_MS: i64 = 4_000;
/// How often the conductor reads the shards of an active drop, in milliseconds.
pub const CONDUCTOR_PERIOD_MS: i64 = 1_500;
/// The age at which read data (a drop, a status, a count) is no longer fresh, in milliseconds. A process
/// reads it again by then.
pub const CACHE_MS: i64 = 1_000;
/// The largest random time by which a process reads a drop earlier than [`CACHE_MS`] requires, in
/// milliseconds, so that processes that started together do not read together.
pub const REFRESH_JITTER_MS: i64 = CACHE_MS / 4;
/// How long a process that has a copy of a drop waits for a newer copy, in milliseconds.
pub const REFRESH_WAIT_MS: i64 = 250;
/// How long a process uses its last good copy of a drop or a status when it cannot read a newer one, in
/// milliseconds.
pub const STALE_MS: i64 = 10_000;
/// How far an eventually consistent read is assumed to lag behind the latest write, in milliseconds. DynamoDB's documentation
/// says that it is usually less than a second.
pub const READ_LAG_MS: i64 = 2_000;
/// How long after a change of a drop a process may still use the former document, in milliseconds, by its own
/// clock.
pub const OUTDATED_MS: i64 = STALE_MS + READ_LAG_MS;
/// How long after the last time at which a reservation may be granted its write may still arrive, in
/// milliseconds. It is the sum of the age of an outdated drop, a clock that is behind, and the function's
/// whole time limit.
pub const LATE_MS: i64 = OUTDATED_MS + CLOCK_SKEW_MS + API_TIMEOUT_SECONDS as i64 * 1000;
/// The shortest time before its start at which a drop's start can still be moved, in milliseconds. Every
/// process must have read the new start before it admits a shopper, with the oldest allowed copy and the
/// largest clock error. The operator's action itself takes some of this time.
pub const RESCHEDULE_BEFORE_MS: i64 = OUTDATED_MS + CLOCK_SKEW_MS + 2_000;
/// The longest message to shoppers who wait for a drop, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 280;
/// How far ahead a drop may start, in seconds: a year.
pub const MAX_START_AHEAD_SECONDS: u32 = 366 * 86_400;
/// Copies of a published drop's document, so that no key is hot: each process reads one of them. They change with the document, in one
/// transaction.
pub const DROP_COPIES: u8 = 96;
/// The most writes of one transaction (DynamoDB's limit).
pub const TRANSACTION_WRITES: usize = 100;
/// The most copies of the status document and of the free counts of a SKU. [`crowd::status_copies`](crate::crowd::status_copies) says how
/// many a drop has.
pub const STATUS_REPLICAS: u8 = 64;
/// Buckets of the sparse index of open orders: each is one key of the index, which takes 1,000 write units a second. An order costs it some five
/// from checkout to its end, so 128 buckets take 25,000 orders a second. A pass over empty ones costs 64 read units.
pub const OPEN_BUCKETS: u8 = 128;

/// The time limit of an API function, in seconds. The template repeats it; a test compares them.
pub const API_TIMEOUT_SECONDS: u32 = 10;
/// The time limit of `process-order` for a batch, in seconds. The template repeats it; a test compares them.
/// A message that a process had received when it died stays invisible for six times this limit, so the limit
/// is as short as the gateway's time-outs allow.
pub const PROCESS_ORDER_TIMEOUT_SECONDS: u32 = 20;
/// The time limit of `project-ledger` for a batch, in seconds. The template repeats it; a test compares them.
pub const PROJECT_LEDGER_TIMEOUT_SECONDS: u32 = 10;
/// The time limit of `migrate-ledger`, in seconds. It must suffice for an index on a large table.
pub const MIGRATE_LEDGER_TIMEOUT_SECONDS: u32 = 600;
/// The time limit of a run of `prescale`, in seconds: shorter than its lease, which is shorter than the
/// minute between two runs.
pub const PRESCALE_TIMEOUT_SECONDS: u32 = 55;
/// The shortest hold an operator may set, in seconds.
pub const MIN_HOLD_SECONDS: u32 = 15;
/// The longest hold an operator may set, in seconds.
pub const MAX_HOLD_SECONDS: u32 = 3_600;
/// The shortest `payment_seconds` an operator may set: the shopper's time for actions that a payment requires.
pub const MIN_PAYMENT_SECONDS: u32 = 15;
/// The longest `payment_seconds` an operator may set.
pub const MAX_PAYMENT_SECONDS: u32 = 86_400;
/// The time for other cards after a decline unless the operator sets one, in seconds.
pub const DEFAULT_RETRY_SECONDS: u32 = 60;
/// How long an order waits for the payment gateway unless the operator sets it, in seconds.
pub const DEFAULT_GATEWAY_WAIT_SECONDS: u32 = 7_200;
/// The shortest wait for the payment gateway an operator may set, in seconds: several reminders of an order.
pub const MIN_GATEWAY_WAIT_SECONDS: u32 = 60;
/// The most cards of one order.
pub const MAX_CARDS: u32 = 3;
/// The largest number of confirmations of one payment, including this system's own repeat of one card. Stripe
/// cancels a payment that is confirmed too often, and does not publish the number
/// (<https://docs.stripe.com/api/payment_intents/confirm>).
pub const MAX_TRIES: usize = 4;
/// The number of a shopper's declined cards in one drop after which further orders of the shopper are refused
/// without a call to the gateway.
pub const MAX_DECLINES: u32 = 6;
/// The number of orders of one drop with a decline of one card from which on an order in which that card is declined
/// accepts no further card.
pub const MAX_CARD_DECLINES: u32 = 6;
/// The wait for the gateway after which the shopper is assumed to have left the page, in milliseconds.
pub const LONG_WAIT_MS: i64 = 180_000;
/// The least time that a shopper has after such a wait when it is the shopper's turn again, in milliseconds.
pub const RETURN_MS: i64 = 600_000;
/// The largest number of times that the operator may keep one order.
pub const MAX_KEEPS: usize = 10;
/// The longest wait for the payment gateway that an operator may set or add at a time, in seconds: a day.
pub const MAX_GATEWAY_WAIT_SECONDS: u32 = 86_400;
/// The time from an open order's last change to its first check, in milliseconds. Each further pause is twice
/// as long.
pub const REDRIVE_MS: i64 = 15_000;
/// The longest pause between two checks of an order that waits for the gateway, in milliseconds.
pub const MAX_REDRIVE_MS: i64 = 120_000;
/// The time from the last change to the first check of an order that waits for its shopper, in milliseconds.
/// Each further pause is twice as long.
pub const ACTION_POLL_MS: i64 = 4_000;
/// The longest pause between two checks of an order that waits for its shopper, in milliseconds.
pub const MAX_ACTION_POLL_MS: i64 = 64_000;

/// The highest rate of calls to the payment gateway that an operator may set, in calls a second.
pub const MAX_GATEWAY_CALLS_PER_SECOND: u32 = 1_000;
/// The most calls a second that one line hands out. A higher rate has several lines: each lot of calls is one write of the line's item, or
/// two where another worker has moved it, and an item takes 1,000 writes a second (DynamoDB's limit of a partition).
pub const LINE_CALLS_PER_SECOND: u32 = 125;
/// The lines of the highest rate.
pub const MAX_LINES: u8 = 8;
/// The most writes a second of one item.
pub const ITEM_WRITES_PER_SECOND: u32 = 1_000;
/// The number of calls for a payment without incidents: one creates it, one confirms it.
pub const CALLS_PER_PAYMENT: u32 = 2;
/// The largest number of keys for one call of a payment. A gateway that stored a failure under a key returns
/// it to every repeat.
pub const MAX_KEYS: u32 = 3;
/// How long a message waits for its turn at the gateway, in milliseconds.
pub const GATEWAY_TURN_MS: u32 = 5_000;
/// How far ahead of the present time turns may be taken, in milliseconds, as seen by another clock. A line
/// further ahead is wrong.
pub const MAX_LINE_MS: i64 = 60_000;
/// Messages of the payments queue in one invocation.
pub const PAYMENTS_BATCH: u32 = 10;

/// The number of concurrent invocations that can wait for their turns at the gateway: the calls for all
/// payments of their messages fit into [`GATEWAY_TURN_MS`]. With more, messages would be received without a
/// call. An event source needs at least 2.
#[must_use]
pub const fn payment_workers(calls_per_second: u32) -> u32 {
    let calls = PAYMENTS_BATCH * CALLS_PER_PAYMENT;
    let workers = calls_per_second.saturating_mul(GATEWAY_TURN_MS / 1_000) / calls;
    if workers < 2 { 2 } else { workers }
}

/// The largest request body the API reads, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// The longest `Idempotency-Key`, in bytes.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 64;
/// The longest payment-method token, in bytes.
pub const MAX_PAYMENT_METHOD_BYTES: usize = 64;
/// The longest id that a gateway gives a payment, in bytes.
pub const MAX_PAYMENT_ID_BYTES: usize = 64;
/// The longest correlation id, in bytes; API Gateway's request ids have 16.
pub const MAX_CORRELATION_ID_BYTES: usize = 64;
/// The longest line of an address, in bytes.
pub const MAX_ADDRESS_LINE_BYTES: usize = 200;
/// The longest list one page answers.
pub const MAX_PAGE: u16 = 100;

/// The stored size of a full shard, by DynamoDB's rules: names and texts in UTF-8 bytes, a number about half its digits
/// and one, a map three and one for each entry.
pub const FULL_SHARD_BYTES: usize = {
    let key = "pk".len() + DROP_ID_MAX_BYTES + 1 + SKU_ID_MAX_BYTES + 1 + 4;
    let numbers = 3 * (1 + 3);
    let claims = 1 + 3 + MAX_SHARD_UNITS as usize * (SHOPPER_ID_MAX_BYTES + CLAIM_BYTES + 1);
    key + numbers + claims
};

const _: () = assert!(FULL_SHARD_BYTES == 948, "what a full shard takes has changed");
const _: () = assert!(
    FULL_SHARD_BYTES < WRITE_UNIT_BYTES,
    "a full shard must cost one write unit"
);
const _: () = assert!(
    MAX_PER_SHOPPER <= MAX_SHARD_UNITS,
    "a shopper's limit must fit into one shard"
);
const _: () = assert!(MAX_SHARD_UNITS < 36, "a claim's units are one base-36 digit");
const _: () = assert!(
    MIN_HOLD_SECONDS as i64 * 1000 > API_TIMEOUT_SECONDS as i64 * 1000 + CLOCK_SKEW_MS,
    "a hold must outlive a checkout that starts at once"
);
const _: () = assert!(
    MIN_PAYMENT_SECONDS as i64 * 1000 > API_TIMEOUT_SECONDS as i64 * 1000 + CLOCK_SKEW_MS,
    "an order must outlive the request that placed it"
);
const _: () = assert!(
    MAX_TRIES == MAX_CARDS as usize + 1,
    "each card is tried once, and one of them again"
);
const _: () = assert!(
    MIN_GATEWAY_WAIT_SECONDS as i64 * 1000 > 2 * REDRIVE_MS,
    "an order gets several reminders before its operator has to decide"
);
const _: () = assert!(
    2 * LINE_CALLS_PER_SECOND <= ITEM_WRITES_PER_SECOND / 4
        && MAX_LINES as u32 * LINE_CALLS_PER_SECOND == MAX_GATEWAY_CALLS_PER_SECOND,
    "each call may take two writes of its line's item, which then has a quarter of a partition at most"
);
const _: () = assert!(
    GATEWAY_TURN_MS as i64 + CLOCK_SKEW_MS < MAX_LINE_MS,
    "turns that anybody may take count for everybody, whoever's clock is right"
);
const _: () = assert!(
    CACHE_MS < CLOCK_SKEW_MS,
    "what a cache hides must be within what clocks may hide"
);
const _: () = assert!(
    (DROP_COPIES as usize) < TRANSACTION_WRITES,
    "a drop and its copies change in one transaction"
);
const _: () = assert!(
    REFRESH_JITTER_MS + REFRESH_WAIT_MS < CACHE_MS && CACHE_MS + REFRESH_WAIT_MS < STALE_MS,
    "a read of a copy ends before the next is due, and there are several before the copy is too old to go on with"
);
const _: () = assert!(
    RESCHEDULE_BEFORE_MS > OUTDATED_MS + CLOCK_SKEW_MS && OUTDATED_MS > STALE_MS,
    "what waits for the last request by a former document waits for the oldest copy, read with a lag, on the slowest clock"
);
const _: () = assert!(
    ACTION_POLL_MS < REDRIVE_MS,
    "an awaited action is looked at sooner"
);

/// The longest outage of the ledger's database in which no order event becomes a dead letter, in seconds.
pub const LEDGER_OUTAGE_SECONDS: u32 = 3_600;

/// The platform limits of a function and its trigger. The template repeats each number, and a test compares
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionLimits {
    /// How long one invocation may take, in seconds.
    pub timeout_seconds: u32,
    /// Memory, in MB.
    pub memory_mb: u32,
    /// The most invocations at the same time; `None` leaves it to the account's limit.
    pub reserved_concurrency: Option<u32>,
    /// What invokes the function.
    pub trigger: Trigger,
}

/// What invokes a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Requests of the HTTP API.
    Http,
    /// Messages of a queue.
    Queue {
        /// The most messages in one invocation.
        batch_size: u32,
        /// The most invocations at the same time.
        max_concurrency: u32,
        /// How often a message is received before it moves to the dead-letter queue.
        max_receives: u32,
    },
    /// Changes of a table.
    Stream {
        /// The most records in one invocation.
        batch_size: u32,
        /// The most invocations at the same time for each shard of the stream.
        parallelization: u32,
        /// For how long failed records are tried again, in seconds since they were written. Attempts have no other limit.
        max_age_seconds: u32,
    },
    /// A schedule. A failed run is not repeated: the next one replaces it.
    Schedule {
        /// From one start to the next, in seconds.
        every_seconds: u32,
    },
    /// A deployment or an operator, directly, who waits for the answer.
    Direct,
}

impl FunctionLimits {
    /// Limits with the memory that most functions have and no reserved concurrency.
    #[must_use]
    pub const fn new(timeout_seconds: u32, trigger: Trigger) -> Self {
        Self {
            timeout_seconds,
            memory_mb: 256,
            reserved_concurrency: None,
            trigger,
        }
    }

    /// How long one invocation may take, in milliseconds.
    #[must_use]
    pub const fn timeout_ms(&self) -> i64 {
        self.timeout_seconds as i64 * 1000
    }

    /// How long a queue hides a received message, in seconds. AWS requires six times the function's time-out,
    /// so that a throttled or repeated batch is not received twice in this time.
    #[must_use]
    pub const fn visibility_seconds(&self) -> u32 {
        6 * self.timeout_seconds
    }
}
