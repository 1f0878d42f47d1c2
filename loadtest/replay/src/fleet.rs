//! Runs processes of every function with their ports. A process is started when needed and kept until it dies.
//!
//! As on Lambda, a process serves one invocation at a time and keeps its caches between invocations. It runs the
//! real function over ports in memory.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use axum::Router;
use axum::body::Body;
use conduct_drop::{Conductor, Settings};
use domain::crowd::StockTable;
use domain::rate::CallRate;
use domain::time::Timestamp;
use futures_util::future::{Either, select};
use http_body_util::BodyExt as _;
use memory::MemorySecret;
use notify_shopper::Notifier;
use ports::invocation::{Handle, Invocation};
use ports::messages::Destination;
use process_order::Pace;
use process_order::advance_payment::PaymentSaga;
use project_ledger::Projection;
use receive_webhook::Webhooks;
use relay_events::{BatchReport, Relay, StreamBatch};
use serde::de::IgnoredAny;
use sweep_orders::Sweeper;
use sweep_orders::schedule::Tick;
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use crate::chance::keyed;
use crate::function::Function;
use crate::lock::lock;
use crate::ports::{Ports, Services};
use crate::process::{Process, ProcessRuntime};
use crate::queue::consumer;
use crate::sabotage::Sabotage;
use crate::tokens::Keys;
use crate::webhooks::{Hooks, SECRET};
use crate::world::World;

/// The URL to which the bank would return shoppers.
const RETURN_URL: &str = "https://shop.example/orders";
/// The pace of calls to the gateway, with a rate so high that few orders wait.
const PACE: Pace = Pace {
    rate: CallRate::HIGHEST,
    workers: process_order::WORKERS,
};

/// The function in a process: the router of an HTTP function, or a [`Handle`].
type Service = Arc<dyn Any + Send + Sync>;

#[derive(Clone)]
struct Warm {
    process: Arc<Process>,
    service: Service,
}

/// How an invocation ended.
#[derive(Debug)]
pub enum Invoked<T> {
    /// The function answered.
    Answered(T),
    /// There is no answer: the function failed, the process died, or the time limit passed.
    Failed,
}

/// An HTTP answer, with the times at which the function began and answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// The time of the answer, by the clock of the process that gave it.
    pub at: Timestamp,
    /// The true time at which the function began to process the request. The answer may be based on data of
    /// this time or later.
    pub begun_at: Timestamp,
}

impl Answer {
    /// The body as JSON; `None` if it is not JSON.
    #[must_use]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// Runs the functions behind the API, and holds the services that the functions call.
pub struct Fleet {
    pub world: Arc<World>,
    pub services: Arc<Services>,
    pub keys: Arc<Keys>,
    /// The gateway's webhooks.
    pub hooks: Arc<Hooks>,
    idle: Mutex<BTreeMap<Function, Vec<Warm>>>,
}

impl Fleet {
    /// A fleet without processes.
    #[must_use]
    pub fn new(world: &Arc<World>, keys: &Arc<Keys>) -> Arc<Self> {
        let services = Services::new(world);
        Arc::new(Self {
            world: Arc::clone(world),
            hooks: Hooks::of(&services.gateway),
            services,
            keys: Arc::clone(keys),
            idle: Mutex::default(),
        })
    }

    /// Takes an idle process of `function`, or starts a new process.
    fn process_of(&self, function: Function) -> Warm {
        let mut idle = lock(&self.idle);
        let free = idle.entry(function).or_default();
        let now_ms = self.world.now_ms().unsigned_abs();
        let drawn = keyed(self.world.plan.seed ^ 0xf4ee, now_ms, function as u64);
        // One time in sixteen a new process is started although other processes are idle.
        if free.is_empty() || drawn.is_multiple_of(16) {
            drop(idle);
            return self.start(function);
        }
        let at = usize::try_from((drawn >> 8) % (free.len() as u64)).unwrap_or(0);
        free.swap_remove(at)
    }

    /// Starts a process of `function`, with its ports.
    fn start(&self, function: Function) -> Warm {
        let process = Process::start(&self.world, function);
        let own = Ports {
            process: Arc::clone(&process),
            services: Arc::clone(&self.services),
        };
        let ports = || own.clone();
        let shoppers = self.keys.shoppers.clone();
        let runtime = ProcessRuntime(Arc::clone(&process));
        let url = RETURN_URL.to_owned();
        let service: Service = match function {
            Function::GetDrop => Arc::new(get_drop::Api::router(ports(), ports(), runtime)),
            Function::Reserve => {
                let table = StockTable::NEW;
                let api = reserve::Api::router(ports(), ports(), ports(), shoppers, runtime, table);
                Arc::new(api)
            }
            Function::Checkout => {
                let api = checkout::Api::router(ports(), ports(), ports(), shoppers, runtime);
                Arc::new(api)
            }
            Function::GetOrder => Arc::new(get_order::Api::router(ports(), shoppers, runtime)),
            Function::OperateDrop => {
                // Capacity is no part of the replay, so the store of readiness is always empty and has no
                // gate.
                let (readiness, operators) = (self.services.memory.clone(), self.keys.operators.clone());
                Arc::new(operate_drop::Api::router(
                    ports(),
                    ports(),
                    readiness,
                    ports(),
                    PACE.rate,
                    operators,
                    runtime,
                ))
            }
            Function::RelayEvents => Arc::new(Relay::new(ports(), runtime)),
            Function::ProcessOrder => {
                let saga = PaymentSaga::new(ports(), ports(), PACE, url, runtime);
                Arc::new(saga)
            }
            Function::ProjectLedger => Arc::new(Projection::new(ports(), runtime)),
            Function::ConductDrop => {
                let settings = Settings::default();
                let conductor = Conductor::new(ports(), ports(), ports(), ports(), runtime, settings);
                Arc::new(conductor)
            }
            Function::SweepOrders => Arc::new(Sweeper::new(ports(), ports(), runtime)),
            Function::ReceiveWebhook => {
                Arc::new(Webhooks::router(MemorySecret::new(SECRET), ports(), runtime))
            }
            Function::NotifyShopper => Arc::new(Notifier::new(ports(), Some(ports()), url, runtime)),
        };
        Warm { process, service }
    }

