//! Models the way from shoppers to functions: a CDN if there is one, API Gateway's limit, and the routes.
//!
//! The CDN has 13 regional caches and one origin shield. A cache keeps an answer for a second if the API allows it.
//! A request that arrives during a fetch gets the former copy if this copy is at most a second too old, and
//! otherwise waits for the new copy. The regional caches fetch from the shield, which fetches from the API in the
//! same way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::Method;
use loadtest::client::{Answer, Call, Silence};
use loadtest::world::{Reach, Waiting};
use ports::payment::PaymentId;
use replay::function::Function;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::fleet::{Fleet, Served};
use crate::lock;
use crate::settings::Lifted;
use crate::world::{Bucket, LEAD_US, World};

/// The number of regional caches of the CDN.
const REGIONS: u64 = 13;
/// The index of the shield among the caches.
const SHIELD: u64 = REGIONS;
/// The time that a copy is fresh, in µs: the API's `max-age`.
const FRESH_US: i64 = 1_000_000;
/// The time after that in which a copy may be served while it is renewed, in µs: the API's
/// `stale-while-revalidate`.
const STALE_US: i64 = 1_000_000;
/// The beginning of the path of the bank's page.
const BANK: &str = "/authenticate/";

#[derive(Default)]
struct Kept {
    kept: Option<(i64, Served)>,
    fetching: Option<Arc<Notify>>,
}

/// The CDN, API Gateway's limit and the routes of a run.
pub struct Front {
    world: Arc<World>,
    fleet: Arc<Fleet>,
    limit: Mutex<Bucket>,
    copies: Mutex<BTreeMap<(u64, String), Kept>>,
}

/// The function that serves a path; `None` if no route has it.
fn function_of(path: &str) -> Option<Function> {
    let mut parts = path.split('/').skip(1);
    match (parts.next()?, parts.nth(1)) {
        ("operator", _) => Some(Function::OperateDrop),
        ("drops", Some("reservations")) => Some(Function::Reserve),
        ("drops", _) => Some(Function::GetDrop),
        ("orders", None) if path == "/orders" => Some(Function::Checkout),
        ("orders", _) => Some(Function::GetOrder),
        _ => None,
    }
}

impl Front {
    /// The way to the functions of `fleet`.
    #[must_use]
    pub fn new(world: &Arc<World>, fleet: &Arc<Fleet>) -> Arc<Self> {
        let quotas = &world.settings.capacity.quotas;
        let (rate, burst) = (quotas.api_requests_per_second, quotas.api_burst);
        Arc::new(Self {
            world: Arc::clone(world),
            fleet: Arc::clone(fleet),
            limit: Mutex::new(Bucket::full(f64::from(rate), f64::from(burst))),
            copies: Mutex::default(),
        })
    }

    /// Answers a shopper's request, and counts it.
    pub async fn answer(self: &Arc<Self>, call: Call) -> Answer {
        let world = &self.world;
        if call.uri.path().starts_with(BANK) {
            return self.at_the_bank(&call);
        }
        let reserves = call.method == Method::POST && function_of(call.uri.path()) == Some(Function::Reserve);
        world.count(|second| {
            second.requests += 1;
            second.reservations += u64::from(reserves);
        });
        world.takes(world.settings.times.front_us).await;
        let cacheable = call.method == Method::GET && call.bearer.is_none();
        let served = if world.settings.cdn && cacheable {
            let region = world.draw() % REGIONS;
            self.from_cdn(region, call).await
        } else {
            self.ask_origin(call).await
        };
        let status = served.answer.status;
        world.count(|second| match status {
            429 => second.too_many += 1,
            500.. => second.errors += 1,
            400.. => second.refused += 1,
            _ => second.answered += 1,
        });
        served.answer
    }

