//! Starts the function `sweep-orders` with its settings and its adapters.

use std::process::ExitCode;

use dynamodb::{OrderStore, Table, Tables};
use queues::{QueueUrls, SqsQueues};
use startup::runtime::SystemRuntime;
use sweep_orders::Sweeper;

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let (dynamodb, sqs) = (startup::aws::dynamodb(config), startup::aws::sqs(config));
        // A change of the due time moves no stock, so this function needs no other table.
        let tables = Tables::read([Table::Orders], |variable| config.text(variable));
        let urls = QueueUrls {
            payments: Some(config.text("PAYMENTS_QUEUE_URL")),
            ..QueueUrls::default()
        };
        let orders = OrderStore::new(&dynamodb, &tables);
        Some(Sweeper::new(orders, SqsQueues::new(&sqs, urls), SystemRuntime))
    })
}
