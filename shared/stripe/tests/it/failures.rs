//! Tests the adapter's results for lost answers, refusals and faulty servers.

use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::time::Duration;

use crate::support::{KEY, Sandbox, adapter, new_payment, order, with_secret};
use contracts::gateway::GatewayUnderTest as _;
use memory::MemorySecret;
use ports::payment::{
    Code, GatewayError, IdempotencyKey, Payment, PaymentGateway as _, PaymentId, PaymentState,
};
use ports::secrets::SecretError;
use sandbox_gateway::ApiKey;
use sandbox_gateway::log::Event;
use scripted_http::{Answer, Server};
use serde_json::json;
use stripe::client::MAX_ANSWER_BYTES;
use stripe::{Mode, StripeConfig, StripeGateway};

/// A short time limit for answers that never arrive. The sandbox gives all other answers within this time.
const IMPATIENT: Duration = Duration::from_secs(1);

async fn created(gateway: &StripeGateway<MemorySecret>) -> PaymentId {
    gateway
        .create(&new_payment(), &IdempotencyKey::create(&order()))
        .await
        .unwrap()
        .id
}

async fn confirm(
    gateway: &StripeGateway<MemorySecret>,
    id: &PaymentId,
    method: &str,
) -> Result<Payment, GatewayError> {
    let key = IdempotencyKey::confirm(&order(), 1);
    gateway
        .confirm(id, &method.parse().unwrap(), "https://shop.example/orders", &key)
        .await
}

async fn state(gateway: &StripeGateway<MemorySecret>, id: &PaymentId) -> PaymentState {
    gateway.find(id).await.unwrap().unwrap().state
}

fn is_paid(state: &PaymentState) -> bool {
    matches!(state, PaymentState::Succeeded { captured } if captured.amount_minor == 4900)
}

#[tokio::test]
async fn an_answer_lost_before_the_charge_is_unknown_and_found_unpaid() {
    let sandbox = Sandbox::start().await;
    let gateway = sandbox.adapter();
    let id = created(&gateway).await;
    let lost = confirm(
        &adapter(&sandbox.url, KEY, IMPATIENT),
        &id,
        "pm_sandbox_timeout_before_charge",
    )
    .await;
    assert_eq!(lost, Err(GatewayError::Unknown));
    assert_eq!(state(&gateway, &id).await, PaymentState::Unconfirmed);
    assert_eq!(sandbox.charges(&order()).await, 0);
    assert!(is_paid(
        &confirm(&gateway, &id, "pm_sandbox_timeout_before_charge")
            .await
            .unwrap()
            .state
    ));
    assert_eq!(sandbox.charges(&order()).await, 1);
}

#[tokio::test]
async fn an_answer_lost_after_the_charge_is_unknown_and_found_paid() {
    let sandbox = Sandbox::start().await;
    let gateway = sandbox.adapter();
    let id = created(&gateway).await;
    let lost = confirm(
        &adapter(&sandbox.url, KEY, IMPATIENT),
        &id,
        "pm_sandbox_timeout_after_charge",
    )
    .await;
    assert_eq!(lost, Err(GatewayError::Unknown));
    assert!(is_paid(&state(&gateway, &id).await));
    assert!(
        is_paid(
            &confirm(&gateway, &id, "pm_sandbox_timeout_after_charge")
                .await
                .unwrap()
                .state
        ),
        "replayed"
    );
    assert_eq!(sandbox.charges(&order()).await, 1);
}

#[tokio::test]
async fn a_slow_charge_is_unknown_until_found() {
    let sandbox = Sandbox::start_with(|options| options.slow = Duration::from_secs(2)).await;
    let gateway = sandbox.adapter();
    let id = created(&gateway).await;
    let lost = confirm(&adapter(&sandbox.url, KEY, IMPATIENT), &id, "pm_sandbox_slow").await;
    assert_eq!(lost, Err(GatewayError::Unknown));
    // While the first call runs, the key is in use: the outcome is unknown, and the call is repeated.
    // Afterwards the first call's answer is replayed.
    let paid = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match confirm(&gateway, &id, "pm_sandbox_slow").await {
                Err(GatewayError::Unknown) => tokio::task::yield_now().await,
                answer => return answer.unwrap(),
            }
        }
    });
    assert!(is_paid(&paid.await.unwrap().state));
    assert_eq!(sandbox.charges(&order()).await, 1);
}

#[tokio::test]
async fn a_lost_create_finds_its_payment_again() {
    let sandbox = Sandbox::start_with(|options| options.hang = Duration::from_millis(1)).await;
    let gateway = sandbox.adapter();
    sandbox.faults(json!({"lost_answer": 1.0})).await;
    let lost = gateway
        .create(&new_payment(), &IdempotencyKey::create(&order()))
        .await;
    assert_eq!(lost, Err(GatewayError::Unavailable));
    created(&gateway).await;
    assert_eq!(
        sandbox
            .logged()
            .iter()
            .filter(|line| line.event == Event::Created)
            .count(),
        1
    );
}

