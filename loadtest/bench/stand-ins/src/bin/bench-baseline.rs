//! Contains the minimal Rust function that checks a token and writes one item. The CPU time of a reservation is
//! compared with it.
//!
//! It verifies the signature of the bearer token without reading the claims. The path names the item, and one
//! `UpdateItem` with the condition of a reservation changes it. The client has the SDK's defaults. The function has
//! no logs, no routes and no validation, and its answer is minimal.

use std::sync::Arc;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use data_encoding::BASE64URL_NOPAD;
use lambda_http::{Body, Error, Request, RequestExt as _, Response, run, service_fn};
use ring::signature::{ED25519, UnparsedPublicKey};

struct Setup {
    client: Client,
    table: String,
    key: UnparsedPublicKey<Vec<u8>>,
}

fn genuine(setup: &Setup, request: &Request) -> Option<()> {
    let token = request
        .headers()
        .get("authorization")?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")?;
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
    setup.key.verify(signed.as_bytes(), &signature).ok()
}

async fn handle(setup: Arc<Setup>, request: Request) -> Result<Response<Body>, Error> {
    let answer = |status: u16| Ok(Response::builder().status(status).body(Body::Empty)?);
    if genuine(&setup, &request).is_none() {
        return answer(401);
    }
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let parameters = request.path_parameters();
    let Some(item) = parameters.first("drop_id") else {
        return answer(404);
    };
    let written = setup
        .client
        .update_item()
        .table_name(&setup.table)
        .key("pk", AttributeValue::S(item.to_owned()))
        .update_expression("SET f = f - :u, c.#me = :held")
        .condition_expression("f >= :u AND attribute_not_exists(c.#me)")
        .expression_attribute_names("#me", header("idempotency-key"))
        .expression_attribute_values(":u", AttributeValue::N("1".to_owned()))
        .expression_attribute_values(":held", AttributeValue::S("h1mi2k3l4m5nonce".to_owned()))
        .send()
        .await;
    if let Err(error) = &written {
        eprintln!("{error:?}");
    }
    answer(if written.is_ok() { 201 } else { 409 })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let http = connector::plain(std::time::Duration::from_secs(1));
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .load()
        .await;
    let keys: serde_json::Value = serde_json::from_str(&std::env::var("SHOPPER_KEYS")?)?;
    let key = keys
        .pointer("/issuers/0/keys/0/x")
        .and_then(serde_json::Value::as_str)
        .ok_or("SHOPPER_KEYS has no key")?;
    let setup = Arc::new(Setup {
        client: Client::new(&config),
        table: std::env::var("STOCK_TABLE")?,
        key: UnparsedPublicKey::new(&ED25519, BASE64URL_NOPAD.decode(key.as_bytes())?),
    });
    run(service_fn(move |request| handle(Arc::clone(&setup), request))).await
}
