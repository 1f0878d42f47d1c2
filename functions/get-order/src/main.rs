//! Wiring of the function `get-order`.

use std::process::ExitCode;

use dynamodb::Table::{Orders, Purchases, Stock};
use dynamodb::{OrderStore, Tables};
use startup::edge::SystemEdge;

startup::request_allocator!();

fn main() -> ExitCode {
    startup::serve_api(|config| {
        let client = startup::aws::dynamodb(config);
        let tables = Tables::read([Stock, Purchases, Orders], |variable| config.text(variable));
        let orders = OrderStore::new(&client, &tables);
        Some(get_order::Api::router(
            orders,
            config.shopper_tokens()?,
            SystemEdge,
        ))
    })
}
