//! Implements the gate before every call of a database port: the call takes virtual time, and faults can
//! hit it.

use std::future::Future;
use std::sync::Arc;

use memory::MemoryStore;
use ports::StoreError;

use crate::chance::keyed;
use crate::faults::{Place, Stroke};
use crate::lock::lock;
use crate::ports::tell::Tell;
use crate::ports::{Ports, Services};

/// The longest time that a client waits for an answer that does not arrive, in milliseconds.
const ANSWER_MS: i64 = 2_000;

impl Ports {
    /// Makes a read. With `may_lag`, it may return an earlier state.
    pub(super) async fn read<T, F>(
        &self,
        name: &'static str,
        may_lag: bool,
        of: impl FnOnce() -> String + Send,
        act: impl FnOnce(MemoryStore) -> F + Send,
    ) -> Result<T, StoreError>
    where
        T: Tell,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let (stroke, after_ms) = self.process.arrive(Place::Read { may_lag }).await;
        let world = self.world();
        let mut memory = self.services.memory.clone();
        let mut lag = "";
        let failed = match stroke {
            Some(Stroke::Stale) => {
                let before = lock(&world.before);
                let at = self.drawn().checked_rem(before.len() as u64).unwrap_or(0);
                let at = usize::try_from(at).unwrap_or(0);
                memory = before.get(at).cloned().unwrap_or(memory);
                lag = " (a moment ago)";
                None
            }
            Some(Stroke::DiesBefore | Stroke::DiesAfter) => {
                self.process.die().await;
                None
            }
            stroke => self.failure(stroke).await,
        };
        let answer = match failed {
            Some(error) => Err(error),
            None => act(memory).await,
        };
        if answer.is_news() {
            self.process
                .tell(|| format!("{name}{lag} {} -> {}", of(), answer.tell()));
        }
        world.sleep(after_ms).await;
        answer
    }

    /// Makes a write, which is one atomic step: a single write or a transaction.
    pub(super) async fn write<T, F>(
        &self,
        name: &'static str,
        transaction: bool,
        of: String,
        act: impl FnOnce(Arc<Services>) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Tell + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (stroke, after_ms) = self.process.arrive(Place::Write { transaction }).await;
        let act = act(Arc::clone(&self.services));
        let answer = match stroke {
            Some(Stroke::Late(ms)) => {
                self.later(name, i64::from(ms), act);
                Err(StoreError::Unknown)
            }
            Some(Stroke::DiesBefore) => {
                self.process.die().await;
                Err(StoreError::Unknown)
            }
            Some(stroke @ (Stroke::UnknownAfter | Stroke::DiesAfter)) => {
                let lost = act.await;
                self.process
                    .tell(|| format!("{name} -> {}, which nobody learns", lost.tell()));
                if stroke == Stroke::DiesAfter {
                    self.process.die().await;
                }
                self.world().sleep(self.silence_ms()).await;
                Err(StoreError::Unknown)
            }
            stroke => match self.failure(stroke).await {
                Some(error) => Err(error),
                None => act.await,
            },
        };
        if answer.is_news() {
            self.process.tell(|| format!("{name} {of} -> {}", answer.tell()));
        }
        self.world().sleep(after_ms).await;
        answer
    }

    /// Lets a write take effect after `ms` milliseconds, when its caller already has an unknown outcome.
    fn later<T: Tell>(
        &self,
        name: &'static str,
        ms: i64,
        act: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) {
        let world = Arc::clone(self.world());
        let who = self.process.name();
        world.begin();
        self.world().spawn(None, async move {
            world.sleep(ms).await;
            let answer = act.await;
            world.note("a write arrived late");
            world.tell(|| format!("{who}'s {name} arrives late -> {}", answer.tell()));
            world.done();
        });
    }

    /// The error of a call that had no effect, if the stroke causes one.
    async fn failure(&self, stroke: Option<Stroke>) -> Option<StoreError> {
        match stroke? {
            Stroke::Busy => Some(StoreError::Busy),
            Stroke::Broken => Some(StoreError::Broken("a fault on purpose".to_owned())),
            Stroke::UnknownBefore => {
                self.world().sleep(self.silence_ms()).await;
                Some(StoreError::Unknown)
            }
            _ => None,
        }
    }

    /// The time that the caller waits for an answer that does not come, in milliseconds: below 60 if the
    /// connection breaks, and the client's time limit if the answer is missing.
    fn silence_ms(&self) -> i64 {
        let drawn = self.drawn();
        match drawn % 4 {
            0 => ANSWER_MS,
            _ => i64::try_from(drawn % 60).unwrap_or(0),
        }
    }

    fn drawn(&self) -> u64 {
        let now_ms = self.world().now_ms().unsigned_abs();
        keyed(self.world().plan.seed, self.process.id, now_ms)
    }
}
