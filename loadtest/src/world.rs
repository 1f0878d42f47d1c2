//! Holds the state that all shoppers of a run share: the API's addresses, the drop's clock, and the records. Also signs
//! the shoppers' tokens.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderValue, Uri};
use tokens::{Audience, SigningKey};
use tokio::time::Instant;

use crate::client::{Answer, Call, Client, Silence};
use crate::drop_file::DropFile;
use crate::facts::{DropFacts, Entry};
use crate::journal::Journal;
use crate::measure::Recorder;

/// Totals for the progress display.
#[derive(Debug, Default)]
pub struct Tally {
    pub arrived: AtomicU64,
    pub ended: AtomicU64,
    pub reserved: AtomicU64,
    pub ordered: AtomicU64,
    pub paid: AtomicU64,
}

impl Tally {
    pub fn add(total: &AtomicU64, by: u64) {
        total.fetch_add(by, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(total: &AtomicU64) -> u64 {
        total.load(Ordering::Relaxed)
    }
}

/// The boxed future of a [`Reach`] method.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The shoppers' access to the API, and their clock: connections and real time, or the model of both in
/// `loadtest/scale`.
pub trait Reach: std::fmt::Debug + Send + Sync {
    /// Sends a request and waits for the whole answer.
    fn send<'a>(&'a self, call: &'a Call) -> Waiting<'a, Result<Answer, Silence>>;

    /// The present time of the shoppers' clock.
    fn now(&self) -> Instant;

    /// Returns when the shoppers' clock reaches `due`.
    fn wait_until(&self, due: Instant) -> Waiting<'_, ()>;
}

impl Reach for Client {
    fn send<'a>(&'a self, call: &'a Call) -> Waiting<'a, Result<Answer, Silence>> {
        Box::pin(Self::send(self, call))
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait_until(&self, due: Instant) -> Waiting<'_, ()> {
        Box::pin(tokio::time::sleep_until(due))
    }
}

/// The time of the opening by two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// The opening in ms since 1970.
    pub wall_ms: i64,
    /// The opening by the monotonic clock.
    pub instant: Instant,
}

impl Opening {
    /// The present time in ms since 1970, computed from the monotonic clock.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.wall_ms + self.since(Instant::now())
    }

    /// Milliseconds from the opening to `at`; negative before it.
    #[must_use]
    pub fn since(&self, at: Instant) -> i64 {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        match at.checked_duration_since(self.instant) {
            Some(after) => ms(after),
            None => -ms(self.instant.duration_since(at)),
        }
    }

    /// The time `us` microseconds after the opening, or before it if `us` is negative.
    #[must_use]
    pub fn plus_micros(&self, us: i64) -> Instant {
        let distance = Duration::from_micros(us.unsigned_abs());
        let moved = if us < 0 {
            self.instant.checked_sub(distance)
        } else {
            self.instant.checked_add(distance)
        };
        moved.unwrap_or(self.instant)
    }
}

#[derive(Debug, Clone)]
pub struct Addresses {
    base: String,
    /// `GET /drops`
    pub list: Uri,
    /// `GET /drops/{drop_id}`
    pub drop: Uri,
    /// `GET /drops/{drop_id}/status`
    pub status: Uri,
    /// `POST /drops/{drop_id}/reservations`
    pub reservations: Uri,
    /// `POST /orders`
    pub orders: Uri,
}

impl Addresses {
    /// The drop's addresses at the API under `base`.
    ///
    /// # Errors
    /// When `base` is not a URL.
    pub fn new(base: &str, drop_id: &str) -> anyhow::Result<Self> {
        let base = base.trim_end_matches('/').to_owned();
        let at = |path: &str| -> anyhow::Result<Uri> {
            let address = format!("{base}{path}").parse();
            address.with_context(|| format!("the address {base}"))
        };
        let of_drop = |path: &str| at(&format!("/drops/{drop_id}{path}"));
        Ok(Self {
            list: at("/drops")?,
            drop: of_drop("")?,
            status: of_drop("/status")?,
            reservations: of_drop("/reservations")?,
            orders: at("/orders")?,
            base,
        })
    }

    /// The address of `path` at the API; `None` if it is invalid.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<Uri> {
        format!("{}{path}", self.base).parse().ok()
    }
}

/// The access to the API, the drop and the recorder, which all shoppers of a run share.
#[derive(Debug)]
pub struct World {
    /// The access to the API, and the shoppers' clock.
    pub reach: Arc<dyn Reach>,
    /// The addresses of the routes.
    pub addresses: Addresses,
    pub file: DropFile,
    /// The drop as it was published.
    pub facts: DropFacts,
    pub opening: Opening,
    pub recorder: Recorder,
    pub journal: Journal,
    pub tally: Tally,
    /// The largest number of times that a shopper sends a request if answers are errors or missing.
    pub tries: u32,
}

impl World {
    /// The present time in ms since 1970, by the shoppers' clock.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.opening.wall_ms + self.opening.since(self.reach.now())
    }

    /// The time since `moment`; zero if `moment` is in the future.
    #[must_use]
    pub fn since(&self, moment: Instant) -> Duration {
        self.reach.now().saturating_duration_since(moment)
    }

    /// Adds an entry to the journal.
    pub fn note(&self, entry: Entry) {
        self.journal.write(entry);
    }
}

/// The `Authorization` headers of the shoppers. They are signed before the run, since signing takes CPU time that
/// the run needs.
///
/// # Errors
/// When a token cannot be signed.
pub fn sign_all<'a>(
    key: &SigningKey,
    shoppers: impl Iterator<Item = &'a str>,
    now_s: i64,
) -> anyhow::Result<Vec<HeaderValue>> {
    shoppers
        .map(|shopper| {
            let token = key.sign(Audience::Shopper, shopper, now_s, now_s + 4 * 3_600)?;
            let mut header = HeaderValue::from_str(&format!("Bearer {token}"))?;
            header.set_sensitive(true);
            Ok(header)
        })
        .collect()
}
