//! Makes a shopper's visit on one device. The shopper acts only on the API's answers.

use api::drops::StatusView;
use api::problem::{Code, Problem};
use api::reservations::{ReservationView, ReserveBody};
use domain::claim::ClaimState;
use domain::drops::Phase;
use domain::ids::{DropId, ShopperId, SkuId};
use domain::status::Availability;
use domain::time::Timestamp;
use http::Method;
use loadtest::facts::{Ended, Ending, Entry, RepeatRefused, Reserved};
use serde::de::DeserializeOwned;

use crate::client::{Call, Client};
use crate::fleet::Answer;
use crate::function::Function;
use crate::plan::{Sends, ShopperPlan, Then, Wish, sku_name};

/// The time limit for the answer to any request except those that the plan describes, in milliseconds.
pub(crate) const LOOK_MS: u32 = 3_000;
/// The largest number of new requests of a shopper for one purchase.
const MOST_ROUNDS: u32 = 12;
/// The number of the last repeat of a request that was answered with a reservation.
const MOST_REPEATS: u16 = 4;

/// A shopper on one device, during a visit.
pub struct Shopper {
    pub(crate) client: Client,
    pub(crate) drop: DropId,
    pub(crate) shopper: ShopperId,
    device: usize,
    asked: u32,
    /// The time at which a function began to process the last answered request. The answer may be based on
    /// data of that time.
    asked_at: Timestamp,
}

/// The result of a reservation request and of its repeats.
enum Asked {
    Held(Box<ReservationView>),
    /// The units are not available now. Contains the ending of a purchase whose shopper does not ask again.
    Wait(Ending),
    Fewer(u32),
    Ended(Ending),
}

/// The name of a shopper in this drop.
#[must_use]
pub fn name(number: u32) -> String {
    format!("s{number}")
}

impl Shopper {
    /// A shopper who has not arrived. `device` distinguishes two devices of one shopper.
    #[must_use]
    pub fn new(client: Client, drop: DropId, shopper: ShopperId, device: usize) -> Self {
        Self {
            client,
            drop,
            shopper,
            device,
            asked: 0,
            asked_at: Timestamp::default(),
        }
    }

    /// Makes the whole visit, one wanted purchase after the other.
    pub async fn visit(mut self, plan: &ShopperPlan) {
        let world = self.client.world.clone();
        world.sleep(i64::from(plan.arrives_ms) - world.now_ms()).await;
        for wish in &plan.wishes {
            world.sleep(i64::from(wish.after_ms)).await;
            let mut quantity = wish.quantity;
            let ending = self.wish(wish, &mut quantity).await;
            world.tell(|| format!("{} ends: {ending:?}", self.client.name));
            let ended_at = match ending {
                Ending::Impatient => self.asked_at,
                _ => world.now(),
            };
            world.record(Entry::Ended(Ended {
                at_ms: ended_at.as_millis(),
                shopper: self.shopper.to_string(),
                sku: sku_name(wish.sku),
                quantity,
                buys: wish.then.buys(),
                ending,
            }));
        }
    }

    async fn wish(&mut self, wish: &Wish, quantity: &mut u32) -> Ending {
        let mut looks = wish.looks;
        for _ in 0..MOST_ROUNDS {
            if wish.browses
                && let Some(ending) = self.look(wish).await
            {
                return ending;
            }
            match self.ask(wish, *quantity).await {
                Asked::Held(view) => return self.use_reservation(wish, &view).await,
                Asked::Fewer(fewer) if wish.takes_fewer && fewer < *quantity => *quantity = fewer,
                Asked::Fewer(_) => return Ending::DidNotWantFewer,
                Asked::Ended(ending) => return ending,
                Asked::Wait(ending) if looks == 0 => return ending,
                Asked::Wait(_) => {
                    looks -= 1;
                    self.client.pause(0x3a17, 500, 3_000).await;
                }
            }
        }
        Ending::GaveUp
    }

    /// Reads the status once; returns an ending if a reservation request is pointless.
    async fn look(&mut self, wish: &Wish) -> Option<Ending> {
        let path = format!("/drops/{}/status", self.drop);
        let call = Call::new(Function::GetDrop, Method::GET, path);
        let answer = self.client.ask(&call, LOOK_MS).await;
        let answer = answer.filter(|answer| answer.status == 200)?;
        let status: StatusView = answer.json()?;
        match status.phase {
            Phase::Cancelled | Phase::Closed => {
                self.is_shut(&answer, false, "the status told a shopper");
                Some(Ending::Closed)
            }
            Phase::Upcoming => {
                let world = &self.client.world;
                let left = i64::from(world.plan.drop.opens_ms) - world.now_ms();
                let more = self.client.drawn(0x09e4, 0, 600);
                world.sleep(left.clamp(0, 60_000) + more).await;
                None
            }
            Phase::Paused => {
                self.client.world.note("saw that the drop is paused");
                self.client.pause(0x9a05, 500, 2_000).await;
                None
            }
            Phase::Open => {
                let wanted = sku_name(wish.sku);
                let of = status.skus.iter().find(|sku| sku.sku.as_str() == wanted)?;
                if of.availability != Availability::Gone {
                    return None;
                }
                self.is_gone(&answer, &of.sku, "the status told a shopper");
                Some(Ending::Gone)
            }
        }
    }

