//! Wiring of the function `process-order`.
// The SDK's futures, nested in a step's, are deeper than the compiler's usual bound.
#![recursion_limit = "256"]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use dynamodb::{OrderStore, Tables};
use lambda_runtime::LambdaEvent;
use process_order::batch;
use process_order::drive::{Driver, GATEWAY_CALL_MS};
use startup::config::Config;
use startup::edge::SystemEdge;
use stripe::{ApiKey, StripeConfig, StripeGateway};

/// Where shoppers come back to from their bank, unless `RETURN_URL` says otherwise.
const RETURN_URL: &str = "https://shop.invalid/orders";

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let client = startup::aws::dynamodb(&mut config);
        let tables = Tables {
            stock: config.text("STOCK_TABLE"),
            purchases: config.text("PURCHASES_TABLE"),
            orders: config.text("ORDERS_TABLE"),
            ..Tables::default()
        };
        let key = config.made("GATEWAY_API_KEY", ApiKey::new);
        let gateway = config.made("GATEWAY_URL", |url| {
            let Some(key) = key else {
                return Err("needs GATEWAY_API_KEY".to_owned());
            };
            let mut stripe = StripeConfig::new(url, key).map_err(|error| error.to_string())?;
            stripe.total_timeout = Duration::from_millis(GATEWAY_CALL_MS);
            StripeGateway::new(&stripe).map_err(|error| error.to_string())
        });
        let return_url = config
            .optional("RETURN_URL")
            .unwrap_or_else(|| RETURN_URL.to_owned());
        config.finish()?;
        let Some(gateway) = gateway else {
            return Err("no gateway".into());
        };
        let orders = OrderStore::new(&client, &tables);
        let driver = Arc::new(Driver {
            orders,
            gateway,
            edge: SystemEdge,
            return_url,
        });
        startup::serve_events(move |event: LambdaEvent<SqsEvent>| {
            let driver = Arc::clone(&driver);
            async move { Ok(batch::handle(&driver, event.payload).await?) }
        })
        .await
    })
}
