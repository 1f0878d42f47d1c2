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

/// The number of tries of a read of the drop.
const DROP_TRIES: u32 = 10;
/// The time that an environment kept data that it had read, in µs.
const KEPT_US: i64 = 1_000_000;
/// The number of shards that were read when the counts could not be read.
const MORE_SHARDS: u64 = 6;
/// The assumed size of each item that the former designs read (the drop, a shard, the document of counts), in bytes.
const ITEM_BYTES: usize = 1_024;

/// A former design in one environment.
pub struct Former {
    pub design: OldDesign,
    pub store: Store,
    /// The time of the last successful read, in µs. The data stay usable for [`KEPT_US`].
    pub read_us: AtomicI64,
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
}

impl Former {
    /// Makes the design's reads before a request to `function`. `reserves` tells whether it is a reservation
    /// request. Returns false if the former design would refuse the request here.
    pub async fn reads(&self, function: Function, reserves: bool) -> bool {
        let (world, store) = (self.store.world(), &self.store);
        let shards = u64::from(world.settings.units.div_ceil(MAX_SHARD_UNITS));
        match self.design {
            OldDesign::OneDropItem => match function {
                Function::GetDrop | Function::Reserve | Function::Checkout => self.drop_is_read().await,
                _ => true,
            },
            OldDesign::FewShards if reserves => {
                let (first, second) = (world.draw() % shards, world.draw() % shards);
                let mut wanted = vec![shard(first)];
                wanted.extend((second != first).then(|| shard(second)));
                store.batch_units(wanted).await.is_ok()
            }
            OldDesign::OneCountsItem if reserves => {
                let counts = Touch::read(Place::Status, "old#counts", units::read(ITEM_BYTES, false));
                if self.is_fresh() || self.is_read(counts).await {
                    return true;
                }
                let more = (0..MORE_SHARDS.min(shards)).map(|_| shard(world.draw() % shards));
                store.batch_units(more.collect()).await.is_ok()
            }
            OldDesign::FewShards | OldDesign::OneCountsItem => true,
        }
    }

    async fn drop_is_read(&self) -> bool {
        if self.is_fresh() {
            return true;
        }
        for _ in 0..DROP_TRIES {
            let item = Touch::read(Place::Drops, "old#drop", units::read(ITEM_BYTES, true));
            if self.is_read(item).await {
                return true;
            }
        }
        false
    }

    fn is_fresh(&self) -> bool {
        let read_us = self.read_us.load(Ordering::Relaxed);
        read_us > 0 && self.store.world().timeline.now_us() - read_us < KEPT_US
    }

    async fn is_read(&self, item: Touch) -> bool {
        let read = self.store.read_units(item).await.is_ok();
        if read {
            let now_us = self.store.world().timeline.now_us();
            self.read_us.store(now_us, Ordering::Relaxed);
        }
        read
    }
}

fn shard(number: u64) -> Touch {
    Touch::read(
        Place::Stock,
        format!("old#shard#{number}"),
        units::read(ITEM_BYTES, false),
    )
}
