//! Starts the function `get-drop` with its settings and its adapters.

use std::process::ExitCode;

use dynamodb::{DropStore, StatusStore, Table, Tables};
use startup::runtime::SystemRuntime;

startup::request_allocator!();

fn main() -> ExitCode {
    startup::serve_api(|config| {
        let client = startup::aws::dynamodb(config);
        let tables = Tables::read([Table::Drops, Table::Status], |variable| config.text(variable));
        Some(get_drop::Api::router(
            DropStore::new(&client, &tables),
            StatusStore::new(&client, &tables),
            SystemRuntime,
        ))
    })
}
