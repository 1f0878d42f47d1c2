//! Defines limits that several crates share, and the relations between them, which are checked when this crate is
//! compiled.

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
/// The length of a claim in its stored form, in bytes.
pub const CLAIM_BYTES: usize = 20;

/// The most units that one stock shard may be allocated.
pub const MAX_SHARD_UNITS: u32 = 24;
/// The most shards that one SKU may have, over its first allocation and all restocks. An item of free counts has a byte
/// for each, and costs one read unit at most.
pub const MAX_SHARDS_PER_SKU: u16 = 4_000;
/// The most SKUs that one drop may have.
pub const MAX_SKUS: usize = 40;
/// The most segments of one SKU's plan: the first allocation, and one segment for each restock.
pub const MAX_SEGMENTS_PER_SKU: usize = 32;
/// The highest limit per shopper that an operator may set, in units.
pub const MAX_PER_SHOPPER: u32 = 12;
/// The longest title of a drop or SKU, in bytes.
pub const MAX_TITLE_BYTES: usize = 120;
/// The highest amount of one order, in minor units: the largest amount of one payment at a card gateway
/// (Stripe: eight digits).
pub const MAX_ORDER_MINOR: i64 = 99_999_999;

/// The largest size of an item that a write stores for one write unit, in bytes (DynamoDB's definition of a
/// write unit).
pub const WRITE_UNIT_BYTES: usize = 1024;
/// The largest size of an item that a read returns for one read unit, in bytes (DynamoDB's definition of a read unit).
pub const READ_UNIT_BYTES: usize = 4 * WRITE_UNIT_BYTES;

/// The largest difference between the clocks of two processes, in milliseconds. Each clock is within two
/// seconds of the true time, so two clocks differ by at most four.
pub const CLOCK_SKEW_MS: i64 = 4_000;
/// How often the conductor reads the shards of an active drop, in milliseconds.
pub const CONDUCTOR_PERIOD_MS: i64 = 1_500;
/// The age at which a cached document (a drop, a status, a count) is no longer fresh, in milliseconds. A
/// process must read it again by then.
pub const CACHE_MS: i64 = 1_000;
/// How long a process shows its copy of the list of drops, in milliseconds. All processes read the list from one key,
/// whose read units limit how many processes may read it each second.
pub const LIST_CACHE_MS: i64 = 5_000;
/// The largest number of drops that are read from the list: those with the latest starts. An entry has some 250 bytes,
/// so 500 entries cost 16 read units.
pub const MAX_LISTED: u16 = 500;
/// The largest random time, in milliseconds, by which a process reads a drop again before [`CACHE_MS`] have passed, so
/// that processes that started together do not all read at the same time.
pub const REFRESH_JITTER_MS: i64 = CACHE_MS / 4;
/// How long a process that has a copy of a drop waits for a newer copy, in milliseconds. Then it uses the
/// copy that it has.
pub const REFRESH_WAIT_MS: i64 = 250;
/// The age up to which a process uses its last copy of a drop or a status when it cannot read a newer copy,
/// in milliseconds.
pub const STALE_MS: i64 = 10_000;
/// The time by which an eventually consistent read is assumed to lag behind the latest write, in
/// milliseconds. DynamoDB's documentation says that the lag is usually less than a second.
pub const READ_LAG_MS: i64 = 2_000;
/// How long after a change of a drop a process may still use the former document, in milliseconds by the
/// process's own clock.
pub const OUTDATED_MS: i64 = STALE_MS + READ_LAG_MS;
/// How long after the last moment at which a reservation may be granted its write may still arrive, in
/// milliseconds. It is the sum of the age of an outdated drop, the error of a slow clock, and the function's
/// whole time limit.
pub const LATE_MS: i64 = OUTDATED_MS + CLOCK_SKEW_MS + API_TIMEOUT_SECONDS as i64 * 1000;
/// The shortest time before a drop's start at which the start can still be moved, in milliseconds. Every
/// process must have read the new start before it admits a shopper, even with the oldest allowed copy and the
/// largest clock error. The remaining 2 s are for the operator's action itself.
pub const RESCHEDULE_BEFORE_MS: i64 = OUTDATED_MS + CLOCK_SKEW_MS + 2_000;
/// The longest message to shoppers who wait for a drop, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 280;
/// How far ahead a drop may start, in seconds: a year.
pub const MAX_START_AHEAD_SECONDS: u32 = 366 * 86_400;
/// The number of copies of a published drop's document. Each process reads one copy, so that no key receives
/// too many reads. All copies change with the document, in one transaction.
pub const DROP_COPIES: u8 = 96;
/// The most writes of one transaction (DynamoDB's limit).
pub const TRANSACTION_WRITES: usize = 100;
/// The largest number of copies of the status document, and of the free counts of a SKU.
/// [`crowd::status_copies`](crate::crowd::status_copies) computes the number for a drop.
pub const STATUS_REPLICAS: u8 = 64;
/// The number of buckets of the sparse index of open orders. Each bucket is one key of the index, and a key
/// takes 1,000 write units a second. An order costs about five write units of the index from checkout to its
/// end, so 255 buckets take 50,000 orders a second. A pass over empty buckets costs 128 read units.
pub const OPEN_BUCKETS: u8 = 255;

