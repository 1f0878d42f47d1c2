//! Injects faults between a function and DynamoDB.
//!
//! The functions send a write once, wait two seconds for the answer, and repeat the write themselves when its outcome
//! is unknown. So an answer is lost in each way that can happen to a function: the connection closes immediately, or no
//! answer arrives before the caller's time-out. A write may even be carried out after the time-out.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::chance::Chance;
use super::partitions::{Access, Partitions, Place};
use super::request::{Keys, is_write, split};
use crate::lock;
use crate::meter::Uses;
use crate::template::table_arn;
use crate::wire::Answer;
use stack_api::faults::{Fault, FaultPlan};

/// Share of transactions that conflict with another transaction.
pub const CONFLICTED_TRANSACTIONS: f64 = 0.15;
/// Share of single writes that conflict with a transaction.
pub const CONFLICTED_WRITES: f64 = 0.04;
/// Share of writes lost before they are carried out.
pub const LOST_BEFORE: f64 = 0.04;
/// Share of writes that are carried out without an answer.
pub const LOST_AFTER: f64 = 0.04;
/// Share of all requests that are slow.
pub const SLOW: f64 = 0.2;
/// The delay of a slow request, in milliseconds: from, to. It is within the functions' time limit for an attempt.
pub const SLOW_MS: (u64, u64) = (50, 1_500);
/// The delay after which a late write is carried out, in milliseconds: from, to. The functions wait at most 2,000 ms
/// for an answer.
pub const LATE_MS: (u64, u64) = (2_050, 3_500);
/// The time for which a connection stays open when its answer is lost: longer than any caller waits.
pub const HELD: Duration = Duration::from_secs(5);

/// How an answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The connection closes immediately.
    Cut,
    /// The connection stays open without an answer until the caller's time-out.
    Held,
}

/// The fault that is injected into one request, or none.
#[derive(Debug)]
pub enum Fate {
    /// No fault: the request is carried out and answered.
    Answered,
    Refused(Answer),
    /// Only a part of a batch of reads is carried out: the request for that part, and the unprocessed keys.
    Partly(Vec<u8>, Value),
    /// The request is carried out and answered, with these delays before and after.
    Slow(Duration, Duration),
    /// The request is neither carried out nor answered.
    LostBefore(Loss),
    /// The request is carried out and not answered.
    LostAfter(Loss),
    /// The request is carried out after this time, when the caller no longer waits.
    Late(Duration),
}

#[derive(Debug)]
pub struct Tables {
    keys: Keys,
    began: Instant,
    partitions: Option<Mutex<Partitions>>,
    conflicts: Option<(Chance, Chance)>,
    before: Option<Chance>,
    after: Option<Chance>,
    slow: Option<Chance>,
}