    /// Runs `serve` on a process of `function`, until it answers, dies, or reaches its time limit.
    async fn invoke<T, F>(
        self: &Arc<Self>,
        function: Function,
        label: String,
        serve: impl FnOnce(Service, Arc<Process>) -> F,
    ) -> Invoked<T>
    where
        T: Send + 'static,
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let warm = self.process_of(function);
        let (world, process) = (&self.world, warm.process.clone());
        process.begin(label);
        let (answer, answered) = oneshot::channel();
        let served = serve(warm.service.clone(), process.clone());
        world.spawn(Some(process.id), async move {
            // If the caller no longer waits, the answer is lost.
            answer.send(served.await).ok();
        });
        let timeout = world.sleep(function.limits().timeout_ms());
        match select(answered, timeout).await {
            Either::Left((Ok(answer), _)) => {
                lock(&self.idle).entry(function).or_default().push(warm);
                answer.map_or(Invoked::Failed, Invoked::Answered)
            }
            Either::Left((Err(_), _)) => Invoked::Failed,
            Either::Right(_) => {
                world.note("an invocation took all its time");
                world.tell(|| format!("{} is ended: its time is up", process.name()));
                world.timeline.kill(process.id);
                Invoked::Failed
            }
        }
    }

    /// Sends a request to a function's routes.
    pub async fn request(
        self: &Arc<Self>,
        function: Function,
        label: String,
        request: http::Request<Body>,
    ) -> Invoked<Answer> {
        self.invoke(function, label, |service, process| async move {
            let router = service.downcast_ref::<Router>()?.clone();
            let begun_at = process.world.now();
            let Ok(response) = router.oneshot(request).await;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await;
            Some(Answer {
                status,
                body: body.map(|body| body.to_bytes().to_vec()).unwrap_or_default(),
                at: process.now(),
                begun_at,
            })
        })
        .await
    }

    /// Passes an event to a process of `function`, whose handler has the type `H`. The invocation began
    /// `late_ms` milliseconds ago.
    async fn event<H: Handle>(
        self: &Arc<Self>,
        function: Function,
        label: String,
        event: H::Event,
        late_ms: i64,
    ) -> Invoked<H::Answer>
    where
        H::Event: 'static,
        H::Answer: 'static,
    {
        let request_id = label.clone();
        self.invoke(function, label, move |service, process| {
            let deadline = process
                .now()
                .plus_millis(function.limits().timeout_ms() - late_ms);
            async move {
                let invocation = Invocation { request_id, deadline };
                let handler = service.downcast_ref::<H>()?;
                handler.handle(event, &invocation).await.ok()
            }
        })
        .await
    }

    /// Passes a batch of the stream to the relay.
    pub async fn relay(self: &Arc<Self>, label: String, batch: StreamBatch) -> Invoked<BatchReport> {
        self.event::<Relay<Ports, ProcessRuntime>>(Function::RelayEvents, label, batch, 0)
            .await
    }

    /// Passes a batch of the queue `of` to the queue's consumer.
    pub async fn consume(
        self: &Arc<Self>,
        of: Destination,
        label: String,
        event: SqsEvent,
    ) -> Invoked<SqsBatchResponse> {
        type Saga = PaymentSaga<Ports, Ports, ProcessRuntime>;
        let function = consumer(of);
        match of {
            Destination::Payments => self.event::<Saga>(function, label, event, 0).await,
            Destination::Ledger => {
                self.event::<Projection<Ports, ProcessRuntime>>(function, label, event, 0)
                    .await
            }
            Destination::Mail if self.world.is_sabotaged(Sabotage::NobodyTells) => {
                Invoked::Answered(SqsBatchResponse::default())
            }
            Destination::Mail => {
                self.event::<Notifier<Ports, Ports, ProcessRuntime>>(function, label, event, 0)
                    .await
            }
        }
    }

    /// Runs the conductor once. The invocation began `late_ms` ago.
    pub async fn conduct(self: &Arc<Self>, label: String, late_ms: i64) {
        type OnPorts = Conductor<Ports, Ports, Ports, Ports, ProcessRuntime>;
        if !self.world.is_sabotaged(Sabotage::NobodyConducts) {
            self.event::<OnPorts>(Function::ConductDrop, label, IgnoredAny, late_ms)
                .await;
        }
    }

    /// Runs the sweeper once. The invocation began `late_ms` ago.
    pub async fn sweep(self: &Arc<Self>, label: String, late_ms: i64) {
        if self.world.is_sabotaged(Sabotage::NobodySweeps) {
            return;
        }
        let (function, tick) = (Function::SweepOrders, Tick::default());
        let swept = self.event::<Sweeper<Ports, Ports, ProcessRuntime>>(function, label, tick, late_ms);
        if let Invoked::Answered(swept) = swept.await
            && swept.reminded > 0
        {
            self.world.note("the sweeper reminded");
        }
    }
}
