//! The SQS adapter of the message ports.
//!
//! **The problem.** A relay hands over a stream's records by the hundred while a queue takes ten messages a request, may
//! take some of them and refuse others, and may fall silent after it took them all.
//!
//! **The model.** [`SqsQueues`] packs events into `SendMessageBatch` requests, each within SQS's limits, keeps a few of
//! them under way at the same time, and maps every entry's own answer back to its event. What no answer names counts as
//! not accepted: sending it again is harmless, since consumers apply versions.
//!
//! **A walk through.** [`SqsQueues::new`] takes a client and the queues' URLs; a function that sends to one destination
//! leaves the others out ([`QueueUrls`]). Events go out as CloudEvents JSON, one message each; a parked record goes out as
//! the text it is.
//!
//! **What it relies on**, tested against a server in `tests/sqs/standard_queue.rs`: a message that is not deleted comes back
//! after its visibility timeout, and moves to the dead-letter queue after as many receives as the redrive policy says.
//!
//! **What it does not do.** It keeps no order (the queues are standard ones), and beyond what the client was configured
//! with it repeats nothing: the caller knows how much time is left. It receives nothing either: Lambda does.
#![forbid(unsafe_code)]

mod answers;
mod pack;

use std::error::Error;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use connector::Failure;
use events::{OrderEvent, PaymentHint};
use futures_util::stream::{self, StreamExt as _};
use ports::messages::{Destination, ParkRecord, SendError, SendEvents, SendHint};

use crate::pack::Packed;

/// The longest message, and the largest sum of one batch, in bytes. SQS raised this limit to four times as much in 2025;
/// the smaller one holds in every region and on every emulator, and an event is far below it.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// The most messages of one batch, by SQS's API.
pub const MAX_BATCH_MESSAGES: usize = 10;
/// How long the queue keeps a hint back, in seconds.
pub const HINT_DELAY_SECONDS: i32 = 1;
/// How many requests of one call are under way at the same time.
const REQUESTS_AT_ONCE: usize = 4;

/// Where the queues are. A process leaves out what it does not send to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueUrls {
    /// The queue of `process-order`.
    pub payments: Option<String>,
    /// The queue of `project-ledger`.
    pub ledger: Option<String>,
    /// The queue of `notify-shopper`.
    pub mail: Option<String>,
    /// Where records go that could not be relayed.
    pub parked: Option<String>,
}

/// The queues, on SQS.
#[derive(Debug, Clone)]
pub struct SqsQueues {
    client: Client,
    urls: QueueUrls,
}

impl SqsQueues {
    /// Sends with `client` to the queues at `urls`.
    #[must_use]
    pub fn new(client: &Client, urls: QueueUrls) -> Self {
        Self {
            client: client.clone(),
            urls,
        }
    }

    fn url(&self, to: Destination) -> Result<&str, SendError> {
        match to {
            Destination::Payments => configured(self.urls.payments.as_deref(), "payments"),
            Destination::Ledger => configured(self.urls.ledger.as_deref(), "ledger"),
            Destination::Mail => configured(self.urls.mail.as_deref(), "mail"),
        }
    }

    /// One request; answers for each body, in their order.
    async fn send_batch(&self, url: &str, bodies: Vec<String>) -> Vec<Result<(), SendError>> {
        let count = bodies.len();
        let mut request = self.client.send_message_batch().queue_url(url);
        for (at, body) in bodies.into_iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(at.to_string())
                .message_body(body);
            match entry.build() {
                Ok(entry) => request = request.entries(entry),
                Err(_) => return answers::all(count, &SendError("a message could not be built".to_owned())),
            }
        }
        match request.send().await {
            Ok(output) => answers::of_batch(count, &output),
            Err(error) => answers::all(count, &send_error("SendMessageBatch", url, &error)),
        }
    }
}

fn configured<'a>(url: Option<&'a str>, queue: &'static str) -> Result<&'a str, SendError> {
    url.ok_or_else(|| SendError(format!("this process knows no queue `{queue}`")))
}

/// Says what kind of failure it was and SQS's error code, never what the request held.
fn send_error<E>(action: &'static str, url: &str, error: &SdkError<E, HttpResponse>) -> SendError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    // The last part of a queue's URL is its name; the rest says whose it is.
    let queue = url.rsplit('/').next().unwrap_or(url);
    SendError(Failure::logged(action, queue, error).to_string())
}

impl SendEvents for SqsQueues {
    async fn send(&self, to: Destination, events: &[OrderEvent]) -> Vec<Result<(), SendError>> {
        let url = match self.url(to) {
            Ok(url) => url,
            Err(error) => return answers::all(events.len(), &error),
        };
        let bodies = events
            .iter()
            .map(|event| event.encode().map_err(|error| SendError(error.to_string())));
        let Packed { batches, refused } = pack::pack(bodies);
        // Each entry knows the event it came from, so that answers of requests that overlap find their way back.
        let sent = stream::iter(batches)
            .map(|batch| async move {
                let (places, bodies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
                let answers = self.send_batch(url, bodies).await;
                places.into_iter().zip(answers).collect::<Vec<_>>()
            })
            .buffer_unordered(REQUESTS_AT_ONCE);
        let mut answers: Vec<_> = sent.concat().await;
        answers.extend(refused.into_iter().map(|(place, error)| (place, Err(error))));
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

impl SendHint for SqsQueues {
    async fn hint(&self, hint: &PaymentHint) -> Result<(), SendError> {
        let url = self.url(Destination::Payments)?;
        let body = hint.encode().map_err(|error| SendError(error.to_string()))?;
        let request = self.client.send_message().queue_url(url).message_body(body);
        let sent = request.delay_seconds(HINT_DELAY_SECONDS).send().await;
        sent.map(drop)
            .map_err(|error| send_error("SendMessage", url, &error))
    }
}

impl ParkRecord for SqsQueues {
    async fn park(&self, raw: &str) -> Result<(), SendError> {
        let url = configured(self.urls.parked.as_deref(), "parked")?;
        let body = pack::sendable(raw)?;
        let request = self.client.send_message().queue_url(url).message_body(body);
        let sent = request.send().await;
        sent.map(drop)
            .map_err(|error| send_error("SendMessage", url, &error))
    }
}
