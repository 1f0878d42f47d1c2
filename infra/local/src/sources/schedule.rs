//! Invokes a function on its schedule: at the stack's start, then at its rate.
//!
//! A run does not wait for the previous run, since EventBridge invokes asynchronously.

use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;

use super::Context;
use crate::template::{ACCOUNT, REGION, Schedule};

/// The pause before Lambda retries a failed asynchronous invocation; the pause before the second retry is twice as
/// long.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Invokes the function at the schedule's rate until the returned future is dropped.
pub(super) async fn run(function: String, schedule: Schedule, retries: u32, context: Context) {
    let mut clock = tokio::time::interval(schedule.every);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut running = JoinSet::new();
    loop {
        clock.tick().await;
        while running.try_join_next().is_some() {}
        let input = schedule.input.clone();
        running.spawn(fire(function.clone(), input, retries, context.clone()));
    }
}

async fn fire(function: String, input: Option<String>, retries: u32, context: Context) {
    let time = OffsetDateTime::now_utc().replace_nanosecond(0).ok();
    let time = time.and_then(|time| time.format(&Rfc3339).ok());
    for attempt in 0..=retries {
        let event = json!({
            "version": "0",
            "id": context.functions.identify().request_id,
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            "time": time,
            "region": REGION,
            "resources": [format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{function}")],
            "detail": {},
        });
        let event = input.clone().unwrap_or_else(|| event.to_string()).into();
        match context.functions.call(&function, "schedule", event).await {
            Ok(_) => return,
            Err(error) => tracing::warn!(function, attempt, %error, "an attempt of a scheduled run failed"),
        }
        if attempt < retries {
            tokio::time::sleep(RETRY_AFTER * (attempt + 1)).await;
        }
    }
}
