//! The mode of the gateway's key (test or live) must be the function's mode.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::{FAST, Scene, VISA};
use domain::order::OrderStatus;
use memory::MemorySecret;
use process_order::advance_payment::{Advanced, Patience, PaymentSaga};
use stripe::{Mode, StripeConfig, StripeGateway};

/// A gateway that never answers, and that reports whether it was called.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test]
async fn an_order_is_driven_with_a_key_of_its_mode_alone() {
    for (mode, wrong, right) in [
        (Mode::Test, "sk_live_secret", "sk_test_secret"),
        (Mode::Live, "rk_test_secret", "rk_live_secret"),
    ] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", VISA).await;
        let (listener, url) = silent();
        let mut config = StripeConfig::new(&url, mode).unwrap();
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
            listener.accept().is_err(),
            "the gateway was called with a key of no {mode} mode"
        );
        assert_eq!(scene.read(&id).await.status, OrderStatus::Placed);
        scene.audit();

        secret.rotate(right);
        // The gateway has been called, and the result is open.
        let called = saga.advance_payment(&id, None, Patience::Long).await;
        assert_eq!(called, Ok(Advanced::WithoutGateway), "{mode}");
        assert!(listener.accept().is_ok());
    }
}