    fn from_cdn(self: &Arc<Self>, cache: u64, call: Call) -> Waiting<'_, Served> {
        Box::pin(async move {
            let key = (cache, call.uri.path().to_owned());
            loop {
                let now_us = self.world.timeline.now_us();
                let fetched = {
                    let mut copies = lock(&self.copies);
                    let copy = copies.entry(key.clone()).or_default();
                    let age_us = copy.kept.as_ref().map(|(at_us, _)| now_us - at_us);
                    let shown = match (age_us, &copy.fetching) {
                        (Some(age_us), _) if age_us < FRESH_US => true,
                        (Some(age_us), Some(_)) => age_us < FRESH_US + STALE_US,
                        _ => false,
                    };
                    if shown && let Some((_, served)) = &copy.kept {
                        if cache != SHIELD {
                            self.world.count(|second| second.from_cdn += 1);
                        }
                        return served.clone();
                    }
                    match &copy.fetching {
                        Some(fetched) => Some(Arc::clone(fetched)),
                        None => {
                            copy.fetching = Some(Arc::default());
                            None
                        }
                    }
                };
                if let Some(fetched) = fetched {
                    fetched.notified().await;
                    continue;
                }
                let served = if cache == SHIELD {
                    self.ask_origin(call.clone()).await
                } else {
                    self.from_cdn(SHIELD, call.clone()).await
                };
                let mut copies = lock(&self.copies);
                if let Some(copy) = copies.get_mut(&key) {
                    if served.cacheable {
                        copy.kept = Some((self.world.timeline.now_us(), served.clone()));
                    }
                    if let Some(fetched) = copy.fetching.take() {
                        fetched.notify_waiters();
                    }
                }
                return served;
            }
        })
    }

    async fn ask_origin(&self, call: Call) -> Served {
        let admitted = self.world.settings.lifted.contains(&Lifted::Api)
            || lock(&self.limit).take(self.world.timeline.now_us());
        if !admitted {
            return Served::by_the_front(429);
        }
        match (function_of(call.uri.path()), call.request().map(Body::new)) {
            (Some(function), request) => self.fleet.request(function, request).await,
            _ => Served::by_the_front(404),
        }
    }

    /// Answers a request to the bank's page, where the shopper confirms or refuses a payment.
    fn at_the_bank(&self, call: &Call) -> Answer {
        let id = call.uri.path().strip_prefix(BANK);
        let id = id.and_then(|id| id.parse::<PaymentId>().ok());
        let body = call.body.as_ref();
        let confirms = body.is_some_and(|(body, _)| body.ends_with(b"complete"));
        let finished = id.is_some_and(|id| self.fleet.gateway.finish_action(&id, confirms));
        Answer {
            status: if finished { 200 } else { 404 },
            retry_after: None,
            modelled_us: 0,
            body: bytes::Bytes::new(),
        }
    }
}

/// The access of the load test's shoppers to the model.
pub struct Modelled {
    front: Arc<Front>,
    began: Instant,
}

impl std::fmt::Debug for Modelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Modelled").finish_non_exhaustive()
    }
}

impl Modelled {
    /// The access to `front`. Times are counted from `began`; only their differences matter.
    #[must_use]
    pub fn new(front: &Arc<Front>, began: Instant) -> Self {
        Self {
            front: Arc::clone(front),
            began,
        }
    }

    /// The opening on the shoppers' clock.
    #[must_use]
    pub fn opening(&self) -> Instant {
        self.at(LEAD_US)
    }

    fn at(&self, us: i64) -> Instant {
        self.began + Duration::from_micros(us.unsigned_abs())
    }
}

impl Reach for Modelled {
    fn send<'a>(&'a self, call: &'a Call) -> Waiting<'a, Result<Answer, Silence>> {
        // The function continues even if the client no longer waits.
        let (answer, answered) = oneshot::channel();
        let (front, call) = (Arc::clone(&self.front), call.clone());
        self.front.world.timeline.spawn(None, async move {
            answer.send(front.answer(call).await).ok();
        });
        Box::pin(async move { answered.await.map_err(|_| Silence::Connection) })
    }

    fn now(&self) -> Instant {
        self.at(self.front.world.timeline.now_us())
    }

    fn wait_until(&self, due: Instant) -> Waiting<'_, ()> {
        let us = due.saturating_duration_since(self.began).as_micros();
        let until_us = i64::try_from(us).unwrap_or(i64::MAX);
        Box::pin(self.front.world.timeline.sleep_until(until_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_leads_to_its_function() {
        for (path, function) in [
            ("/drops", Some(Function::GetDrop)),
            ("/drops/d", Some(Function::GetDrop)),
            ("/drops/d/status", Some(Function::GetDrop)),
            ("/drops/d/reservations", Some(Function::Reserve)),
            ("/drops/d/reservations/r", Some(Function::Reserve)),
            ("/orders", Some(Function::Checkout)),
            ("/orders/o", Some(Function::GetOrder)),
            ("/orders/o/cancel", Some(Function::GetOrder)),
            ("/operator/drops/d", Some(Function::OperateDrop)),
            ("/", None),
        ] {
            assert_eq!(function_of(path), function, "{path}");
        }
    }
}
