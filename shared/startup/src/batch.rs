//! Processes a batch of queue messages. Each message is decoded separately, and one answer lists the messages to
//! redeliver.
//!
//! **A message without an id.** The answer lists failed messages by id, so it cannot list a failed message that has no
//! id. If the answer omitted that message, the queue would delete it. AWS documents that an empty id makes Lambda
//! redeliver the whole batch, but another reader of the answer (an emulator) may not know this rule and delete the
//! message. So the invocation itself fails ([`WholeBatchFailed`]): every reader understands a failed invocation, it
//! counts in the function's error metric, and no message is lost. Messages of the batch that succeeded are redelivered
//! too, which every consumer tolerates. A message without an id that succeeded needs no special case.

use std::fmt::Display;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use tracing::Span;

/// The answer to Lambda's event source (`ReportBatchItemFailures`). For a queue: the ids of failed messages. For a
/// stream: the sequence number from which records are redelivered.
pub type BatchReport = SqsBatchResponse;

/// A message without an id failed, so only the whole batch can be redelivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message failed, and has no id")]
pub struct WholeBatchFailed;

#[derive(Debug, Clone)]
pub struct Decoded<'a, T> {
    /// The span of all log lines about this message.
    pub span: Span,
    pub id: Option<&'a str>,
    /// Whether this is the first delivery, according to the queue's receive count.
    pub is_first_receive: bool,
    /// The decoded message.
    pub content: T,
}

/// Decodes each message of `batch` and passes the decoded messages to `handle`. `about` makes the span of a message's
/// log lines from its content; the message's id is added if the span has a field `message_id`. `handle` returns one
/// answer for each message, in order: whether the message is done. A message without an answer is not done. Returns the
/// messages to redeliver: those that are not done and those that cannot be decoded. A message that cannot be decoded
/// ends in the dead-letter queue, where an engineer can read it.
///
/// # Errors
/// [`WholeBatchFailed`] when a message to redeliver has no id.
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
                log_unprocessable(id, is_first_receive, &error);
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

/// The answer that lists `failed`.
///
/// # Errors
/// [`WholeBatchFailed`] when a failed message has no id.
pub fn report<'a>(
    failed: impl IntoIterator<Item = Option<&'a str>>,
) -> Result<BatchReport, WholeBatchFailed> {
    let mut report = BatchReport::default();
    for id in failed {
        report.add_failure(id.filter(|id| !id.is_empty()).ok_or(WholeBatchFailed)?);
    }
    Ok(report)
}

/// Logs once that a message will end in the dead-letter queue, although the message is redelivered several times
/// before. The line has no content of the message, which may contain personal data.
pub fn log_unprocessable(id: Option<&str>, is_first_receive: bool, why: &dyn Display) {
    if is_first_receive {
        tracing::error!(message_id = id, %why, "a message can never be processed; it will go to the dead-letter queue");
    } else {
        tracing::debug!(message_id = id, %why, "a redelivered message can never be processed");
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

    /// A batch of messages, given by id and body.
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

    /// Runs a worker that succeeds for even numbers only.
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
