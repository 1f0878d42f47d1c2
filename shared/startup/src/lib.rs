//! Lambda start-up: typed configuration, JSON logs, lean AWS clients, the real clock.
//!
//! A function's `main` reads its [`Config`](config::Config) once, makes its adapters, and hands a router to [`serve_api`]
//! or a handler to [`serve_events`]. Everything that a process reads from its surroundings (environment, clock,
//! randomness) is read here, so that nothing else has to.
//!
//! **Cold starts** are paid per process, at the worst moment of a drop, so start-up does little: credentials and region
//! come straight from the environment Lambda sets instead of from a chain of providers, and the TLS client trusts the five
//! roots that sign AWS's endpoints instead of loading the system's whole store, which costs more than everything else
//! together.
//!
//! **Concurrency.** Functions run one request at a time on Lambda, and many on Lambda Managed Instances
//! (`AWS_LAMBDA_MAX_CONCURRENCY`); the same binary serves both. A single-threaded runtime suffices: a handler waits,
//! mostly.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod aws;
pub mod batch;
pub mod config;
pub mod edge;
pub mod gateway;
pub mod metrics;

// Every function is built with them.
use features as _;

use std::convert::Infallible;
use std::future::Future;
use std::process::ExitCode;

use http_body_util::{BodyExt as _, Full};
use lambda_runtime::LambdaEvent;
use tower::ServiceExt as _;
use tower::util::BoxCloneService;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The allocator that functions with a crowd before them take by [`request_allocator!`].
pub use mimalloc::MiMalloc;

/// Gives a function's binary an allocator made for what an API request does: about six hundred small pieces of memory,
/// given back at once, on which the C library's allocator spends more instructions than the SDK on signing. Workers, which
/// read much at a time and run seldom, keep the C library's: it holds less.
#[macro_export]
macro_rules! request_allocator {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::MiMalloc = $crate::MiMalloc;
    };
}

/// The error of a function that cannot start or go on.
pub type Error = lambda_runtime::Error;

/// The function's `main`: logs as JSON lines, a single-threaded runtime, and a start that fails loudly with every
/// mistake of the configuration.
pub fn run<F>(start: impl FnOnce() -> F) -> ExitCode
where
    F: Future<Output = Result<(), Error>>,
{
    // Levels by target are enough; filtering by fields would bring a regular-expression engine into every function.
    let filter: Targets = config::Config::from_env()
        .optional("RUST_LOG")
        .and_then(|levels| levels.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(start()),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the function cannot run");
            ExitCode::FAILURE
        }
    }
}

/// Serves an HTTP API's requests with `router` until the process is ended.
///
/// # Errors
/// When the Lambda Runtime API cannot be reached.
pub async fn serve_api(router: axum::Router) -> Result<(), Error> {
    let router = router.map_request(|request: lambda_http::Request| request.map(axum::body::Body::new));
    let whole = router.and_then(|response: axum::response::Response| async move {
        let (parts, body) = response.into_parts();
        // Handlers answer from memory: collecting their bodies cannot fail half-way.
        let bytes = body
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        Ok::<_, Infallible>(http::Response::from_parts(parts, Full::new(bytes)))
    });
    let adapter = lambda_http::Adapter::from(whole);
    let readable = adapter.map_request(|event: LambdaEvent<lambda_http::request::LambdaRequest>| {
        LambdaEvent::new(gateway::readable(event.payload), event.context)
    });
    // In a box, since the compiler cannot see that a future which names the adapter's lifetime may be sent.
    as_task(lambda_runtime::run_concurrent(BoxCloneService::new(readable))).await
}

/// Serves events of another kind (queues, streams, schedules) with `handler` until the process is ended.
///
/// # Errors
/// When the Lambda Runtime API cannot be reached.
pub async fn serve_events<A, R, F, H>(handler: H) -> Result<(), Error>
where
    A: for<'de> serde::Deserialize<'de> + Send + 'static,
    R: serde::Serialize + Send + 'static,
    F: Future<Output = Result<R, Error>> + Send + 'static,
    H: Fn(LambdaEvent<A>) -> F + Clone + Send + 'static,
{
    as_task(lambda_runtime::run_concurrent(lambda_runtime::service_fn(
        handler,
    )))
    .await
}

/// Runs the server as a task of its own. The future that a single-threaded runtime blocks on is polled again only after
/// another look at the sockets whenever something in the same process wakes it; a task is not. That is half of all looks.
async fn as_task(server: impl Future<Output = Result<(), Error>> + Send + 'static) -> Result<(), Error> {
    tokio::spawn(server).await?
}
