//! Tests the contract of every payment gateway.

use std::collections::{BTreeSet, HashSet};
use std::future::Future;

use domain::ids::{OrderId, ReservationId};
use domain::limits::MAX_TRIES;
use domain::money::Money;
use futures_util::future::{join, join_all};
use ports::payment::{
    GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId, PaymentMethod, PaymentState,
};

use crate::fixtures::{drop_id, held, id, key};
use memory::{GatewayFault, GatewayOp, MemoryGateway};

/// A gateway under test, with a separate way to read its charges. Its means of payment are those of Stripe's page of
/// test cards.
pub trait GatewayUnderTest {
    /// The adapter under test.
    fn gateway(&self) -> impl PaymentGateway;
    /// Finishes a payment's action as the shopper does at the bank.
    fn finish_action(&self, payment: &PaymentId, succeeds: bool) -> impl Future<Output = ()>;
    /// The number of an order's charges, by the gateway's own record.
    fn charges(&self, order: &OrderId) -> impl Future<Output = usize>;
    /// From now on every call under a key fails, after or before it was carried out, and the failure is stored under
    /// the key. `None` ends this.
    fn store_failures(&self, after: Option<bool>) -> impl Future<Output = ()>;
    /// Sets whether the gateway accepts only about one call a second, or every call.
    fn throttle(&self, on: bool) -> impl Future<Output = ()>;
    /// Lets more than a day pass, after which idempotency keys have expired.
    fn let_keys_lapse(&self);
}

impl GatewayUnderTest for MemoryGateway {
    fn gateway(&self) -> impl PaymentGateway {
        self.clone()
    }

    async fn finish_action(&self, payment: &PaymentId, succeeds: bool) {
        assert!(MemoryGateway::finish_action(self, payment, succeeds));
    }

    async fn charges(&self, order: &OrderId) -> usize {
        MemoryGateway::charges(self, order) as usize
    }

    async fn store_failures(&self, after: Option<bool>) {
        let fault = match after {
            None => return self.clear_faults(),
            Some(true) => GatewayFault::StoredAfter,
            Some(false) => GatewayFault::StoredBefore,
        };
        self.set_plan(move |op, _| matches!(op, GatewayOp::Create | GatewayOp::Confirm).then_some(fault));
    }

    async fn throttle(&self, on: bool) {
        if on {
            self.set_plan(|_, nth| (nth > 1).then_some(GatewayFault::Throttled));
        } else {
            self.clear_faults();
        }
    }

    fn let_keys_lapse(&self) {
        self.forget_keys();
    }
}

const VISA: &str = "pm_card_visa";
const DECLINED: &str = "pm_card_visa_chargeDeclined";
const LOST: &str = "pm_card_chargeDeclinedLostCard";
const POOR: &str = "pm_card_chargeDeclinedInsufficientFunds";
const TO_SIGN: &str = "pm_card_authenticationRequired";
const BACK: &str = "https://shop.example/orders";

/// The id of an order, a different id for each name.
fn order(name: &str) -> OrderId {
    assert_eq!(key(0).drop, drop_id());
    OrderId::of_reservation(&ReservationId {
        shard: key(0),
        nonce: held("ada", name, 1).nonce,
    })
}

fn euros(amount_minor: i64) -> Money {
    Money {
        amount_minor,
        currency: id("EUR"),
    }
}

fn captured(amount_minor: i64) -> PaymentState {
    PaymentState::Succeeded {
        captured: euros(amount_minor),
    }
}

fn new_payment(order: &OrderId, amount_minor: i64) -> NewPayment {
    NewPayment {
        order: order.clone(),
        amount: euros(amount_minor),
    }
}

async fn created(gateway: &impl PaymentGateway, order: &OrderId) -> Payment {
    let key = IdempotencyKey::create(order);
    gateway.create(&new_payment(order, 4900), &key).await.unwrap()
}

async fn confirm(
    gateway: &impl PaymentGateway,
    payment: &Payment,
    method: &str,
    key: &IdempotencyKey,
) -> Result<Payment, GatewayError> {
    gateway
        .confirm(&payment.id, &id::<PaymentMethod>(method), BACK, key)
        .await
}

