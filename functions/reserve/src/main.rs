//! Wiring of the function `reserve`.

use std::process::ExitCode;
use std::sync::Arc;

use dynamodb::{DropStore, StatusStore, StockStore, Tables};
use ports::cached::CachedDrops;
use ports::edge::Edge;
use reserve::create::Create;
use reserve::knowledge::Knowledge;
use reserve::release::Held;
use reserve::{State, router};
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
            drops: config.text("DROPS_TABLE"),
            status: config.text("STATUS_TABLE"),
            ..Tables::default()
        };
        let shoppers = config.made("SHOPPER_JWT_PUBLIC_KEY", |key| {
            VerifyingKey::from_encoded(key, Audience::Shopper)
        });
        let shoppers = config.finish_with(shoppers)?;

        let edge = SystemEdge;
        let drops = Arc::new(CachedDrops::new(DropStore::new(&client, &tables), edge));
        let stock = StockStore::new(&client, &tables);
        let replica = edge.random() % u64::from(domain::limits::STATUS_REPLICAS);
        startup::serve_api(router(State {
            create: Create {
                drops: drops.clone(),
                stock: stock.clone(),
                status: StatusStore::new(&client, &tables),
                knowledge: Knowledge::default(),
                replica: u8::try_from(replica).unwrap_or(0),
                edge,
            },
            held: Held { drops, stock, edge },
            shoppers,
            edge,
        }))
        .await
    })
}
