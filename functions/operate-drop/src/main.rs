//! Operate drops: wires the configuration and the adapters to the router.

use std::process::ExitCode;

use dynamodb::{DropStore, PrescaleStore, StockStore, Tables};
use operate_drop::State;
use startup::config::Config;
use startup::edge::SystemEdge;
use tokens::{Audience, VerifyingKey};

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let client = startup::aws::dynamodb(&mut config);
        let tables = Tables {
            drops: config.text("DROPS_TABLE"),
            stock: config.text("STOCK_TABLE"),
            prescale: config.text("PRESCALE_TABLE"),
            ..Tables::default()
        };
        let operators = config.made("OPERATOR_JWT_PUBLIC_KEY", |key| {
            VerifyingKey::from_encoded(key, Audience::Operator)
        });
        let operators = config.finish_with(operators)?;
        let router = operate_drop::router(State {
            drops: DropStore::new(&client, &tables),
            stock: StockStore::new(&client, &tables),
            readiness: PrescaleStore::new(&client, &tables),
            operators,
            edge: SystemEdge,
        });
        startup::serve_api(router).await
    })
}
