//! Makes one shopper's visit, from the first request to the last answer.
//!
//! A shopper acts only on the API's answers. The shopper opens the page and the status, waits for the opening,
//! reserves, retries with the same key, may check out, and follows the order to its end.

mod buying;
mod sending;

pub use buying::checkout_body;

use std::sync::Arc;
use std::time::Duration;

use api::drops::StatusView;
use api::problem::Code;
use domain::drops::Phase;
use domain::status::Availability;
use http::HeaderValue;
use tokio::time::Instant;

use crate::behaviour::{Card, Plan};
use crate::client::{Answer, Call};
use crate::facts::{Ended, Ending, Entry};
use crate::measure::Endpoint;
use crate::world::{Tally, World};

#[derive(Debug)]
pub struct Shopper {
    world: Arc<World>,
    plan: Plan,
    bearer: HeaderValue,
    rng: fastrand::Rng,
    /// The time at which the next request should be sent; `None` if the shopper sends it immediately.
    intended: Option<Instant>,
    /// The time at which the last request was sent, in ms since 1970.
    asked_ms: i64,
    /// The number of reservations requested so far. It is part of their idempotency keys.
    attempt: u32,
    /// Whether the next reservation is requested with the last one's key.
    keeps_key: bool,
    /// The number of requests with the current key that got no answer of the function.
    unanswered: u16,
    /// Whether no reservation has been requested yet.
    is_first_click: bool,
    sku: usize,
    quantity: u32,
    looks: u32,
    /// An unexpected answer, for the report.
    surprise: Option<String>,
}

/// How a series of status requests ended: the SKU is available, or the visit ends.
enum Look {
    Available,
    Ended(Ending),
}

/// The result of a reservation request and of its repeats.
enum Wish {
    Held(Box<api::reservations::ReservationView>),
    /// The units are not available now: the shopper asks again after this number of seconds, or leaves with this
    /// ending.
    Wait(Ending, Option<u32>),
    /// The SKU is gone, but the shopper has a second choice.
    Another,
    Ended(Ending),
}