/// The payment after the `nth` confirmation of its order.
async fn confirmed(
    gateway: &impl PaymentGateway,
    payment: &Payment,
    method: &str,
    (order, nth): (&OrderId, u32),
) -> Payment {
    let key = IdempotencyKey::confirm(order, nth);
    confirm(gateway, payment, method, &key).await.unwrap()
}

async fn found(gateway: &impl PaymentGateway, payment: &Payment) -> PaymentState {
    gateway.find(&payment.id).await.unwrap().unwrap().state
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T, GatewayError>) {
    assert!(matches!(result, Err(GatewayError::Refused { .. })), "{result:?}");
}

/// A key that no step of this order uses.
fn other_key(order: &OrderId) -> IdempotencyKey {
    IdempotencyKey::refund(order, 4_000_000)
}

pub async fn creating_takes_no_money_and_repeats_are_one_payment(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    let first = created(&gateway, &order).await;
    assert_eq!(first.amount, euros(4900));
    assert_eq!(&first.state, &PaymentState::Unconfirmed);
    assert_eq!(created(&gateway, &order).await, first);
    assert_eq!(gateway.find(&first.id).await.unwrap(), Some(first));
    assert_eq!(test.charges(&order).await, 0);
}

pub async fn a_key_belongs_to_what_it_was_first_used_for(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    let payment = created(&gateway, &order).await;
    let dearer = new_payment(&order, 5000);
    assert_refused(gateway.create(&dearer, &IdempotencyKey::create(&order)).await);
    assert_refused(confirm(&gateway, &payment, VISA, &IdempotencyKey::create(&order)).await);
    assert_eq!(test.charges(&order).await, 0);
}

pub async fn an_amount_is_positive(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    for minor in [0, -1, i64::MIN] {
        let new = new_payment(&order, minor);
        assert_refused(gateway.create(&new, &IdempotencyKey::create(&order)).await);
    }
}

pub async fn confirming_takes_the_money_once(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    let payment = created(&gateway, &order).await;
    let key = IdempotencyKey::confirm(&order, 1);
    let paid = confirm(&gateway, &payment, VISA, &key).await.unwrap();
    assert_eq!(paid.state, captured(4900));
    assert_eq!(confirm(&gateway, &payment, VISA, &key).await.unwrap(), paid);
    assert_refused(confirm(&gateway, &payment, VISA, &other_key(&order)).await);
    assert_eq!(found(&gateway, &payment).await, captured(4900));
    assert_eq!(test.charges(&order).await, 1);
}

pub async fn a_decline_is_a_state_with_its_reason(test: &impl GatewayUnderTest) {
    let gateway = test.gateway();
    for (method, code) in [(DECLINED, "generic_decline"), (POOR, "insufficient_funds")] {
        let order = order(code);
        let payment = created(&gateway, &order).await;
        for _ in 0..2 {
            let state = confirmed(&gateway, &payment, method, (&order, 1)).await.state;
            let PaymentState::Declined { reason, .. } = &state else {
                panic!("{state:?}")
            };
            assert_eq!(reason.as_str(), code);
            assert_eq!(found(&gateway, &payment).await, state);
        }
        assert_eq!(test.charges(&order).await, 0);
    }
}

pub async fn another_card_may_be_tried_and_each_decline_says_whose_it_is(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    let payment = created(&gateway, &order).await;
    let mut charges = Vec::new();
    for (nth, method) in [(1, DECLINED), (2, POOR)] {
        let state = confirmed(&gateway, &payment, method, (&order, nth)).await.state;
        assert_eq!(found(&gateway, &payment).await, state);
        let PaymentState::Declined {
            method: named,
            charge,
            ..
        } = state
        else {
            panic!("{state:?}")
        };
        assert_eq!(named, Some(id(method)));
        charges.push(charge.unwrap());
    }
    assert_ne!(charges.first(), charges.last());
    let paid = confirmed(&gateway, &payment, VISA, (&order, 3)).await;
    assert_eq!(paid.state, captured(4900));
    // The first try's key still returns the first try's answer, and causes no charge.
    let first = confirmed(&gateway, &payment, DECLINED, (&order, 1)).await;
    assert!(matches!(first.state, PaymentState::Declined { .. }));
    assert_eq!(found(&gateway, &payment).await, captured(4900));
    assert_eq!(test.charges(&order).await, 1);
}

