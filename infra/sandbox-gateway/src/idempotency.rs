//! Idempotency keys as Stripe documents them (<https://docs.stripe.com/api/idempotent_requests>).
//!
//! The first answer under a key is kept, errors included, once endpoint code has begun; a repeat with the same parameters
//! gets it back, with other parameters is refused, and while the first is running is refused as a conflict.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use crate::error::Reply;

/// A key is at most this many characters.
pub const MAX_KEY_CHARS: usize = 255;

#[derive(Debug)]
enum Slot {
    Running { fingerprint: String },
    Done { fingerprint: String, reply: Reply },
}

/// All keys ever used.
#[derive(Debug, Default)]
pub struct Keys(Mutex<HashMap<String, Slot>>);

/// What a request that brought a key may do.
#[derive(Debug)]
pub enum Claim<'a> {
    /// Carry it out, then [`Running::finish`].
    Mine(Running<'a>),
    /// Answer this, again.
    Replay(Reply),
    /// Refuse: someone is at it.
    InUse,
    /// Refuse: the key belongs to other parameters.
    Mismatch,
}

/// The right to carry a request out under a key. Dropped unfinished, the key is free again.
#[derive(Debug)]
pub struct Running<'a> {
    keys: &'a Keys,
    /// Taken by `finish`.
    key: Option<String>,
}

impl Keys {
    /// Claims `key` for a request that `fingerprint` (route and parameters) identifies.
    pub fn claim(&self, key: &str, fingerprint: &str) -> Claim<'_> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.entry(key.to_owned()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Slot::Running {
                    fingerprint: fingerprint.to_owned(),
                });
                Claim::Mine(Running {
                    keys: self,
                    key: Some(key.to_owned()),
                })
            }
            Entry::Occupied(slot) => match slot.get() {
                Slot::Running { fingerprint: first }
                | Slot::Done {
                    fingerprint: first, ..
                } if first != fingerprint => Claim::Mismatch,
                Slot::Running { .. } => Claim::InUse,
                Slot::Done { reply, .. } => Claim::Replay(reply.clone()),
            },
        }
    }
}

impl Running<'_> {
    /// Keeps the answer if endpoint code had begun, else frees the key.
    pub fn finish(mut self, reply: &Reply) {
        if !reply.executed {
            return;
        }
        let mut slots = self.keys.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = self.key.take()
            && let Some(slot) = slots.get_mut(&key)
            && let Slot::Running { fingerprint } = slot
        {
            let fingerprint = std::mem::take(fingerprint);
            *slot = Slot::Done {
                fingerprint,
                reply: reply.clone(),
            };
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.keys
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error;
    use serde_json::json;

    #[test]
    fn a_key_is_claimed_once_and_then_replays() {
        let keys = Keys::default();
        let Claim::Mine(running) = keys.claim("k", "a") else {
            panic!("first claim")
        };
        assert!(matches!(keys.claim("k", "a"), Claim::InUse));
        assert!(matches!(keys.claim("k", "b"), Claim::Mismatch));
        running.finish(&Reply::ok(json!({"n": 1})));
        assert!(matches!(keys.claim("k", "a"), Claim::Replay(reply) if reply.body == json!({"n": 1})));
        assert!(matches!(keys.claim("k", "b"), Claim::Mismatch));
    }

    #[test]
    fn what_did_not_begin_frees_the_key() {
        let keys = Keys::default();
        let Claim::Mine(running) = keys.claim("k", "a") else {
            panic!("first claim")
        };
        running.finish(&error::missing("payment_intent"));
        let Claim::Mine(running) = keys.claim("k", "b") else {
            panic!("freed by a refusal")
        };
        drop(running);
        assert!(matches!(keys.claim("k", "c"), Claim::Mine(_)));
    }
}
