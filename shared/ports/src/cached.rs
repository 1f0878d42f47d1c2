//! Drops as this process last read them, for at most a second.

use std::sync::Arc;

use domain::drops::Drop;
use domain::ids::DropId;

use crate::StoreError;
use crate::drops::ReadDrop;
use crate::edge::Edge;
use crate::recent::Recent;
use crate::retry::{IN_REQUEST, retry};

/// How many drops a process remembers, and of how many ids it remembers that there is no such drop.
const MOST: usize = 256;

/// Reads drops, each at most once a second: also the absence of one.
pub struct CachedDrops<D, E> {
    drops: D,
    edge: E,
    found: Recent<DropId, Arc<Drop>>,
    absent: Recent<DropId, ()>,
}

impl<D: ReadDrop, E: Edge> CachedDrops<D, E> {
    /// A cache in front of `drops`.
    pub fn new(drops: D, edge: E) -> Self {
        Self {
            drops,
            edge,
            found: Recent::new(MOST),
            absent: Recent::new(MOST),
        }
    }

    /// The drop, at most `domain::limits::CACHE_MS` old.
    ///
    /// # Errors
    /// [`StoreError`] when it had to be read and could not be.
    pub async fn get(&self, id: &DropId) -> Result<Option<Arc<Drop>>, StoreError> {
        let now = self.edge.now();
        if let Some(drop) = self.found.fresh(id, now) {
            return Ok(Some(drop));
        }
        if self.absent.fresh(id, now).is_some() {
            return Ok(None);
        }
        let drop = retry(&self.edge, IN_REQUEST, || self.drops.drop(id)).await?;
        let drop = drop.map(Arc::new);
        match &drop {
            Some(drop) => self.found.note(id.clone(), Arc::clone(drop), now),
            None => self.absent.note(id.clone(), (), now),
        }
        Ok(drop)
    }

    /// The drop as last read, at most `domain::limits::STALE_STATUS_MS` old: for a process that can do without the newest
    /// while the database does not answer.
    pub fn last_good(&self, id: &DropId) -> Option<Arc<Drop>> {
        self.found.last_good(id, self.edge.now())
    }
}