/// The time limit of an API function, in seconds. The template repeats the number, and a test compares both.
pub const API_TIMEOUT_SECONDS: u32 = 10;
/// The time limit of `process-order` for a batch, in seconds. The template repeats the number, and a test
/// compares both. When a process dies, its received message stays invisible for six times this limit, so the
/// limit is as short as the gateway's time-outs allow.
pub const PROCESS_ORDER_TIMEOUT_SECONDS: u32 = 20;
/// The time limit of `project-ledger` for a batch, in seconds. The template repeats the number, and a test
/// compares both.
pub const PROJECT_LEDGER_TIMEOUT_SECONDS: u32 = 10;
/// The time limit of `migrate-ledger`, in seconds. It must suffice to create an index on a large table.
pub const MIGRATE_LEDGER_TIMEOUT_SECONDS: u32 = 600;
/// The time limit of a run of `prescale`, in seconds. It is shorter than the run's lease, which is shorter
/// than the minute between two runs.
pub const PRESCALE_TIMEOUT_SECONDS: u32 = 55;
/// The shortest hold that an operator may set, in seconds.
pub const MIN_HOLD_SECONDS: u32 = 15;
/// The longest hold that an operator may set, in seconds.
pub const MAX_HOLD_SECONDS: u32 = 3_600;
/// The shortest `payment_seconds` that an operator may set: the shopper's time for actions that a
/// payment requires.
pub const MIN_PAYMENT_SECONDS: u32 = 15;
/// The longest `payment_seconds` that an operator may set: a day.
pub const MAX_PAYMENT_SECONDS: u32 = 86_400;
/// The shopper's time for other cards after a decline, in seconds, if the operator does not set it.
pub const DEFAULT_RETRY_SECONDS: u32 = 60;
/// How long an order waits for the payment gateway, in seconds, if the operator does not set it.
pub const DEFAULT_GATEWAY_WAIT_SECONDS: u32 = 7_200;
/// The shortest wait for the payment gateway that an operator may set, in seconds. It allows several checks
/// of an order.
pub const MIN_GATEWAY_WAIT_SECONDS: u32 = 60;
/// The most cards that a shopper may use for one order.
pub const MAX_CARDS: u32 = 3;
/// The largest number of confirmations of one payment, including the one repeat of a card by
/// this system. Stripe cancels a payment that is confirmed too often, and does not publish the
/// number (<https://docs.stripe.com/api/payment_intents/confirm>).
pub const MAX_TRIES: usize = 4;
/// The number of a shopper's declined cards in one drop from which on further orders of the shopper are
/// refused without a call to the gateway.
pub const MAX_DECLINES: u32 = 6;
/// The number of orders in one drop in which the same card was declined. From this number on, an order in
/// which that card is declined accepts no further card.
pub const MAX_CARD_DECLINES: u32 = 6;
/// The wait for the gateway after which the shopper is assumed to have left the page, in milliseconds.
pub const LONG_WAIT_MS: i64 = 180_000;
/// The least time that a shopper has when the shopper must act after a wait of [`LONG_WAIT_MS`] for the gateway, in
/// milliseconds.
pub const RETURN_MS: i64 = 600_000;
/// The largest number of times that the operator may keep one order waiting for the gateway.
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
/// The most calls a second that one line hands out. A higher rate has several lines. Each grant of calls is
/// one write of the line's item, or two if another worker has moved the line meanwhile, and an item takes
/// 1,000 writes a second (DynamoDB's limit of a partition).
pub const LINE_CALLS_PER_SECOND: u32 = 125;
/// The number of lines of the highest rate.
pub const MAX_LINES: u8 = 8;
/// The most writes a second that one item takes (DynamoDB's limit of a partition).
pub const ITEM_WRITES_PER_SECOND: u32 = 1_000;
/// The number of gateway calls for a payment without a failure: one creates the payment, one confirms it.
pub const CALLS_PER_PAYMENT: u32 = 2;
/// The largest number of idempotency keys for one call of a payment. A gateway that has stored a failure
/// under a key returns the failure to every repeat, so the next attempt needs another key.
pub const MAX_KEYS: u32 = 3;
/// The longest time that a worker waits for the call slots of a message's order at the gateway, in milliseconds.
pub const GATEWAY_TURN_MS: u32 = 5_000;
/// How far the end of the granted call slots may be ahead of the present time, in milliseconds, as another clock sees
/// it. A line that is further ahead was written by a wrong clock.
pub const MAX_LINE_MS: i64 = 60_000;
/// The most messages of the payments queue in one invocation.
pub const PAYMENTS_BATCH: u32 = 10;

