//! Starts the function `process-order` with its settings and its adapters.

use std::process::ExitCode;
use std::time::Duration;

use dynamodb::Table::{Orders, Purchases, Stock};
use dynamodb::{OrderStore, Tables};
use process_order::Pace;
use process_order::advance_payment::{GATEWAY_CALL_MS, PaymentSaga};
use secrets::{CachedSecret, SecretName, SecretsManager};
use startup::runtime::SystemRuntime;
use stripe::{Mode, StripeConfig, StripeGateway};

/// The URL to which banks return shoppers, without the setting `RETURN_URL`.
const RETURN_URL: &str = "https://shop.invalid/orders";

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let client = startup::aws::dynamodb(config);
        let tables = Tables::read([Stock, Purchases, Orders], |variable| config.text(variable));
        let aws = startup::aws::service(config, secrets::ENDPOINT_VARIABLE);
        let secret: Option<SecretName> = config.made("GATEWAY_SECRET", str::parse);
        let mode: Option<Mode> = config.made("GATEWAY_MODE", str::parse);
        let gateway = config.made("GATEWAY_URL", |url| {
            let secret = SecretsManager::new(&aws, secret.ok_or("needs GATEWAY_SECRET")?);
            let mode = mode.ok_or("needs GATEWAY_MODE")?;
            let mut stripe = StripeConfig::new(url, mode).map_err(|error| error.to_string())?;
            stripe.total_timeout = Duration::from_millis(GATEWAY_CALL_MS);
            let key = CachedSecret::new(secret, SystemRuntime);
            StripeGateway::new(&stripe, key).map_err(|error| error.to_string())
        })?;
        let rate = config.made("GATEWAY_CALLS_PER_SECOND", str::parse);
        let return_url = config
            .optional("RETURN_URL")
            .unwrap_or_else(|| RETURN_URL.to_owned());
        let orders = OrderStore::new(&client, &tables);
        let pace = Pace::of(rate?);
        pace.warn();
        Some(PaymentSaga::new(orders, gateway, pace, return_url, SystemRuntime))
    })
}
