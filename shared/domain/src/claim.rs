//! Defines a claim: units of one shard, held or ordered by one shopper, stored as a string of fixed length.

use std::fmt;
use std::str::FromStr;

use crate::ids::{Nonce, ReservationId, ShardKey};
use crate::limits::{CLAIM_BYTES, CLOCK_SKEW_MS, MAX_SHARD_UNITS};
use crate::serde_as_text;
use crate::time::Timestamp;

/// The kind of a claim: a hold or an open order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimState {
    /// A hold: after its deadline its units are returned.
    Held,
    /// An open order: only the order's end removes the claim, whatever the time.
    Ordered,
}

/// Units of one shard that are held or ordered by one shopper, so that they are neither free nor sold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Whether the claim is a hold or an open order.
    pub state: ClaimState,
    /// The number of units, from 1 to [`MAX_SHARD_UNITS`].
    pub units: u32,
    /// The time until which the hold can be checked out, or the deadline that the order's transaction stored.
    pub deadline: Timestamp,
    /// Identifies the reservation within the shard.
    pub nonce: Nonce,
}

/// The error for a hold whose deadline has passed, so that it cannot be checked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hold has expired")]
pub struct HoldExpired;

impl Claim {
    /// A new hold of `units` units, which can be checked out until `deadline`.
    #[must_use]
    pub fn held(units: u32, deadline: Timestamp, nonce: Nonce) -> Self {
        Self {
            state: ClaimState::Held,
            units,
            deadline,
            nonce,
        }
    }

    /// The id of the reservation that made this claim in `shard`.
    #[must_use]
    pub fn reservation_in(&self, shard: &ShardKey) -> ReservationId {
        ReservationId {
            shard: shard.clone(),
            nonce: self.nonce.clone(),
        }
    }

    /// Whether the claim is an order or can still be checked out. Clock differences are not tolerated here.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state == ClaimState::Ordered || now < self.deadline
    }

    /// Whether the units of the claim may be returned. Only a hold is returnable, and only once its deadline
    /// has passed on every clock within [`CLOCK_SKEW_MS`].
    #[must_use]
    pub fn is_returnable(&self, now: Timestamp) -> bool {
        self.state == ClaimState::Held && self.deadline.plus_millis(CLOCK_SKEW_MS) <= now
    }

    /// The claim that replaces this hold at a checkout at `now`.
    ///
    /// # Errors
    /// [`HoldExpired`] once the deadline has passed. An ordered claim is not an error: it is returned
    /// unchanged, with its own deadline.
    pub fn ordered(&self, now: Timestamp, payment_deadline: Timestamp) -> Result<Self, HoldExpired> {
        match self.state {
            ClaimState::Ordered => Ok(self.clone()),
            ClaimState::Held if now < self.deadline => Ok(Self {
                state: ClaimState::Ordered,
                deadline: payment_deadline,
                ..self.clone()
            }),
            ClaimState::Held => Err(HoldExpired),
        }
    }
}

/// A hold exactly as it was read. Each write that takes the hold over, returns it or orders it is conditional
/// on it: if the stored claim differs, the write changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenHold<'a>(&'a Claim);

/// The error for a claim that belongs to an order. Only the order's end removes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the claim is an order's and no hold")]
pub struct NotAHold;

impl<'a> SeenHold<'a> {
    /// The claim that was read, if it is a hold.
    ///
    /// # Errors
    /// [`NotAHold`] if the claim belongs to an order.
    pub fn of(seen: &'a Claim) -> Result<Self, NotAHold> {
        match seen.state {
            ClaimState::Held => Ok(Self(seen)),
            ClaimState::Ordered => Err(NotAHold),
        }
    }

    /// The claim that must be stored unchanged for the write to take effect.
    #[must_use]
    pub const fn claim(self) -> &'a Claim {
        self.0
    }
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const DEADLINE_DIGITS: usize = 8;

impl fmt::Display for Claim {
    /// Writes the state (`h` or `o`), the units (one base-36 digit), the deadline (8 base-36 digits of
    /// milliseconds since 1970, enough until 2059) and the nonce (10 characters).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            ClaimState::Held => 'h',
            ClaimState::Ordered => 'o',
        };
        let digit = |value: u64| DIGITS.get((value % 36) as usize).map_or('0', |b| char::from(*b));
        let mut rest = u64::try_from(self.deadline.as_millis()).unwrap_or(0);
        let mut deadline = ['0'; DEADLINE_DIGITS];
        for place in deadline.iter_mut().rev() {
            *place = digit(rest);
            rest /= 36;
        }
        write!(f, "{state}{}", digit(u64::from(self.units)))?;
        deadline.iter().try_for_each(|c| write!(f, "{c}"))?;
        write!(f, "{}", self.nonce)
    }
}

/// The error for a stored text that is not a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a claim")]
pub struct ClaimError;

impl FromStr for Claim {
    type Err = ClaimError;
    fn from_str(text: &str) -> Result<Self, ClaimError> {
        if text.len() != CLAIM_BYTES || !text.is_ascii() {
            return Err(ClaimError);
        }
        let (state, rest) = text.split_at(1);
        let (units, rest) = rest.split_at(1);
        let (deadline, nonce) = rest.split_at(DEADLINE_DIGITS);
        let state = match state {
            "h" => ClaimState::Held,
            "o" => ClaimState::Ordered,
            _ => return Err(ClaimError),
        };
        // Capitals would parse to the same values, but the claim would be written in lower case, and a
        // condition on the stored text would then fail.
        let is_written = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
        if !units.bytes().chain(deadline.bytes()).all(is_written) {
            return Err(ClaimError);
        }
        let units = u32::from_str_radix(units, 36).map_err(|_| ClaimError)?;
        let deadline = i64::from_str_radix(deadline, 36).map_err(|_| ClaimError)?;
        if units == 0 || units > MAX_SHARD_UNITS {
            return Err(ClaimError);
        }
        let nonce = nonce.parse().map_err(|_| ClaimError)?;
        Ok(Self {
            state,
            units,
            deadline: Timestamp::from_millis(deadline),
            nonce,
        })
    }
}

