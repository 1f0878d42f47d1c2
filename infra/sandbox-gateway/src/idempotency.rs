//! Stores answers under idempotency keys, as Stripe documents them
//! (<https://docs.stripe.com/api/idempotent_requests>).
//!
//! Once endpoint code has begun, the first answer under a key is stored, including errors. A repeat with the
//! same parameters gets the stored answer. A repeat with other parameters is refused, and so is a repeat
//! while the first request is running. A key expires a day after its first use.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use crate::error::Reply;

/// The largest length of a key, in characters.
pub const MAX_KEY_CHARS: usize = 255;

/// The time for which a key is remembered, in milliseconds. Stripe says "at least 24 hours".
pub const KEY_LIFE_MS: u64 = 24 * 3_600_000;

#[derive(Debug)]
enum Slot {
    Running {
        fingerprint: String,
        since_ms: u64,
    },
    Done {
        fingerprint: String,
        since_ms: u64,
        reply: Reply,
    },
}

impl Slot {
    /// Whether the key has expired at `now_ms`.
    fn has_lapsed(&self, now_ms: u64) -> bool {
        matches!(self, Self::Done { since_ms, .. } if since_ms.saturating_add(KEY_LIFE_MS) <= now_ms)
    }
}

/// The keys of the last day.
#[derive(Debug, Default)]
pub struct Keys(Mutex<HashMap<String, Slot>>);

/// The action that a request with a key may take.
#[derive(Debug)]
pub enum Claim<'a> {
    /// Carry the request out, then call [`Running::finish`].
    Mine(Running<'a>),
    /// Send this stored answer again.
    Replay(Reply),
    /// Refuse: a request with this key is running.
    InUse,
    /// Refuse: the key belongs to other parameters.
    Mismatch,
}

/// The right to carry out a request under a key. A drop without [`Self::finish`] frees the key.
#[derive(Debug)]
pub struct Running<'a> {
    keys: &'a Keys,
    /// `None` once `finish` has stored the answer, so that the drop does not free the key.
    key: Option<String>,
}

impl Keys {
    /// Claims `key` at `now_ms` for a request that `fingerprint` (route and parameters) identifies.
    pub fn claim(&self, key: &str, fingerprint: &str, now_ms: u64) -> Claim<'_> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.get(key).is_some_and(|slot| slot.has_lapsed(now_ms)) {
            slots.remove(key);
        }
        match slots.entry(key.to_owned()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Slot::Running {
                    fingerprint: fingerprint.to_owned(),
                    since_ms: now_ms,
                });
                Claim::Mine(Running {
                    keys: self,
                    key: Some(key.to_owned()),
                })
            }
            Entry::Occupied(slot) => match slot.get() {
                Slot::Running {
                    fingerprint: first, ..
                }
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
    /// Stores the answer if endpoint code had begun; otherwise frees the key.
    pub fn finish(mut self, reply: &Reply) {
        if !reply.executed {
            return;
        }
        let mut slots = self.keys.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = self.key.take()
            && let Some(slot) = slots.get_mut(&key)
            && let Slot::Running {
                fingerprint,
                since_ms,
            } = slot
        {
            let (fingerprint, since_ms) = (std::mem::take(fingerprint), *since_ms);
            *slot = Slot::Done {
                fingerprint,
                since_ms,
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
        let Claim::Mine(running) = keys.claim("k", "a", 0) else {
            panic!("first claim")
        };
        assert!(matches!(keys.claim("k", "a", 0), Claim::InUse));
        assert!(matches!(keys.claim("k", "b", 0), Claim::Mismatch));
        running.finish(&Reply::ok(json!({"n": 1})));
        assert!(matches!(keys.claim("k", "a", 0), Claim::Replay(reply) if reply.body == json!({"n": 1})));
        assert!(matches!(keys.claim("k", "b", 0), Claim::Mismatch));
    }

    #[test]
    fn a_key_lapses_a_day_after_its_first_use_unless_it_is_in_use() {
        let keys = Keys::default();
        let Claim::Mine(running) = keys.claim("k", "a", 5) else {
            panic!("first claim")
        };
        assert!(matches!(keys.claim("k", "a", 5 + KEY_LIFE_MS), Claim::InUse));
        running.finish(&Reply::ok(json!({"n": 1})));
        assert!(matches!(keys.claim("k", "a", 4 + KEY_LIFE_MS), Claim::Replay(_)));
        assert!(matches!(keys.claim("k", "b", 5 + KEY_LIFE_MS), Claim::Mine(_)));
    }

    #[test]
    fn what_did_not_begin_frees_the_key() {
        let keys = Keys::default();
        let Claim::Mine(running) = keys.claim("k", "a", 0) else {
            panic!("first claim")
        };
        running.finish(&error::missing("payment_intent"));
        let Claim::Mine(running) = keys.claim("k", "b", 0) else {
            panic!("freed by a refusal")
        };
        drop(running);
        assert!(matches!(keys.claim("k", "c", 0), Claim::Mine(_)));
    }
}
