//! Starts each shopper at the shopper's arrival time, whether or not earlier shoppers have their answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::behaviour::Plan;
use crate::shopper::Shopper;
use crate::world::World;

#[derive(Debug)]
pub struct Arrival {
    /// The arrival time, in µs relative to the opening.
    pub at_us: i64,
    /// The shopper's choices.
    pub plan: Plan,
    /// The shopper's token.
    pub bearer: HeaderValue,
}

/// The unexpected answers and the unfinished visits of a load.
#[derive(Debug)]
pub struct Sent {
    /// Answers that the API does not document, with the number of visits that got them. Only the last answer of a
    /// visit counts; beyond 50 different answers all others count as `others`.
    pub surprises: BTreeMap<String, u64>,
    /// Visits that had not ended, or not begun, when the run was stopped.
    pub unfinished: u64,
}

/// Starts all arrivals, which must be sorted by time, and waits until all visits have ended or `stop` turns true.
pub async fn run(world: &Arc<World>, arrivals: Vec<Arrival>, mut stop: watch::Receiver<bool>) -> Sent {
    let mut visits = JoinSet::new();
    let mut sent = Sent {
        surprises: BTreeMap::new(),
        unfinished: u64::try_from(arrivals.len()).unwrap_or(u64::MAX),
    };
    for arrival in arrivals {
        let due = world.opening.plus_micros(arrival.at_us);
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            () = tokio::time::sleep_until(due) => {}
        }
        visits.spawn(Shopper::new(Arc::clone(world), arrival.plan, arrival.bearer).visit(due));
        while let Some(visit) = visits.try_join_next() {
            note(&mut sent, visit);
        }
    }
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            visit = visits.join_next() => match visit {
                Some(visit) => note(&mut sent, visit),
                None => break,
            }
        }
    }
    visits.shutdown().await;
    sent
}

fn note(sent: &mut Sent, visit: Result<Option<String>, tokio::task::JoinError>) {
    sent.unfinished = sent.unfinished.saturating_sub(1);
    let surprise = visit.unwrap_or_else(|error| Some(format!("a visit failed: {error}")));
    if let Some(surprise) = surprise {
        // The map keeps 50 different answers and counts all further ones as `others`, since every answer may
        // differ.
        let known = sent.surprises.contains_key(&surprise) || sent.surprises.len() < 50;
        let key = if known { surprise } else { "others".to_owned() };
        *sent.surprises.entry(key).or_default() += 1;
    }
}
