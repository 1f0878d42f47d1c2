//! Invokes a function with batches of a queue's messages.
//!
//! Messages are deleted when the function returns, except those that it reports as failed. Failed messages become
//! visible again after the queue's visibility timeout and go to the dead-letter queue by its redrive policy. When the
//! function fails, this applies to the whole batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{BatchReport, Context};
use crate::sqs::{Sqs, SqsError};
use crate::template::{QueueSource, REGION, queue_arn};
use crate::wire::Message;

/// The time between two looks for more messages while a batch is collected.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Polls the queue until the returned future is dropped.
pub(super) async fn poll(function: String, source: QueueSource, context: Context) {
    let function: Arc<str> = function.into();
    let places = Arc::new(Semaphore::new(source.max_concurrency.min(context.concurrency)));
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let messages = match batch(&context.sqs, &source).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::error!(queue = %source.queue, %error, "the queue could not be read; the next try is in 1 s");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        if messages.is_empty() {
            continue;
        }
        let (context, source, function) = (context.clone(), source.clone(), Arc::clone(&function));
        running.spawn(async move {
            deliver(&context, &source, &function, &messages).await;
            drop(place);
        });
    }
}

/// Receives the next batch: waits for its first message, then collects more until the batch is full or the source's
/// window has passed.
async fn batch(sqs: &Sqs, source: &QueueSource) -> Result<Vec<Message>, SqsError> {
    let (queue, most) = (&source.queue, source.batch_size);
    let mut batch = sqs.receive(queue, most).await?;
    let end = Instant::now() + source.window;
    while (1..most).contains(&batch.len()) && Instant::now() < end {
        tokio::time::sleep(LOOK_AGAIN).await;
        // After an error the messages so far are the batch, and the next poll reports the error.
        let Ok(more) = sqs
            .receive_within(queue, most - batch.len(), Duration::ZERO)
            .await
        else {
            break;
        };
        batch.extend(more);
    }
    Ok(batch)
}

async fn deliver(context: &Context, source: &QueueSource, function: &str, messages: &[Message]) {
    let record = |message: &Message| {
        let attributes = message.message_attributes.iter();
        let attributes: BTreeMap<_, _> = attributes.map(|(name, value)| (name, camel(value))).collect();
        json!({
            "messageId": message.message_id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "attributes": message.attributes,
            "messageAttributes": attributes,
            "md5OfBody": message.md5_of_body,
            "eventSource": "aws:sqs",
            "eventSourceARN": queue_arn(&source.queue),
            "awsRegion": REGION,
        })
    };
    let records: Vec<Value> = messages.iter().map(record).collect();
    let event = json!({ "Records": records }).to_string().into();
    let route = format!("sqs:{}", source.queue);
    let Ok(answer) = context.functions.call(function, &route, event).await else {
        return;
    };
    let done = done(source.partial, messages, &answer);
    if !done.is_empty()
        && let Err(error) = context.sqs.delete(&source.queue, &done).await
    {
        tracing::error!(queue = %source.queue, %error, "handled messages could not be deleted; the queue delivers them again");
    }
}

/// The receipts of the handled messages.
fn done<'m>(partial: bool, messages: &'m [Message], answer: &[u8]) -> Vec<&'m str> {
    let failed = match partial {
        true => BatchReport::failed(answer),
        false => Some(Vec::new()),
    };
    // A report that names an unknown id is invalid, so the whole batch counts as failed.
    let is_known = |id: &String| messages.iter().any(|m| &m.message_id == id);
    let Some(failed) = failed.filter(|failed| failed.iter().all(is_known)) else {
        return Vec::new();
    };
    let handled = messages.iter().filter(|m| !failed.contains(&m.message_id));
    handled.map(|m| m.receipt_handle.as_str()).collect()
}

/// Converts an attribute's member names to small first letters (`stringValue`, `dataType`), as Lambda writes them.
fn camel(attribute: &Value) -> Value {
    let mut out = serde_json::Map::new();
    for (key, value) in attribute.as_object().into_iter().flatten() {
        let mut letters = key.chars();
        let first = letters.next().map(|c| c.to_ascii_lowercase());
        out.insert(first.into_iter().chain(letters).collect(), value.clone());
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str) -> Message {
        Message {
            message_id: id.to_owned(),
            receipt_handle: format!("receipt-{id}"),
            body: String::new(),
            md5_of_body: String::new(),
            attributes: BTreeMap::new(),
            message_attributes: BTreeMap::new(),
        }
    }

    #[test]
    fn what_was_handled_is_deleted() {
        let batch = [message("a"), message("b")];
        let failed_a = br#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#;
        assert_eq!(done(true, &batch, b"null"), ["receipt-a", "receipt-b"]);
        assert_eq!(done(true, &batch, failed_a), ["receipt-b"]);
        assert_eq!(done(false, &batch, failed_a), ["receipt-a", "receipt-b"]);
        let stranger = br#"{"batchItemFailures":[{"itemIdentifier":"z"}]}"#;
        assert!(done(true, &batch, stranger).is_empty());
        assert!(done(true, &batch, b"nonsense").is_empty());
    }
}
