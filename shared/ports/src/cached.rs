//! Drops as this process last read them, for at most a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::drops::Drop;
use domain::ids::DropId;
use domain::limits::CACHE_MS;
use domain::time::Timestamp;

use crate::StoreError;
use crate::drops::ReadDrop;
use crate::edge::Edge;
use crate::retry::{IN_REQUEST, retry};

/// How many drops a process remembers; strangers' ids must not fill its memory.
const MOST: usize = 256;

/// When a drop was read, and what was found.
type Read = (Timestamp, Option<Arc<Drop>>);

/// Reads drops, each at most once a second: also the absence of one.
pub struct CachedDrops<D, E> {
    drops: D,
    edge: E,
    known: Mutex<HashMap<DropId, Read>>,
}

impl<D: ReadDrop, E: Edge> CachedDrops<D, E> {
    /// A cache in front of `drops`.
    pub fn new(drops: D, edge: E) -> Self {
        Self {
            drops,
            edge,
            known: Mutex::new(HashMap::new()),
        }
    }

    /// The drop, at most `domain::limits::CACHE_MS` old.
    ///
    /// # Errors
    /// [`StoreError`] when it had to be read and could not be.
    pub async fn get(&self, id: &DropId) -> Result<Option<Arc<Drop>>, StoreError> {
        let now = self.edge.now();
        if let Some((read_at, drop)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(id)
            && (0..CACHE_MS).contains(&now.millis_since(*read_at))
        {
            return Ok(drop.clone());
        }
        let drop = retry(&self.edge, IN_REQUEST, || self.drops.drop(id))
            .await?
            .map(Arc::new);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (read_at, _)| now.millis_since(*read_at) < CACHE_MS);
        }
        if known.len() < MOST {
            known.insert(id.clone(), (now, drop.clone()));
        }
        Ok(drop)
    }
}
