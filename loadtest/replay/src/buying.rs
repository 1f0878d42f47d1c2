//! Makes the part of a visit from a reservation to the end of its order.

use api::orders::{OrderView, PaymentBody};
use api::problem::{Code, Problem};
use api::reservations::ReservationView;
use domain::limits::CLOCK_SKEW_MS;
use domain::order::OrderStatus;
use http::Method;
use loadtest::facts::{CheckoutRefused, Ending, Entry, Ordered};
use loadtest::shopper::checkout_body;
use ports::payment::PaymentId;

use crate::bank::{PASSES, SLOW_DECLINES, SLOW_PAYS, finish};
use crate::client::Call;
use crate::function::Function;
use crate::plan::{Card, CheckOut};
use crate::shopper::{LOOK_MS, Shopper};

/// The time after an order's payment deadline in which the shopper still requests the order's status, in
/// milliseconds.
const AFTER_DEADLINE_MS: i64 = 30_000;
impl Card {
    /// The gateway's token for this means of payment.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Works => "pm_card_visa",
            Self::Declined => "pm_card_visa_chargeDeclined",
            Self::Passes => PASSES,
            Self::NoFunds => "pm_card_chargeDeclinedInsufficientFunds",
            Self::Confirmed | Self::Unconfirmed | Self::Ignored => "pm_card_authenticationRequired",
            Self::SlowPays => SLOW_PAYS,
            Self::SlowDeclines => SLOW_DECLINES,
        }
    }
}

impl Shopper {
    pub(crate) async fn check_out(&mut self, plan: &CheckOut, held: &ReservationView) -> Ending {
        self.client.world.sleep(i64::from(plan.after_ms)).await;
        let (device, asked) = self.nth();
        let key = format!("{}-{device}-o{asked}", self.shopper);
        let call = Call::new(Function::Checkout, Method::POST, "/orders");
        let (name, email) = ("A Shopper".to_owned(), "a@example.com".to_owned());
        let call = call
            .key(key.clone())
            .json(&checkout_body(held, plan.card.token(), name, email));
        let answers = self.client.insist(&call, plan.sends).await;
        let accepted = self.accepted(&answers, 202, |view: &OrderView, _| {
            Entry::Ordered(Ordered {
                at_ms: self.client.world.now().as_millis(),
                shopper: self.shopper.to_string(),
                key: key.clone(),
                reservation_id: held.reservation_id.to_string(),
                order_id: view.order_id.to_string(),
            })
        });
        if let Some(order) = accepted {
            return self.follow(order, plan).await;
        }
        let Some(answer) = answers.first() else {
            return Ending::GaveUp;
        };
        let code = answer.json().map(|problem: Problem| problem.code);
        // A hold lasts by the clock of the process that refuses. In the replay that clock is known, so the
        // audit's tolerance for unknown clocks is taken off.
        self.client.world.record(Entry::CheckoutRefused(CheckoutRefused {
            at_ms: answer.at.as_millis() - CLOCK_SKEW_MS,
            shopper: self.shopper.to_string(),
            reservation_id: held.reservation_id.to_string(),
            code,
        }));
        match code {
            Some(Code::ReservationExpired) => {
                self.client.world.note("refused: the hold had expired");
                Ending::HoldExpired
            }
            Some(Code::LimitReached) => Ending::LimitReached,
            Some(Code::Closed) => Ending::Closed,
            _ => self.surprised(answer),
        }
    }

