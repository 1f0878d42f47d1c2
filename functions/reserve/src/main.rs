//! Starts the function `reserve` with its settings and its adapters.

use std::process::ExitCode;

use domain::crowd::StockTable;
use dynamodb::Table::{Drops, Purchases, Status, Stock};
use dynamodb::{DropStore, IssuerStore, StatusStore, StockStore, Tables};
use startup::runtime::SystemRuntime;
use web::Tokens;

startup::request_allocator!();

fn main() -> ExitCode {
    startup::serve_api(|config| {
        let client = startup::aws::dynamodb(config);
        let tables = Tables::read([Stock, Purchases, Drops, Status], |name| config.text(name));
        let read_units = config.made("STOCK_READ_UNITS", str::parse);
        let write_units = config.made("STOCK_WRITE_UNITS", str::parse);
        Some(reserve::Api::router(
            DropStore::new(&client, &tables),
            StockStore::new(&client, &tables),
            StatusStore::new(&client, &tables),
            Tokens::of_shoppers(IssuerStore::new(&client, &tables), SystemRuntime),
            SystemRuntime,
            StockTable {
                read_units: read_units?,
                write_units: write_units?,
            },
        ))
    })
}
