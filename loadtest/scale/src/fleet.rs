//! The functions: real handlers over the modelled ports, in Lambda's environments.
//!
//! Each environment is built by the constructor that the function's `main.rs` calls, and keeps its caches until the run ends.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use axum::Router;
use axum::body::Body;
use conduct_drop::{Conductor, Settings};
use domain::rate::CallRate;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http_body_util::BodyExt as _;
use loadtest::client::Answer;
use memory::{MemoryGateway, MemoryLedger, MemoryStore};
use ports::invocation::{Handle, Invocation};
use process_order::Pace;
use process_order::drive::Driver;
use project_ledger::Projection;
use relay_events::{BatchReport, Relay, StreamBatch};
use replay::fleet::Invoked;
use replay::process::Function;
use serde::de::IgnoredAny;
use sweep_orders::Sweeper;
use sweep_orders::schedule::Tick;
use tower::ServiceExt as _;
use web::Tokens;

use crate::behind::{Behind, Queues};
use crate::lambda::{FunctionReport, Lambda, Taken};
use crate::outside::{Gateway, Ledger, Rate};
use crate::process::{Process, ProcessEdge};
use crate::store::{Sizes, Store};
use crate::world::{LEAD_US, World};

/// Where the bank would send shoppers back to.
const RETURN_URL: &str = "https://shop.example/orders";

/// What an environment runs: the router of an HTTP function, or a [`Handle`].
type Service = Arc<dyn Any + Send + Sync>;

#[derive(Clone)]
struct Environment {
    process: Arc<Process>,
    service: Service,
}

/// An answer, and whether a cache may keep it for a second.
#[derive(Debug, Clone)]
pub struct Served {
    /// The answer.
    pub answer: Answer,
    /// Whether it is everyone's.
    pub cacheable: bool,
}

impl Served {
    /// What API Gateway answers by itself.
    #[must_use]
    pub fn by_the_front(status: u16) -> Self {
        Self {
            answer: Answer {
                status,
                retry_after: None,
                modelled_us: 0,
                body: bytes::Bytes::from_static(br#"{"message":"Service Unavailable"}"#),
            },
            cacheable: false,
        }
    }
}

/// Everything behind the API.
pub struct Fleet {
    world: Arc<World>,
    /// The tables.
    pub memory: MemoryStore,
    /// The gateway.
    pub gateway: MemoryGateway,
    /// The gateway's rate.
    pub rate: Arc<Rate>,
    /// The ledger.
    pub ledger: MemoryLedger,
    /// Stream, queues and schedules.
    pub behind: Arc<Behind>,
    /// The sizes of documents.
    pub sizes: Arc<Sizes>,
    ledger_free_us: Arc<Mutex<i64>>,
    lambda: Mutex<Lambda>,
    environments: Mutex<BTreeMap<Function, Vec<Option<Environment>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// A fleet without environments.
    #[must_use]
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        let behind = Behind::new(world);
        let capacity = &world.settings.capacity;
        let fleet = Arc::new(Self {
            world: Arc::clone(world),
            memory: MemoryStore::new(),
            gateway: MemoryGateway::new(),
            rate: Arc::new(Rate::new(capacity.quotas.gateway_calls_per_second)),
            ledger: MemoryLedger::new(),
            behind: Arc::clone(&behind),
            sizes: Arc::default(),
            ledger_free_us: Arc::default(),
            lambda: Mutex::new(Lambda::new(&world.settings)),
            environments: Mutex::default(),
        });
        behind.lead_to(&fleet);
        fleet
    }

    fn environment(&self, function: Function, at: usize) -> Environment {
        let mut environments = lock(&self.environments);
        let of_function = environments.entry(function).or_default();
        if of_function.len() <= at {
            of_function.resize(at + 1, None);
        }
        match of_function.get_mut(at) {
            Some(Some(environment)) => environment.clone(),
            Some(place) => place.insert(self.start(function)).clone(),
            None => self.start(function),
        }
    }

    /// The gateway's rate as its workers know it.
    fn pace(&self) -> Pace {
        let calls = self.world.settings.capacity.quotas.gateway_calls_per_second;
        Pace::of(CallRate::new(calls).unwrap_or(CallRate::HIGHEST))
    }

    /// Builds an environment as the function's `main.rs` does.
    fn start(&self, function: Function) -> Environment {
        let process = Process::start(&self.world, function);
        let store = || Store::new(&process, &self.memory, &self.sizes, &self.behind);
        let queues = || Queues::new(&process, &self.behind);
        let edge = ProcessEdge(Arc::clone(&process));
        let shoppers = || Tokens::of_shoppers(store(), edge.clone());
        let service: Service = match function {
            Function::GetDrop => Arc::new(get_drop::Api::router(store(), store(), edge)),
            Function::Reserve => Arc::new(reserve::Api::router(
                store(),
                store(),
                store(),
                shoppers(),
                edge.clone(),
            )),
            Function::Checkout => Arc::new(checkout::Api::router(
                store(),
                store(),
                store(),
                shoppers(),
                edge.clone(),
            )),
            Function::GetOrder => Arc::new(get_order::Api::router(store(), shoppers(), edge.clone())),
            Function::OperateDrop => Arc::new(operate_drop::Api::router(
                store(),
                store(),
                self.memory.clone(),
                store(),
                self.pace().rate,
                Tokens::of_operators(store(), edge.clone()),
                edge,
            )),
            Function::RelayEvents => Arc::new(Relay::new(queues(), edge)),
            Function::ProcessOrder => {
                let gateway = Gateway::new(&process, &self.gateway, &self.rate);
                let url = RETURN_URL.to_owned();
                Arc::new(Driver::new(store(), gateway, self.pace(), url, edge))
            }
            Function::ProjectLedger => {
                let ledger = Ledger::new(&process, &self.ledger, &self.ledger_free_us);
                Arc::new(Projection::new(ledger, edge))
            }
            Function::ConductDrop => Arc::new(Conductor::new(
                store(),
                store(),
                store(),
                store(),
                edge,
                Settings::default(),
            )),
            Function::SweepOrders => Arc::new(Sweeper::new(store(), queues(), edge)),
            // Webhooks and mail are not modelled: docs/SCALE.md.
            Function::ReceiveWebhook | Function::NotifyShopper => Arc::new(()),
        };
        Environment { process, service }
    }