    /// Follows an order to its end: cancels it, answers the bank, and submits further cards, as planned.
    async fn follow(&mut self, mut order: OrderView, plan: &CheckOut) -> Ending {
        let world = self.client.world.clone();
        let path = format!("/orders/{}", order.order_id);
        if let Some(after_ms) = plan.cancel_after_ms {
            world.sleep(i64::from(after_ms)).await;
            world.record(Entry::CancelAsked {
                at_ms: world.now().as_millis(),
                order_id: order.order_id.to_string(),
            });
            let call = Call::new(Function::GetOrder, Method::POST, format!("{path}/cancel"));
            if let Some(answer) = self.client.ask(&call, LOOK_MS).await
                && !matches!(answer.status, 200 | 202 | 409)
            {
                return self.surprised(&answer);
            }
        }
        let mut cards = plan.further.into_iter().flatten();
        let mut card = plan.card;
        let mut acts = true;
        let mut wait_ms = 700;
        loop {
            match order.status {
                OrderStatus::Paid | OrderStatus::Refunded => return Ending::Bought,
                OrderStatus::Declined => return Ending::PaymentFailed,
                OrderStatus::Cancelled => return Ending::Cancelled,
                OrderStatus::ActionRequired if acts => {
                    acts = false;
                    world.sleep(i64::from(plan.acts_after_ms)).await;
                    self.answer_the_bank(&order, card);
                }
                OrderStatus::PaymentFailed if order.payment_failure.is_some() => {
                    let Some(next) = cards.next() else {
                        // The shopper has no further card, and the order ends by itself.
                        return Ending::PaymentFailed;
                    };
                    let wait_ms = match next {
                        Card::Ignored => plan.acts_after_ms,
                        _ => plan.acts_after_ms % 3_000,
                    };
                    world.sleep(i64::from(wait_ms)).await;
                    if let Some(ending) = self.bring(&path, &mut order, next).await {
                        return ending;
                    }
                    (card, acts) = (next, true);
                }
                OrderStatus::ActionRequired
                | OrderStatus::PaymentFailed
                | OrderStatus::Placed
                | OrderStatus::Paying => {}
            }
            let deadline_ms = order.payment_deadline.0.as_millis();
            if world.now().as_millis() > deadline_ms + AFTER_DEADLINE_MS {
                return Ending::GaveUp;
            }
            world.sleep(wait_ms).await;
            wait_ms = (2 * wait_ms).min(6_000);
            let listed = wait_ms == 1_400;
            let asked = if listed { "/orders?limit=5" } else { &path };
            let call = Call::new(Function::GetOrder, Method::GET, asked);
            let Some(answer) = self.client.ask(&call, LOOK_MS).await else {
                continue;
            };
            if answer.status != 200 {
                return self.surprised(&answer);
            }
            // The list of orders is no order.
            if !listed && let Some(newer) = answer.json() {
                order = newer;
            }
        }
    }

    /// Submits another card; returns how the visit ends if the answer is unexpected.
    async fn bring(&mut self, path: &str, order: &mut OrderView, card: Card) -> Option<Ending> {
        let (device, asked) = self.nth();
        let failure = order.payment_failure.as_ref();
        let left = failure.map_or(0, |failure| failure.cards_left);
        let key = format!("{}-{device}-p{asked}-{left}", self.shopper);
        let call = Call::new(Function::GetOrder, Method::POST, format!("{path}/payments"));
        let body = PaymentBody {
            payment_method: card.token().to_owned(),
        };
        let answer = self.client.ask(&call.key(key).json(&body), LOOK_MS).await?;
        let code = || answer.json().map(|problem: Problem| problem.code);
        if answer.status == 202 {
            self.client.world.note("another card");
            if let Some(newer) = answer.json() {
                *order = newer;
            }
        } else if code() == Some(Code::WrongState) {
            self.client.world.note("too late for another card");
        } else {
            return Some(self.surprised(&answer));
        }
        None
    }

    fn answer_the_bank(&self, order: &OrderView, card: Card) {
        let last = |url: &str| url.rsplit('/').next()?.parse::<PaymentId>().ok();
        if let Some(id) = order.action.as_ref().and_then(|action| last(&action.url))
            && matches!(card, Card::Confirmed | Card::Unconfirmed)
        {
            let pays = card == Card::Confirmed;
            let gateway = &self.client.fleet.services.gateway;
            finish(&self.client.world, gateway, &id, pays);
        }
    }
}