/// The number of concurrent invocations that can wait for their call slots at the gateway, so that the calls for the
/// payments of all their messages fit into [`GATEWAY_TURN_MS`]. More invocations would receive messages and then make
/// no call. An event source needs at least 2.
#[must_use]
pub const fn payment_workers(calls_per_second: u32) -> u32 {
    let calls = PAYMENTS_BATCH * CALLS_PER_PAYMENT;
    let workers = calls_per_second.saturating_mul(GATEWAY_TURN_MS / 1_000) / calls;
    if workers < 2 { 2 } else { workers }
}

/// The largest request body that the API reads, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// The longest `Idempotency-Key`, in bytes.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 64;
/// The longest payment-method token, in bytes.
pub const MAX_PAYMENT_METHOD_BYTES: usize = 64;
/// The longest payment id that a gateway may give, in bytes.
pub const MAX_PAYMENT_ID_BYTES: usize = 64;
/// The longest correlation id, in bytes; API Gateway's request ids have 16.
pub const MAX_CORRELATION_ID_BYTES: usize = 64;
/// The longest line of a postal address, in bytes.
pub const MAX_ADDRESS_LINE_BYTES: usize = 200;
/// The largest number of entries in one page of a list.
pub const MAX_PAGE: u16 = 100;

/// The stored size of a full shard, in bytes, by DynamoDB's rules. A name or text takes its UTF-8 bytes, a
/// number about half its digits and one byte, a map three bytes and one for each entry.
pub const FULL_SHARD_BYTES: usize = {
    let key = "pk".len() + DROP_ID_MAX_BYTES + 1 + SKU_ID_MAX_BYTES + 1 + 4;
    let numbers = 3 * (1 + 3);
    let claims = 1 + 3 + MAX_SHARD_UNITS as usize * (SHOPPER_ID_MAX_BYTES + CLAIM_BYTES + 1);
    key + numbers + claims
};

