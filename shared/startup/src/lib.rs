//! Starts a function on Lambda: typed configuration, JSON logs, small AWS clients, the real clock.
//!
//! A function's `main` passes a closure to [`serve_api`] or [`serve_events`]. The closure reads the [`Config`] once and
//! returns the function with its adapters: a router, or a [`Handle`]. Only this crate reads the environment, the clock
//! and randomness.
//!
//! **Cold starts** happen for each process, mostly at the opening of a drop. So start-up does little: credentials and
//! region come from the environment variables that Lambda sets instead of a provider chain, and the TLS client trusts
//! the five roots of AWS's endpoints. Loading the system's trust store would take longer than the rest of start-up.
//!
//! **Concurrency.** A process serves one request at a time on Lambda, and many on Lambda Managed Instances
//! (`AWS_LAMBDA_MAX_CONCURRENCY`). The same binary serves both. A single-threaded runtime is enough, since a handler
//! mostly waits for I/O.
#![forbid(unsafe_code)]

pub mod aws;
pub mod batch;
pub mod config;
pub mod gateway;
mod lines;
pub mod metrics;
pub mod runtime;
pub mod spans;

// `feature_unification` has no code. With it, every function is built with the same features of its dependencies.
use feature_unification as _;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use domain::time::Timestamp;
use http_body_util::{BodyExt as _, Full};
use lambda_runtime::LambdaEvent;
use ports::invocation::{Handle, Invocation};
use tower::ServiceExt as _;
use tower::util::BoxCloneService;
use tracing::{Instrument as _, Level};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::config::Config;
use crate::lines::Lines;

/// The allocator of API functions, set by [`request_allocator!`].
pub use mimalloc::MiMalloc;

/// Sets the allocator of an API function's binary. An API request makes about six hundred small, short-lived
/// allocations; the C library's allocator spends more instructions on these than the SDK spends on signing. Workers
/// read large batches and run rarely, so they keep the C library's allocator, which holds less memory.
#[macro_export]
macro_rules! request_allocator {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::MiMalloc = $crate::MiMalloc;
    };
}

/// The error of a function that cannot start or continue.
pub type Error = lambda_runtime::Error;

/// The `main` of a function that HTTP requests invoke. `build` reads the configuration and returns the function's
/// router, or `None` when it recorded a mistake in a value that the router needs.
pub fn serve_api(build: impl FnOnce(&mut Config<'static>) -> Option<axum::Router>) -> ExitCode {
    run(build, |router| {
        let router = router.map_request(|request: lambda_http::Request| {
            gateway::correlated(request).map(axum::body::Body::new)
        });
        let whole = router.and_then(|response: axum::response::Response| async move {
            let (parts, body) = response.into_parts();
            // Handlers build their bodies in memory, so collecting a body cannot fail.
            let bytes = body
                .collect()
                .await
                .map(|body| body.to_bytes())
                .unwrap_or_default();
            Ok::<_, Infallible>(http::Response::from_parts(parts, Full::new(bytes)))
        });
        let adapter = lambda_http::Adapter::from(whole);
        let served = tower::service_fn(move |event: LambdaEvent<lambda_http::request::LambdaRequest>| {
            let span = gateway::span(&event.payload);
            let event = LambdaEvent::new(gateway::readable(event.payload), event.context);
            adapter.clone().oneshot(event).instrument(span)
        });
        // The service is boxed, since the compiler cannot prove `Send` for a future that names the adapter's lifetime.
        lambda_runtime::run_concurrent(BoxCloneService::new(served))
    })
}

/// The boxed future of a handler.
type Handled<'a, H> =
    Pin<Box<dyn Future<Output = Result<<H as Handle>::Answer, <H as Handle>::Error>> + Send + 'a>>;

/// The `main` of a function that other events invoke (queues, streams, schedules). `build` reads the configuration and
/// returns the function's handler, or `None` when it recorded a mistake in a value that the handler needs.
pub fn serve_events<H>(build: impl FnOnce(&mut Config<'static>) -> Option<H>) -> ExitCode
where
    H: Handle,
    H::Event: serde::de::DeserializeOwned + 'static,
    H::Answer: serde::Serialize + 'static,
{
    run(build, |handler| {
        let handler = Arc::new(handler);
        let serve = move |event: LambdaEvent<H::Event>| {
            let handler = Arc::clone(&handler);
            async move {
                let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
                let invocation = Invocation {
                    request_id: event.context.request_id,
                    deadline: Timestamp::from_millis(deadline),
                };
                // The future is boxed without its type, so that the SDK's futures, nested in the handler's future, stay
                // within the compiler's depth limit.
                let handled: Handled<'_, H> = Box::pin(handler.handle(event.payload, &invocation));
                Ok::<_, Error>(handled.await?)
            }
        };
        lambda_runtime::run_concurrent(lambda_runtime::service_fn(serve))
    })
}

/// Logs as JSON lines, builds the function, and serves it on a single-threaded runtime until the process is ended. A
/// start that fails logs every mistake of the configuration.
fn run<T, F>(build: impl FnOnce(&mut Config<'static>) -> Option<T>, serve: impl FnOnce(T) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    // Filtering by target is enough. Filtering by field would link a regular-expression engine into every function.
    let mut config = Config::from_env();
    let levels: Targets = config
        .optional("RUST_LOG")
        .and_then(|levels| levels.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    // Spans name the subject of a line, so they are enabled whatever the level of the lines.
    let most = Layer::<Registry>::max_level_hint(&levels)
        .map_or(LevelFilter::INFO, |most| most.max(LevelFilter::INFO));
    let filter = filter_fn(move |about| {
        (about.is_span() && *about.level() <= Level::INFO)
            || levels.would_enable(about.target(), about.level())
    });
    let filter = filter.with_max_level_hint(most);
    let lines = Lines(std::io::stdout);
    tracing_subscriber::registry().with(filter).with(lines).init();
    let start = async {
        let built = build(&mut config);
        let function = config.finish(built)?;
        // The server is spawned as a task: a single-threaded runtime polls the future on which it blocks a second time
        // for each wake-up. Spawning avoids this and halves the epoll calls.
        tokio::spawn(serve(function)).await?
    };
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(start),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the function cannot start or continue; the process ends");
            ExitCode::FAILURE
        }
    }
}