#[tokio::test]
async fn an_outage_is_unavailable_to_every_call() {
    let sandbox = Sandbox::start().await;
    let gateway = sandbox.adapter();
    let id = created(&gateway).await;
    sandbox.faults(json!({"outage": true})).await;
    assert_eq!(
        confirm(&gateway, &id, "pm_card_visa").await,
        Err(GatewayError::Unavailable)
    );
    assert_eq!(gateway.find(&id).await, Err(GatewayError::Unavailable));
    assert_eq!(gateway.cancel(&id).await, Err(GatewayError::Unavailable));
    let key = IdempotencyKey::refund(&order(), 1);
    assert_eq!(
        gateway.refund(&id, new_payment().amount, &key).await,
        Err(GatewayError::Unavailable)
    );
    sandbox.faults(json!({})).await;
    assert!(is_paid(
        &confirm(&gateway, &id, "pm_card_visa").await.unwrap().state
    ));
}

#[tokio::test]
async fn a_wrong_key_says_nothing_about_a_payment() {
    let sandbox = Sandbox::start().await;
    let id = created(&sandbox.adapter()).await;
    let logged = sandbox.logged().len();
    for wrong in ["sk_test_other", "", "no key"] {
        let stranger = adapter(&sandbox.url, wrong, Duration::from_secs(20));
        let (refund, amount) = (IdempotencyKey::refund(&order(), 1), new_payment().amount);
        let created = stranger
            .create(&new_payment(), &IdempotencyKey::create(&order()))
            .await;
        assert_eq!(created, Err(GatewayError::NoKey));
        assert_eq!(
            confirm(&stranger, &id, "pm_card_visa").await,
            Err(GatewayError::NoKey)
        );
        assert_eq!(
            stranger.find(&id).await,
            Err(GatewayError::NoKey),
            "not the same as none"
        );
        assert_eq!(stranger.cancel(&id).await, Err(GatewayError::NoKey));
        assert_eq!(
            stranger.refund(&id, amount, &refund).await,
            Err(GatewayError::NoKey)
        );
    }
    assert_eq!(sandbox.logged().len(), logged);
}

#[tokio::test]
async fn a_changed_key_is_used_once_the_former_is_refused() {
    let key = Arc::new(ApiKey::new(KEY));
    let sandbox = Sandbox::start_with(|options| options.api_key = Arc::clone(&key)).await;
    let secret = MemorySecret::new(KEY);
    let gateway = with_secret(&sandbox.url, secret.clone(), Duration::from_secs(20));
    let id = created(&gateway).await;
    secret.rotate("sk_test_next");
    assert_eq!(state(&gateway, &id).await, PaymentState::Unconfirmed);
    assert_eq!(secret.refusals(), 0, "the gateway still takes the former one");
    key.replace("sk_test_next");
    assert_eq!(
        confirm(&gateway, &id, "pm_card_visa").await,
        Err(GatewayError::NoKey)
    );
    assert!(is_paid(
        &confirm(&gateway, &id, "pm_card_visa").await.unwrap().state
    ));
    assert_eq!(secret.refusals(), 1);
    assert_eq!(sandbox.charges(&order()).await, 1);
}

#[tokio::test]
async fn without_a_key_nothing_is_sent() {
    let secret = MemorySecret::new(KEY);
    secret.fail(SecretError::Unavailable);
    // No server listens there, so a call is `NotSent`.
    let gateway = with_secret("http://127.0.0.1:9", secret, Duration::from_secs(20));
    let create = gateway
        .create(&new_payment(), &IdempotencyKey::create(&order()))
        .await;
    assert_eq!(create, Err(GatewayError::NoKey));
}

#[tokio::test]
async fn a_key_of_another_mode_is_shown_to_nobody() {
    let sandbox =
        Sandbox::start_with(|options| options.api_key = Arc::new(ApiKey::new("sk_live_secret"))).await;
    let gateway = |key: &str, mode| {
        let secret = MemorySecret::new(key);
        let config = StripeConfig::new(&sandbox.url, mode).unwrap();
        (StripeGateway::new(&config, secret.clone()).unwrap(), secret)
    };
    // The sandbox accepts this key, so only the mode prevents the call.
    let (live, _) = gateway("sk_live_secret", Mode::Live);
    let id = created(&live).await;
    let logged = sandbox.logged().len();
    let (mut log, mut text) = (tempfile::tempfile().unwrap(), String::new());
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(log.try_clone().unwrap()));
    let capturing = tracing::subscriber::set_default(subscriber.finish());
    for (key, mode) in [
        ("sk_live_secret", Mode::Test),
        ("rk_live_secret", Mode::Test),
        ("secret_of_no_mode", Mode::Test),
        ("secret_of_no_mode", Mode::Live),
        ("sk_test_secret", Mode::Live),
        ("rk_test_secret", Mode::Live),
    ] {
        let (gateway, secret) = gateway(key, mode);
        let (refund, amount) = (IdempotencyKey::refund(&order(), 1), new_payment().amount);
        let wrong = Some(GatewayError::WrongMode);
        let create = gateway
            .create(&new_payment(), &IdempotencyKey::create(&order()))
            .await;
        assert_eq!(create.err(), wrong, "{key} for {mode}");
        assert_eq!(confirm(&gateway, &id, "pm_card_visa").await.err(), wrong);
        assert_eq!(gateway.find(&id).await.err(), wrong);
        assert_eq!(gateway.cancel(&id).await.err(), wrong);
        assert_eq!(gateway.refund(&id, amount, &refund).await.err(), wrong);
        // After each refusal the key is read again, so a key of the right mode is used once it is stored.
        assert_eq!(secret.refusals(), 5);
    }
    drop(capturing);
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("of another mode").count(), 6 * 5, "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(sandbox.logged().len(), logged);
    assert!(GatewayError::WrongMode.is_certainly_undone());
    let (gateway, secret) = gateway("sk_test_secret", Mode::Live);
    assert_eq!(gateway.find(&id).await, Err(GatewayError::WrongMode));
    secret.rotate("sk_live_secret");
    assert!(is_paid(
        &confirm(&gateway, &id, "pm_card_visa").await.unwrap().state
    ));
}