pub async fn a_decline_names_the_card(test: &impl GatewayUnderTest) {
    let gateway = test.gateway();
    let mut cards = Vec::new();
    for (name, method) in [("1", LOST), ("2", LOST), ("3", DECLINED), ("4", DECLINED)] {
        let order = order(name);
        let payment = created(&gateway, &order).await;
        let declined = confirmed(&gateway, &payment, method, (&order, 1)).await;
        let PaymentState::Declined { card: Some(card), .. } = declined.state else {
            panic!("{name}: no card")
        };
        assert!(!format!("{card:?}").contains(card.as_str()));
        cards.push(card);
    }
    assert_eq!(cards.first(), cards.get(1));
    assert_eq!(BTreeSet::from_iter(cards).len(), 3);
}

pub async fn a_payment_takes_as_many_tries_as_we_make_and_too_many_end_it(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    let payment = created(&gateway, &order).await;
    let tries = u32::try_from(MAX_TRIES).unwrap();
    for nth in 1..=tries {
        let state = confirmed(&gateway, &payment, DECLINED, (&order, nth)).await.state;
        assert!(matches!(state, PaymentState::Declined { .. }), "{nth}: {state:?}");
    }
    let beyond = IdempotencyKey::confirm(&order, tries + 1);
    let _ = confirm(&gateway, &payment, VISA, &beyond).await;
    assert_eq!(found(&gateway, &payment).await, PaymentState::Cancelled);
    assert_eq!(test.charges(&order).await, 0);
}

pub async fn a_shopper_who_acts_pays_and_one_who_refuses_is_declined(test: &impl GatewayUnderTest) {
    let gateway = test.gateway();
    for (name, acts) in [("acts", true), ("refuses", false)] {
        let order = order(name);
        let payment = created(&gateway, &order).await;
        let asked = confirmed(&gateway, &payment, TO_SIGN, (&order, 1)).await;
        assert!(matches!(&asked.state, PaymentState::ActionRequired { url } if url.starts_with("http")));
        assert_eq!(test.charges(&order).await, 0);
        test.finish_action(&payment.id, acts).await;
        let state = found(&gateway, &payment).await;
        if acts {
            assert_eq!(state, captured(4900));
        } else {
            assert!(matches!(state, PaymentState::Declined { .. }), "{state:?}");
        }
        // The confirmation's key still returns its first answer: only `find` returns the current state.
        let replayed = confirmed(&gateway, &payment, TO_SIGN, (&order, 1)).await;
        assert_eq!(replayed, asked);
        assert_eq!(test.charges(&order).await, usize::from(acts));
    }
}

pub async fn a_cancelled_payment_never_takes_money(test: &impl GatewayUnderTest) {
    let gateway = test.gateway();
    for (name, method) in [
        ("fresh", None),
        ("asked", Some(TO_SIGN)),
        ("declined", Some(DECLINED)),
    ] {
        let order = order(name);
        let payment = created(&gateway, &order).await;
        if let Some(method) = method {
            confirmed(&gateway, &payment, method, (&order, 1)).await;
        }
        for _ in 0..2 {
            let cancelled = gateway.cancel(&payment.id).await.unwrap();
            assert_eq!(cancelled.state, PaymentState::Cancelled);
        }
        assert_refused(confirm(&gateway, &payment, VISA, &other_key(&order)).await);
        assert_eq!(found(&gateway, &payment).await, PaymentState::Cancelled);
        assert_eq!(test.charges(&order).await, 0);
    }
}

pub async fn a_cancel_that_comes_too_late_answers_the_capture(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    let payment = created(&gateway, &order).await;
    confirmed(&gateway, &payment, VISA, (&order, 1)).await;
    assert_eq!(gateway.cancel(&payment.id).await.unwrap().state, captured(4900));
    assert_eq!(test.charges(&order).await, 1);
}

