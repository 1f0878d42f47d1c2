//! The fleet: processes of every function, started when needed, kept while they live, and what they are wired to.
//!
//! A process serves one invocation at a time and keeps its caches from one to the next, as Lambda's do. It is wired as
//! the function's own `main.rs` wires it, to ports in memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use axum::Router;
use axum::body::Body;
use conduct_drop::Conductor;
use conduct_drop::step::Reach;
use domain::time::Timestamp;
use http_body_util::BodyExt as _;
use memory::{MemoryGateway, MemoryLedger, MemoryQueues, MemoryStore};
use ports::cached::CachedDrops;
use ports::edge::Edge as _;
use process_order::drive::Driver;
use project_ledger::Projection;
use relay_events::{BatchReport, Relay, StreamBatch, WholeBatchFailed};
use reserve::create::Create;
use reserve::knowledge::Knowledge;
use reserve::release::Held;
use sweep_orders::Sweeper;
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use crate::chance::keyed;
use crate::ports::{Gateway, Ledger, Queues, Store};
use crate::process::{Function, Process, ProcessEdge};
use crate::queue::Deliveries;
use crate::sabotage::Sabotage;
use crate::stream::{RELAY, Stream};
use crate::tokens::Keys;
use crate::world::World;

/// Where the bank would send shoppers back to.
const RETURN_URL: &str = "https://shop.example/orders";

/// What a process runs.
#[derive(Clone)]
enum Service {
    Http(Router),
    Relay(Arc<Relay<Queues, ProcessEdge>>),
    Driver(Arc<Driver<Store, Gateway, ProcessEdge>>),
    Projection(Arc<Projection<Ledger, ProcessEdge>>),
    Conductor(Arc<Conductor<Store, Store, Store, Store, ProcessEdge>>),
    Sweeper(Arc<Sweeper<Store, Queues, ProcessEdge>>),
}

#[derive(Clone)]
struct Warm {
    process: Arc<Process>,
    service: Service,
}

/// How an invocation ended.
#[derive(Debug)]
pub enum Invoked<T> {
    /// With an answer.
    Answered(T),
    /// The process died, or its time was up.
    Failed,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
    /// The moment of the answer by the clock of the process that gave it.
    pub at: Timestamp,
    /// The true moment at which the function began with the request: an answer may rest on what was true from then on.
    pub begun_at: Timestamp,
}