#[tokio::test]
async fn an_unknown_means_of_payment_is_refused() {
    let sandbox = Sandbox::start().await;
    let gateway = sandbox.adapter();
    let id = created(&gateway).await;
    let refused = confirm(&gateway, &id, "pm_of_nobody").await;
    assert_eq!(
        refused,
        Err(GatewayError::Refused {
            code: Code::or_unnamed("resource_missing")
        })
    );
    assert_eq!(state(&gateway, &id).await, PaymentState::Unconfirmed);
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let gateway = adapter(&scripted_http::nobody().await, KEY, Duration::from_secs(20));
    let id: PaymentId = "pi_1".parse().unwrap();
    let create = gateway
        .create(&new_payment(), &IdempotencyKey::create(&order()))
        .await;
    assert_eq!(create, Err(GatewayError::NotSent));
    assert_eq!(
        confirm(&gateway, &id, "pm_card_visa").await,
        Err(GatewayError::NotSent)
    );
    assert_eq!(gateway.find(&id).await, Err(GatewayError::NotSent));
    assert_eq!(gateway.cancel(&id).await, Err(GatewayError::NotSent));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_sent_nothing() {
    let config = StripeConfig::new("https://gateway.invalid", Mode::Test).unwrap();
    let create = StripeGateway::new(&config, MemorySecret::new(KEY))
        .unwrap()
        .create(&new_payment(), &IdempotencyKey::create(&order()))
        .await;
    assert_eq!(create, Err(GatewayError::NotSent));
}

#[tokio::test]
async fn nonsense_from_a_server_is_unknown_never_failed() {
    let body = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let long = body(
        "200 OK",
        &format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_ANSWER_BYTES)),
    );
    let cut_short = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"id\":\"pi_1\"".to_vec();
    let other_state = r#"{"id":"pi_1","amount":4900,"currency":"eur","status":"on_the_moon"}"#;
    for (what, bytes, expected) in [
        ("nothing", Vec::new(), GatewayError::Unknown),
        (
            "no HTTP",
            b"220 mail.example ESMTP\r\n".to_vec(),
            GatewayError::Unknown,
        ),
        ("no JSON", body("200 OK", "<html>"), GatewayError::Unknown),
        ("other JSON", body("200 OK", "[1,2,3]"), GatewayError::Unknown),
        (
            "an unknown status",
            body("200 OK", other_state),
            GatewayError::Unknown,
        ),
        ("too much", long, GatewayError::Unknown),
        ("cut short", cut_short, GatewayError::Unknown),
        (
            "a redirect",
            body("302 Found\r\nlocation: http://127.0.0.1:1/", ""),
            GatewayError::Unknown,
        ),
        (
            "a proxy's 400",
            body("400 Bad Request", "<html>"),
            GatewayError::Unknown,
        ),
        (
            "a throttle",
            body("429 Too Many\r\nretry-after: 3", "{}"),
            GatewayError::Throttled {
                retry_after_ms: 3_000,
            },
        ),
        (
            "a failure",
            body("502 Bad Gateway", "<html>"),
            GatewayError::Unavailable,
        ),
        (
            "a failure cut short",
            b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\n{".to_vec(),
            GatewayError::Unavailable,
        ),
    ] {
        let server = Server::always(Answer::Bytes(bytes)).await;
        let gateway = adapter(&server.url, KEY, Duration::from_secs(20));
        let id: PaymentId = "pi_1".parse().unwrap();
        assert_eq!(
            confirm(&gateway, &id, "pm_card_visa").await,
            Err(expected.clone()),
            "confirm: {what}"
        );
        assert_eq!(gateway.find(&id).await, Err(expected.clone()), "find: {what}");
        let key = IdempotencyKey::refund(&order(), 1);
        assert_eq!(
            gateway.refund(&id, new_payment().amount, &key).await,
            Err(expected),
            "refund: {what}"
        );
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::always(Answer::Silence).await;
    let gateway = adapter(&server.url, KEY, IMPATIENT);
    let id: PaymentId = "pi_1".parse().unwrap();
    assert_eq!(
        confirm(&gateway, &id, "pm_card_visa").await,
        Err(GatewayError::Unknown)
    );
}
