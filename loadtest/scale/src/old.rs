//! Models former designs of the hot path: before a request, a former design makes its reads, and the current code's
//! reads for the same purpose cost nothing.
//!
//! The reads of a former design are made between the platform and the handler, so they do not change with the
//! product's code. A request is answered 503 where the former design could not continue.

use std::sync::atomic::{AtomicI64, Ordering};

use domain::limits::MAX_SHARD_UNITS;
use replay::function::Function;
use stack_api::units;

use crate::settings::OldDesign;
use crate::store::Store;
use crate::tables::{Place, Touch};
use crate::world::World;

/// The number of tries of a read of the drop.
const DROP_TRIES: u32 = 10;
/// The time that an environment kept data that it had read, in µs.
const KEPT_US: i64 = 1_000_000;
/// The number of shards that were read when the counts could not be read.
const MORE_SHARDS: u64 = 6;
/// The assumed size of each item that the former designs read (the drop, a shard, the document of counts), in bytes.
const ITEM_BYTES: usize = 1_024;

/// The time of an environment's last successful read under a former design. The data stay usable for [`KEPT_US`].
#[derive(Debug, Default)]
pub struct Memory {
    read_us: AtomicI64,
}

impl OldDesign {
    /// Whether this design replaces the handler's own reads of `place`.
    #[must_use]
    pub const fn replaces(self, place: Place) -> bool {
        match self {
            Self::OneDropItem => matches!(place, Place::Drops),
            Self::FewShards => matches!(place, Place::Stock),
            Self::OneCountsItem => matches!(place, Place::Status),
        }
    }

    /// Makes the design's reads before a request to `function`. `reserves` tells whether it is a reservation
    /// request. Returns false if the former design would refuse the request here.
    pub async fn reads(
        self,
        world: &World,
        store: &Store,
        memory: &Memory,
        function: Function,
        reserves: bool,
    ) -> bool {
        match self {
            Self::OneDropItem => match function {
                Function::GetDrop | Function::Reserve | Function::Checkout => {
                    self.drop_is_read(world, store, memory).await
                }
                _ => true,
            },
            Self::FewShards if reserves => {
                let shards = u64::from(world.settings.units.div_ceil(MAX_SHARD_UNITS));
                let (first, second) = (world.draw() % shards, world.draw() % shards);
                let mut wanted = vec![shard(first)];
                wanted.extend((second != first).then(|| shard(second)));
                store.batch_units(wanted).await.is_ok()
            }
            Self::OneCountsItem if reserves => {
                if memory.is_fresh(world) {
                    return true;
                }
                let counts = Touch::read(Place::Status, "old#counts", units::read(ITEM_BYTES, false));
                if store.read_units(&[counts]).await.is_ok() {
                    memory.has_read(world);
                    return true;
                }
                let shards = u64::from(world.settings.units.div_ceil(MAX_SHARD_UNITS));
                let more = (0..MORE_SHARDS.min(shards)).map(|_| shard(world.draw() % shards));
                store.batch_units(more.collect()).await.is_ok()
            }
            Self::FewShards | Self::OneCountsItem => true,
        }
    }

    async fn drop_is_read(self, world: &World, store: &Store, memory: &Memory) -> bool {
        if memory.is_fresh(world) {
            return true;
        }
        for _ in 0..DROP_TRIES {
            let item = Touch::read(Place::Drops, "old#drop", units::read(ITEM_BYTES, true));
            if store.read_units(&[item]).await.is_ok() {
                memory.has_read(world);
                return true;
            }
        }
        false
    }
}

impl Memory {
    fn is_fresh(&self, world: &World) -> bool {
        let read_us = self.read_us.load(Ordering::Relaxed);
        read_us > 0 && world.timeline.now_us() - read_us < KEPT_US
    }

    fn has_read(&self, world: &World) {
        self.read_us.store(world.timeline.now_us(), Ordering::Relaxed);
    }
}

fn shard(number: u64) -> Touch {
    Touch::read(
        Place::Stock,
        format!("old#shard#{number}"),
        units::read(ITEM_BYTES, false),
    )
}
