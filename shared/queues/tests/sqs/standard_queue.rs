//! Tests the behaviour of a standard queue on which every consumer relies.

use crate::local::LocalSqs;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use contracts::fixtures::placing;
use events::OrderEvent;
use ports::messages::{Destination, SendEvents};
use queues::{QueueUrls, SqsQueues};

/// How long a receive waits, in seconds: longer than any visibility timeout in these tests. A visible message ends the
/// wait.
const PATIENCE_SECONDS: i32 = 15;

/// Starts an SQS, creates a queue with these attributes, and sends one event to the queue.
async fn with_one_event(attributes: &[(QueueAttributeName, &str)]) -> (LocalSqs, String) {
    let sqs = LocalSqs::start().await;
    let url = sqs.queue("payments", attributes).await;
    send_one(&sqs, &url).await;
    (sqs, url)
}

async fn send_one(sqs: &LocalSqs, url: &str) {
    let urls = QueueUrls {
        payments: Some(url.to_owned()),
        ..QueueUrls::default()
    };
    let event = OrderEvent::of_change(None, &placing("ada", "k", 1, 2).order);
    let answers = SqsQueues::new(&sqs.client, urls)
        .send(Destination::Payments, &[event])
        .await;
    assert_eq!(answers, [Ok(())]);
}

async fn receive_one(sqs: &LocalSqs, url: &str) -> Message {
    let mut messages = sqs.receive(url, PATIENCE_SECONDS).await;
    assert_eq!(messages.len(), 1);
    messages.remove(0)
}

fn receives(message: &Message) -> &str {
    let count = MessageSystemAttributeName::ApproximateReceiveCount;
    message
        .attributes()
        .and_then(|attributes| attributes.get(&count))
        .unwrap()
}

#[tokio::test]
async fn a_message_that_is_not_deleted_comes_back_after_its_visibility_timeout() {
    let (sqs, url) = with_one_event(&[(QueueAttributeName::VisibilityTimeout, "1")]).await;
    let first = receive_one(&sqs, &url).await;
    assert_eq!(sqs.receive(&url, 0).await, [], "not while it is in flight");
    let again = receive_one(&sqs, &url).await;
    assert_eq!(again.message_id(), first.message_id());
    assert_eq!(again.body(), first.body());
    assert_eq!(receives(&first), "1");
    assert_eq!(receives(&again), "2");
}

#[tokio::test]
async fn a_deleted_message_does_not_come_back() {
    let (sqs, url) = with_one_event(&[(QueueAttributeName::VisibilityTimeout, "1")]).await;
    let message = receive_one(&sqs, &url).await;
    sqs.delete(&url, &message).await;
    // The visibility timeout passes during this wait.
    assert_eq!(sqs.receive(&url, 2).await, []);
}

#[tokio::test]
async fn a_message_received_too_often_is_in_the_dead_letter_queue_and_can_be_redriven() {
    let sqs = LocalSqs::start().await;
    let dead = sqs.queue("payments-dlq", &[]).await;
    let policy = format!(
        r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":2}}"#,
        sqs.arn(&dead).await
    );
    let url = sqs
        .queue("payments", &[(QueueAttributeName::RedrivePolicy, &policy)])
        .await;
    send_one(&sqs, &url).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let message = receive_one(&sqs, &url).await;
        assert_eq!(sqs.receive(&dead, 0).await, []);
        sqs.give_back(&url, &message).await;
        seen.push(message.body.unwrap());
    }
    assert_eq!(sqs.receive(&url, 0).await, [], "the third receive gets nothing");
    let given_up = receive_one(&sqs, &dead).await;
    assert_eq!(seen, vec![given_up.body.clone().unwrap(); 2]);

    // The test redrives the message as an operator's tool does: it sends the text again and deletes the dead letter.
    let redriven = sqs
        .client
        .send_message()
        .queue_url(&url)
        .message_body(given_up.body.clone().unwrap());
    redriven.send().await.unwrap();
    sqs.delete(&dead, &given_up).await;
    let message = receive_one(&sqs, &url).await;
    assert_eq!(message.body(), given_up.body());
    assert_eq!(receives(&message), "1");
    assert!(OrderEvent::decode(message.body().unwrap()).is_ok());
}
