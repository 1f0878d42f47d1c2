//! Tests the contract of the message ports, on SQS.

use crate::local::LocalSqs;
use contracts::messages::Queues;
use events::OrderEvent;
use ports::messages::{Destination, ParkRecord, SendError, SendEvents};
use queues::{QueueUrls, SqsQueues};

struct Local {
    sqs: LocalSqs,
    queues: SqsQueues,
    urls: QueueUrls,
}

impl Local {
    async fn start() -> Self {
        let sqs = LocalSqs::start().await;
        let urls = QueueUrls {
            payments: Some(sqs.queue("payments", &[]).await),
            ledger: Some(sqs.queue("ledger", &[]).await),
            mail: Some(sqs.queue("mail", &[]).await),
            parked: Some(sqs.queue("relay-parked", &[]).await),
        };
        let queues = SqsQueues::new(&sqs.client, urls.clone());
        Self { sqs, queues, urls }
    }
}

impl SendEvents for Local {
    async fn send(&self, to: Destination, events: &[OrderEvent]) -> Vec<Result<(), SendError>> {
        self.queues.send(to, events).await
    }
}

impl ParkRecord for Local {
    async fn park(&self, raw: &str) -> Result<(), SendError> {
        self.queues.park(raw).await
    }
}

impl Queues for Local {
    async fn take(&self, from: Destination, expected: usize) -> Vec<OrderEvent> {
        let url = match from {
            Destination::Payments => &self.urls.payments,
            Destination::Ledger => &self.urls.ledger,
            Destination::Mail => &self.urls.mail,
        };
        let bodies = self.sqs.take(url.as_deref().unwrap(), expected).await;
        bodies
            .iter()
            .map(|body| OrderEvent::decode(body).unwrap())
            .collect()
    }

    async fn take_parked(&self, expected: usize) -> Vec<String> {
        self.sqs
            .take(self.urls.parked.as_deref().unwrap(), expected)
            .await
    }
}

contracts::messages_contract!(Local::start().await);