    /// Runs `serve` in an environment of `function`; none if there is none to be had.
    async fn invoke<T, F>(
        &self,
        function: Function,
        serve: impl FnOnce(Service, Arc<Process>) -> F,
    ) -> Option<T>
    where
        F: Future<Output = T>,
    {
        let world = &self.world;
        let taken = lock(&self.lambda).take(function, world.timeline.now_us());
        let times = &world.settings.times;
        let (at, starts_us) = match taken {
            Ok(Taken::Warm(at) | Taken::Ahead(at)) => (at, 0),
            Ok(Taken::Cold(at)) => {
                world.count(|second| second.cold_starts += 1);
                let slow = world.draw().is_multiple_of(20);
                let takes = if slow {
                    times.slow_start_us
                } else {
                    times.cold_start_us
                };
                (at, world.drawn_us(takes))
            }
            Err(_) => return None,
        };
        let environment = self.environment(function, at);
        world
            .timeline
            .sleep(starts_us + world.drawn_us(times.work_us))
            .await;
        // The platform's part of a cold start is not the function's.
        let from_us = world.timeline.now_us();
        let answer = serve(environment.service, environment.process).await;
        lock(&self.lambda).give_back(function, at, from_us, world.timeline.now_us());
        Some(answer)
    }

    /// Sends a request to a function's routes.
    pub async fn request(&self, function: Function, request: http::Request<Body>) -> Served {
        let served = self.invoke(function, |service, _| async move {
            let router = service.downcast_ref::<Router>()?.clone();
            let Ok(response) = router.oneshot(request).await;
            let (head, body) = response.into_parts();
            let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
            Some(Served {
                cacheable: head.status.as_u16() == 200
                    && text(CACHE_CONTROL).is_some_and(|caching| caching.starts_with("public")),
                answer: Answer {
                    status: head.status.as_u16(),
                    retry_after: text(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
                    modelled_us: 0,
                    body: body
                        .collect()
                        .await
                        .map(|body| body.to_bytes())
                        .unwrap_or_default(),
                },
            })
        });
        match served.await {
            Some(served) => served.unwrap_or_else(|| Served::by_the_front(500)),
            None => {
                self.world.count(|second| second.no_environment += 1);
                Served::by_the_front(503)
            }
        }
    }

    /// Hands an event to an environment of `function`, whose handler is an `H`.
    async fn event<H: Handle>(&self, function: Function, event: H::Event) -> Invoked<H::Answer> {
        let answer = self.invoke(function, move |service, process| async move {
            let deadline = process.now().plus_millis(function.limits().timeout_ms());
            let request_id = format!("{}:{}", function.name(), process.world.draw());
            let invocation = Invocation { request_id, deadline };
            let handler = service.downcast_ref::<H>()?;
            handler.handle(event, &invocation).await.ok()
        });
        answer.await.flatten().map_or(Invoked::Failed, Invoked::Answered)
    }

    /// Hands a batch of the stream to the relay.
    pub async fn relay(&self, batch: StreamBatch) -> Invoked<BatchReport> {
        self.event::<Relay<Queues, ProcessEdge>>(Function::RelayEvents, batch)
            .await
    }

    /// Hands a batch of the payments' queue to `process-order`.
    pub async fn process(&self, event: SqsEvent) -> Invoked<SqsBatchResponse> {
        self.event::<Driver<Store, Gateway, ProcessEdge>>(Function::ProcessOrder, event)
            .await
    }

    /// Hands a batch of the ledger's queue to `project-ledger`.
    pub async fn project(&self, event: SqsEvent) -> Invoked<SqsBatchResponse> {
        self.event::<Projection<Ledger, ProcessEdge>>(Function::ProjectLedger, event)
            .await
    }

    /// Runs the conductor once.
    pub async fn conduct(&self) {
        type OnStore = Conductor<Store, Store, Store, Store, ProcessEdge>;
        self.event::<OnStore>(Function::ConductDrop, IgnoredAny).await;
    }

    /// Runs the sweeper once.
    pub async fn sweep(&self) {
        self.event::<Sweeper<Store, Queues, ProcessEdge>>(Function::SweepOrders, Tick::default())
            .await;
    }

    /// The functions' figures.
    #[must_use]
    pub fn report(&self) -> Vec<FunctionReport> {
        lock(&self.lambda).report(LEAD_US)
    }
}