pub async fn an_id_the_gateway_does_not_know_is_none(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    let nobody: PaymentId = id("pi_nobody");
    assert_eq!(gateway.find(&nobody).await.unwrap(), None);
    assert_refused(gateway.cancel(&nobody).await);
    let key = IdempotencyKey::confirm(&order, 1);
    assert_refused(gateway.confirm(&nobody, &id(VISA), BACK, &key).await);
    let key = IdempotencyKey::refund(&order, 1);
    assert_refused(gateway.refund(&nobody, euros(1), &key).await);
}

pub async fn refunds_repeat_harmlessly_and_never_exceed_the_capture(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    let payment = created(&gateway, &order).await;
    let refund = async |minor, nth| {
        let key = IdempotencyKey::refund(&order, nth);
        gateway.refund(&payment.id, euros(minor), &key).await
    };
    assert_refused(refund(4900, 1).await);
    confirmed(&gateway, &payment, VISA, (&order, 1)).await;
    let first = refund(900, 2).await.unwrap();
    assert_eq!(first.amount, euros(900));
    assert_eq!(refund(900, 2).await.unwrap(), first);
    assert_refused(refund(4001, 3).await);
    assert_refused(refund(0, 4).await);
    assert_eq!(refund(4000, 5).await.unwrap().amount, euros(4000));
    assert_refused(refund(1, 6).await);
}

pub async fn creates_and_confirms_at_once_charge_once(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    let new = new_payment(&order, 4900);
    let key = IdempotencyKey::create(&order);
    let made = join_all((0..16).map(|_| gateway.create(&new, &key))).await;
    let ids: HashSet<&PaymentId> = made.iter().flatten().map(|made| &made.id).collect();
    assert_eq!(ids.len(), 1, "{made:?}");
    let mut lost = made.iter().filter_map(|made| made.as_ref().err());
    assert!(lost.all(|error| *error == GatewayError::Unknown), "{made:?}");

    let payment = created(&gateway, &order).await;
    let key = IdempotencyKey::confirm(&order, 1);
    for paid in join_all((0..16).map(|_| confirm(&gateway, &payment, VISA, &key))).await {
        match paid {
            Ok(paid) => assert_eq!(paid.state, captured(4900)),
            Err(lost) => assert_eq!(lost, GatewayError::Unknown),
        }
    }
    assert_eq!(test.charges(&order).await, 1);
}

pub async fn a_cancel_and_a_confirm_at_once_agree_on_who_won(test: &impl GatewayUnderTest) {
    let gateway = test.gateway();
    for round in 0..8 {
        let order = order(&format!("round-{round}"));
        let payment = created(&gateway, &order).await;
        let key = IdempotencyKey::confirm(&order, 1);
        let confirming = confirm(&gateway, &payment, VISA, &key);
        let (paid, cancelled) = join(confirming, gateway.cancel(&payment.id)).await;
        let cancelled = cancelled.unwrap().state;
        assert_eq!(found(&gateway, &payment).await, cancelled);
        if cancelled == PaymentState::Cancelled {
            assert_refused(paid);
            assert_eq!(test.charges(&order).await, 0);
        } else {
            assert_eq!(paid.unwrap().state, captured(4900));
            assert_eq!(&cancelled, &captured(4900));
            assert_eq!(test.charges(&order).await, 1);
        }
    }
}

pub async fn a_failure_stays_under_its_key_and_the_next_key_is_free(test: &impl GatewayUnderTest) {
    let gateway = test.gateway();
    for after in [false, true] {
        let order = order(&format!("after-{after}"));
        let new = new_payment(&order, 4900);
        let keys = [0, 1].map(|used| IdempotencyKey::create_after(&order, used));
        test.store_failures(Some(after)).await;
        let first = gateway.create(&new, &keys[0]).await;
        assert_eq!(first, Err(GatewayError::Unavailable));
        test.store_failures(None).await;
        for _ in 0..2 {
            let again = gateway.create(&new, &keys[0]).await;
            assert_eq!(again, Err(GatewayError::StoredFailure));
        }
        let payment = gateway.create(&new, &keys[1]).await.unwrap();

        test.store_failures(Some(after)).await;
        let keys = [1, 2].map(|nth| IdempotencyKey::confirm(&order, nth));
        let first = confirm(&gateway, &payment, VISA, &keys[0]).await;
        assert_eq!(first, Err(GatewayError::Unavailable));
        test.store_failures(None).await;
        let again = confirm(&gateway, &payment, VISA, &keys[0]).await;
        assert_eq!(again, Err(GatewayError::StoredFailure));
        let next = if after {
            // Only a look-up returns the outcome.
            captured(4900)
        } else {
            assert_eq!(found(&gateway, &payment).await, PaymentState::Unconfirmed);
            confirm(&gateway, &payment, VISA, &keys[1]).await.unwrap().state
        };
        assert_eq!(next, captured(4900));
        assert_eq!(found(&gateway, &payment).await, next);
        assert_eq!(test.charges(&order).await, 1);
    }
}

