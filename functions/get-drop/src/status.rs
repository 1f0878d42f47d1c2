//! The status document, from one of its copies.

use std::sync::Arc;

use api::drops::StatusView;
use domain::ids::DropId;
use domain::limits::STATUS_REPLICAS;
use domain::status::DropStatus;
use ports::StoreError;
use ports::drops::{ListDrops, ReadDrop, ReadStatus};
use ports::edge::Edge;
use ports::retry::{IN_REQUEST, retry};

use crate::browse::{Browse, NotShown};
use crate::recent::Recent;

/// How many drops' statuses a process keeps.
const MOST_STATUSES: usize = 256;

/// Reads statuses for many.
pub struct Statuses<T, E> {
    statuses: T,
    edge: E,
    replica: u8,
    known: Recent<DropId, Option<Arc<DropStatus>>>,
}

impl<T: ReadStatus, E: Edge> Statuses<T, E> {
    /// Reads `statuses`, always the same copy, drawn now.
    pub fn new(statuses: T, edge: E) -> Self {
        let drawn = edge.random() % u64::from(STATUS_REPLICAS);
        Self {
            statuses,
            edge,
            replica: u8::try_from(drawn).unwrap_or(0),
            known: Recent::new(MOST_STATUSES),
        }
    }

    /// The drop's status as of now.
    ///
    /// # Errors
    /// [`NotShown`].
    pub async fn show<D: ReadDrop, L: ListDrops>(
        &self,
        drops: &Browse<D, L, E>,
        id: &DropId,
    ) -> Result<StatusView, NotShown> {
        let drop = drops.published(id).await?;
        let status = self.status(id).await?;
        StatusView::of(&drop, status.as_deref(), self.edge.now()).ok_or(NotShown::Unknown)
    }

    /// The document, `None` before the first survey; at most a second old, or the last good copy while the database is
    /// silent.
    async fn status(&self, id: &DropId) -> Result<Option<Arc<DropStatus>>, StoreError> {
        let now = self.edge.now();
        if let Some(status) = self.known.fresh(id, now) {
            return Ok(status);
        }
        match retry(&self.edge, IN_REQUEST, || self.statuses.status(id, self.replica)).await {
            Ok(found) => {
                let status = found.map(Arc::new);
                self.known.note(id.clone(), status.clone(), now);
                Ok(status)
            }
            Err(error) => self.known.last_good(id, self.edge.now()).ok_or(error),
        }
    }
}
