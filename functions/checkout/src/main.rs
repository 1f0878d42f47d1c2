//! Starts the function `checkout` with its settings and its adapters.

use std::process::ExitCode;

use dynamodb::Table::{Addresses, Drops, Orders, Purchases, Stock};
use dynamodb::{DropStore, IssuerStore, OrderStore, StockStore, Tables};
use startup::runtime::SystemRuntime;
use web::Tokens;

startup::request_allocator!();

fn main() -> ExitCode {
    startup::serve_api(|config| {
        let client = startup::aws::dynamodb(config);
        let used = [Stock, Purchases, Orders, Addresses, Drops];
        let tables = Tables::read(used, |variable| config.text(variable));
        Some(checkout::Api::router(
            DropStore::new(&client, &tables),
            StockStore::new(&client, &tables),
            OrderStore::new(&client, &tables),
            Tokens::of_shoppers(IssuerStore::new(&client, &tables), SystemRuntime),
            SystemRuntime,
        ))
    })
}
