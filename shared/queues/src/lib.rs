//! Implements the message ports on SQS.
//!
//! **The problem.** A relay sends a stream's records by the hundred, but a queue takes ten messages in a request. The
//! queue may accept some of the ten messages and refuse the others, or accept all and not answer.
//!
//! **The model.** [`SqsQueues`] packs events into `SendMessageBatch` requests within SQS's limits, sends a few requests
//! at a time, and maps the result of every entry back to its event. An entry without a result counts as not accepted. A
//! second send is harmless, since consumers apply versions.
//!
//! **A walk through.** [`SqsQueues::new`] takes a client and the queues' URLs; a function that sends to one destination
//! omits the others ([`QueueUrls`]). Each event is one message of CloudEvents JSON. A parked record is sent as its
//! original text.
//!
//! **Assumptions about SQS**, tested against a server in `tests/sqs/standard_queue.rs`: a message that is not deleted
//! is delivered again after its visibility timeout, and moves to the dead-letter queue after the number of receives in
//! the redrive policy.
//!
//! **What it does not do.** It guarantees no order, since the queues are standard queues. It repeats no
//! request, since only the caller knows how much time is left: the client must send each request once, as `startup`'s
//! does. It does not receive messages: Lambda does.
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
use ports::messages::{Destination, HINT_DELAY_SECONDS, ParkRecord, SendError, SendEvents, SendHint};

use crate::pack::Packed;

/// The longest message, and the largest sum of one batch, in bytes. In 2025 SQS raised this limit to four times as
/// much. The smaller limit applies in every region and emulator, and an event is far smaller.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// The largest number of messages in one batch, by SQS's API.
pub const MAX_BATCH_MESSAGES: usize = 10;
/// The number of concurrent requests of one call.
const REQUESTS_AT_ONCE: usize = 4;

/// The URLs of the queues. A process omits queues that it does not send to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueUrls {
    /// The queue of `process-order`.
    pub payments: Option<String>,
    /// The queue of `project-ledger`.
    pub ledger: Option<String>,
    /// The queue of `notify-shopper`.
    pub mail: Option<String>,
    /// The queue for records that could not be relayed.
    pub parked: Option<String>,
}

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

    /// Sends one request. Returns one result for each body, in order.
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
    url.ok_or_else(|| SendError(format!("this process has no queue `{queue}`")))
}

/// The kind of failure and SQS's error code, without any content of the request.
fn send_error<E>(action: &'static str, url: &str, error: &SdkError<E, HttpResponse>) -> SendError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    // The last part of a queue's URL is its name; the rest contains the account id.
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
        // Each entry carries the index of its event, so that results of concurrent requests are mapped correctly.
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
