//! Runs the functions: real handlers over the modelled ports, in Lambda's environments.
//!
//! Each environment is built by the constructor that the function's `main.rs` calls. It keeps its caches until the
//! run ends, or until an invocation reaches its time limit.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use axum::Router;
use axum::body::Body;
use conduct_drop::{Conductor, Settings};
use domain::crowd::StockTable;
use domain::ids::OrderId;
use domain::rate::CallRate;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http_body_util::BodyExt as _;
use loadtest::client::Answer;
use memory::{MemoryGateway, MemoryLedger, MemorySecret, MemoryStore, PaymentChange};
use notify_shopper::Notifier;
use ports::invocation::{Handle, Invocation};
use ports::messages::Destination;
use process_order::Pace;
use process_order::advance_payment::PaymentSaga;
use project_ledger::Projection;
use receive_webhook::Webhooks;
use relay_events::{BatchReport, Relay, StreamBatch};
use replay::fleet::Invoked;
use replay::function::Function;
use replay::queue::consumer;
use replay::webhooks::{self, SECRET};
use serde::de::IgnoredAny;
use sweep_orders::Sweeper;
use sweep_orders::schedule::Tick;
use tower::ServiceExt as _;
use web::Tokens;

use crate::behind::{Behind, Consumers, Queues};
use crate::lambda::{FunctionReport, Lambda, Taken};
use crate::lock;
use crate::old::Former;
use crate::outside::{Gateway, Ledger, Mailbox, Rate};
use crate::process::{Process, ProcessRuntime};
use crate::store::{Sizes, Store};
use crate::world::{LEAD_US, World};

/// The interval at which a waiting request looks for an environment again, in µs.
const LOOK_AGAIN_US: i64 = 1_000;
/// The time in which a call of an ended environment may still take effect, in µs.
const LAST_CALL_US: i64 = 2_000_000;
/// The largest number of sends of a webhook by the payment gateway.
const WEBHOOK_TRIES: u32 = 6;
/// The gateway's pause after the first try of a webhook, in µs; each further pause is twice as long.
const WEBHOOK_PAUSE_US: i64 = 500_000;
/// The URL to which the bank would return shoppers.
const RETURN_URL: &str = "https://shop.example/orders";

/// The function in an environment: the router of an HTTP function, or a [`Handle`].
type Service = Arc<dyn Any + Send + Sync>;

#[derive(Clone)]
struct Environment {
    process: Arc<Process>,
    service: Service,
    /// The former design of the run; `None` with the current design.
    old: Option<Arc<Former>>,
}

/// An answer of the API, and whether a cache may keep it for a second.
#[derive(Debug, Clone)]
pub struct Served {
    pub answer: Answer,
    /// Whether the answer is the same for every client.
    pub cacheable: bool,
}

