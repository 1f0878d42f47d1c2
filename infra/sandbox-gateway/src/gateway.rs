//! Holds the state of a running sandbox: its book, its idempotency keys, its faults and its webhooks.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Response, header};
use axum::response::IntoResponse;
use tokio::sync::watch;

use crate::book::Book;
use crate::error::{self, Reply};
use crate::faults::{Barred, Fate, StoredFailure, Switch};
use crate::idempotency::{Claim, Keys};
use crate::log::Log;
use crate::methods::Behaviour;
use crate::request::Operation;
use crate::webhooks::Webhooks;
use crate::{ApiKey, Options};

/// The state of a running sandbox, which all requests share.
pub struct Gateway {
    options: Options,
    book: Mutex<Book>,
    keys: Keys,
    stopping: watch::Receiver<bool>,
}

/// The result of a POST that was admitted and whose parameters are valid.
pub(crate) enum Done {
    Answered(Reply),
    /// The stored answer of an earlier request with the same key.
    Replayed(Reply),
    /// The answer is lost, whether or not the request was carried out.
    Lost,
}

impl Gateway {
    /// Opens the log, and makes a sandbox without payments.
    ///
    /// # Errors
    /// When the log cannot be opened.
    pub fn open(options: Options, base_url: String, stopping: watch::Receiver<bool>) -> io::Result<Self> {
        let log = Log::open(&options.log_path)?;
        let (clock, webhooks) = (Arc::clone(&options.clock), Arc::clone(&options.webhooks));
        let book = Book::new(options.seed, log, clock, base_url, webhooks);
        Ok(Self {
            options,
            book: Mutex::new(book),
            keys: Keys::default(),
            stopping,
        })
    }

    /// Locks the book. The lock is never held across an await.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> &Switch {
        &self.options.faults
    }

    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.options.webhooks
    }

    /// The currency in which the account is paid out, if it is set.
    pub(crate) fn settlement(&self) -> Option<&str> {
        self.options.settlement.as_deref()
    }

    pub(crate) fn api_key(&self) -> &ApiKey {
        &self.options.api_key
    }

    /// Refuses a request without the API key, and a request that a fault refuses.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer "));
        if !given.is_some_and(|key| self.options.api_key.accepts(key)) {
            return Err(error::unauthorized().into());
        }
        match self.faults().admit((self.options.clock)()) {
            Ok(()) => Ok(()),
            Err(Barred::Outage) => Err(error::outage().into()),
            Err(Barred::TooMany { says_when }) => Err(Refused {
                reply: error::too_many(),
                says_when,
            }),
        }
    }

    /// Carries a POST out once for each idempotency key.
    pub(crate) async fn carry_out(
        &self,
        operation: Operation,
        key: Option<String>,
        fingerprint: &str,
    ) -> Done {
        let now_ms = (self.options.clock)();
        let running = match key
            .as_deref()
            .map(|key| self.keys.claim(key, fingerprint, now_ms))
        {
            None => None,
            Some(Claim::Mine(running)) => Some(running),
            Some(Claim::Replay(reply)) => return Done::Replayed(reply),
            Some(Claim::InUse) => return Done::Answered(error::key_in_use()),
            Some(Claim::Mismatch) => return Done::Answered(error::key_mismatch()),
        };
        let (fate, wait) = self.decide(&operation);
        let latency = wait + Duration::from_millis(self.faults().faults().latency_ms);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if fate == Fate::LostBefore {
            return Done::Lost;
        }
        let failure = key.as_deref().and_then(|key| self.faults().stored_failure(key));
        let mut reply = match failure {
            Some(StoredFailure::Before) => error::internal("Something went wrong."),
            _ => self.book().execute(operation),
        };
        if failure == Some(StoredFailure::After) {
            reply = error::internal("Something went wrong, after all was done.");
        }
        if let Some(running) = running {
            running.finish(&reply);
        }
        match fate {
            Fate::Answered => Done::Answered(reply),
            Fate::LostBefore | Fate::LostAfter => Done::Lost,
        }
    }

    /// The fault of the request, and its delay beyond the general latency.
    fn decide(&self, operation: &Operation) -> (Fate, Duration) {
        let faults = self.faults();
        match operation {
            Operation::Confirm {
                intent,
                payment_method,
                ..
            } => {
                let Some((attempt, subject, behaviour)) =
                    self.book().begin_confirm(intent, payment_method.as_deref())
                else {
                    return (Fate::Answered, Duration::ZERO);
                };
                match behaviour {
                    Some(Behaviour::LostBeforeCharge) if attempt == 0 => (Fate::LostBefore, Duration::ZERO),
                    Some(Behaviour::LostAfterCharge) if attempt == 0 => (Fate::LostAfter, Duration::ZERO),
                    Some(Behaviour::Slow) => (faults.confirm_fate(&subject, attempt), self.options.slow),
                    _ => (faults.confirm_fate(&subject, attempt), Duration::ZERO),
                }
            }
            Operation::Create { metadata, .. } => {
                let order = metadata
                    .get("order_id")
                    .and_then(|id| id.as_str())
                    .unwrap_or_default();
                (faults.other_fate("create", order, 0), Duration::ZERO)
            }
            Operation::Cancel { intent } => (faults.other_fate("cancel", intent, 0), Duration::ZERO),
            Operation::Refund { intent, amount } => (
                faults.other_fate("refund", intent, amount.unwrap_or(0)),
                Duration::ZERO,
            ),
        }
    }

    /// Waits as long as an answer is held back: for [`Options::hang`], or until the sandbox stops.
    pub(crate) async fn keep_back(&self) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(self.options.hang) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }
}

/// The answer to a request that was not carried out.
pub(crate) struct Refused {
    reply: Reply,
    /// Whether the answer contains the time to wait.
    says_when: bool,
}

impl From<Reply> for Refused {
    fn from(reply: Reply) -> Self {
        Self {
            reply,
            says_when: false,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        if self.says_when {
            ([(header::RETRY_AFTER, "1")], self.reply).into_response()
        } else {
            self.reply.into_response()
        }
    }
}
