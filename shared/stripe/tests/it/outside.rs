//! Tests the adapter and the parser of webhooks against an independent emulator of Stripe, which
//! `infra/tools/outside-gateway` starts.

use std::time::Duration;

use domain::money::Money;
use domain::time::Timestamp;
use ports::payment::{GatewayError, IdempotencyKey, NewPayment, PaymentGateway, PaymentState};
use ports::secrets::SecretText;
use serde::Deserialize;
use stripe::webhook::{SignatureError, read, verify};

use crate::support::{KEY, adapter};

#[allow(
    clippy::disallowed_methods,
    reason = "the script that runs these tests sets them"
)]
fn variable(name: &str) -> String {
    std::env::var(name).expect("infra/tools/outside-gateway sets it")
}

#[tokio::test]
#[ignore = "infra/tools/outside-gateway runs it"]
async fn outside_a_payment_is_made_found_and_cancelled() {
    let gateway = adapter(&variable("OUTSIDE_GATEWAY_URL"), KEY, Duration::from_secs(10));
    let new = NewPayment {
        order: variable("OUTSIDE_GATEWAY_ORDER").parse().unwrap(),
        amount: Money {
            amount_minor: 4_900,
            currency: "EUR".parse().unwrap(),
        },
    };
    let made = gateway
        .create(&new, &IdempotencyKey::create(&new.order))
        .await
        .unwrap();
    assert_eq!(made.amount, new.amount);
    assert_eq!(made.state, PaymentState::Unconfirmed);
    assert_eq!(gateway.find(&made.id).await.unwrap(), Some(made.clone()));

    let cancelled = gateway.cancel(&made.id).await.unwrap();
    assert_eq!(cancelled.id, made.id);
    assert_eq!(cancelled.state, PaymentState::Cancelled);
    assert_eq!(gateway.find(&made.id).await.unwrap(), Some(cancelled));

    let nobodys = "pi_nobodys".parse().unwrap();
    assert_eq!(gateway.find(&nobodys).await, Ok(None));
    let refused = gateway.cancel(&nobodys).await.unwrap_err();
    assert!(matches!(refused, GatewayError::Refused { .. }), "{refused:?}");
}

#[derive(Deserialize)]
struct Kept {
    signature: String,
    body: String,
}

#[test]
#[ignore = "infra/tools/outside-gateway runs it"]
fn outside_webhooks_are_signed_and_read_as_ours_are() {
    let kept = std::fs::read(variable("OUTSIDE_GATEWAY_WEBHOOKS")).unwrap();
    let kept: Vec<Kept> = serde_json::from_slice(&kept).unwrap();
    let secret = SecretText::new(variable("OUTSIDE_GATEWAY_SECRET"));
    let other = SecretText::new("whsec_other".to_owned());
    let mut notices = Vec::new();
    for Kept { signature, body } in &kept {
        let seconds = signature
            .strip_prefix("t=")
            .and_then(|rest| rest.split(',').next())
            .unwrap();
        let at = Timestamp::from_millis(1_000 * seconds.parse::<i64>().unwrap());
        assert_eq!(verify(signature, body.as_bytes(), &secret, at), Ok(()));
        let changed = body.replace("4900", "9900");
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(verify(signature, body.as_bytes(), &other, at), mismatch);
        if changed != *body {
            assert_eq!(verify(signature, changed.as_bytes(), &secret, at), mismatch);
        }
        notices.extend(read(body.as_bytes()).unwrap());
    }
    let orders: Vec<&str> = notices.iter().map(|notice| notice.order.as_str()).collect();
    assert_eq!(
        orders,
        [variable("OUTSIDE_GATEWAY_ORDER")],
        "of {} webhooks one is about an order",
        kept.len()
    );
}
