//! Makes the part of a visit from a reservation to the end of its order.

use api::orders::{CheckoutBody, OrderView, PaymentBody, Shipping};
use api::problem::{Code, Problem};
use api::reservations::{ReservationView, ReserveBody};
use bytes::Bytes;
use domain::order::OrderStatus;
use http::Method;
use serde::de::DeserializeOwned;

use super::Shopper;
use crate::behaviour::{AfterReserving, Card};
use crate::client::{Answer, Call};
use crate::facts::{CheckoutRefused, Ending, Entry, Ordered, RepeatRefused, Reserved};
use crate::measure::Endpoint;
use crate::world::Tally;

/// The time after the payment deadline that a shopper waits for the order's final status, in ms.
const AFTER_DEADLINE_MS: i64 = 30_000;

/// The body of a checkout of a reservation, paid with `payment_method` and sent to an invented address.
#[must_use]
pub fn checkout_body(
    held: &ReservationView,
    payment_method: &str,
    name: String,
    email: String,
) -> CheckoutBody {
    CheckoutBody {
        reservation_id: held.reservation_id.clone(),
        amount: held.amount,
        payment_method: payment_method.to_owned(),
        shipping: Shipping {
            name,
            line1: "1 Harbour Street".to_owned(),
            line2: None,
            postal_code: Some("20457".to_owned()),
            city: Some("Hamburg".to_owned()),
            region: None,
            country: "DE".to_owned(),
            email,
            phone: None,
        },
    }
}

/// The bodies of the answers with `status`.
fn views<T: DeserializeOwned>(answers: &[Answer], status: u16) -> impl Iterator<Item = T> {
    let with_status = answers.iter().filter(move |a| a.status == status);
    with_status.filter_map(Answer::json)
}

impl Shopper {
    pub(super) fn reservation_call(&self) -> Option<Call> {
        let body = ReserveBody {
            sku: self.sku_code().parse().ok()?,
            quantity: self.quantity,
        };
        let uri = self.world.addresses.reservations.clone();
        self.post(uri, &self.reservation_key(), &body)
    }

    pub(super) fn reservation_key(&self) -> String {
        format!("{}-r{}", self.plan.shopper, self.attempt)
    }

    fn order_key(&self) -> String {
        format!("{}-o{}", self.plan.shopper, self.attempt)
    }

    /// Records every 201 to the reservation request that was sent last, and returns the first.
    pub(super) fn note_reservations(&self, answers: &[Answer]) -> Option<ReservationView> {
        let views = self.journal_reservations(answers);
        let first = views.into_iter().next()?;
        Tally::add(&self.world.tally.reserved, u64::from(first.quantity));
        Some(first)
    }

    /// Records every 201 to the reservation request that was sent last.
    pub(super) fn journal_reservations(&self, answers: &[Answer]) -> Vec<ReservationView> {
        let views: Vec<ReservationView> = views(answers, 201).collect();
        for view in &views {
            self.world.note(Entry::Reserved(Reserved {
                asked_ms: self.asked_ms,
                at_ms: self.world.now_ms(),
                shopper: self.plan.shopper.clone(),
                sku: view.sku.to_string(),
                quantity: view.quantity,
                key: self.reservation_key(),
                reservation_id: view.reservation_id.to_string(),
                expires_at_ms: view.expires_at.0.as_millis(),
                amount_minor: view.amount.amount_minor,
            }));
        }
        views
    }

    /// Records that a repeat of the reservation request got no reservation.
    pub(super) fn note_refused_repeat(&self) {
        if self.unanswered > 0 {
            self.world.note(Entry::RepeatRefused(RepeatRefused {
                at_ms: self.world.now_ms(),
                shopper: self.plan.shopper.clone(),
                sku: self.sku_code().to_owned(),
                key: self.reservation_key(),
            }));
        }
    }

    pub(super) async fn use_reservation(&mut self, held: &ReservationView) -> Ending {
        match self.plan.after_reserving {
            AfterReserving::Abandon => Ending::Abandoned,
            AfterReserving::Release => {
                self.pause(self.plan.checkout_after_ms).await;
                self.release(held).await
            }
            AfterReserving::CheckOut => {
                self.pause(self.plan.checkout_after_ms).await;
                self.check_out(held).await
            }
        }
    }

    async fn release(&mut self, held: &ReservationView) -> Ending {
        let path = format!("/drops/{}/reservations/{}", held.drop_id, held.reservation_id);
        let Some(uri) = self.world.addresses.at(&path) else {
            return Ending::Unexpected;
        };
        let call = self.call(Method::DELETE, uri);
        let answers = self.insist(Endpoint::Release, &call, false, false).await;
        match answers.first() {
            Some(answer) if answer.status == 204 => {
                self.world.note(Entry::Released {
                    at_ms: self.world.now_ms(),
                    reservation_id: held.reservation_id.to_string(),
                });
                Ending::Released
            }
            // The reservation no longer exists: its hold expired, or an earlier try released it and the answer got
            // lost.
            Some(answer) if answer.status == 404 || answer.status == 409 => Ending::Abandoned,
            Some(answer) => {
                self.note_surprise(Endpoint::Release, answer);
                Ending::Unexpected
            }
            None => Ending::GaveUp,
        }
    }

