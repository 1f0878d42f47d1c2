//! The API's routes: authenticate, validate, claim the key, carry out, and answer or hold the answer back.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Form;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::sync::watch;

use crate::book::Book;
use crate::error::{self, Reply};
use crate::faults::{Barred, Fate, StoredFailure, Switch};
use crate::idempotency::{Claim, Keys, MAX_KEY_CHARS};
use crate::log::Log;
use crate::methods::Behaviour;
use crate::request::{self, Operation, Params};
use crate::webhooks::Webhooks;
use crate::{ApiKey, Options, amounts, pages};

/// A running sandbox.
pub struct Gateway {
    options: Options,
    book: Mutex<Book>,
    keys: Keys,
    stopping: watch::Receiver<bool>,
}

/// The result of a POST.
enum Done {
    Answered(Reply),
    /// The stored answer of an earlier request with the same key.
    Replayed(Reply),
    /// The answer is lost, whether or not the request was carried out.
    Lost,
}

impl Gateway {
    /// A sandbox without any payments, its log opened.
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

    /// The books. The lock is never held across an await.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> &Switch {
        &self.options.faults
    }

    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.options.webhooks
    }

    pub(crate) fn api_key(&self) -> &ApiKey {
        &self.options.api_key
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Refused> {
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

    async fn carry_out(&self, operation: Operation, key: Option<String>, fingerprint: &str) -> Done {
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

    /// Holds an answer back until the client has given up, or the sandbox stops.
    async fn keep_back(&self) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(self.options.hang) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }
}

/// All routes over one sandbox.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/payment_intents", post(create))
        .route("/v1/payment_intents/{id}", get(show_intent))
        .route("/v1/payment_intents/{id}/confirm", post(confirm))
        .route("/v1/payment_intents/{id}/cancel", post(cancel))
        .route("/v1/refunds", post(refund))
        .route("/v1/refunds/{id}", get(show_refund))
        .merge(pages::router())
        .fallback(|| async { error::no_route() })
        .with_state(gateway)
}

type Shared = State<Arc<Gateway>>;

/// The answer to a POST, including refused ones.
type Answered = Result<Response<Body>, Refused>;

/// The answer to a request that was not carried out.
struct Refused {
    reply: Reply,
    /// With how long to wait.
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

async fn create(State(gateway): Shared, request: Request) -> Answered {
    run(gateway, request, request::create).await
}

async fn confirm(State(gateway): Shared, Path(id): Path<String>, request: Request) -> Answered {
    run(gateway, request, |params| request::confirm(&id, params)).await
}

async fn cancel(State(gateway): Shared, Path(id): Path<String>, request: Request) -> Answered {
    run(gateway, request, |params| request::cancel(&id, params)).await
}

async fn refund(State(gateway): Shared, request: Request) -> Answered {
    run(gateway, request, request::refund).await
}

async fn show_intent(
    State(gateway): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Reply, Refused> {
    show(&gateway, &headers, |book| book.show_intent(&id)).await
}

async fn show_refund(
    State(gateway): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Reply, Refused> {
    show(&gateway, &headers, |book| book.show_refund(&id)).await
}

async fn show(
    gateway: &Gateway,
    headers: &HeaderMap,
    read: impl FnOnce(&Book) -> Reply,
) -> Result<Reply, Refused> {
    gateway.admit(headers)?;
    let latency_ms = gateway.faults().faults().latency_ms;
    if latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(latency_ms)).await;
    }
    Ok(read(&gateway.book()))
}

async fn run(
    gateway: Arc<Gateway>,
    request: Request,
    read: impl FnOnce(&Params) -> Result<Operation, Reply>,
) -> Answered {
    gateway.admit(request.headers())?;
    let key = idempotency_key(request.headers())?;
    let path = request.uri().path().to_owned();
    let params = form(request).await?;
    let operation = read(&params)?;
    if let Operation::Create { amount, currency, .. } = &operation
        && amounts::is_too_small(*amount, currency, gateway.options.settlement.as_deref())
    {
        return Err(error::invalid(
            "amount_too_small",
            "amount",
            "Amount must convert to at least the minimum.",
        )
        .into());
    }
    let fingerprint = request::fingerprint(&path, &params);
    // In a separate task, so that the request completes even if the client closes the connection.
    let task = {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { gateway.carry_out(operation, key, &fingerprint).await })
    };
    match task.await {
        Ok(Done::Answered(reply)) => Ok(reply.into_response()),
        Ok(Done::Replayed(reply)) => Ok(([("idempotent-replayed", "true")], reply).into_response()),
        Ok(Done::Lost) => {
            gateway.keep_back().await;
            Err(error::gave_up().into())
        }
        Err(_) => Err(error::internal("The request's task failed.").into()),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Reply> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY_CHARS => Ok(Some(key.to_owned())),
        _ => Err(error::invalid_text(
            "Idempotency-Key",
            "A key has 1 to 255 characters.",
        )),
    }
}

async fn form(mut request: Request) -> Result<Params, Reply> {
    // An empty POST often comes without a content type.
    request
        .headers_mut()
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/x-www-form-urlencoded"));
    match Form::<Params>::from_request(request, &()).await {
        Ok(Form(params)) => Ok(params),
        Err(_) => Err(error::invalid(
            "parameter_invalid_empty",
            "body",
            "The body is not form-encoded.",
        )),
    }
}