pub async fn a_call_beyond_the_rate_does_nothing_and_may_come_later(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    test.throttle(true).await;
    let new = new_payment(&order, 4900);
    let mut throttled = 0;
    for nth in 0..4 {
        let key = IdempotencyKey::create_after(&order, nth);
        match gateway.create(&new, &key).await {
            Err(GatewayError::Throttled { retry_after_ms }) => {
                assert!(retry_after_ms > 0);
                throttled += 1;
            }
            made => assert_eq!(made.unwrap().state, PaymentState::Unconfirmed),
        }
    }
    assert!(throttled >= 2, "{throttled}");
    test.throttle(false).await;
    let key = IdempotencyKey::create_after(&order, 3);
    let first = gateway.create(&new, &key).await.unwrap();
    assert_eq!(gateway.create(&new, &key).await.unwrap(), first);
}

pub async fn a_key_that_lapsed_is_as_good_as_new(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    let first = created(&gateway, &order).await;
    let key = IdempotencyKey::confirm(&order, 1);
    let paid = confirm(&gateway, &first, VISA, &key).await.unwrap();
    test.let_keys_lapse();
    assert_ne!(created(&gateway, &order).await.id, first.id);
    // Money that was captured is not captured again.
    assert_refused(confirm(&gateway, &first, VISA, &key).await);
    assert_eq!(found(&gateway, &first).await, paid.state);
    assert_eq!(test.charges(&order).await, 1);
}

pub async fn too_small_an_amount_is_refused(test: &impl GatewayUnderTest) {
    let (gateway, order) = (test.gateway(), order("1"));
    for (nth, minor, currency, taken) in [
        (0, 49, "EUR", false),
        (1, 50, "EUR", true),
        (2, 49, "JPY", false),
        (3, 50, "JPY", true),
        (4, 17_400, "HUF", false),
        (5, 17_500, "HUF", true),
    ] {
        let mut new = new_payment(&order, minor);
        new.amount.currency = id(currency);
        let made = gateway
            .create(&new, &IdempotencyKey::create_after(&order, nth))
            .await;
        if taken {
            assert_eq!(made.unwrap().amount, new.amount);
        } else {
            assert_refused(made);
        }
    }
}

/// Makes a test of each promise of a gateway. The expression makes a [`GatewayUnderTest`].
#[macro_export]
macro_rules! gateway_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [gateway]:
            creating_takes_no_money_and_repeats_are_one_payment,
            a_key_belongs_to_what_it_was_first_used_for,
            a_decline_names_the_card,
            an_amount_is_positive,
            confirming_takes_the_money_once,
            a_decline_is_a_state_with_its_reason,
            another_card_may_be_tried_and_each_decline_says_whose_it_is,
            a_payment_takes_as_many_tries_as_we_make_and_too_many_end_it,
            a_shopper_who_acts_pays_and_one_who_refuses_is_declined,
            a_cancelled_payment_never_takes_money,
            a_cancel_that_comes_too_late_answers_the_capture,
            an_id_the_gateway_does_not_know_is_none,
            refunds_repeat_harmlessly_and_never_exceed_the_capture,
            creates_and_confirms_at_once_charge_once,
            a_cancel_and_a_confirm_at_once_agree_on_who_won,
            a_failure_stays_under_its_key_and_the_next_key_is_free,
            a_call_beyond_the_rate_does_nothing_and_may_come_later,
            a_key_that_lapsed_is_as_good_as_new,
            too_small_an_amount_is_refused,
        );
    };
}
