//! The conductor: wires the configuration and the adapters to the schedule's events.
// The SDK's futures, nested in a step's, are deeper than the compiler's usual bound.
#![recursion_limit = "256"]

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use conduct_drop::Conductor;
use conduct_drop::step::Reach;
use domain::time::Timestamp;
use dynamodb::{DropStore, OrderStore, StatusStore, StockStore, Tables};
use lambda_runtime::LambdaEvent;
use ports::edge::Edge as _;
use serde::de::IgnoredAny;
use startup::config::Config;
use startup::edge::SystemEdge;

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let client = startup::aws::dynamodb(&mut config);
        let tables = Tables {
            drops: config.text("DROPS_TABLE"),
            stock: config.text("STOCK_TABLE"),
            status: config.text("STATUS_TABLE"),
            orders: config.text("ORDERS_TABLE"),
            purchases: config.text("PURCHASES_TABLE"),
            ..Tables::default()
        };
        config.finish()?;
        let conductor = Arc::new(Conductor::new(Reach {
            drops: DropStore::new(&client, &tables),
            stock: StockStore::new(&client, &tables),
            orders: OrderStore::new(&client, &tables),
            statuses: StatusStore::new(&client, &tables),
            edge: SystemEdge,
        }));
        startup::serve_events(move |event: LambdaEvent<IgnoredAny>| {
            let conductor = Arc::clone(&conductor);
            async move {
                // The request id alone could come again with an invocation that is repeated.
                let holder = format!("{}.{:016x}", event.context.request_id, SystemEdge.random());
                let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
                let deadline = Timestamp::from_millis(deadline);
                Ok(conductor
                    .run(holder, deadline, |progress, now| {
                        // Past the log's own form: CloudWatch reads metrics only from a line that is theirs alone.
                        writeln!(std::io::stdout().lock(), "{}", progress.metrics(now)).ok();
                    })
                    .await)
            }
        })
        .await
    })
}
