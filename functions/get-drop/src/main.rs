//! Browse: wires the configuration and the adapters to the router.

use std::process::ExitCode;

use dynamodb::{DropStore, StatusStore, Tables};
use get_drop::State;
use get_drop::browse::Browse;
use get_drop::status::Statuses;
use startup::config::Config;
use startup::edge::SystemEdge;

startup::request_allocator!();

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let client = startup::aws::dynamodb(&mut config);
        let tables = Tables {
            drops: config.text("DROPS_TABLE"),
            status: config.text("STATUS_TABLE"),
            ..Tables::default()
        };
        config.finish()?;
        let drops = DropStore::new(&client, &tables);
        let router = get_drop::router(State {
            browse: Browse::new(drops.clone(), drops, SystemEdge),
            statuses: Statuses::new(StatusStore::new(&client, &tables), SystemEdge),
        });
        startup::serve_api(router).await
    })
}