    /// Whether a hold of the shopper is in a shard of `sku`. When the shopper was refused nevertheless, the
    /// hold has expired.
    fn has_hold(&self, sku: &SkuId) -> bool {
        let mut held = false;
        self.client.fleet.services.memory.look_at_shards(|key, shard| {
            let claim = shard.claims.get(&self.shopper).filter(|_| key.sku == *sku);
            held |= claim.is_some_and(|claim| claim.state == ClaimState::Held);
        });
        held
    }

    fn is_shut(&self, by: &Answer, paused: bool, who: &str) {
        let watch = &self.client.fleet.services.watch;
        watch.shut(by.begun_at, paused, who);
    }

    fn is_gone(&self, by: &Answer, sku: &SkuId, who: &str) {
        self.client.world.note("told that it is gone");
        self.client
            .fleet
            .services
            .watch
            .gone(by.begun_at, &self.drop, sku, who);
    }

    /// Requests a reservation with a new key.
    async fn ask(&mut self, wish: &Wish, quantity: u32) -> Asked {
        self.asked += 1;
        let Ok(sku) = sku_name(wish.sku).parse::<SkuId>() else {
            return Asked::Ended(Ending::Unexpected);
        };
        let key = format!("{}-{}-r{}", self.shopper, self.device, self.asked);
        let watch = &self.client.fleet.services.watch;
        watch.asks(&self.drop, &sku, &self.shopper, &key);
        let body = ReserveBody {
            sku: sku.clone(),
            quantity,
        };
        let path = format!("/drops/{}/reservations", self.drop);
        let call = Call::new(Function::Reserve, Method::POST, path);
        let call = call.key(key.clone()).json(&body);
        let answers = self.client.insist(&call, wish.sends).await;
        if let Some(view) = self.note_reservations(&key, &answers) {
            if self.client.drawn(0x4e9a, 1, 8) == 1 {
                self.client.world.note("a request was repeated after its answer");
                self.repeat(Call { attempt: 2, ..call }, wish.sends.patience_ms, &key, &sku)
                    .await;
            }
            return Asked::Held(Box::new(view));
        }
        let Some(answer) = answers.first() else {
            return Asked::Ended(Ending::GaveUp);
        };
        let begun = answers.iter().map(|answer| answer.begun_at).min();
        self.asked_at = begun.unwrap_or(answer.begun_at);
        let Some(problem) = answer.json::<Problem>() else {
            return Asked::Ended(self.surprised(answer));
        };
        let world = &self.client.world;
        let (situation, asked) = match problem.code {
            Code::NotOpen => {
                world.note("asked before the opening");
                self.client.pause(0x4073, 200, 1_500).await;
                return Asked::Wait(Ending::GaveUp);
            }
            Code::Paused => {
                self.is_shut(answer, true, "a refusal told a shopper");
                ("asked while paused", Asked::Wait(Ending::GaveUp))
            }
            Code::SoldOut if problem.availability == Some(Availability::Gone) => {
                self.is_gone(answer, &sku, "a refusal told a shopper");
                return Asked::Ended(Ending::Gone);
            }
            // Until others may take the expired hold, the shopper can claim nothing else in the hold's shard,
            // and the function does not search for free units elsewhere.
            Code::SoldOut if self.has_hold(&sku) => (
                "refused: the own expired hold is in the way",
                Asked::Wait(Ending::GaveUp),
            ),
            Code::SoldOut => ("refused: all held", Asked::Wait(Ending::Impatient)),
            Code::FewerLeft => {
                let left = problem.available.unwrap_or(0).max(1);
                ("refused: fewer left", Asked::Fewer(left))
            }
            Code::LimitReached => ("refused: limit reached", Asked::Ended(Ending::LimitReached)),
            Code::ReservationExists => {
                world.note("refused: another reservation exists");
                self.forget(problem.reservation_id).await;
                return Asked::Wait(Ending::GaveUp);
            }
            Code::OrderInProgress => (
                "refused: an order in progress is in the way",
                Asked::Wait(Ending::GaveUp),
            ),
            // The refusal concerns this shopper and not the stock.
            Code::HoldsUnused => return Asked::Wait(Ending::GaveUp),
            Code::Closed => {
                self.is_shut(answer, false, "a refusal told a shopper");
                return Asked::Ended(Ending::Closed);
            }
            _ => return Asked::Ended(self.surprised(answer)),
        };
        world.note(situation);
        asked
    }

