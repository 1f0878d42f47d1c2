//! Starts the function `get-order` with its settings and its adapters.

use std::process::ExitCode;

use dynamodb::Table::{Drops, Orders, Purchases, Stock};
use dynamodb::{IssuerStore, OrderStore, Tables};
use startup::runtime::SystemRuntime;
use web::Tokens;

startup::request_allocator!();

fn main() -> ExitCode {
    startup::serve_api(|config| {
        let client = startup::aws::dynamodb(config);
        let tables = Tables::read([Stock, Purchases, Orders, Drops], |name| config.text(name));
        let orders = OrderStore::new(&client, &tables);
        Some(get_order::Api::router(
            orders,
            Tokens::of_shoppers(IssuerStore::new(&client, &tables), SystemRuntime),
            SystemRuntime,
        ))
    })
}
