//! A batch of messages: each is decoded by itself, and one answer names those that must come again.
//!
//! **A message without an id.** The answer names failed messages by their ids, so a failed one that has none cannot be named.
//! Leaving it out would delete it from its queue. Lambda documents that an empty name makes the whole batch come again, but
//! that is a rule of the reader, and a reader that does not know it deletes the message. So the invocation itself fails
//! ([`WholeBatchFailed`]): every reader understands that, it shows among the function's errors, and nothing is lost.
//! Messages of the batch that were done with come again too, which every consumer bears. A message without an id that
//! was done with does no harm.

use std::fmt::Display;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use tracing::Span;

/// What Lambda's event sources want to know of a batch (`ReportBatchItemFailures`): of a queue, the ids of the messages that
/// failed; of a stream, the sequence number from which on everything comes again.
pub type BatchReport = SqsBatchResponse;

/// Something in the batch failed that has no id, so that only the whole batch can come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message failed, and has no id")]
pub struct WholeBatchFailed;

/// A message that could be decoded.
#[derive(Debug, Clone)]
pub struct Decoded<'a, T> {
    /// The span of all log lines about it.
    pub span: Span,
    /// Its id.
    pub id: Option<&'a str>,
    /// Whether it is seen for the first time, as far as the queue tells.
    pub is_first_receive: bool,
    /// What it says.
    pub content: T,
}

/// Decodes each message of `batch` by itself, opens the span of log lines that `about` makes of what it says, with the
/// message's id if the span has a field `message_id`, and hands those that can be decoded to `handle`, which answers for each, in their
/// order, whether it is done with; one that it does not answer for is not. Answers which messages must come again: the
/// others, and those that cannot be decoded, which end in the dead-letter queue, where an engineer can read them.
///
/// # Errors
/// [`WholeBatchFailed`] when one of them has no id.
pub async fn work<'a, T, X: Display, F>(
    batch: &'a SqsEvent,
    decode: impl Fn(&str) -> Result<T, X>,
    about: impl Fn(&T) -> Span,
    handle: impl FnOnce(Vec<Decoded<'a, T>>) -> F,
) -> Result<BatchReport, WholeBatchFailed>
where
    F: Future<Output = Vec<bool>>,
{
    let read = |message: &'a SqsMessage| {
        let (id, is_first_receive) = (message.message_id.as_deref(), is_first_receive(message));
        match decode(message.body.as_deref().unwrap_or_default()) {
            Ok(content) => {
                let span = about(&content);
                span.record("message_id", id);
                Some(Decoded {
                    span,
                    id,
                    is_first_receive,
                    content,
                })
            }
            Err(error) => {
                hopeless(id, is_first_receive, &error);
                None
            }
        }
    };
    let messages: Vec<_> = batch.records.iter().map(read).collect();
    let decoded: Vec<bool> = messages.iter().map(Option::is_some).collect();
    let mut done = handle(messages.into_iter().flatten().collect()).await.into_iter();
    let failed = batch.records.iter().zip(decoded);
    let failed = failed.filter(|(_, decoded)| !(*decoded && done.next().unwrap_or(false)));
    report(failed.map(|(message, _)| message.message_id.as_deref()))
}

/// The answer that names `failed`.
///
/// # Errors
/// [`WholeBatchFailed`] when one of them has no id.
pub fn report<'a>(
    failed: impl IntoIterator<Item = Option<&'a str>>,
) -> Result<BatchReport, WholeBatchFailed> {
    let mut report = BatchReport::default();
    for id in failed {
        report.add_failure(id.filter(|id| !id.is_empty()).ok_or(WholeBatchFailed)?);
    }
    Ok(report)
}

/// Says once that a message is on its way to the dead-letter queue: it comes again several times before it is there. The
/// line holds nothing of what the message holds, since that may be personal.
pub fn hopeless(id: Option<&str>, is_first_receive: bool, why: &dyn Display) {
    if is_first_receive {
        tracing::error!(message_id = id, %why, "a message can never be processed");
    } else {
        tracing::debug!(message_id = id, %why, "a message can never be processed; seen before");
    }
}

fn is_first_receive(message: &SqsMessage) -> bool {
    let receives = message.attributes.get("ApproximateReceiveCount");
    receives
        .and_then(|count| count.parse::<u32>().ok())
        .is_none_or(|count| count <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages by id and body.
    fn batch(messages: &[(Option<&str>, Option<&str>)]) -> SqsEvent {
        let mut batch = SqsEvent::default();
        for (id, body) in messages {
            let mut message = SqsMessage::default();
            message.message_id = id.map(str::to_owned);
            message.body = body.map(str::to_owned);
            batch.records.push(message);
        }
        batch
    }

    /// What a worker answers that is done with even numbers only.
    async fn even(batch: &SqsEvent) -> Result<Vec<String>, WholeBatchFailed> {
        let decode = |text: &str| text.parse::<u32>();
        let report = work(
            batch,
            decode,
            |_| Span::none(),
            |messages| async move {
                let done = messages.iter().map(|message| message.content % 2 == 0);
                done.collect()
            },
        )
        .await?;
        let failures = report.batch_item_failures.into_iter();
        Ok(failures.map(|failure| failure.item_identifier).collect())
    }

    #[tokio::test]
    async fn what_cannot_be_decoded_and_what_is_not_done_with_comes_again_in_order() {
        let batch = batch(&[
            (Some("a"), Some("2")),
            (Some("b"), Some("x")),
            (Some("c"), None),
            (Some("d"), Some("3")),
            (Some("e"), Some("4")),
        ]);
        assert_eq!(even(&batch).await, Ok(vec!["b".into(), "c".into(), "d".into()]));
    }

    #[tokio::test]
    async fn a_failed_message_without_an_id_fails_the_whole_batch_and_one_that_is_done_with_does_not() {
        for nameless in [None, Some("")] {
            for failing in [Some("x"), Some("3"), None] {
                let failed = batch(&[(Some("a"), Some("2")), (nameless, failing)]);
                assert_eq!(even(&failed).await, Err(WholeBatchFailed), "{failing:?}");
            }
            let done = batch(&[(nameless, Some("2")), (Some("a"), Some("1"))]);
            assert_eq!(even(&done).await, Ok(vec!["a".into()]));
        }
    }

    #[tokio::test]
    async fn a_message_that_is_not_answered_for_is_not_done_with() {
        let batch = batch(&[(Some("a"), Some("2")), (Some("b"), Some("2"))]);
        let one = |_: Vec<Decoded<'_, u32>>| async { vec![true] };
        let report = work(&batch, |text| text.parse::<u32>(), |_| Span::none(), one)
            .await
            .unwrap();
        assert_eq!(report.batch_item_failures.len(), 1);
        assert_eq!(report.batch_item_failures[0].item_identifier, "b");
    }

    #[test]
    fn a_message_is_new_until_the_queue_says_otherwise() {
        for (count, first) in [
            (None, true),
            (Some("1"), true),
            (Some("2"), false),
            (Some("x"), true),
        ] {
            let mut message = SqsMessage::default();
            let name = "ApproximateReceiveCount".to_owned();
            message
                .attributes
                .extend(count.map(|count| (name, count.to_owned())));
            assert_eq!(is_first_receive(&message), first, "{count:?}");
        }
    }
}
