//! Starts the function `operate-drop` with its settings and its adapters.

use std::process::ExitCode;

use dynamodb::Table::{Drops, Orders, Prescale, Purchases, Stock};
use dynamodb::{DropStore, IssuerStore, OrderStore, PrescaleStore, StockStore, Tables};
use startup::runtime::SystemRuntime;
use web::Tokens;

fn main() -> ExitCode {
    startup::serve_api(|config| {
        let client = startup::aws::dynamodb(config);
        let tables = Tables::read([Drops, Stock, Prescale, Orders, Purchases], |name| {
            config.text(name)
        });
        let rate = config.made("GATEWAY_CALLS_PER_SECOND", str::parse);
        Some(operate_drop::Api::router(
            DropStore::new(&client, &tables),
            StockStore::new(&client, &tables),
            PrescaleStore::new(&client, &tables),
            OrderStore::new(&client, &tables),
            rate?,
            Tokens::of_operators(IssuerStore::new(&client, &tables), SystemRuntime),
            SystemRuntime,
        ))
    })
}