serde_as_text!(Claim);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn claims()(ordered: bool, units in 1..=MAX_SHARD_UNITS, deadline in 0i64..2_800_000_000_000, nonce in "[A-Za-z0-9_-]{10}") -> Claim {
            let state = if ordered { ClaimState::Ordered } else { ClaimState::Held };
            Claim { state, units, deadline: Timestamp::from_millis(deadline), nonce: nonce.parse().unwrap() }
        }
    }

    proptest! {
        #[test]
        fn claims_survive_text(claim in claims()) {
            let text = claim.to_string();
            prop_assert_eq!(text.len(), CLAIM_BYTES);
            prop_assert_eq!(text.parse::<Claim>().unwrap(), claim);
        }

        #[test]
        fn an_expired_hold_is_never_orderable(claim in claims(), now in 0i64..2_800_000_000_000) {
            let now = Timestamp::from_millis(now);
            let ordered = claim.ordered(now, now.plus_seconds(60));
            if claim.state == ClaimState::Held && now >= claim.deadline {
                prop_assert_eq!(ordered, Err(HoldExpired));
            } else {
                let ordered = ordered.unwrap();
                prop_assert_eq!(ordered.state, ClaimState::Ordered);
                prop_assert_eq!(ordered.units, claim.units); prop_assert_eq!(&ordered.nonce, &claim.nonce);
            }
        }

        #[test]
        fn no_hold_is_both_orderable_and_returnable(claim in claims(), now in 0i64..2_800_000_000_000, skew in -CLOCK_SKEW_MS..CLOCK_SKEW_MS) {
            let here = Timestamp::from_millis(now);
            let there = here.plus_millis(skew);
            prop_assert!(!(claim.is_returnable(here) && claim.is_live(there)));
        }

        #[test]
        fn a_claim_has_one_spelling(text in "[ho][1-9a-o][0-9a-z]{8}[A-Za-z0-9_-]{10}", place in 0..CLAIM_BYTES, other in "[ -~]") {
            let claim: Claim = text.parse().unwrap();
            prop_assert_eq!(claim.to_string(), text.as_str());
            let mut changed = text.clone();
            changed.replace_range(place..=place, &other);
            // A text with another character is another claim, or none.
            match changed.parse::<Claim>() {
                Ok(read) => {
                    prop_assert_eq!(read == claim, changed == text);
                    prop_assert_eq!(read.to_string(), changed);
                }
                Err(error) => prop_assert_eq!(error, ClaimError),
            }
        }

        #[test]
        fn only_a_hold_is_seen_as_one(claim in claims()) {
            let seen = SeenHold::of(&claim).map(SeenHold::claim);
            let expected = if claim.state == ClaimState::Held { Ok(&claim) } else { Err(NotAHold) };
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_hold_ends_at_its_deadline_and_is_returnable_once_every_clock_has_passed_it() {
        let deadline = Timestamp::from_millis(1_800_000_000_000);
        let hold = Claim::held(2, deadline, "abcdefgh-_".parse().unwrap());
        let ordered = Claim {
            state: ClaimState::Ordered,
            ..hold.clone()
        };
        let payment = deadline.plus_seconds(60);
        for (after_ms, live, returnable) in [
            (-1, true, false),
            (0, false, false),
            (CLOCK_SKEW_MS - 1, false, false),
            (CLOCK_SKEW_MS, false, true),
        ] {
            let now = deadline.plus_millis(after_ms);
            assert_eq!(hold.is_live(now), live, "{after_ms}");
            assert_eq!(hold.is_returnable(now), returnable, "{after_ms}");
            assert!(ordered.is_live(now), "{after_ms}");
            assert!(!ordered.is_returnable(now), "{after_ms}");
            assert_eq!(ordered.ordered(now, payment), Ok(ordered.clone()));
        }
        assert_eq!(
            hold.ordered(deadline.plus_millis(-1), payment),
            Ok(Claim {
                deadline: payment,
                ..ordered
            })
        );
        assert_eq!(hold.ordered(deadline, payment), Err(HoldExpired));
    }

    #[test]
    fn what_is_not_written_as_a_claim_is_none() {
        let good = "h1ks07a9o0abcdefgh-_";
        assert_eq!(good.parse::<Claim>().unwrap().to_string(), good);
        for bad in [
            "",
            "h1ks07a9o0abcdefgh-",
            "h1ks07a9o0abcdefgh-_0",
            "\u{e4}ks07a9o0abcdefgh-_",
            "x1ks07a9o0abcdefgh-_",
            "H1ks07a9o0abcdefgh-_",
            "h0ks07a9o0abcdefgh-_",
            "hpks07a9o0abcdefgh-_",
            "h+ks07a9o0abcdefgh-_",
            "hAks07a9o0abcdefgh-_",
            "h1Ks07a9o0abcdefgh-_",
            "h1-s07a9o0abcdefgh-_",
            "h1ks07a9o0abcdefgh-+",
            "h1ks07a9o0abcdefgh\u{e4}",
        ] {
            assert_eq!(bad.parse::<Claim>(), Err(ClaimError), "{bad}");
            let json = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<Claim>(&json).is_err(), "{bad}");
        }
        assert_eq!(
            "hoks07a9o0abcdefgh-_".parse::<Claim>().unwrap().units,
            MAX_SHARD_UNITS
        );
    }
}
