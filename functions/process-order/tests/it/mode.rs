//! Tests that the mode of the gateway's key (test or live) must be the function's mode.

use std::time::Duration;

use crate::support::{FAST, Scene, VISA};
use domain::order::OrderStatus;
use memory::MemorySecret;
use process_order::advance_payment::{Advanced, Patience, PaymentSaga};
use scripted_http::{Answer, Server};
use stripe::{Mode, StripeConfig, StripeGateway};

#[tokio::test]
async fn an_order_is_driven_with_a_key_of_its_mode_alone() {
    for (mode, wrong, right) in [
        (Mode::Test, "sk_live_secret", "sk_test_secret"),
        (Mode::Live, "rk_test_secret", "rk_live_secret"),
    ] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", VISA).await;
        let silent = Server::always(Answer::Silence).await;
        let mut config = StripeConfig::new(&silent.url, mode).unwrap();
        config.total_timeout = Duration::from_millis(200);
        let secret = MemorySecret::new(wrong);
        let gateway = StripeGateway::new(&config, secret.clone()).unwrap();
        let saga = PaymentSaga::new(
            scene.store.clone(),
            gateway,
            FAST,
            "https://shop.example/orders".to_owned(),
            scene.runtime.clone(),
        );
        let refused = saga.advance_payment(&id, None, Patience::Long).await;
        assert_eq!(refused, Ok(Advanced::WithoutGateway), "{mode}");
        assert!(
            silent.requests().is_empty(),
            "the gateway was called with a key of no {mode} mode"
        );
        assert_eq!(scene.read(&id).await.status, OrderStatus::Placed);
        scene.audit();

        secret.rotate(right);
        // With the right key the gateway is called. The scripted gateway does not answer, so the order still waits.
        let called = saga.advance_payment(&id, None, Patience::Long).await;
        assert_eq!(called, Ok(Advanced::WithoutGateway), "{mode}");
        assert!(!silent.requests().is_empty());
    }
}
