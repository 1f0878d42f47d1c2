//! Starts the function `fetch-keys` with its settings and its adapters.

use std::process::ExitCode;

use dynamodb::{IssuerStore, Table, Tables};
use fetch_keys::{Fetcher, PlainHttp, Settings};
use parameters::ParameterStore;
use startup::runtime::SystemRuntime;

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let client = startup::aws::dynamodb(config);
        let tables = Tables::read([Table::Drops], |variable| config.text(variable));
        let aws = startup::aws::service(config, parameters::ENDPOINT_VARIABLE);
        let settings = Settings {
            stage: config.text("STAGE"),
            shoppers: config.text("SHOPPERS_PARAMETER"),
            operators: config.text("OPERATORS_PARAMETER"),
            deployers: config.text("DEPLOYERS_PARAMETER"),
            // Only the local stack sets this variable.
            plain_http: match config.optional("PLAIN_HTTP_TO_LOOPBACK").as_deref() {
                Some("allowed") => PlainHttp::ToLoopback,
                _ => PlainHttp::Refused,
            },
        };
        Some(Fetcher::new(
            ParameterStore::new(&aws),
            IssuerStore::new(&client, &tables),
            SystemRuntime,
            settings,
        ))
    })
}
