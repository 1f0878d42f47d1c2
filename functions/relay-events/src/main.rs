//! Starts the function `relay-events` with its settings and its adapters.
// The nested futures of the SDK exceed the compiler's default recursion limit.
#![recursion_limit = "256"]

use std::process::ExitCode;

use queues::{QueueUrls, SqsQueues};
use relay_events::Relay;
use startup::runtime::SystemRuntime;

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let client = startup::aws::sqs(config);
        let urls = QueueUrls {
            payments: Some(config.text("PAYMENTS_QUEUE_URL")),
            ledger: Some(config.text("LEDGER_QUEUE_URL")),
            mail: Some(config.text("MAIL_QUEUE_URL")),
            parked: Some(config.text("PARKED_QUEUE_URL")),
        };
        Some(Relay::new(SqsQueues::new(&client, urls), SystemRuntime))
    })
}
