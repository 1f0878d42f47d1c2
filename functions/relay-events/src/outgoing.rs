//! Sending until it is accepted, for a bounded time.

use domain::time::Timestamp;
use events::OrderEvent;
use ports::edge::Edge;
use ports::messages::{Destination, ParkRecord, SendError, SendEvents};

/// How often a message is sent, the first time included.
const TRIES: u32 = 5;
/// The first pause, in milliseconds; each further one is twice as long, and all are shortened by chance.
const FIRST_PAUSE_MS: u64 = 50;
/// What one more try may take at worst, in milliseconds: it is not begun later than that before the deadline.
const TRY_MS: i64 = 10_000;

/// How long sending may be repeated.
#[derive(Debug)]
pub(crate) struct Patience<'a, E> {
    pub(crate) edge: &'a E,
    pub(crate) deadline: Timestamp,
}

impl<E: Edge> Patience<'_, E> {
    /// Sends events; the place of the first one that was not accepted in the end.
    pub(crate) async fn send(
        &self,
        queues: &impl SendEvents,
        to: Destination,
        events: &[(usize, OrderEvent)],
    ) -> Option<usize> {
        let mut left = events.to_vec();
        for tries in 1.. {
            if left.is_empty() {
                return None;
            }
            let batch: Vec<OrderEvent> = left.iter().map(|(_, event)| event.clone()).collect();
            let mut answers = queues.send(to, &batch).await.into_iter();
            let mut last: Option<SendError> = None;
            // An event without an answer was not accepted as far as anyone knows.
            left.retain(|_| match answers.next() {
                Some(Ok(())) => false,
                Some(Err(error)) => {
                    last = Some(error);
                    true
                }
                None => true,
            });
            let first = left.first().map(|(place, _)| *place);
            if first.is_some() && !self.may_try_again(tries).await {
                tracing::error!(to = ?to, left = left.len(), tries, error = ?last, "events were not accepted");
                return first;
            }
        }
        None
    }

    /// Parks records; the place of the first one that was not accepted in the end.
    pub(crate) async fn park(&self, queues: &impl ParkRecord, records: &[(usize, String)]) -> Option<usize> {
        for (place, raw) in records {
            let mut tries = 1;
            while let Err(error) = queues.park(raw).await {
                if !self.may_try_again(tries).await {
                    tracing::error!(tries, error = ?error, "a record could not be parked");
                    return Some(*place);
                }
                tries += 1;
            }
        }
        None
    }

    /// Pauses before another try; false when there is to be none.
    async fn may_try_again(&self, tries: u32) -> bool {
        let longest = FIRST_PAUSE_MS << tries.min(TRIES);
        let pause = longest / 2 + self.edge.random() % (longest / 2);
        let after = self
            .edge
            .now()
            .plus_millis(i64::try_from(pause).unwrap_or(i64::MAX));
        if tries >= TRIES || self.deadline.millis_since(after) < TRY_MS {
            return false;
        }
        self.edge.sleep(pause).await;
        true
    }
}
