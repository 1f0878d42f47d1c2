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
use crate::plan::{Card, Then, Wish};
use crate::shopper::{LOOK, Shopper};

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
    pub(crate) async fn check_out(&mut self, wish: &Wish, held: &ReservationView) -> Ending {
        let Then::CheckOut {
            after_ms,
            sends,
            card,
            further,
            cancel_after_ms,
            acts_after_ms,
        } = wish.then
        else {
            return Ending::Abandoned;
        };
        self.client.world.sleep(i64::from(after_ms)).await;
        let (device, asked) = self.nth();
        let key = format!("{}-{device}-o{asked}", self.shopper);
        let call = Call::new(Function::Checkout, Method::POST, "/orders");
        let (name, email) = ("A Shopper".to_owned(), "a@example.com".to_owned());
        let call = call
            .key(key.clone())
            .json(&checkout_body(held, card.token(), name, email));
        let answers = self.client.insist(&call, sends).await;
        let mut accepted = None;
        for view in answers
            .iter()
            .filter(|answer| answer.status == 202)
            .filter_map(crate::fleet::Answer::json::<OrderView>)
        {
            self.client.journal.write(Entry::Ordered(Ordered {
                at_ms: self.client.world.now().as_millis(),
                shopper: self.shopper.to_string(),
                key: key.clone(),
                reservation_id: held.reservation_id.to_string(),
                order_id: view.order_id.to_string(),
            }));
            accepted.get_or_insert(view);
        }
        if let Some(order) = accepted {
            let cards = [Some(card), further[0], further[1]];
            return self.follow(order, cards, cancel_after_ms, acts_after_ms).await;
        }
        let Some(answer) = answers.first() else {
            return Ending::GaveUp;
        };
        let problem = answer.json::<Problem>();
        // A hold lasts by the clock of the process that refuses. In the replay that clock is known, so the
        // audit's tolerance for unknown clocks is taken off.
        self.client.journal.write(Entry::CheckoutRefused(CheckoutRefused {
            at_ms: answer.at.as_millis() - CLOCK_SKEW_MS,
            shopper: self.shopper.to_string(),
            reservation_id: held.reservation_id.to_string(),
            code: problem.as_ref().map(|problem| problem.code),
        }));
        match problem.map(|problem| problem.code) {
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
    async fn follow(
        &mut self,
        mut order: OrderView,
        cards: [Option<Card>; 3],
        cancel_after_ms: Option<u32>,
        acts_after_ms: u32,
    ) -> Ending {
        let world = self.client.world.clone();
        let path = format!("/orders/{}", order.order_id);
        if let Some(after_ms) = cancel_after_ms {
            world.sleep(i64::from(after_ms)).await;
            self.client.journal.write(Entry::CancelAsked {
                at_ms: world.now().as_millis(),
                order_id: order.order_id.to_string(),
            });
            let call = Call::new(Function::GetOrder, Method::POST, format!("{path}/cancel"));
            let answers = self.client.insist(&call, LOOK).await;
            match answers.first() {
                Some(answer) if matches!(answer.status, 200 | 202 | 409) => {}
                Some(answer) => return self.surprised(answer),
                None => {}
            }
        }
        let mut cards = cards.into_iter().flatten();
        let mut card = cards.next();
        let mut acts = true;
        let mut wait_ms = 700;
        loop {
            match order.status {
                OrderStatus::Paid | OrderStatus::Refunded => return Ending::Bought,
                OrderStatus::Declined => return Ending::PaymentFailed,
                OrderStatus::Cancelled => return Ending::Cancelled,
                OrderStatus::ActionRequired if acts => {
                    acts = false;
                    world.sleep(i64::from(acts_after_ms)).await;
                    self.answer_the_bank(&order, card);
                }
                OrderStatus::PaymentFailed if order.payment_failure.is_some() => {
                    let Some(next) = cards.next() else {
                        // The shopper has no further card, and the order ends by itself.
                        return Ending::PaymentFailed;
                    };
                    let wait = i64::from(if next == Card::Ignored {
                        acts_after_ms
                    } else {
                        acts_after_ms % 3_000
                    });
                    world.sleep(wait).await;
                    if let Some(ending) = self.bring(&path, &mut order, next).await {
                        return ending;
                    }
                    (card, acts) = (Some(next), true);
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
            let answers = self.client.insist(&call, LOOK).await;
            match answers.first() {
                Some(answer) if answer.status == 200 && listed => {}
                Some(answer) if answer.status == 200 => {
                    if let Some(newer) = answer.json() {
                        order = newer;
                    }
                }
                Some(answer) => return self.surprised(answer),
                None => {}
            }
        }
    }

    /// Submits another card; returns how the visit ends if the answer is unexpected.
    async fn bring(&mut self, path: &str, order: &mut OrderView, card: Card) -> Option<Ending> {
        let (device, asked) = self.nth();
        let left = order
            .payment_failure
            .as_ref()
            .map_or(0, |failure| failure.cards_left);
        let key = format!("{}-{device}-p{asked}-{left}", self.shopper);
        let call = Call::new(Function::GetOrder, Method::POST, format!("{path}/payments"));
        let body = PaymentBody {
            payment_method: card.token().to_owned(),
        };
        let answers = self.client.insist(&call.key(key).json(&body), LOOK).await;
        match answers.first() {
            Some(answer) if answer.status == 202 => {
                self.client.world.note("another card");
                if let Some(newer) = answer.json() {
                    *order = newer;
                }
                None
            }
            Some(answer)
                if answer
                    .json::<Problem>()
                    .is_some_and(|problem| problem.code == Code::WrongState) =>
            {
                self.client.world.note("too late for another card");
                None
            }
            Some(answer) => Some(self.surprised(answer)),
            None => None,
        }
    }

    fn answer_the_bank(&self, order: &OrderView, card: Option<Card>) {
        let id = order
            .action
            .as_ref()
            .and_then(|action| action.url.rsplit('/').next()?.parse::<PaymentId>().ok());
        let Some(id) = id else {
            return;
        };
        if matches!(card, Some(Card::Confirmed | Card::Unconfirmed)) {
            let pays = card == Some(Card::Confirmed);
            finish(&self.client.world, &self.client.fleet.gateway, &id, pays);
        }
    }
}
