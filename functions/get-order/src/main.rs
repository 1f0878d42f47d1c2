//! Wiring of the function `get-order`.

use std::process::ExitCode;

use dynamodb::{OrderStore, Tables};
use get_order::{State, router};
use startup::config::Config;
use startup::edge::SystemEdge;
use tokens::{Audience, VerifyingKey};

startup::request_allocator!();

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let client = startup::aws::dynamodb(&mut config);
        let tables = Tables {
            stock: config.text("STOCK_TABLE"),
            purchases: config.text("PURCHASES_TABLE"),
            orders: config.text("ORDERS_TABLE"),
            ..Tables::default()
        };
        let shoppers = config.made("SHOPPER_JWT_PUBLIC_KEY", |key| {
            VerifyingKey::from_encoded(key, Audience::Shopper)
        });
        let shoppers = config.finish_with(shoppers)?;

        let orders = OrderStore::new(&client, &tables);
        startup::serve_api(router(State {
            orders,
            shoppers,
            edge: SystemEdge,
        }))
        .await
    })
}
