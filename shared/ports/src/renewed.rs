//! Caches one value that another service stores. The value is read again from time to time, and used for longer while that
//! service does not answer.
//!
//! | age of the value | [`Renewed::get`] returns |
//! |---|---|
//! | younger than its life, and not doubted | the cached value, without a read |
//! | older, or doubted | the result of a new read; if that fails, the cached value until it is too old |
//! | too old, or no value | the result of a new read |
//!
//! At most one read runs at a time. During a read, other callers use the cached value unless it is doubted or too old.
//! No read begins within a pause after the end of the last read; until then its result is returned again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::time::Timestamp;

use crate::runtime::Runtime;

/// The times of a [`Renewed`] value, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a value is used before it is read again. Each read subtracts up to a fifth at random, so that processes
    /// that started together do not read together.
    pub life_ms: i64,
    /// How long a value is used while it cannot be read again.
    pub stale_ms: i64,
    /// The shortest time between the end of a read and the next read, while a value is cached that is not too old.
    pub pause_ms: i64,
    /// The same while there is no such value.
    pub pause_without_ms: i64,
}

/// A cached value, as [the module's table](self) says. `E` is the error of a read.
#[derive(Debug)]
pub struct Renewed<T, E> {
    limits: Limits,
    kept: Mutex<Kept<T, E>>,
    /// Locked during a read, so that a process has at most one read at a time.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Kept<T, E> {
    value: Option<Value<T>>,
    /// The time at which the last read ended, and its error if it failed.
    tried: Option<(Timestamp, Option<E>)>,
}

#[derive(Debug)]
struct Value<T> {
    value: T,
    /// The time at which the read of this value began.
    read_at: Timestamp,
    life_ms: i64,
    is_doubted: bool,
}

impl<T> Value<T> {
    /// Whether the value was read less than `ms` ago. A value with a read time in the future is not younger: the clock
    /// has moved back.
    fn is_younger_than(&self, ms: i64, now: Timestamp) -> bool {
        (0..ms).contains(&now.millis_since(self.read_at))
    }
}

impl<T: Clone, E: Clone> Kept<T, E> {
    fn fresh(&self, now: Timestamp) -> Option<T> {
        let value = self.value.as_ref().filter(|value| !value.is_doubted)?;
        value
            .is_younger_than(value.life_ms, now)
            .then(|| value.value.clone())
    }

    /// The value, unless it is too old.
    fn stale(&self, limits: &Limits, now: Timestamp) -> Option<&Value<T>> {
        let value = self.value.as_ref();
        value.filter(|value| value.is_younger_than(limits.stale_ms, now))
    }

    /// The result of the last read, if it ended after `began`, or so recently that no new read may begin.
    fn just_read(&self, limits: &Limits, began: Timestamp, now: Timestamp) -> Option<Result<T, E>> {
        let (ended, error) = self.tried.as_ref()?;
        let pause_ms = match self.stale(limits, now) {
            Some(_) => limits.pause_ms,
            None => limits.pause_without_ms,
        };
        let pauses = (0..pause_ms).contains(&now.millis_since(*ended));
        if !pauses && !(began..=now).contains(ended) {
            return None;
        }
        match error {
            Some(error) => Some(Err(error.clone())),
            None => self.value.as_ref().map(|value| Ok(value.value.clone())),
        }
    }
}

impl<T: Clone, E: Clone> Renewed<T, E> {
    /// A cache without a value.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            kept: Mutex::new(Kept {
                value: None,
                tried: None,
            }),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// The value, as [the module's table](self) says. `read` reads it.
    ///
    /// # Errors
    ///
    /// The error of the last read, if there is no value that may be used.
    pub async fn get<R: Runtime, F>(&self, runtime: &R, read: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let began = runtime.now();
        if let Some(fresh) = self.kept().fresh(began) {
            return Ok(fresh);
        }
        let _reading = match self.reading.try_lock() {
            Ok(reading) => reading,
            Err(_) => {
                if let Some(value) = self.undoubted(began) {
                    return Ok(value);
                }
                self.reading.lock().await
            }
        };
        let now = runtime.now();
        let just_read = self.kept().just_read(&self.limits, began, now);
        let found = match just_read {
            Some(found) => found,
            None => self.read(runtime, read).await,
        };
        found.or_else(|error| {
            let kept = self.kept();
            let stale = kept.stale(&self.limits, runtime.now());
            stale.map(|value| value.value.clone()).ok_or(error)
        })
    }

    /// A value for which `is_former` does not hold, read now if the cached value is a former one; `None` if a read that
    /// has just ended returned no other value.
    ///
    /// # Errors
    ///
    /// The error of the read, also of one that has just ended.
    pub async fn newer<R: Runtime, F>(
        &self,
        runtime: &R,
        is_former: impl Fn(&T) -> bool,
        read: impl FnOnce() -> F,
    ) -> Result<Option<T>, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let began = runtime.now();
        let _reading = self.reading.lock().await;
        let current = self.kept().value.as_ref().map(|value| value.value.clone());
        if let Some(newer) = current.filter(|value| !is_former(value)) {
            return Ok(Some(newer));
        }
        let just_read = self.kept().just_read(&self.limits, began, runtime.now());
        match just_read {
            Some(found) => found.map(|_| None),
            None => self.read(runtime, read).await.map(Some),
        }
    }

    /// Has the cached value read again before its life is over, since a service refused it.
    pub fn doubt(&self) {
        if let Some(value) = &mut self.kept().value {
            value.is_doubted = true;
        }
    }

    /// The age of the value in milliseconds; `None` if there is no value or it is too old.
    pub fn age_ms(&self, now: Timestamp) -> Option<i64> {
        let kept = self.kept();
        kept.stale(&self.limits, now)
            .map(|value| now.millis_since(value.read_at))
    }

    fn undoubted(&self, now: Timestamp) -> Option<T> {
        let kept = self.kept();
        let value = kept.stale(&self.limits, now).filter(|value| !value.is_doubted);
        value.map(|value| value.value.clone())
    }

    async fn read<R: Runtime, F>(&self, runtime: &R, read: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let read_at = runtime.now();
        let found = read().await;
        let life_ms = self.limits.life_ms;
        let early = runtime.random() % (life_ms.unsigned_abs() / 5).max(1);
        let mut kept = self.kept();
        kept.tried = Some((runtime.now(), found.as_ref().err().cloned()));
        if let Ok(value) = &found {
            kept.value = Some(Value {
                value: value.clone(),
                read_at,
                life_ms: life_ms - early.cast_signed(),
                is_doubted: false,
            });
        }
        found
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T, E>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
