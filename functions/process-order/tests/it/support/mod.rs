//! Prepares the function on a store and a gateway in memory, and compares the two in an audit.
#![allow(dead_code)]

use contracts::fixtures;
use domain::ids::OrderId;
use domain::order::{EndReason, Fingerprint, Order, OrderStatus};
use domain::rate::CallRate;
use memory::{MemoryGateway, MemoryStore, TestRuntime};
use ports::orders::{AdvanceOrder as _, PlaceOrder as _, Placing, ReadOrder as _};
use ports::payment::{Payment, PaymentId, PaymentState};
use ports::runtime::Clock as _;
use ports::stock::{AllocateStock as _, ClaimStock as _};
use process_order::Pace;
use process_order::advance_payment::{Advanced, NotAdvanced, Patience, PaymentSaga};

pub(crate) const VISA: &str = "pm_card_visa";
pub(crate) const DECLINED: &str = "pm_card_visa_chargeDeclined";
pub(crate) const LOST: &str = "pm_card_chargeDeclinedLostCard";
pub(crate) const POOR: &str = "pm_card_chargeDeclinedInsufficientFunds";
pub(crate) const SOFT: &str = "pm_card_chargeDeclinedProcessingError";
pub(crate) const TO_SIGN: &str = "pm_card_authenticationRequired";

pub(crate) struct Scene {
    pub(crate) store: MemoryStore,
    pub(crate) gateway: MemoryGateway,
    pub(crate) runtime: TestRuntime,
    pub(crate) saga: PaymentSaga<MemoryStore, MemoryGateway, TestRuntime>,
}

/// A rate so high that no call waits.
pub(crate) const FAST: Pace = Pace {
    rate: CallRate::HIGHEST,
    workers: 1,
};

impl Scene {
    pub(crate) async fn new(seed: u64) -> Self {
        Self::paced(seed, FAST).await
    }

    /// Makes the function for a gateway that may be called at `pace`.
    pub(crate) async fn paced(seed: u64, pace: Pace) -> Self {
        let (store, gateway, runtime) = (MemoryStore::new(), MemoryGateway::new(), TestRuntime::new(seed));
        assert!(store.allocate(&fixtures::key(0), 20).await.unwrap().is_done());
        let return_url = "https://shop.example/orders".to_owned();
        let saga = PaymentSaga::new(store.clone(), gateway.clone(), pace, return_url, runtime.clone());
        Self {
            store,
            gateway,
            runtime,
            saga,
        }
    }

    /// Places an order of the shopper `who`, with two minutes for actions that the payment requires.
    pub(crate) async fn order(&self, who: &str, method: &str) -> OrderId {
        self.order_by(who, "k", method).await
    }

    /// Places an order like [`Scene::order`], by a request with the key `key`.
    pub(crate) async fn order_by(&self, who: &str, key: &str, method: &str) -> OrderId {
        let placing = fixtures::placing_in(0, who, key, 1, 2, self.runtime.now());
        let first = !(self.store.orders().values()).any(|order| order.shopper == placing.order.shopper);
        let mut placing = if first {
            fixtures::as_first(placing)
        } else {
            placing
        };
        placing.order.tries[0].method = method.to_owned();
        self.store_placing(placing).await
    }

    pub(crate) async fn store_placing(&self, placing: Placing) -> OrderId {
        let claimed = self
            .store
            .claim(&fixtures::key(0), &placing.order.shopper, &placing.hold)
            .await;
        assert!(claimed.unwrap().is_done());
        assert!(self.store.place(&placing).await.unwrap().is_done());
        placing.order.id
    }

    pub(crate) async fn advance(&self, id: &OrderId) -> Result<Advanced, NotAdvanced> {
        self.saga.advance_payment(id, None, Patience::Long).await
    }

    /// Advances the payment, and repeats this while the message fails or the gateway does not answer, as the queue and
    /// the sweeper do.
    pub(crate) async fn deliver(&self, id: &OrderId) -> Advanced {
        let mut last = None;
        for _ in 0..12 {
            match self.advance(id).await {
                Ok(Advanced::WithoutGateway) => {}
                Ok(advanced) => return advanced,
                Err(error) => last = Some(error),
            }
            self.runtime.advance(500);
        }
        panic!("not advanced in twelve deliveries: {last:?}")
    }

    pub(crate) async fn read(&self, id: &OrderId) -> Order {
        self.store.order(id).await.unwrap().unwrap()
    }

    /// Requests the cancellation as the shopper does; returns whether the request was stored.
    pub(crate) async fn ask_to_cancel(&self, id: &OrderId) -> bool {
        let Ok(Some(order)) = self.store.order(id).await else {
            return false;
        };
        let Ok(step) = order.request_cancel(EndReason::ByShopper, self.runtime.now()) else {
            return false;
        };
        self.store.advance(&step).await.is_ok_and(|done| done.is_done())
    }

    /// Completes the bank's page as the shopper, if the order requires it.
    pub(crate) fn act(&self, id: &OrderId, approves: bool) {
        for payment in self.gateway.payments_of(id) {
            self.gateway.finish_action(&payment.id, approves);
        }
    }

    /// Moves the time past the shopper's limit for the bank's page.
    pub(crate) fn past_the_deadline(&self) {
        self.runtime.advance_seconds(121);
    }

    /// Moves the time past the limit for which an order waits for the gateway.
    pub(crate) fn past_the_wait(&self) {
        self.runtime.advance_seconds(7_201);
    }

    /// Submits another card as the shopper; returns whether it was accepted.
    pub(crate) async fn bring(&self, id: &OrderId, method: &str) -> bool {
        let Ok(Some(order)) = self.store.order(id).await else {
            return false;
        };
        let request = Fingerprint::of_request(method.as_bytes(), method.as_bytes());
        let Ok(step) = order.another_card(method.to_owned(), request, self.runtime.now()) else {
            return false;
        };
        self.store.advance(&step).await.is_ok_and(|done| done.is_done())
    }

    /// Checks that orders, payments and charges agree, as they must at every moment, with or without open orders.
    pub(crate) fn audit(&self) {
        self.store.audit().unwrap();
        for (id, order) in self.store.orders() {
            let charges = self.gateway.charges(&id);
            let payments = self.gateway.payments_of(&id);
            let stored = order.payment_id.clone();
            let state = |id: &PaymentId| payments.iter().find(|p| p.id == *id).unwrap().state.clone();
            assert!(order.follows_from_history(), "{id}: {order:?}");
            assert!(charges <= 1, "{id} was charged {charges} times");
            let confirmed = |payment: &&Payment| payment.state != PaymentState::Unconfirmed;
            let confirmed = payments.iter().filter(confirmed).count();
            assert!(confirmed <= 1, "{id} has {confirmed} confirmed payments");
            match order.status {
                status if status.is_open() => {}
                OrderStatus::Paid => assert_eq!(charges, 1, "{id} is paid"),
                OrderStatus::Declined | OrderStatus::Cancelled => {
                    assert_eq!(charges, 0, "{id} is {}", order.status.as_str());
                    if let Some(payment) = &stored {
                        let state = state(payment);
                        let dead = state == PaymentState::Cancelled;
                        assert!(dead, "{id} was undone while its payment is {state:?}");
                    }
                }
                _ => panic!("nothing here refunds"),
            }
            for payment in &payments {
                let stored = stored.as_ref() == Some(&payment.id);
                assert!(
                    stored || payment.state == PaymentState::Unconfirmed,
                    "only a stored payment is confirmed"
                );
            }
        }
    }
}
