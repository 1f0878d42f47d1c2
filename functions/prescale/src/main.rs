//! Starts the function `prescale` with its settings and its adapters.

use std::process::ExitCode;

use control_plane::{AwsAccount, Clients, Names, Patience};
use dynamodb::{DropStore, OrderStore, PrescaleStore, Table, Tables};
use prescale::{Prescaler, timeout_within_lease};
use startup::runtime::SystemRuntime;

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let client = startup::aws::dynamodb(config);
        let clients = Clients::new(
            |service| startup::aws::service(config, service.endpoint_variable()),
            Patience::default(),
        );
        // The orders table is used only to check for open orders.
        let tables = Tables::read([Table::Drops, Table::Orders, Table::Prescale], |variable| {
            config.text(variable)
        });
        let documents = config.text("DOCUMENTS_PATH");
        config.made("TIMEOUT_SECONDS", timeout_within_lease);
        let rate = config.made("GATEWAY_CALLS_PER_SECOND", str::parse);
        let names = config.made("NAMES", Names::from_json)?;
        let orders = OrderStore::new(&client, &tables);
        let account = AwsAccount::new(clients, names, &documents, orders).with_gateway_rate(rate?);
        Some(Prescaler::new(
            account,
            PrescaleStore::new(&client, &tables),
            DropStore::new(&client, &tables),
            SystemRuntime,
            config.text("STAGE"),
        ))
    })
}
