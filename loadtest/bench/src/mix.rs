//! Makes the requests of the load: a fixed mix, in an order that is drawn once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Uri};
use loadtest::client::{Answer, Call};
use loadtest::shopper::checkout_body;
use loadtest::world::{Addresses, sign_all};
use serde::Serialize;
use serde_json::{Value, json};
use tokens::SigningKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The drop's page; one in ten is the calendar.
    Browse,
    Status,
    /// A reservation. Each is made by another shopper.
    Reserve,
    /// A checkout of an earlier reservation.
    Checkout,
    Order,
}

impl Kind {
    /// The expected status of the answer.
    #[must_use]
    pub const fn wanted(self) -> u16 {
        match self {
            Self::Browse | Self::Status | Self::Order => 200,
            Self::Reserve => 201,
            Self::Checkout => 202,
        }
    }
}

/// How often each kind occurs in [`TURN`] requests: 60 % browse, 20 % status, 15 % reserve, the rest orders.
const SHARES: [(Kind, usize); 5] = [
    (Kind::Browse, 24),
    (Kind::Status, 8),
    (Kind::Reserve, 6),
    (Kind::Checkout, 1),
    (Kind::Order, 1),
];

/// The number of requests in one round of the mix.
pub const TURN: usize = 40;

/// The kinds of requests of one round, in an order that `seed` determines.
#[must_use]
pub fn turn(seed: u64) -> Vec<Kind> {
    let kinds = SHARES.map(|(kind, times)| std::iter::repeat_n(kind, times));
    let mut kinds: Vec<Kind> = kinds.into_iter().flatten().collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut kinds);
    kinds
}

/// A reservation that can be checked out: its shopper, and the body of the checkout.
struct Held {
    shopper: usize,
    body: Bytes,
}

/// Makes the requests of the mix one after another. Keeps the data of earlier answers that later requests
/// need.
pub struct Mix {
    turn: Vec<Kind>,
    addresses: Addresses,
    skus: Vec<String>,
    bearers: Vec<HeaderValue>,
    asked: AtomicUsize,
    shoppers: AtomicUsize,
    held: Mutex<VecDeque<Held>>,
    orders: Mutex<VecDeque<(usize, String)>>,
}

/// A request to send, with its kind and its shopper, which [`Mix::answered`] needs.
pub struct Next {
    pub kind: Kind,
    pub call: Call,
    shopper: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mix {
    /// The mix for one drop, which repeats the kinds of `turn`, with tokens for `shoppers` shoppers.
    ///
    /// # Errors
    /// When a token cannot be signed.
    pub fn new(
        addresses: Addresses,
        skus: Vec<String>,
        key: &SigningKey,
        shoppers: usize,
        now_s: i64,
        turn: Vec<Kind>,
    ) -> anyhow::Result<Self> {
        let names: Vec<String> = (0..shoppers).map(|n| format!("b{n}")).collect();
        Ok(Self {
            turn,
            addresses,
            skus,
            bearers: sign_all(key, names.iter().map(String::as_str), now_s)?,
            asked: AtomicUsize::new(0),
            shoppers: AtomicUsize::new(0),
            held: Mutex::default(),
            orders: Mutex::default(),
        })
    }

    /// Returns the next request. If no reservation can be checked out, or no order can be read, the request
    /// is a reservation.
    ///
    /// # Errors
    /// When no shoppers are left.
    pub fn next(&self) -> anyhow::Result<Next> {
        let n = self.asked.fetch_add(1, Ordering::Relaxed);
        let kind = self.turn.get(n % self.turn.len().max(1));
        match kind.copied().unwrap_or(Kind::Browse) {
            Kind::Browse => Ok(match (n / TURN + n).is_multiple_of(10) {
                true => public(Kind::Browse, &self.addresses.list),
                false => public(Kind::Browse, &self.addresses.drop),
            }),
            Kind::Status => Ok(public(Kind::Status, &self.addresses.status)),
            Kind::Reserve => self.reserve(),
            Kind::Checkout => match lock(&self.held).pop_front() {
                Some(held) => self.checkout(held),
                None => self.reserve(),
            },
            Kind::Order => {
                let order = lock(&self.orders).pop_front();
                match order {
                    Some((shopper, id)) => self.order(shopper, &id),
                    None => self.reserve(),
                }
            }
        }
    }

    fn reserve(&self) -> anyhow::Result<Next> {
        let shopper = self.shoppers.fetch_add(1, Ordering::Relaxed);
        let sku = self.skus.get(shopper % self.skus.len().max(1));
        let sku = sku.context("no SKU")?;
        let body = json!({"sku": sku, "quantity": 1}).to_string();
        let call = Call::post(self.addresses.reservations.clone()).json(body);
        self.by(shopper, Kind::Reserve, Some(format!("reserve-{shopper}")), call)
    }

    fn checkout(&self, held: Held) -> anyhow::Result<Next> {
        let call = Call::post(self.addresses.orders.clone()).json(held.body);
        let key = format!("buy-{}", held.shopper);
        self.by(held.shopper, Kind::Checkout, Some(key), call)
    }

    fn order(&self, shopper: usize, id: &str) -> anyhow::Result<Next> {
        let uri = self.addresses.at(&format!("/orders/{id}"));
        let call = Call::get(uri.context("an order's address")?);
        self.by(shopper, Kind::Order, None, call)
    }

    fn by(&self, shopper: usize, kind: Kind, key: Option<String>, call: Call) -> anyhow::Result<Next> {
        let bearer = self.bearers.get(shopper).context("no shoppers left")?;
        let call = Call {
            bearer: Some(bearer.clone()),
            key: key.map(HeaderValue::try_from).transpose()?,
            ..call
        };
        Ok(Next { kind, call, shopper })
    }

    /// Keeps the data of an expected answer for later requests.
    pub fn answered(&self, next: &Next, answer: &Answer) {
        match next.kind {
            Kind::Reserve => {
                if let Some(view) = answer.json() {
                    let (name, email) = ("Ada Example".to_owned(), "ada@example.org".to_owned());
                    let body = checkout_body(&view, "pm_card_visa", name, email);
                    if let Ok(body) = serde_json::to_vec(&body) {
                        lock(&self.held).push_back(Held {
                            shopper: next.shopper,
                            body: body.into(),
                        });
                    }
                }
            }
            Kind::Checkout => {
                if let Some(view) = answer.json::<Value>()
                    && let Some(id) = view.get("order_id").and_then(Value::as_str)
                {
                    lock(&self.orders).push_back((next.shopper, id.to_owned()));
                }
            }
            Kind::Browse | Kind::Status | Kind::Order => {}
        }
    }
}

/// A GET that needs no token.
fn public(kind: Kind, uri: &Uri) -> Next {
    Next {
        kind,
        call: Call::get(uri.clone()),
        shopper: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_the_mix() {
        let kinds = turn(1);
        let share = |kind| kinds.iter().filter(|k| **k == kind).count() * 1000 / TURN;
        assert_eq!(kinds.len(), TURN);
        assert_eq!(
            [
                Kind::Browse,
                Kind::Status,
                Kind::Reserve,
                Kind::Checkout,
                Kind::Order
            ]
            .map(share),
            [600, 200, 150, 25, 25]
        );
        assert_ne!(turn(1), turn(2));
    }
}