impl Answer {
    /// The body as JSON, if it is that.
    #[must_use]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Everything behind the API.
pub struct Fleet {
    world: Arc<World>,
    keys: Arc<Keys>,
    /// The tables.
    pub memory: MemoryStore,
    /// The gateway.
    pub gateway: MemoryGateway,
    /// The ledger.
    pub ledger: MemoryLedger,
    /// The queues' sending side.
    pub queues: MemoryQueues,
    /// The queues' receiving side.
    pub deliveries: Arc<Deliveries>,
    /// The stream.
    pub stream: Arc<Stream>,
    idle: Mutex<BTreeMap<Function, Vec<Warm>>>,
}

impl Fleet {
    /// A fleet without processes.
    #[must_use]
    pub fn new(world: &Arc<World>, keys: &Arc<Keys>, stream: &Arc<Stream>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            keys: Arc::clone(keys),
            memory: MemoryStore::new(),
            gateway: MemoryGateway::new(),
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

    /// A process that is free, or a new one.
    fn process_of(&self, function: Function) -> Warm {
        let mut idle = self.idle();
        let free = idle.entry(function).or_default();
        let drawn = keyed(
            self.world.seed ^ 0xf4ee,
            self.world.now_ms().unsigned_abs(),
            function as u64,
        );
        // Now and then one is retired and a new one started.
        if free.is_empty() || drawn.is_multiple_of(16) {
            drop(idle);
            return self.start(function);
        }
        let at = usize::try_from((drawn >> 8) % (free.len() as u64)).unwrap_or(0);
        free.swap_remove(at)
    }

    /// Starts a process, wired as its `main.rs` does.
    fn start(&self, function: Function) -> Warm {
        let process = Process::start(&self.world, function);
        let store = Store::new(&process, &self.memory, &self.stream);
        let edge = ProcessEdge(Arc::clone(&process));
        let queues = || Queues::new(&process, &self.queues, &self.deliveries);
        let shoppers = || self.keys.shoppers.clone();
        let service = match function {
            Function::GetDrop => Service::Http(get_drop::router(get_drop::State {
                browse: get_drop::browse::Browse::new(store.clone(), store.clone(), edge.clone()),
                statuses: get_drop::status::Statuses::new(store, edge),
            })),
            Function::Reserve => {
                let drops = Arc::new(CachedDrops::new(store.clone(), edge.clone()));
                let replica = edge.random() % u64::from(domain::limits::STATUS_REPLICAS);
                Service::Http(reserve::router(reserve::State {
                    create: Create {
                        drops: drops.clone(),
                        stock: store.clone(),
                        status: store.clone(),
                        knowledge: Knowledge::default(),
                        replica: u8::try_from(replica).unwrap_or(0),
                        edge: edge.clone(),
                    },
                    held: Held {
                        drops,
                        stock: store,
                        edge: edge.clone(),
                    },
                    shoppers: shoppers(),
                    edge,
                }))
            }
            Function::Checkout => Service::Http(checkout::router(checkout::State {
                checkout: checkout::place::Checkout {
                    drops: CachedDrops::new(store.clone(), edge.clone()),
                    stock: store.clone(),
                    orders: store,
                    edge,
                },
                shoppers: shoppers(),
            })),
            Function::GetOrder => Service::Http(get_order::router(get_order::State {
                orders: store,
                shoppers: shoppers(),
                edge,
            })),
            Function::OperateDrop => Service::Http(operate_drop::router(operate_drop::State {
                drops: store.clone(),
                stock: store,
                // Nobody asks for it here: capacity is no part of a replay.
                readiness: self.memory.clone(),
                operators: self.keys.operators.clone(),
                edge,
            })),
            Function::RelayEvents => Service::Relay(Arc::new(Relay {
                queues: queues(),
                edge,
            })),
            Function::ProcessOrder => Service::Driver(Arc::new(Driver {
                orders: store,
                gateway: Gateway::new(&process, &self.gateway),
                edge,
                return_url: RETURN_URL.to_owned(),
            })),
            Function::ProjectLedger => Service::Projection(Arc::new(Projection {
                ledger: Ledger::new(&process, &self.ledger),
                edge,
            })),
            Function::ConductDrop => Service::Conductor(Arc::new(Conductor::new(Reach {
                drops: store.clone(),
                stock: store.clone(),
                orders: store.clone(),
                statuses: store,
                edge,
            }))),
            Function::SweepOrders => Service::Sweeper(Arc::new(Sweeper {
                orders: store,
                queues: queues(),
                edge,
            })),
        };
        Warm { process, service }
    }

    /// Runs `serve` on a process of `function`, until it answers, dies, or has taken all its time.
    async fn invoke<T, F>(
        self: &Arc<Self>,
        function: Function,
        label: String,
        serve: impl FnOnce(Service, Arc<Process>, Timestamp) -> F,
    ) -> Invoked<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let warm = self.process_of(function);
        let (world, process) = (&self.world, warm.process.clone());
        process.begin(label);
        let deadline = process.now().plus_millis(function.timeout_ms());
        let (answer, answered) = oneshot::channel();
        let served = serve(warm.service.clone(), process.clone(), deadline);
        world.spawn(Some(process.id), async move {
            // Nobody waits any more: the answer is lost.
            answer.send(served.await).ok();
        });
        let timeout = world.sleep(function.timeout_ms());
        match futures_util::future::select(answered, timeout).await {
            futures_util::future::Either::Left((Ok(answer), _)) => {
                self.idle().entry(function).or_default().push(warm);
                Invoked::Answered(answer)
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
        self.invoke(function, label, |service, process, _| async move {
            let Service::Http(router) = service else {
                return not_served(process);
            };
            let begun_at = process.world.now();
            let Ok(response) = router.oneshot(request).await;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await;
            Answer {
                status,
                body: body.map(|body| body.to_bytes().to_vec()).unwrap_or_default(),
                at: process.now(),
                begun_at,
            }
        })
        .await
    }

    /// Hands a batch of the stream to the relay.
    pub async fn relay(
        self: &Arc<Self>,
        label: String,
        batch: StreamBatch,
    ) -> Invoked<Result<BatchReport, WholeBatchFailed>> {
        self.invoke(RELAY, label, |service, _, deadline| async move {
            match service {
                Service::Relay(relay) => relay.relay(&batch, deadline).await,
                _ => Err(WholeBatchFailed),
            }
        })
        .await
    }

    /// Hands a batch of the payments' queue to `process-order`.
    pub async fn process(
        self: &Arc<Self>,
        label: String,
        event: SqsEvent,
    ) -> Invoked<Result<SqsBatchResponse, ()>> {
        self.invoke(Function::ProcessOrder, label, |service, _, _| async move {
            match service {
                Service::Driver(driver) => process_order::batch::handle(&driver, event).await.map_err(|_| ()),
                _ => Err(()),
            }
        })
        .await
    }

    /// Hands a batch of the ledger's queue to `project-ledger`.
    pub async fn project(
        self: &Arc<Self>,
        label: String,
        event: SqsEvent,
    ) -> Invoked<Result<SqsBatchResponse, ()>> {
        self.invoke(
            Function::ProjectLedger,
            label,
            |service, _, deadline| async move {
                match service {
                    Service::Projection(projection) => {
                        projection.project(&event, deadline).await.map_err(|_| ())
                    }
                    _ => Err(()),
                }
            },
        )
        .await
    }

    /// Runs the conductor once; its time began `late_ms` ago.
    pub async fn conduct(self: &Arc<Self>, label: String, late_ms: i64) -> Invoked<()> {
        self.invoke(
            Function::ConductDrop,
            label,
            move |service, process, deadline| async move {
                if let Service::Conductor(conductor) = service {
                    let holder = format!(
                        "{}.{:016x}",
                        process.label(),
                        ProcessEdge(process.clone()).random()
                    );
                    let deadline = deadline.plus_millis(-late_ms);
                    conductor.run(holder, deadline, |_, _| {}).await;
                }
            },
        )
        .await
    }

    /// Runs the sweeper once; its time began `late_ms` ago.
    pub async fn sweep(self: &Arc<Self>, label: String, late_ms: i64) -> Invoked<()> {
        let world = Arc::clone(&self.world);
        self.invoke(
            Function::SweepOrders,
            label,
            move |service, process, deadline| async move {
                if let Service::Sweeper(sweeper) = service
                    && !world.is_sabotaged(Sabotage::NobodySweeps)
                {
                    let deadline = deadline.plus_millis(-late_ms);
                    let tick = sweep_orders::schedule::Tick::default();
                    let until = sweep_orders::schedule::until(tick, process.now(), deadline);
                    let swept = sweeper.run(until).await;
                    if swept.reminded > 0 {
                        world.note("the sweeper reminded");
                    }
                }
            },
        )
        .await
    }
}

fn not_served(process: Arc<Process>) -> Answer {
    Answer {
        status: 404,
        body: Vec::new(),
        at: process.now(),
        begun_at: process.world.now(),
    }
}
