//! Receives the payment gateway's webhooks: a webhook with a valid signature becomes a hint on the payments' queue.
//!
//! **Problem.** A payment can end while this system has no call in progress: after the bank's page, or when
//! an answer was lost. The sweeper causes a look-up only every few seconds. The gateway reports the end
//! sooner, by a request to an address that everyone can reach.
//!
//! **Model.** `POST /payments/{gateway}/webhook` reads the raw body within a bound, checks the signature, and
//! sends a hint with the order's id. It reads no table and does not call the gateway, so it answers within
//! milliseconds. `process-order` reads the order: it ignores an order that has ended, and for an open order it
//! calls the gateway, whose answer decides. So a webhook may arrive before or after the answer to the
//! system's own call, late, twice, out of order, or never.
//!
//! | request | answer |
//! |---|---|
//! | of another gateway's path | 404 |
//! | longer than [`MAX_BODY_BYTES`] | 413 |
//! | without a signature that fits body, time and secret | 401, nothing is sent |
//! | signed, and not an event | 400 |
//! | an event that can end an order of this shop | 200 once the queue has the hint |
//! | any other event | 200 |
//! | the secret cannot be read, or the queue does not accept the hint | 503; the gateway sends the event again |
//!
//! **Repeats.** The process keeps the ids of the last [`REMEMBERED`] events, and sends nothing for a repeated
//! event. Other processes do not have this list. A table for it would cost more than it saves: a
//! second hint costs one read of the order, and at most one look-up while the order is open.
//!
//! **What it does not do.** It changes no order, and logs no part of a body. If webhooks do not arrive, the
//! sweeper's reminders complete every order.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::post;
use domain::limits::{API_TIMEOUT_SECONDS, FunctionLimits, Trigger};
use events::PaymentHint;
use hashlink::LruCache;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use ports::messages::{SendError, SendHint};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;
use ports::secrets::ReadSecret;
use startup::spans::of_order;
use stripe::webhook::{GATEWAY, MAX_BODY_BYTES, Notice, SIGNATURE_HEADER, SignatureError, read, verify};
use tracing::Instrument as _;
use web::{Caching, Code, Failure, Problem, answer};

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(API_TIMEOUT_SECONDS, Trigger::Http);

/// The number of events that a process remembers.
pub const REMEMBERED: usize = 4_096;

/// Receives webhooks: `secrets` reads the signing secrets, and `queue` accepts the hints.
pub struct Webhooks<S, Q, R> {
    secrets: S,
    queue: Q,
    runtime: R,
    /// The ids of events whose hints the queue has accepted.
    known: Mutex<LruCache<String, ()>>,
}

impl<S: ReadSecret + 'static, Q: SendHint + 'static, R: Runtime> Webhooks<S, Q, R> {
    /// Builds the function's router, whose handler uses these ports.
    pub fn router(secrets: S, queue: Q, runtime: R) -> Router {
        let webhooks = Self {
            secrets,
            queue,
            runtime,
            known: Mutex::new(LruCache::new(REMEMBERED)),
        };
        let routes = Router::new().route("/payments/{gateway}/webhook", post(Self::receive));
        web::conventions(routes).with_state(Arc::new(webhooks))
    }

    async fn receive(
        State(webhooks): State<Arc<Self>>,
        Path(gateway): Path<String>,
        request: Request,
    ) -> Result<Response, Failure> {
        if gateway != GATEWAY {
            return Err(Problem::new(Code::NotFound, "There is no such payment gateway.").into());
        }
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
            let detail = format!("The body may have at most {MAX_BODY_BYTES} bytes.");
            return Err(Problem::new(Code::TooLarge, detail).into());
        };
        let body = body.to_bytes();
        webhooks.check(&parts.headers, &body).await?;
        let Ok(notice) = read(&body) else {
            tracing::warn!(
                "a webhook has a valid signature, but its body is no event that can be read; answered 400"
            );
            let problem = Problem::new(Code::InvalidRequest, "The body is no event.");
            return Err(problem.field("body", "an event of the gateway").into());
        };
        if let Some(notice) = notice {
            let span = of_order(&notice.order);
            webhooks.pass_on(notice).instrument(span).await?;
        }
        let body = Received { received: true };
        Ok(answer(StatusCode::OK, Caching::Never, &body))
    }

    /// Checks that the gateway signed the body.
    async fn check(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Failure> {
        let secrets = self.secrets.read().await.map_err(|error| {
            tracing::warn!(%error, "the webhooks' secret cannot be read; answered 503, so the gateway sends the event again");
            unavailable()
        })?;
        let header = headers
            .get(SIGNATURE_HEADER)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let checked = verify(header, body, &secrets, self.runtime.now());
        match checked {
            Ok(()) => Ok(()),
            Err(SignatureError::NoSecret) => {
                tracing::error!(
                    "the webhooks' secret must contain one or two signing secrets; until then, webhooks are answered 503"
                );
                self.secrets.refused().await;
                Err(unavailable())
            }
            Err(error) => {
                tracing::info!(%error, "a webhook's signature was refused; answered 401");
                if error == SignatureError::Mismatch {
                    // The secret may have been replaced. The next webhooks are checked with the secret read again,
                    // and the gateway sends this event again.
                    self.secrets.refused().await;
                }
                let detail = "The signature does not fit the body, the time and the secret.";
                Err(Problem::new(Code::Unauthenticated, detail).into())
            }
        }
    }

    /// Sends the hint, unless this process has already sent it.
    async fn pass_on(&self, notice: Notice) -> Result<(), Failure> {
        if self.known().get(&notice.event).is_some() {
            tracing::info!("this process has already sent the event's hint, so no second hint is sent");
            return Ok(());
        }
        let hint = PaymentHint {
            event: notice.event,
            order: notice.order,
            at: self.runtime.now(),
        };
        let sent = retry(&self.runtime, IN_REQUEST, || self.queue.hint(&hint)).await;
        sent.map_err(|error: SendError| {
            tracing::warn!(%error, "the payments queue did not accept the hint; answered 503, so the gateway sends the event again");
            unavailable()
        })?;
        tracing::info!("hint sent to the payments queue");
        self.known().insert(hint.event, ());
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, LruCache<String, ()>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of the answer 200.
#[derive(serde::Serialize)]
struct Received {
    received: bool,
}

fn unavailable() -> Failure {
    Problem::new(Code::Throttled, "Send the event again.")
        .retry_after(1)
        .into()
}
