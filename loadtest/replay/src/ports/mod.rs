//! Implements the ports of the functions in a replay: the adapters in memory, with a gate before every call, where
//! faults can hit it.

mod gateway;
mod ledger;
mod mail;
mod orders;
mod queues;
mod stock;
mod store;
mod tables;
mod tell;

use std::sync::Arc;

use memory::{MemoryGateway, MemoryLedger, MemoryQueues, MemoryStore};

use crate::process::Process;
use crate::queue::Deliveries;
use crate::stream::Stream;
use crate::watch::Watch;
use crate::world::World;

/// The services that the processes of a run call.
pub struct Services {
    pub world: Arc<World>,
    /// The checks that run after every write.
    pub watch: Watch,
    /// The contents of the tables.
    pub memory: MemoryStore,
    pub gateway: MemoryGateway,
    pub ledger: MemoryLedger,
    /// The sending side of the queues.
    pub queues: MemoryQueues,
    /// The receiving side of the queues.
    pub deliveries: Deliveries,
    pub stream: Stream,
}

impl Services {
    /// Services without data.
    #[must_use]
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        let memory = MemoryStore::new();
        Arc::new(Self {
            world: Arc::clone(world),
            watch: Watch::new(world, &memory),
            memory,
            gateway: MemoryGateway::new(),
            ledger: MemoryLedger::new(),
            queues: MemoryQueues::new(),
            deliveries: Deliveries::default(),
            stream: Stream::new(world.plan.system.lanes),
        })
    }
}

/// All ports of one process.
#[derive(Clone)]
pub struct Ports {
    pub(crate) process: Arc<Process>,
    pub(crate) services: Arc<Services>,
}

impl Ports {
    fn world(&self) -> &Arc<World> {
        &self.services.world
    }
}