/// An injected fault, its kind and its count.
pub(super) type Strike = (Fault, &'static str, u64);

impl Tables {
    pub(super) fn new(plan: &FaultPlan, seed: u64, keys: Keys) -> Self {
        let on = |fault, kind| Chance::of(plan, seed, fault, kind);
        let partitions = || Mutex::new(Partitions::new(plan.throttle_share));
        Self {
            keys,
            began: Instant::now(),
            partitions: plan.has(Fault::Throttle).then(partitions),
            conflicts: on(Fault::TransactionConflict, 0).zip(on(Fault::TransactionConflict, 1)),
            before: on(Fault::TimeoutBeforeWrite, 0),
            after: on(Fault::TimeoutAfterWrite, 0),
            slow: on(Fault::SlowDynamodb, 0),
        }
    }

    /// Decides the fault for a function's request.
    pub(super) fn fate(&self, operation: &str, body: &[u8]) -> Option<(Fate, Strike)> {
        self.throttle(operation, body)
            .or_else(|| self.conflict(operation, body))
            .or_else(|| self.lose(operation))
            .or_else(|| self.slow())
    }

    fn slow(&self) -> Option<(Fate, Strike)> {
        let chance = self.slow.as_ref().filter(|chance| chance.strikes(SLOW, 0))?;
        let pause = chance.pause(SLOW_MS);
        let fate = match chance.between(0, 1) {
            0 => Fate::Slow(pause, Duration::ZERO),
            _ => Fate::Slow(Duration::ZERO, pause),
        };
        Some((fate, (Fault::SlowDynamodb, "slow", 1)))
    }

    fn conflict(&self, operation: &str, body: &[u8]) -> Option<(Fate, Strike)> {
        let message = "Transaction is ongoing for the item";
        let strike = |kind| (Fault::TransactionConflict, kind, 1);
        let (transactions, singles) = self.conflicts.as_ref()?;
        match operation {
            "TransactWriteItems" if transactions.strikes(CONFLICTED_TRANSACTIONS, 0) => {
                let body: Value = serde_json::from_slice(body).ok()?;
                let items = body.get("TransactItems")?.as_array()?.len();
                let hit = usize::try_from(transactions.between(0, items.saturating_sub(1) as u64)).ok()?;
                let reasons: Vec<Option<&str>> = (0..items)
                    .map(|place| (place == hit).then_some("TransactionConflict"))
                    .collect();
                let refusal = cancelled(&reasons, message);
                Some((Fate::Refused(refusal), strike("transaction")))
            }
            "PutItem" | "UpdateItem" | "DeleteItem" if singles.strikes(CONFLICTED_WRITES, 0) => {
                let refusal = refusal(&json!({
                    "__type": format!("{SERVICE}#TransactionConflictException"),
                    "message": message,
                }));
                Some((Fate::Refused(refusal), strike("single write")))
            }
            _ => None,
        }
    }

    fn lose(&self, operation: &str) -> Option<(Fate, Strike)> {
        if !is_write(operation) {
            return None;
        }
        if let Some(chance) = &self.before
            && chance.strikes(LOST_BEFORE, 0)
        {
            let (loss, kind) = match chance.between(0, 1) {
                0 => (Loss::Cut, "cut"),
                _ => (Loss::Held, "held"),
            };
            return Some((Fate::LostBefore(loss), (Fault::TimeoutBeforeWrite, kind, 1)));
        }
        let chance = (self.after.as_ref()).filter(|chance| chance.strikes(LOST_AFTER, 0))?;
        let (fate, kind) = match chance.between(0, 2) {
            0 => (Fate::LostAfter(Loss::Cut), "cut"),
            1 => (Fate::LostAfter(Loss::Held), "held"),
            _ => (Fate::Late(chance.pause(LATE_MS)), "arrived late"),
        };
        Some((fate, (Fault::TimeoutAfterWrite, kind, 1)))
    }

    fn throttle(&self, operation: &str, body: &[u8]) -> Option<(Fate, Strike)> {
        let partitions = self.partitions.as_ref()?;
        let body: Value = serde_json::from_slice(body).ok()?;
        let places = self.keys.places(operation, &body);
        let now = self.began.elapsed();
        let admitted: Vec<bool> = {
            let mut partitions = lock(partitions);
            let mut admits = |place: &Place| partitions.admits(place, now);
            let places = places.iter().map(Option::as_ref);
            places.map(|place| place.is_none_or(&mut admits)).collect()
        };
        let mut refused = places.iter().zip(&admitted).filter(|(_, admitted)| !**admitted);
        let place = refused.next().and_then(|(place, _)| place.as_ref())?;
        let (fate, kind, count) = match operation {
            "TransactWriteItems" | "TransactGetItems" => {
                let reasons = admitted
                    .iter()
                    .map(|admitted| (!admitted).then_some("ThrottlingError"));
                let refusal = cancelled(&reasons.collect::<Vec<_>>(), OVER_CAPACITY);
                (Fate::Refused(refusal), "transaction", 1)
            }
            "BatchGetItem" if admitted.contains(&true) => {
                let (now, later) = split(&body, &admitted);
                let fate = Fate::Partly(now.to_string().into_bytes(), later);
                (fate, "key of a batch", 1 + refused.count() as u64)
            }
            _ => match place.access() {
                Access::Read => (Fate::Refused(throttled(place)), "read", 1),
                Access::Write => (Fate::Refused(throttled(place)), "write", 1),
            },
        };
        Some((fate, (Fault::Throttle, kind, count)))
    }

    /// Charges the consumed capacity of a request to the partitions. The capacity of several items of one table is
    /// divided evenly among them.
    pub(super) fn charge(&self, operation: &str, body: &[u8], uses: &Uses) {
        let Some(partitions) = &self.partitions else {
            return;
        };
        let Ok(body) = serde_json::from_slice(body) else {
            return;
        };
        let places: Vec<Place> = self.keys.places(operation, &body).into_iter().flatten().collect();
        let now = self.began.elapsed();
        let mut partitions = lock(partitions);
        for (table, used) in uses {
            let touched: Vec<&Place> = places.iter().filter(|place| place.table() == table).collect();
            for place in &touched {
                let units = match place.access() {
                    Access::Read => used.rcu,
                    Access::Write => used.wcu,
                };
                #[allow(clippy::cast_precision_loss, reason = "a request has at most 100 items")]
                partitions.charge(place, units / touched.len() as f64, now);
            }
        }
    }
}

const SERVICE: &str = "com.amazonaws.dynamodb.v20120810";
const OVER_CAPACITY: &str = "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling \
                             your table or index so please try again shortly.";

fn refusal(body: &Value) -> Answer {
    Answer::new(400, body.to_string())
}

/// The refusal of a request to a partition of an on-demand table that has no units left.
fn throttled(place: &Place) -> Answer {
    let reason = match place.access() {
        Access::Read => "TableReadKeyRangeThroughputExceeded",
        Access::Write => "TableWriteKeyRangeThroughputExceeded",
    };
    refusal(&json!({
        "__type": format!("{SERVICE}#ThrottlingException"),
        "message": OVER_CAPACITY,
        "throttlingReasons": [{"reason": reason, "resource": table_arn(place.table())}],
    }))
}

/// A cancelled transaction, with a reason for each of its items.
fn cancelled(reasons: &[Option<&str>], message: &str) -> Answer {
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.unwrap_or("None")).collect();
    let detail = |reason: &Option<&str>| match reason {
        Some(code) => json!({"Code": code, "Message": message}),
        None => json!({"Code": "None"}),
    };
    let details: Vec<Value> = reasons.iter().map(detail).collect();
    refusal(&json!({
        "__type": format!("{SERVICE}#TransactionCanceledException"),
        "Message": format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        ),
        "CancellationReasons": details,
    }))
}