    /// Records every answer with `status` as the journal's `entry`, and returns the body of the first such answer.
    pub(crate) fn accepted<T: DeserializeOwned>(
        &self,
        answers: &[Answer],
        status: u16,
        entry: impl Fn(&T, &Answer) -> Entry,
    ) -> Option<T> {
        let accepted = answers.iter().filter(|answer| answer.status == status);
        let views: Vec<(T, &Answer)> = accepted
            .filter_map(|answer| Some((answer.json()?, answer)))
            .collect();
        for (view, answer) in &views {
            self.client.world.record(entry(view, answer));
        }
        views.into_iter().next().map(|(view, _)| view)
    }

    /// Records the reservations of the answers to the request with `key`, and returns the first.
    fn note_reservations(&self, key: &str, answers: &[Answer]) -> Option<ReservationView> {
        self.accepted(answers, 201, |view: &ReservationView, answer| {
            Entry::Reserved(Reserved {
                asked_ms: answer.begun_at.as_millis(),
                at_ms: self.client.world.now().as_millis(),
                shopper: self.shopper.to_string(),
                sku: view.sku.to_string(),
                quantity: view.quantity,
                key: key.to_owned(),
                reservation_id: view.reservation_id.to_string(),
                expires_at_ms: view.expires_at.0.as_millis(),
                amount_minor: view.amount.amount_minor,
            })
        })
    }

    /// Repeats the request with `key`, which was answered with a reservation. If the repeat is answered that all
    /// units are held, the shopper asks again when the answer says, for a limited number of times.
    async fn repeat(&self, mut call: Call, patience_ms: u32, key: &str, sku: &SkuId) {
        while call.attempt <= MOST_REPEATS {
            let answers = self.client.insist(&call, Sends::once(patience_ms)).await;
            if self.note_reservations(key, &answers).is_some() {
                return;
            }
            let mut problems = answers.iter().filter_map(Answer::json::<Problem>);
            let all_held = |problem: &Problem| problem.availability == Some(Availability::AllHeld);
            let Some(problem) = problems.find(all_held) else {
                return;
            };
            self.client.world.record(Entry::RepeatRefused(RepeatRefused {
                at_ms: self.client.world.now().as_millis(),
                shopper: self.shopper.to_string(),
                sku: sku.to_string(),
                key: key.to_owned(),
            }));
            let Some(seconds) = problem.retry_after_seconds else {
                return;
            };
            self.client.world.sleep(i64::from(seconds) * 1_000).await;
            call.attempt += 1;
        }
    }

    /// Releases a reservation that the API has named.
    async fn forget(&mut self, id: Option<String>) {
        let Some(id) = id else {
            return;
        };
        let path = format!("/drops/{}/reservations/{id}", self.drop);
        let shown = Call::new(Function::Reserve, Method::GET, path.clone());
        self.client.ask(&shown, LOOK_MS).await;
        self.release(path, id).await;
    }

    async fn use_reservation(&mut self, wish: &Wish, held: &ReservationView) -> Ending {
        match &wish.then {
            Then::Abandon => Ending::Abandoned,
            Then::Release { after_ms } => {
                self.client.world.sleep(i64::from(*after_ms)).await;
                let path = format!("/drops/{}/reservations/{}", self.drop, held.reservation_id);
                self.release(path, held.reservation_id.to_string()).await
            }
            Then::CheckOut(plan) => self.check_out(plan, held).await,
        }
    }

    /// Releases a reservation. After any answer, the shopper no longer counts it as their own.
    async fn release(&mut self, path: String, id: String) -> Ending {
        // A sent release counts as done, since the answer may get lost after the units were returned.
        self.client.world.record(Entry::Released {
            at_ms: self.client.world.now().as_millis(),
            reservation_id: id,
        });
        let call = Call::new(Function::Reserve, Method::DELETE, path);
        match self.client.ask(&call, LOOK_MS).await {
            Some(answer) if answer.status == 204 => Ending::Released,
            Some(answer) if matches!(answer.status, 404 | 409) => Ending::Abandoned,
            Some(answer) => self.surprised(&answer),
            None => Ending::GaveUp,
        }
    }

    pub(crate) const fn nth(&self) -> (usize, u32) {
        (self.device, self.asked)
    }

    /// Reports an answer that the API does not promise as a broken promise.
    pub(crate) fn surprised(&self, answer: &Answer) -> Ending {
        self.client.surprised(answer);
        Ending::Unexpected
    }
}
