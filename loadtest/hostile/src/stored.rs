//! Gives answers of DynamoDB to the real adapters. The input is a line with the status, then the body.
//!
//! The tables belong to the project, but an older version or an engineer by hand may have written an item. The
//! first request of a call gets the input, any further request an empty answer.

use std::sync::Mutex;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use contracts::fixtures;
use domain::shard::Shard;
use dynamodb::{DropStore, OrderStore, StatusStore, StockStore, Tables};
use ports::drops::{HoldLease as _, ListDrops as _, ReadCounts as _, ReadDrop as _, ReadStatus as _};
use ports::orders::{FindDueOrders as _, ListOrders as _, ReadOrder as _};
use ports::stock::{ClaimStock as _, Consistency, PeekStock as _, ReadClaim as _, SurveyStock as _};

use crate::requests::divided;
use crate::run::run;

/// The fuzz target `stored`: panics if an adapter panics on the answer.
pub fn target(input: &[u8]) {
    read(input);
}

/// A connector that answers the first request with the input, and further requests with an empty answer.
#[derive(Debug)]
struct ScriptedAnswer(Mutex<Option<(u16, Vec<u8>)>>);

impl HttpConnector for ScriptedAnswer {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        let scripted = self.0.lock().ok().and_then(|mut scripted| scripted.take());
        let (status, body) = scripted.unwrap_or_else(|| (200, b"{}".to_vec()));
        let status = StatusCode::try_from(status).unwrap_or(StatusCode::try_from(200).expect("a status"));
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}

/// A client whose first request gets this answer.
fn client(status: u16, body: &[u8]) -> Client {
    let scripted = SharedHttpConnector::new(ScriptedAnswer(Mutex::new(Some((status, body.to_vec())))));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "fuzz"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .http_client(http_client_fn(move |_, _| scripted.clone()))
        .endpoint_url("http://127.0.0.1:1")
        .build();
    Client::from_conf(config)
}

/// Gives the answer to every read of the adapters. Returns the names of the reads that found an item.
pub fn read(input: &[u8]) -> Vec<&'static str> {
    let (first, body) = divided(input, b"\n");
    let body = body.unwrap_or_default();
    let Some(status) = std::str::from_utf8(first).ok().and_then(|text| text.parse().ok()) else {
        return Vec::new();
    };
    if !(200..600).contains(&status) {
        return Vec::new();
    }
    let tables = Tables {
        stock: "stock".to_owned(),
        purchases: "purchases".to_owned(),
        orders: "orders".to_owned(),
        addresses: "addresses".to_owned(),
        drops: "drops".to_owned(),
        status: "status".to_owned(),
        ..Tables::default()
    };
    let scripted = || client(status, body);
    let (drop, sku, ada) = (fixtures::drop_id(), fixtures::sku(), fixtures::shopper("ada"));
    let placing = fixtures::placing("ada", "k", 1, 2);
    let mut found = Vec::new();
    let mut note = |name: &'static str, something: bool| {
        if something {
            found.push(name);
        }
    };
    run(async {
        let stock = || StockStore::new(&scripted(), &tables);
        let peek = stock().peek(&drop, &ada, &[fixtures::key(0)]).await;
        note(
            "peek",
            peek.is_ok_and(|peek| peek.shards.iter().all(|(_, s)| looked_at(s)) && !peek.shards.is_empty()),
        );
        let survey = stock()
            .survey(&[fixtures::key(0), fixtures::key(1)], Consistency::Strong)
            .await;
        note(
            "survey",
            survey.is_ok_and(|all| all.iter().all(|(_, s)| looked_at(s)) && !all.is_empty()),
        );
        let claim = stock().read_claim(&fixtures::key(0), &ada).await;
        note("claim", claim.is_ok_and(|claim| claim.is_some()));
        // The answer to a refused write contains the item.
        let refused = stock().claim(&fixtures::key(0), &ada, &placing.hold).await;
        note("refused claim", refused.is_ok_and(|refused| !refused.is_done()));

        let orders = || OrderStore::new(&scripted(), &tables);
        let order = orders().order(&placing.order.id).await;
        note("order", order.is_ok_and(|order| order.is_some()));
        let listed = orders().orders_of(&ada, None, 20).await;
        note("orders", listed.is_ok_and(|page| !page.orders.is_empty()));
        let due = orders().due_orders(0, fixtures::NOW, 20).await;
        note("due orders", due.is_ok_and(|due| !due.is_empty()));

        let drops = || DropStore::new(&scripted(), &tables);
        let read = drops().drop(&drop).await;
        note("drop", read.is_ok_and(|drop| drop.is_some()));
        let published = drops().published(ports::drops::Listing::Listed, 20).await;
        note("drops", published.is_ok_and(|drops| !drops.is_empty()));

        let statuses = || StatusStore::new(&scripted(), &tables);
        let status = statuses().status(&drop, 0).await;
        note("status", status.is_ok_and(|status| status.is_some()));
        let counts = statuses().counts(&drop, &sku, 0).await;
        note("counts", counts.is_ok_and(|counts| counts.is_some()));
        let lease = statuses()
            .acquire(&drop, "me", fixtures::NOW, fixtures::NOW.plus_seconds(9))
            .await;
        note("lease", lease.is_ok_and(|lease| lease.is_err()));
    });
    found
}

/// Computes the sums of a shard, which must not overflow for any numbers of the shard. Returns true.
fn looked_at(shard: &Shard) -> bool {
    let _ = (
        shard.adds_up(),
        shard.claimed(),
        shard.returnable(1, fixtures::NOW),
    );
    true
}
