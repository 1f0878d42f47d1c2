//! Starts the function `receive-webhook` with its settings and its adapters.

use std::process::ExitCode;

use queues::{QueueUrls, SqsQueues};
use receive_webhook::Webhooks;
use secrets::{CachedSecret, SecretName, SecretsManager};
use startup::runtime::SystemRuntime;

startup::request_allocator!();

fn main() -> ExitCode {
    startup::serve_api(|config| {
        let client = startup::aws::sqs(config);
        let urls = QueueUrls {
            payments: Some(config.text("PAYMENTS_QUEUE_URL")),
            ..QueueUrls::default()
        };
        let aws = startup::aws::service(config, secrets::ENDPOINT_VARIABLE);
        let name: SecretName = config.made("WEBHOOK_SECRET", str::parse)?;
        let secrets = CachedSecret::new(SecretsManager::new(&aws, name), SystemRuntime);
        Some(Webhooks::router(
            secrets,
            SqsQueues::new(&client, urls),
            SystemRuntime,
        ))
    })
}