impl Served {
    /// An answer of API Gateway itself.
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

/// Runs the functions behind the API in modelled environments, and holds the services that the functions call.
pub struct Fleet {
    world: Arc<World>,
    /// The contents of the tables.
    pub memory: MemoryStore,
    pub gateway: MemoryGateway,
    /// The payment gateway's rate.
    pub rate: Arc<Rate>,
    /// The mail service's rate.
    pub mails: Arc<Rate>,
    /// The rows of the ledger.
    pub ledger: MemoryLedger,
    /// The stream, the queues and the schedules.
    pub behind: Arc<Behind>,
    /// The sizes of stored documents.
    pub sizes: Arc<Sizes>,
    ledger_free_us: Arc<Mutex<i64>>,
    lambda: Mutex<Lambda>,
    environments: Mutex<BTreeMap<Function, Vec<Option<Environment>>>>,
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
            mails: Arc::new(Rate::new(world.settings.limits.mails_per_second)),
            ledger: MemoryLedger::new(),
            behind: Arc::clone(&behind),
            sizes: Arc::default(),
            ledger_free_us: Arc::default(),
            lambda: Mutex::new(Lambda::new(&world.settings)),
            environments: Mutex::default(),
        });
        let consumers: Arc<dyn Consumers> = fleet.clone();
        behind.lead_to(Arc::downgrade(&consumers));
        let (hooked, mut nth) = (Arc::downgrade(&fleet), 0);
        fleet.gateway.announce_to(move |order, change| {
            nth += 1;
            if let Some(fleet) = hooked.upgrade() {
                let (world, order) = (Arc::clone(&fleet.world), order.clone());
                world.start(async move { fleet.announce(nth, &order, change).await });
            }
        });
        fleet
    }

    /// Sends the gateway's `nth` webhook, and repeats it while it is refused.
    async fn announce(&self, nth: u64, order: &OrderId, change: PaymentChange) {
        let world = &self.world;
        world.takes(world.settings.times.webhook_us).await;
        for attempt in 0..WEBHOOK_TRIES {
            let Some(request) = webhooks::request(nth, order, change, world.now(), SECRET) else {
                return;
            };
            let served = self.request(Function::ReceiveWebhook, request).await;
            if served.answer.status < 500 {
                return;
            }
            world.timeline.sleep(WEBHOOK_PAUSE_US << attempt).await;
        }
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

    /// The pace at which the workers call the gateway, by the gateway's rate.
    fn pace(&self) -> Pace {
        let calls = self.world.settings.capacity.quotas.gateway_calls_per_second;
        Pace::of(CallRate::new(calls).unwrap_or(CallRate::HIGHEST))
    }

    fn stock_table(&self) -> StockTable {
        let warm = self.world.settings.capacity.warm("StockTable");
        StockTable {
            read_units: warm.read_units,
            write_units: warm.write_units,
        }
    }

    /// Builds an environment as the function's `main.rs` does.
    fn start(&self, function: Function) -> Environment {
        let process = Process::start(&self.world, function);
        let store = || Store {
            process: Arc::clone(&process),
            memory: self.memory.clone(),
            sizes: Arc::clone(&self.sizes),
            behind: Arc::clone(&self.behind),
            lines: Arc::default(),
        };
        let queues = || Queues {
            process: Arc::clone(&process),
            behind: Arc::clone(&self.behind),
        };
        let runtime = ProcessRuntime(Arc::clone(&process));
        let shoppers = || Tokens::of_shoppers(store(), runtime.clone());
        let service: Service = match function {
            Function::GetDrop => Arc::new(get_drop::Api::router(store(), store(), runtime)),
            Function::Reserve => Arc::new(reserve::Api::router(
                store(),
                store(),
                store(),
                shoppers(),
                runtime.clone(),
                self.stock_table(),
            )),
            Function::Checkout => Arc::new(checkout::Api::router(
                store(),
                store(),
                store(),
                shoppers(),
                runtime.clone(),
            )),
            Function::GetOrder => Arc::new(get_order::Api::router(store(), shoppers(), runtime.clone())),
            Function::OperateDrop => Arc::new(operate_drop::Api::router(
                store(),
                store(),
                self.memory.clone(),
                store(),
                self.pace().rate,
                Tokens::of_operators(store(), runtime.clone()),
                runtime,
            )),
            Function::RelayEvents => Arc::new(Relay::new(queues(), runtime)),
            Function::ProcessOrder => {
                let gateway = Gateway {
                    process: Arc::clone(&process),
                    memory: self.gateway.clone(),
                    rate: Arc::clone(&self.rate),
                };
                let url = RETURN_URL.to_owned();
                Arc::new(PaymentSaga::new(store(), gateway, self.pace(), url, runtime))
            }
            Function::ProjectLedger => {
                let ledger = Ledger {
                    process: Arc::clone(&process),
                    memory: self.ledger.clone(),
                    free_us: Arc::clone(&self.ledger_free_us),
                };
                Arc::new(Projection::new(ledger, runtime))
            }
            Function::ConductDrop => Arc::new(Conductor::new(
                store(),
                store(),
                store(),
                store(),
                runtime,
                Settings::default(),
            )),
            Function::SweepOrders => Arc::new(Sweeper::new(store(), queues(), runtime)),
            Function::ReceiveWebhook => {
                Arc::new(Webhooks::router(MemorySecret::new(SECRET), queues(), runtime))
            }
            Function::NotifyShopper => {
                let mailbox = Mailbox {
                    process: Arc::clone(&process),
                    rate: Arc::clone(&self.mails),
                };
                let url = RETURN_URL.to_owned();
                Arc::new(Notifier::new(store(), Some(mailbox), url, runtime))
            }
        };
        let old = self.world.settings.design.map(|design| {
            let (store, read_us) = (store(), AtomicI64::default());
            Arc::new(Former {
                design,
                store,
                read_us,
            })
        });
        Environment {
            process,
            service,
            old,
        }
    }

    /// Takes an environment of `function`. Waits as long as the platform does; `None` if no environment
    /// becomes available.
    async fn taken(&self, function: Function) -> Option<Taken> {
        let world = &self.world;
        let asked_us = world.timeline.now_us();
        loop {
            let now_us = world.timeline.now_us();
            let why = match lock(&self.lambda).take(function, now_us) {
                Ok(taken) => return Some(taken),
                Err(why) => why,
            };
            if now_us - asked_us >= world.settings.limits.waits_us {
                lock(&self.lambda).refuse(function, why, now_us);
                return None;
            }
            world.timeline.sleep(LOOK_AGAIN_US).await;
        }
    }

    fn cold_start_us(&self) -> i64 {
        let (world, times) = (&self.world, &self.world.settings.times);
        let slow = world.draw().is_multiple_of(20);
        world.drawn_us(if slow {
            times.slow_start_us
        } else {
            times.cold_start_us
        })
    }

    /// Runs `serve` in an environment of `function` until it answers or its time limit passes. `None` after
    /// the time limit, or without an environment.
    async fn invoke<T, F>(&self, function: Function, serve: impl FnOnce(Environment) -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let world = &self.world;
        let (at, starts_us) = match self.taken(function).await? {
            Taken::Warm(at) | Taken::Ahead(at) => (at, 0),
            Taken::Cold(at) => {
                world.count(|second| second.cold_starts += 1);
                (at, self.cold_start_us())
            }
        };
        let environment = self.environment(function, at);
        world
            .timeline
            .sleep(starts_us + world.drawn_us(world.settings.times.work_us))
            .await;
        // The platform's part of a cold start does not count towards the function's time limit.
        let from_us = world.timeline.now_us();
        let until_us = from_us + function.limits().timeout_ms() * 1_000;
        let process = Arc::clone(&environment.process);
        let serving = Box::pin(serve(environment));
        match select(serving, world.timeline.sleep_until(until_us)).await {
            Either::Left((answer, _)) => {
                lock(&self.lambda).give_back(function, at, from_us, world.timeline.now_us());
                Some(answer)
            }
            Either::Right(((), serving)) => {
                process.end();
                // A call in progress may still take effect.
                let rest = world.timeline.sleep(LAST_CALL_US);
                world.timeline.spawn(None, async move {
                    select(serving, rest).await;
                });
                if let Some(of_function) = lock(&self.environments).get_mut(&function)
                    && let Some(place) = of_function.get_mut(at)
                {
                    *place = None;
                }
                let start_us = self.cold_start_us();
                lock(&self.lambda).time_out(function, at, from_us, world.timeline.now_us(), start_us);
                None
            }
        }
    }

    /// Sends a request to a function's routes.
    pub async fn request(&self, function: Function, request: http::Request<Body>) -> Served {
        let served = self.invoke(function, move |environment| async move {
            if let Some(former) = &environment.old {
                let reserves = function == Function::Reserve && request.method() == http::Method::POST;
                if !former.reads(function, reserves).await {
                    return Some(Served::by_the_front(503));
                }
            }
            let router = environment.service.downcast_ref::<Router>()?.clone();
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

    /// Passes an event to an environment of `function`, whose handler has the type `H`.
    async fn event<H: Handle>(&self, function: Function, event: H::Event) -> Invoked<H::Answer> {
        let answer = self.invoke(function, move |environment| async move {
            let Environment { process, service, .. } = environment;
            let deadline = process.now().plus_millis(function.limits().timeout_ms());
            let request_id = format!("{}:{}", function.name(), process.world.draw());
            let invocation = Invocation { request_id, deadline };
            let handler = service.downcast_ref::<H>()?;
            handler.handle(event, &invocation).await.ok()
        });
        answer.await.flatten().map_or(Invoked::Failed, Invoked::Answered)
    }

    /// The invocations, cold starts and refusals of each function so far.
    #[must_use]
    pub fn report(&self) -> Vec<FunctionReport> {
        lock(&self.lambda).report(LEAD_US)
    }
}

impl Consumers for Fleet {
    fn relay(&self, batch: StreamBatch) -> BoxFuture<'_, Invoked<BatchReport>> {
        self.event::<Relay<Queues, ProcessRuntime>>(Function::RelayEvents, batch)
            .boxed()
    }

    fn consume(&self, queue: Destination, event: SqsEvent) -> BoxFuture<'_, Invoked<SqsBatchResponse>> {
        type Saga = PaymentSaga<Store, Gateway, ProcessRuntime>;
        type Project = Projection<Ledger, ProcessRuntime>;
        type Notify = Notifier<Store, Mailbox, ProcessRuntime>;
        let function = consumer(queue);
        match queue {
            Destination::Payments => self.event::<Saga>(function, event).boxed(),
            Destination::Ledger => self.event::<Project>(function, event).boxed(),
            Destination::Mail => self.event::<Notify>(function, event).boxed(),
        }
    }

    fn run_scheduled(&self, function: Function) -> BoxFuture<'_, ()> {
        type Conduct = Conductor<Store, Store, Store, Store, ProcessRuntime>;
        type Sweep = Sweeper<Store, Queues, ProcessRuntime>;
        match function {
            Function::ConductDrop => self.event::<Conduct>(function, IgnoredAny).map(drop).boxed(),
            _ => self.event::<Sweep>(function, Tick::default()).map(drop).boxed(),
        }
    }
}