impl Shopper {
    #[must_use]
    pub fn new(world: Arc<World>, plan: Plan, bearer: HeaderValue) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(plan.jitter_seed),
            sku: plan.sku,
            quantity: plan.quantity,
            looks: plan.looks,
            world,
            plan,
            bearer,
            intended: None,
            asked_ms: 0,
            attempt: 0,
            keeps_key: false,
            unanswered: 0,
            is_first_click: true,
            surprise: None,
        }
    }

    /// Makes the whole visit; `due` is the arrival time. Returns an unexpected answer, if there was one.
    pub async fn visit(mut self, due: Instant) -> Option<String> {
        let world = Arc::clone(&self.world);
        Tally::add(&world.tally.arrived, 1);
        let due_ms = i32::try_from(world.opening.since(due)).unwrap_or(i32::MAX);
        world.recorder.arrival(due_ms, world.since(due));
        self.intended = Some(due);
        let buys = self.plan.buys();
        let ending = self.shop().await;
        if ending == Ending::Bought {
            Tally::add(&world.tally.paid, 1);
        }
        Tally::add(&world.tally.ended, 1);
        world.note(Entry::Ended(Ended {
            at_ms: world.now_ms(),
            shopper: self.plan.shopper.clone(),
            sku: self.sku_code().to_owned(),
            quantity: self.quantity,
            buys,
            ending,
        }));
        self.surprise
    }

    fn sku_code(&self) -> &str {
        let sku = self.world.file.skus.get(self.sku);
        sku.map_or("", |sku| sku.sku.as_str())
    }

    async fn shop(&mut self) -> Ending {
        if self.plan.opens_list {
            let call = Call::get(self.world.addresses.list.clone());
            self.ask(Endpoint::ListDrops, &call).await;
            self.think(300, 1_500).await;
        }
        if self.plan.opens_page {
            let call = Call::get(self.world.addresses.drop.clone());
            self.ask(Endpoint::ShowDrop, &call).await;
            self.think(200, 1_000).await;
        }
        loop {
            if let Look::Ended(ending) = self.look().await {
                return ending;
            }
            let reservation = match self.reserve().await {
                Wish::Held(reservation) => reservation,
                Wish::Wait(without_patience, asked) => {
                    if !self.has_patience_for(asked) {
                        return without_patience;
                    }
                    self.wait_to_ask_again(asked).await;
                    continue;
                }
                // The second choice has not been refused yet, so the next status request does not count against
                // `looks`.
                Wish::Another => {
                    self.think(200, 800).await;
                    continue;
                }
                Wish::Ended(ending) => return ending,
            };
            if self.plan.hoards {
                let left_ms = reservation.expires_at.0.as_millis() - self.world.now_ms();
                self.pause(u64::try_from(left_ms).unwrap_or(0)).await;
                self.think(200, 900).await;
                continue;
            }
            let ending = self.use_reservation(&reservation).await;
            if ending != Ending::PaymentFailed || !self.tries_again() {
                return ending;
            }
            self.think(1_000, 3_000).await;
        }
    }

    /// Whether the shopper pays again after a declined card. The next card works, unless the shopper has no working
    /// card.
    fn tries_again(&mut self) -> bool {
        if self.plan.declines_always {
            return true;
        }
        let tries_again = std::mem::take(&mut self.plan.tries_again);
        if tries_again {
            self.plan.card = Card::Works;
        }
        tries_again
    }

    /// Requests the status until the wanted SKU is available or the shopper has a reason to leave.
    async fn look(&mut self) -> Look {
        let call = Call::get(self.world.addresses.status.clone());
        let mut unanswered = 0;
        loop {
            let answer = self.ask(Endpoint::ShowStatus, &call).await;
            let asked = answer.as_ref().and_then(|a| a.retry_after);
            let shown = answer.filter(|a| a.status == 200);
            let Some(status) = shown.and_then(|a| a.json::<StatusView>()) else {
                unanswered += 1;
                if unanswered >= self.world.tries {
                    return Look::Ended(Ending::GaveUp);
                }
                self.back_off(unanswered, asked).await;
                continue;
            };
            unanswered = 0;
            match status.phase {
                Phase::Closed | Phase::Cancelled => return Look::Ended(Ending::Closed),
                Phase::Upcoming => {
                    let left_ms = status.starts_at.0.as_millis() - self.world.now_ms();
                    if self.wait_for_opening(left_ms, status.next_poll_seconds).await {
                        return Look::Available;
                    }
                }
                Phase::Paused => self.wait_for_units(status.next_poll_seconds).await,
                Phase::Open => match self.availability(&status) {
                    Availability::Available => {
                        self.think(100, 600).await;
                        return Look::Available;
                    }
                    Availability::AllHeld if self.has_patience_for(None) => {
                        self.wait_for_units(status.next_poll_seconds).await
                    }
                    Availability::AllHeld => return Look::Ended(Ending::Impatient),
                    Availability::Gone => match self.second_wish() {
                        true => self.think(200, 800).await,
                        false => return Look::Ended(Ending::Gone),
                    },
                },
            }
        }
    }

    fn availability(&self, status: &StatusView) -> Availability {
        let wanted = self.sku_code();
        let shown = status.skus.iter().find(|s| s.sku.as_str() == wanted);
        shown.map_or(Availability::Gone, |s| s.availability)
    }

    /// Makes the second choice the wanted SKU; returns false if the shopper has none.
    fn second_wish(&mut self) -> bool {
        let second = self.plan.second_sku.take();
        if let Some(second) = second {
            self.sku = second;
            self.quantity = self.plan.quantity;
        }
        second.is_some()
    }

    /// Whether the shopper waits for another look, or for as many seconds as the server `asked` for if that is longer.
    fn has_patience_for(&mut self, asked: Option<u32>) -> bool {
        let asked_ms = u64::from(asked.unwrap_or(0)) * 1_000;
        let looks = u32::try_from(asked_ms.div_ceil(self.look_ms().max(1))).unwrap_or(u32::MAX);
        let looks = looks.max(1);
        let waits = self.looks >= looks;
        if self.looks != u32::MAX {
            self.looks = self.looks.saturating_sub(looks);
        }
        waits
    }

    /// Waits for the opening or the next status request, whichever comes first. Returns true if the opening came
    /// first.
    async fn wait_for_opening(&mut self, left_ms: i64, next_poll_seconds: Option<u32>) -> bool {
        let poll_ms = u64::from(next_poll_seconds.unwrap_or(2)) * 1_000;
        let poll_ms = self.rng.u64(poll_ms..=poll_ms + poll_ms / 2);
        match u64::try_from(left_ms) {
            // Shoppers click shortly after the countdown ends, with different delays.
            Ok(left_ms) if left_ms <= poll_ms => {
                let reaction = self.rng.u64(50..2_500);
                self.pause(left_ms + reaction).await;
                true
            }
            Ok(_) => {
                self.pause(poll_ms).await;
                false
            }
            // The opening has passed by the shopper's clock, but the status does not show it yet.
            Err(_) => {
                self.think(300, 900).await;
                false
            }
        }
    }

    async fn wait_for_units(&mut self, next_poll_seconds: Option<u32>) {
        let asked = u64::from(next_poll_seconds.unwrap_or(1)) * 1_000;
        let wait = asked.max(self.look_ms());
        let wait = self.rng.u64(wait * 3 / 4..=wait * 3 / 2);
        self.pause(wait).await;
    }

    /// Waits as long as a refusal `asked`, and a short random time; without that, as long as between two looks.
    async fn wait_to_ask_again(&mut self, asked: Option<u32>) {
        match asked {
            Some(seconds) => {
                let more_ms = self.rng.u64(0..=1_000);
                self.pause(u64::from(seconds) * 1_000 + more_ms).await;
            }
            None => self.wait_for_units(None).await,
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few seconds"
    )]
    fn look_ms(&self) -> u64 {
        (self.world.file.behaviour.look_seconds * 1e3) as u64
    }

    /// Requests the wanted units. All tries have the same key, and their number is limited. After the answer that all
    /// units are held, the next request has this key too: an earlier try may have made a reservation.
    async fn reserve(&mut self) -> Wish {
        if !std::mem::take(&mut self.keeps_key) {
            self.attempt += 1;
            self.unanswered = 0;
        }
        let Some(call) = self.reservation_call() else {
            self.surprise = Some("no call".to_owned());
            return Wish::Ended(Ending::Unexpected);
        };
        let mut early = 0;
        loop {
            let first = std::mem::take(&mut self.is_first_click);
            let double = first && self.plan.double_click_reserving;
            let reload = first && self.plan.reloads_reserving;
            let answers = self.insist(Endpoint::Reserve, &call, double, reload).await;
            if let Some(view) = self.note_reservations(&answers) {
                return Wish::Held(Box::new(view));
            }
            let Some(answer) = answers.first() else {
                return Wish::Ended(Ending::GaveUp);
            };
            let Some(problem) = answer.json::<api::problem::Problem>() else {
                return self.surprised_by(Endpoint::Reserve, answer);
            };
            return match problem.code {
                Code::SoldOut if problem.availability == Some(Availability::AllHeld) => {
                    self.keeps_key = true;
                    self.note_refused_repeat();
                    Wish::Wait(Ending::Impatient, answer.retry_after)
                }
                // These refusals concern the shopper, not the stock.
                Code::OrderInProgress | Code::HoldsUnused => Wish::Wait(Ending::GaveUp, answer.retry_after),
                Code::SoldOut if self.second_wish() => Wish::Another,
                Code::SoldOut => Wish::Ended(Ending::Gone),
                Code::FewerLeft => match problem.available {
                    Some(fewer) if fewer > 0 && fewer < self.quantity && self.plan.takes_fewer => {
                        self.quantity = fewer;
                        self.think(200, 900).await;
                        return Box::pin(self.reserve()).await;
                    }
                    _ => Wish::Ended(Ending::DidNotWantFewer),
                },
                Code::NotOpen | Code::Paused if early < self.world.tries => {
                    early += 1;
                    self.think(300, 900).await;
                    continue;
                }
                Code::Closed => Wish::Ended(Ending::Closed),
                Code::LimitReached => Wish::Ended(Ending::LimitReached),
                _ => self.surprised_by(Endpoint::Reserve, answer),
            };
        }
    }

    fn surprised_by(&mut self, endpoint: Endpoint, answer: &Answer) -> Wish {
        self.note_surprise(endpoint, answer);
        Wish::Ended(Ending::Unexpected)
    }

    fn note_surprise(&mut self, endpoint: Endpoint, answer: &Answer) {
        let body = String::from_utf8_lossy(answer.body.get(..answer.body.len().min(200)).unwrap_or_default());
        self.surprise = Some(format!("{} answered {} {body}", endpoint.as_str(), answer.status));
    }

    /// Waits for a random time between the two limits, drawn evenly.
    async fn think(&mut self, from_ms: u64, to_ms: u64) {
        let ms = self.rng.u64(from_ms..=to_ms.max(from_ms));
        self.pause(ms).await;
    }

    /// Waits for `ms`. The end of the wait is the intended time of the next request.
    async fn pause(&mut self, ms: u64) {
        let due = self.world.reach.now() + Duration::from_millis(ms);
        self.world.reach.wait_until(due).await;
        self.world.recorder.step(self.world.since(due));
        self.intended = Some(due);
    }
}
