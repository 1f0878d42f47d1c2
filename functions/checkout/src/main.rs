//! Wiring of the function `checkout`.

use std::process::ExitCode;

use checkout::place::Checkout;
use checkout::{State, router};
use dynamodb::{DropStore, OrderStore, StockStore, Tables};
use ports::cached::CachedDrops;
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
            addresses: config.text("ADDRESSES_TABLE"),
            drops: config.text("DROPS_TABLE"),
            ..Tables::default()
        };
        let shoppers = config.made("SHOPPER_JWT_PUBLIC_KEY", |key| {
            VerifyingKey::from_encoded(key, Audience::Shopper)
        });
        let shoppers = config.finish_with(shoppers)?;

        let checkout = Checkout {
            drops: CachedDrops::new(DropStore::new(&client, &tables), SystemEdge),
            stock: StockStore::new(&client, &tables),
            orders: OrderStore::new(&client, &tables),
            edge: SystemEdge,
        };
        startup::serve_api(router(State { checkout, shoppers })).await
    })
}
