//! Starts the function `conduct-drop` with its settings and its adapters.

use std::process::ExitCode;

use conduct_drop::{Conductor, Settings};
use dynamodb::Table::{Drops, Orders, Purchases, Status, Stock};
use dynamodb::{DropStore, OrderStore, StatusStore, StockStore, Tables};
use startup::runtime::SystemRuntime;

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let client = startup::aws::dynamodb(config);
        let used = [Drops, Stock, Status, Orders, Purchases];
        let tables = Tables::read(used, |variable| config.text(variable));
        let stage = config.text("STAGE");
        let settings = config.made("LINGER_SECONDS", |seconds| Settings::new(stage, seconds));
        Some(Conductor::new(
            DropStore::new(&client, &tables),
            StockStore::new(&client, &tables),
            OrderStore::new(&client, &tables),
            StatusStore::new(&client, &tables),
            SystemRuntime,
            settings?,
        ))
    })
}
