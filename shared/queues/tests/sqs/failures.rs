//! Tests that an event that cannot be sent is reported alone and does not block other events.

use crate::local::LocalSqs;
use aws_sdk_sqs::types::QueueAttributeName;
use contracts::fixtures::placing;
use domain::time::Timestamp;
use events::OrderEvent;
use ports::messages::{Destination, ParkRecord, SendError, SendEvents};
use queues::{MAX_BATCH_BYTES, QueueUrls, SqsQueues};

fn placed(count: usize) -> Vec<OrderEvent> {
    (0..count)
        .map(|n| OrderEvent::of_change(None, &placing(&format!("s{n}"), "k", 1, 2).order))
        .collect()
}

fn all(url: String) -> QueueUrls {
    QueueUrls {
        payments: Some(url.clone()),
        ledger: Some(url.clone()),
        mail: Some(url.clone()),
        parked: Some(url),
    }
}

/// Returns the indexes of the refused messages.
fn refused(answers: &[Result<(), SendError>]) -> Vec<usize> {
    let refused = answers.iter().enumerate().filter(|(_, answer)| answer.is_err());
    refused.map(|(place, _)| place).collect()
}

#[tokio::test]
async fn an_event_that_the_server_refuses_is_told_by_itself() {
    let sqs = LocalSqs::start().await;
    let url = sqs
        .queue("ledger", &[(QueueAttributeName::MaximumMessageSize, "2048")])
        .await;
    let queues = SqsQueues::new(&sqs.client, all(url.clone()));
    let mut events = placed(23);
    for place in [3, 17] {
        events[place].data.payment_id = Some("p".repeat(4096));
    }
    assert_eq!(refused(&queues.send(Destination::Ledger, &events).await), [3, 17]);
    assert_eq!(sqs.take(&url, 21).await.len(), 21);
}

#[tokio::test]
async fn an_event_that_cannot_be_written_or_is_too_long_is_told_by_itself() {
    let sqs = LocalSqs::start().await;
    let url = sqs.queue("payments", &[]).await;
    let queues = SqsQueues::new(&sqs.client, all(url.clone()));
    let mut events = placed(12);
    events[0].data.updated_at_ms = Timestamp::from_millis(i64::MAX);
    events[11].data.payment_id = Some("p".repeat(MAX_BATCH_BYTES));
    assert_eq!(
        refused(&queues.send(Destination::Payments, &events).await),
        [0, 11]
    );
    assert_eq!(sqs.take(&url, 10).await.len(), 10);
}

#[tokio::test]
async fn a_record_that_is_too_long_is_not_parked() {
    let sqs = LocalSqs::start().await;
    let url = sqs.queue("relay-parked", &[]).await;
    let queues = SqsQueues::new(&sqs.client, all(url.clone()));
    assert!(queues.park(&"x".repeat(MAX_BATCH_BYTES + 1)).await.is_err());
    assert!(queues.park("").await.is_err());
    assert!(queues.park(&"x".repeat(MAX_BATCH_BYTES)).await.is_ok());
    assert_eq!(sqs.take(&url, 1).await.len(), 1);
}

#[tokio::test]
async fn a_queue_that_does_not_exist_refuses_everything_and_its_url_is_not_told() {
    let sqs = LocalSqs::start().await;
    let url = sqs.queue("there", &[]).await;
    let queues = SqsQueues::new(&sqs.client, all(url.replace("there", "elsewhere")));
    let answers = queues.send(Destination::Ledger, &placed(11)).await;
    assert_eq!(refused(&answers), (0..11).collect::<Vec<_>>());
    let SendError(text) = answers[0].clone().unwrap_err();
    assert!(
        text.contains("NonExistentQueue") || text.contains("QueueDoesNotExist"),
        "{text}"
    );
    assert!(!text.contains("elsewhere"), "{text}");
    assert!(queues.park("{}").await.is_err());
}

#[tokio::test]
async fn a_queue_that_is_not_configured_refuses_everything() {
    let sqs = LocalSqs::start().await;
    let queues = SqsQueues::new(&sqs.client, QueueUrls::default());
    assert_eq!(
        refused(&queues.send(Destination::Payments, &placed(2)).await),
        [0, 1]
    );
    assert!(queues.park("{}").await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_accepts_nothing() {
    let url = scripted_http::nobody().await;
    let queues = SqsQueues::new(&crate::local::client(&url), all(format!("{url}/000000000000/q")));
    let answers = queues.send(Destination::Ledger, &placed(3)).await;
    assert_eq!(answers, vec![Err(SendError("no connection".to_owned())); 3]);
}
