//! Runs processes of every function with their ports. A process is started when needed and kept until it dies.
//!
//! As on Lambda, a process serves one invocation at a time and keeps its caches between invocations. It runs the
//! real function over ports in memory.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use axum::Router;
use axum::body::Body;
use conduct_drop::{Conductor, Settings};
use domain::crowd::StockTable;
use domain::rate::CallRate;
use domain::time::Timestamp;
use http_body_util::BodyExt as _;
use memory::{MemoryGateway, MemoryLedger, MemoryQueues, MemorySecret, MemoryStore};
use notify_shopper::Notifier;
use ports::invocation::{Handle, Invocation};
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
use crate::ports::{Gateway, Ledger, Mailbox, Queues, Store};
use crate::process::{Process, ProcessRuntime};
use crate::queue::Deliveries;
use crate::sabotage::Sabotage;
use crate::stream::Stream;
use crate::tokens::Keys;
use crate::watch::Watch;
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

/// Runs the functions behind the API, and holds the services that the functions call.
pub struct Fleet {
    world: Arc<World>,
    /// The checks that run after every write.
    pub watch: Arc<Watch>,
    keys: Arc<Keys>,
    /// The contents of the tables.
    pub memory: MemoryStore,
    pub gateway: MemoryGateway,
    pub ledger: MemoryLedger,
    /// The sending side of the queues.
    pub queues: MemoryQueues,
    /// The receiving side of the queues.
    pub deliveries: Arc<Deliveries>,
    pub stream: Arc<Stream>,
    /// The gateway's webhooks.
    pub hooks: Arc<Hooks>,
    idle: Mutex<BTreeMap<Function, Vec<Warm>>>,
}

impl Fleet {
    /// A fleet without processes.
    #[must_use]
    pub fn new(world: &Arc<World>, watch: Watch, keys: &Arc<Keys>, stream: &Arc<Stream>) -> Arc<Self> {
        let gateway = MemoryGateway::new();
        Arc::new(Self {
            world: Arc::clone(world),
            watch: Arc::new(watch),
            keys: Arc::clone(keys),
            memory: MemoryStore::new(),
            hooks: Hooks::of(&gateway),
            gateway,
            ledger: MemoryLedger::new(),
            queues: MemoryQueues::new(),
            deliveries: Arc::new(Deliveries::default()),
            stream: Arc::clone(stream),
            idle: Mutex::default(),
        })
    }

    fn idle(&self) -> MutexGuard<'_, BTreeMap<Function, Vec<Warm>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an idle process of `function`, or starts a new process.
    fn process_of(&self, function: Function) -> Warm {
        let mut idle = self.idle();
        let free = idle.entry(function).or_default();
        let drawn = keyed(
            self.world.seed ^ 0xf4ee,
            self.world.now_ms().unsigned_abs(),
            function as u64,
        );
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
        let process = Process::start(&self.world, &self.watch, function);
        let store = || Store::new(&process, &self.memory, &self.stream);
        let queues = || Queues::new(&process, &self.queues, &self.deliveries);
        let shoppers = self.keys.shoppers.clone();
        let runtime = ProcessRuntime(Arc::clone(&process));
        let service: Service = match function {
            Function::GetDrop => Arc::new(get_drop::Api::router(store(), store(), runtime)),
            Function::Reserve => Arc::new(reserve::Api::router(
                store(),
                store(),
                store(),
                shoppers,
                runtime,
                StockTable::NEW,
            )),
            Function::Checkout => Arc::new(checkout::Api::router(
                store(),
                store(),
                store(),
                shoppers,
                runtime,
            )),
            Function::GetOrder => Arc::new(get_order::Api::router(store(), shoppers, runtime)),
            Function::OperateDrop => {
                // Capacity is no part of the replay, so the store of readiness is always empty and has no
                // gate.
                let (readiness, operators) = (self.memory.clone(), self.keys.operators.clone());
                Arc::new(operate_drop::Api::router(
                    store(),
                    store(),
                    readiness,
                    store(),
                    PACE.rate,
                    operators,
                    runtime,
                ))
            }
            Function::RelayEvents => Arc::new(Relay::new(queues(), runtime)),
            Function::ProcessOrder => {
                let gateway = Gateway::new(&process, &self.gateway);
                Arc::new(PaymentSaga::new(
                    store(),
                    gateway,
                    PACE,
                    RETURN_URL.to_owned(),
                    runtime,
                ))
            }
            Function::ProjectLedger => {
                Arc::new(Projection::new(Ledger::new(&process, &self.ledger), runtime))
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
                let mailbox = Mailbox::new(&process);
                Arc::new(Notifier::new(
                    store(),
                    Some(mailbox),
                    RETURN_URL.to_owned(),
                    runtime,
                ))
            }
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
        match futures_util::future::select(answered, timeout).await {
            futures_util::future::Either::Left((Ok(answer), _)) => {
                self.idle().entry(function).or_default().push(warm);
                answer.map_or(Invoked::Failed, Invoked::Answered)
            }
            futures_util::future::Either::Left((Err(_), _)) => Invoked::Failed,
            futures_util::future::Either::Right(_) => {
                world.note("an invocation took all its time");
                world.tell(|| format!("{} is ended: its time is up", process.name()));
                world.kill(process.id);
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
        self.event::<Relay<Queues, ProcessRuntime>>(Function::RelayEvents, label, batch, 0)
            .await
    }

    /// Passes a batch of the payments queue to `process-order`.
    pub async fn process(self: &Arc<Self>, label: String, event: SqsEvent) -> Invoked<SqsBatchResponse> {
        self.event::<PaymentSaga<Store, Gateway, ProcessRuntime>>(Function::ProcessOrder, label, event, 0)
            .await
    }

    /// Passes a batch of the ledger queue to `project-ledger`.
    pub async fn project(self: &Arc<Self>, label: String, event: SqsEvent) -> Invoked<SqsBatchResponse> {
        self.event::<Projection<Ledger, ProcessRuntime>>(Function::ProjectLedger, label, event, 0)
            .await
    }

    /// Passes a batch of the mail queue to `notify-shopper`.
    pub async fn notify(self: &Arc<Self>, label: String, event: SqsEvent) -> Invoked<SqsBatchResponse> {
        self.event::<Notifier<Store, Mailbox, ProcessRuntime>>(Function::NotifyShopper, label, event, 0)
            .await
    }

    /// Runs the conductor once. The invocation began `late_ms` ago.
    pub async fn conduct(self: &Arc<Self>, label: String, late_ms: i64) {
        if self.world.is_sabotaged(Sabotage::NobodyConducts) {
            return;
        }
        type OnStore = Conductor<Store, Store, Store, Store, ProcessRuntime>;
        self.event::<OnStore>(Function::ConductDrop, label, IgnoredAny, late_ms)
            .await;
    }

    /// Runs the sweeper once. The invocation began `late_ms` ago.
    pub async fn sweep(self: &Arc<Self>, label: String, late_ms: i64) {
        if self.world.is_sabotaged(Sabotage::NobodySweeps) {
            return;
        }
        let (function, tick) = (Function::SweepOrders, Tick::default());
        let swept = self.event::<Sweeper<Store, Queues, ProcessRuntime>>(function, label, tick, late_ms);
        if let Invoked::Answered(swept) = swept.await
            && swept.reminded > 0
        {
            self.world.note("the sweeper reminded");
        }
    }
}