    async fn check_out(&mut self, held: &ReservationView) -> Ending {
        let Some(call) = self.checkout_call(held) else {
            return Ending::Unexpected;
        };
        let first = self.attempt == 1;
        let double = first && self.plan.double_click_ordering;
        let reload = first && self.plan.reloads_ordering;
        let answers = self.insist(Endpoint::Checkout, &call, double, reload).await;
        let mut accepted = None;
        for view in views::<OrderView>(&answers, 202) {
            self.world.note(Entry::Ordered(Ordered {
                at_ms: self.world.now_ms(),
                shopper: self.plan.shopper.clone(),
                key: self.order_key(),
                reservation_id: held.reservation_id.to_string(),
                order_id: view.order_id.to_string(),
            }));
            accepted.get_or_insert(view);
        }
        if let Some(order) = accepted {
            Tally::add(&self.world.tally.ordered, 1);
            return self.follow(order).await;
        }
        let Some(answer) = answers.first() else {
            return Ending::GaveUp;
        };
        let code = answer.json::<Problem>().map(|problem| problem.code);
        self.world.note(Entry::CheckoutRefused(CheckoutRefused {
            at_ms: self.world.now_ms(),
            shopper: self.plan.shopper.clone(),
            reservation_id: held.reservation_id.to_string(),
            code,
        }));
        match code {
            Some(Code::ReservationExpired) => Ending::HoldExpired,
            Some(Code::LimitReached) => Ending::LimitReached,
            _ => {
                self.note_surprise(Endpoint::Checkout, answer);
                Ending::Unexpected
            }
        }
    }

    fn checkout_call(&self, held: &ReservationView) -> Option<Call> {
        let subject = &self.plan.subject;
        let (name, email) = (format!("Shopper {subject}"), format!("{subject}@example.com"));
        let body = checkout_body(held, self.plan.card.token(), name, email);
        self.post(self.world.addresses.orders.clone(), &self.order_key(), &body)
    }

    /// Follows an order to its final status, and answers the bank and sends other cards as planned.
    async fn follow(&mut self, mut order: OrderView) -> Ending {
        let Some(uri) = self.world.addresses.at(&format!("/orders/{}", order.order_id)) else {
            return Ending::Unexpected;
        };
        if self.plan.cancels {
            self.plan.cancels = false;
            self.think(20, 1_500).await;
            self.cancel(&order).await;
        }
        let call = self.call(Method::GET, uri);
        let mut acted = false;
        let mut wait = self.rng.u64(500..1_200);
        loop {
            match order.status {
                OrderStatus::Paid | OrderStatus::Refunded => return Ending::Bought,
                OrderStatus::Declined => return Ending::PaymentFailed,
                OrderStatus::Cancelled => return Ending::Cancelled,
                OrderStatus::ActionRequired if !acted => {
                    acted = true;
                    self.answer_the_bank(&order).await;
                    wait = 700;
                }
                OrderStatus::PaymentFailed if order.payment_failure.is_some() => {
                    if !self.tries_again() {
                        // The order ends without further action of the shopper.
                        return Ending::PaymentFailed;
                    }
                    acted = false;
                    self.think(1_000, 4_000).await;
                    let newer = self.bring_another_card(&order).await;
                    order = newer.unwrap_or(order);
                    wait = 700;
                }
                OrderStatus::ActionRequired
                | OrderStatus::PaymentFailed
                | OrderStatus::Placed
                | OrderStatus::Paying => {}
            }
            if self.world.now_ms() > order.payment_deadline.0.as_millis() + AFTER_DEADLINE_MS {
                return Ending::GaveUp;
            }
            self.pause(wait).await;
            wait = (wait * 3 / 2).min(4_000);
            let answer = self.ask(Endpoint::ShowOrder, &call).await;
            order = answer.and_then(|a| a.json()).unwrap_or(order);
        }
    }

    /// Sends another card for the order. Returns the order with this card, or `None` if the API did not accept it.
    async fn bring_another_card(&mut self, order: &OrderView) -> Option<OrderView> {
        let uri = (self.world.addresses).at(&format!("/orders/{}/payments", order.order_id))?;
        let left = order.payment_failure.as_ref()?.cards_left;
        let body = PaymentBody {
            payment_method: self.plan.card.token().to_owned(),
        };
        let call = self.post(uri, &format!("{}-p{left}", self.order_key()), &body)?;
        let answers = self.insist(Endpoint::PayOrder, &call, false, false).await;
        let answer = answers.first()?;
        if answer.status == 202 {
            return answer.json();
        }
        // The refusal `wrong_state` is expected: the order has ended or is about to end.
        let code = answer.json::<Problem>().map(|problem| problem.code);
        if code != Some(Code::WrongState) {
            self.note_surprise(Endpoint::PayOrder, answer);
        }
        None
    }

    async fn cancel(&mut self, order: &OrderView) {
        let path = format!("/orders/{}/cancel", order.order_id);
        let Some(uri) = self.world.addresses.at(&path) else {
            return;
        };
        self.world.note(Entry::CancelAsked {
            at_ms: self.world.now_ms(),
            order_id: order.order_id.to_string(),
        });
        let call = self.call(Method::POST, uri);
        // The answer is not used: the order's status shows later how the order ended.
        self.insist(Endpoint::CancelOrder, &call, false, false).await;
    }

    async fn answer_the_bank(&mut self, order: &OrderView) {
        let outcome: &'static [u8] = match self.plan.card {
            Card::ActionCompleted => b"outcome=complete",
            Card::ActionFailed => b"outcome=fail",
            _ => return,
        };
        let Some(uri) = order.action.as_ref().and_then(|action| action.url.parse().ok()) else {
            return;
        };
        self.think(800, 4_000).await;
        let call = Call {
            body: Some((Bytes::from_static(outcome), "application/x-www-form-urlencoded")),
            ..Call::post(uri)
        };
        self.insist(Endpoint::Bank, &call, false, false).await;
    }
}