/// The stored size of the free counts of a SKU with the most shards, in bytes, by the same rules.
pub const COUNTS_BYTES: usize = {
    let key = "pk".len() + DROP_ID_MAX_BYTES + "#counts#".len() + SKU_ID_MAX_BYTES + 1 + 3;
    let free = "free".len() + MAX_SHARDS_PER_SKU as usize;
    let order = "fencing".len() + 11 + "as_of".len() + 8;
    key + free + order
};

const _: () = assert!(
    COUNTS_BYTES <= READ_UNIT_BYTES,
    "the free counts of a SKU must cost one read unit"
);
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
    REFRESH_JITTER_MS + REFRESH_WAIT_MS < CACHE_MS
        && CACHE_MS < LIST_CACHE_MS
        && LIST_CACHE_MS + REFRESH_WAIT_MS < STALE_MS,
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

/// The longest outage of the ledger's database after which no order event has become a dead letter,
/// in seconds.
pub const LEDGER_OUTAGE_SECONDS: u32 = 3_600;

/// The memory of most functions, in MB.
pub const FUNCTION_MEMORY_MB: u32 = 256;

/// The platform limits of a function and its trigger. The template repeats each number, and a test
/// compares both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionLimits {
    /// The time limit of one invocation, in seconds.
    pub timeout_seconds: u32,
    /// The function's memory, in MB.
    pub memory_mb: u32,
    /// The most invocations at the same time; `None` if only the account's limit applies.
    pub reserved_concurrency: Option<u32>,
    /// The trigger that invokes the function.
    pub trigger: Trigger,
}

/// The kind of a function's trigger, with its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Requests of the HTTP API invoke the function.
    Http,
    /// Messages of a queue invoke the function.
    Queue {
        /// The most messages in one invocation.
        batch_size: u32,
        /// How long an invocation waits for more messages until the batch is full, in seconds.
        window_seconds: u32,
        /// The most invocations at the same time.
        max_concurrency: u32,
        /// The number of times that a message is received before it moves to the dead-letter queue.
        max_receives: u32,
    },
    /// Changes of a table invoke the function.
    Stream {
        /// The most records in one invocation.
        batch_size: u32,
        /// How long an invocation waits for more records until the batch is full, in seconds.
        window_seconds: u32,
        /// The most invocations at the same time for each shard of the stream.
        parallelization: u32,
        /// How long failed records are tried again, in seconds since they were written. The number of
        /// attempts has no other limit.
        max_age_seconds: u32,
    },
    /// A schedule invokes the function. A failed run is not repeated: the next run does its work.
    Schedule {
        /// The seconds from one start to the next.
        every_seconds: u32,
    },
    /// A deployment or an operator invokes the function directly, and waits for the answer.
    Direct,
}

impl FunctionLimits {
    /// The limits of a function with [`FUNCTION_MEMORY_MB`], and without reserved concurrency.
    #[must_use]
    pub const fn new(timeout_seconds: u32, trigger: Trigger) -> Self {
        Self {
            timeout_seconds,
            memory_mb: FUNCTION_MEMORY_MB,
            reserved_concurrency: None,
            trigger,
        }
    }

    /// The time limit of one invocation, in milliseconds.
    #[must_use]
    pub const fn timeout_ms(&self) -> i64 {
        self.timeout_seconds as i64 * 1000
    }

    /// How long a queue hides a received message, in seconds. AWS asks for six times the function's time
    /// limit and the time in which a batch is collected, so that a throttled or repeated batch is not received
    /// twice in this time.
    #[must_use]
    pub const fn visibility_seconds(&self) -> u32 {
        let window_seconds = match self.trigger {
            Trigger::Queue { window_seconds, .. } => window_seconds,
            _ => 0,
        };
        6 * self.timeout_seconds + window_seconds
    }
}
