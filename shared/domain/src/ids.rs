//! Defines the identifiers. Each kind has a limited length and a small alphabet, so that an identifier can be
//! used in a key, a path or a log line without escaping.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use sha2::{Digest, Sha256};

use crate::limits::{
    DROP_ID_MAX_BYTES, MAX_CORRELATION_ID_BYTES, MAX_PAYMENT_ID_BYTES, MAX_SHARDS_PER_SKU, NONCE_BYTES,
    ORDER_ID_BYTES, SHOPPER_ID_MAX_BYTES, SKU_ID_MAX_BYTES,
};
use crate::serde_as_text;
use crate::time::Timestamp;

/// The error for a text that is not an identifier of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {rule}")]
pub struct IdError {
    /// The expected kind of identifier.
    pub kind: &'static str,
    /// The rule of the expected kind, in words for the caller.
    pub rule: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(IdError { kind: $kind, rule: $rule }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        serde_as_text!($name);
    };
}

fn all(text: &str, max: usize, allowed: fn(u8) -> bool) -> bool {
    !text.is_empty() && text.len() <= max && text.bytes().all(allowed)
}

pub(crate) fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Whether `text` has 1 to `max` letters, digits, `_` and `-`, and no other characters.
#[must_use]
pub fn is_name(text: &str, max: usize) -> bool {
    all(text, max, is_base64url)
}

id!(
    /// A drop's identifier, which the operator chooses.
    DropId, "drop id", "1 to 20 of a-z, 0-9 and -",
    |t| all(t, DROP_ID_MAX_BYTES, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
id!(
    /// The identifier of a stock keeping unit of a drop: one design in one size.
    SkuId, "SKU", "1 to 16 of A-Z, a-z, 0-9 and -",
    |t| all(t, SKU_ID_MAX_BYTES, |b| b.is_ascii_alphanumeric() || b == b'-')
);
id!(
    /// A shopper's identifier: a hash of the issuer and subject of a token ([`ShopperId::of`]), so that
    /// stored data and logs do not reveal the person. It is short, since every claim in a stock shard
    /// contains it.
    ShopperId, "shopper id", "1 to 16 of the base64url alphabet",
    |t| is_name(t, SHOPPER_ID_MAX_BYTES)
);
id!(
    /// Distinguishes reservations of one shopper in one shard. A nonce consists of 24 bits of a hash of the
    /// request, and the time of the request's first claim, in milliseconds modulo 2³² (49 days). Repeats of a
    /// request have the same first part. A request that is sent again after its reservation has ended has
    /// another second part, so that it makes another reservation and another order.
    Nonce, "nonce", "10 of the base64url alphabet",
    |t| t.len() == NONCE_BYTES && t.bytes().all(is_base64url)
);
id!(
    /// An order's identifier: a hash of the reservation's id, so that the same reservation always finds the
    /// same order.
    OrderId, "order id", "o and 26 of a-z and 2-7",
    |t| t.len() == ORDER_ID_BYTES
        && t.starts_with('o')
        && t.bytes().skip(1).all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b))
);
id!(
    /// Links all log lines, events and rows of one purchase. It is API Gateway's id of the request that
    /// placed the order: the client cannot choose it, and it contains nothing about the shopper.
    CorrelationId, "correlation id", "1 to 64 of A-Z, a-z, 0-9, +, /, =, _ and -",
    |t| all(t, MAX_CORRELATION_ID_BYTES, |b| is_base64url(b) || matches!(b, b'+' | b'/' | b'='))
);
id!(
    /// The payment gateway's id of a payment. It needs no escaping in a path of the gateway's API.
    PaymentId, "payment id", "1 to 64 of A-Z, a-z, 0-9, _ and -",
    |t| is_name(t, MAX_PAYMENT_ID_BYTES)
);

/// The number of a nonce's characters that are made from the request. The other 6 are made from the time.
const REQUEST_BYTES: usize = NONCE_BYTES - 6;

impl Nonce {
    /// The nonce of a request whose first claim is made at `at`. For one shopper, drop and SKU, the same
    /// idempotency key means the same request.
    #[must_use]
    pub fn of_request(
        drop: &DropId,
        sku: &SkuId,
        shopper: &ShopperId,
        idempotency_key: &str,
        at: Timestamp,
    ) -> Self {
        let parts = [drop.as_str(), sku.as_str(), shopper.as_str(), idempotency_key];
        let mut text = start_of_base64url(&hash_parts("nonce", &parts), REQUEST_BYTES);
        let moment = u32::try_from(at.as_millis().rem_euclid(1 << 32)).unwrap_or(0);
        text.push_str(&BASE64URL_NOPAD.encode(&moment.to_be_bytes()));
        Self(text)
    }

    /// Whether repeats of one request made both nonces.
    #[must_use]
    pub fn is_same_request(&self, other: &Self) -> bool {
        self.0.get(..REQUEST_BYTES) == other.0.get(..REQUEST_BYTES)
    }
}

impl ShopperId {
    /// The shopper whom `issuer` calls `subject`. The id is the first 96 bits of a SHA-256 over both texts,
    /// which may have any form.
    #[must_use]
    pub fn of(issuer: &str, subject: &str) -> Self {
        let hash = hash_parts("shopper", &[issuer, subject]);
        Self(start_of_base64url(&hash, SHOPPER_ID_MAX_BYTES))
    }
}

impl OrderId {
    /// The id of the only order that can be made from `reservation`.
    #[must_use]
    pub fn of_reservation(reservation: &ReservationId) -> Self {
        let digest = hash_parts("order", &[&reservation.to_string()]);
        let mut text = BASE32_NOPAD.encode(&digest).to_ascii_lowercase();
        text.truncate(ORDER_ID_BYTES - 1);
        Self(format!("o{text}"))
    }
}

/// A stock shard's identifier, which is the key of its item in the table `stock`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardKey {
    /// The drop that sells the shard's units.
    pub drop: DropId,
    /// The SKU within the drop.
    pub sku: SkuId,
    /// The shard's index among the shards of the SKU, from 0.
    pub index: u16,
}

impl fmt::Display for ShardKey {
    /// Writes `{drop}#{sku}#{index}`. This is unambiguous, since no part can contain `#`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}#{}", self.drop, self.sku, self.index)
    }
}

impl FromStr for ShardKey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = IdError {
            kind: "shard key",
            rule: "drop#sku#index",
        };
        let [drop, sku, index] = parts(text, '#').ok_or(bad)?;
        Self::of_parts(drop, sku, index).ok_or(bad)
    }
}

impl ShardKey {
    /// The key of a SKU's shard with this index.
    #[must_use]
    pub fn of(drop: &DropId, sku: &SkuId, index: u16) -> Self {
        let (drop, sku) = (drop.clone(), sku.clone());
        Self { drop, sku, index }
    }

    fn of_parts(drop: &str, sku: &str, index: &str) -> Option<Self> {
        Some(Self {
            drop: drop.parse().ok()?,
            sku: sku.parse().ok()?,
            index: parse_index(index)?,
        })
    }
}

/// The parts of `text` between separators; `None` unless there are exactly `N`.
fn parts<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    let parts: Vec<&str> = text.splitn(N + 1, separator).collect();
    parts.try_into().ok()
}

/// A reservation's identifier: the shard that contains the claim, and the claim's nonce. It does not name the
/// shopper: the function finds the claim in the shard by the shopper of the request's token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId {
    /// The shard of the claim.
    pub shard: ShardKey,
    /// The nonce of the claim.
    pub nonce: Nonce,
}

impl fmt::Display for ReservationId {
    /// Writes `{drop}.{sku}.{shard}.{nonce}`. This is unambiguous, since no part can contain a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShardKey { drop, sku, index } = &self.shard;
        write!(f, "{drop}.{sku}.{index}.{}", self.nonce)
    }
}

impl FromStr for ReservationId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = IdError {
            kind: "reservation id",
            rule: "as the reservation's creation answered it",
        };
        let [drop, sku, index, nonce] = parts(text, '.').ok_or(bad)?;
        Ok(Self {
            shard: ShardKey::of_parts(drop, sku, index).ok_or(bad)?,
            nonce: nonce.parse().map_err(|_| bad)?,
        })
    }
}

serde_as_text!(ReservationId);

/// Reads a shard's index. Only the form without leading zeros or a sign is accepted, so that each shard has
/// one name.
fn parse_index(text: &str) -> Option<u16> {
    let index: u16 = text.parse().ok()?;
    (index < MAX_SHARDS_PER_SKU && index.to_string() == text).then_some(index)
}

/// The first `characters` characters, with 6 bits each, of a hash in base64url.
fn start_of_base64url(hash: &[u8], characters: usize) -> String {
    let mut text = BASE64URL_NOPAD.encode(hash);
    text.truncate(characters);
    text
}

/// The first `characters` characters, with 6 bits each, of the SHA-256 of `bytes` in base64url.
#[must_use]
pub fn short_hash(bytes: &[u8], characters: usize) -> String {
    start_of_base64url(&Sha256::digest(bytes), characters)
}

/// SHA-256 over `purpose` and `parts`. The length of each part precedes it, so that different lists never
/// hash the same input.
pub(crate) fn hash_parts(purpose: &str, parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in std::iter::once(&purpose).chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_refuse_what_a_key_or_path_could_trip_over() {
        for bad in ["", "A", "a_b", "a b", "a#b", "a.b", "ä", "123456789012345678901"] {
            assert!(bad.parse::<DropId>().is_err(), "{bad}");
        }
        for bad in ["", "a.b", "a#b", "12345678901234567"] {
            assert!(bad.parse::<SkuId>().is_err(), "{bad}");
        }
        for bad in ["", "a b", "a#b", "a.b", "a|b", "12345678901234567"] {
            assert!(bad.parse::<ShopperId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_shopper_is_whom_an_issuer_names() {
        // If the hash changed, shoppers would no longer find the claims and orders that they already have.
        assert_eq!(ShopperId::of("stampede", "ada").as_str(), "wVrst_Z52RHIC4wP");
        let subjects = [
            "ada",
            "Ada",
            "auth0|507f1f77bcf86cd799439011",
            "ada@example.org",
            "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
            "",
        ];
        let issuers = ["stampede", "https://shop.example/", "https://shop.example", ""];
        let all = issuers
            .iter()
            .flat_map(|issuer| subjects.map(|subject| ShopperId::of(issuer, subject)));
        let different: std::collections::BTreeSet<_> = all.collect();
        assert_eq!(different.len(), issuers.len() * subjects.len());
        assert_ne!(ShopperId::of("ab", "c"), ShopperId::of("a", "bc"));
        for id in different {
            assert_eq!(id.as_str().len(), 16);
            assert_eq!(id.as_str().parse(), Ok(id.clone()));
        }
    }

    #[test]
    fn a_shard_has_one_name() {
        assert!("d#s#7".parse::<ShardKey>().is_ok());
        for bad in ["d#s#07", "d#s#+7", "d#s#4000", "d#s", "d#s#7#", "d#s#", "D#s#7"] {
            assert!(bad.parse::<ShardKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reservation_and_an_order_have_one_name() {
        let nonce = "abcdefgh-_";
        assert!(format!("d.s.3999.{nonce}").parse::<ReservationId>().is_ok());
        for bad in [
            "d.s.4000", "d.s.07", "d.s.+7", "d.s.", "D.s.7", "d.s_.7", "d.s.7.7", "d.7", "d#s#7",
        ] {
            assert!(
                format!("{bad}.{nonce}").parse::<ReservationId>().is_err(),
                "{bad}"
            );
        }
        for bad in ["", "abcdefgh-", "abcdefgh-_a", "abcdefgh-+"] {
            assert!(format!("d.s.7.{bad}").parse::<ReservationId>().is_err(), "{bad}");
        }
        let rest = "abcdefghijklmnopqrstuvwx27";
        assert!(format!("o{rest}").parse::<OrderId>().is_ok());
        for bad in [
            rest.to_owned(),
            format!("p{rest}"),
            format!("oa{rest}"),
            format!("o{}1", &rest[1..]),
            format!("o{}A", &rest[1..]),
        ] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reservation_ids_survive_text(drop in "[a-z0-9-]{1,20}", sku in "[A-Za-z0-9-]{1,16}", index in 0..MAX_SHARDS_PER_SKU, key in "[!-~]{1,64}", ms in 0i64..2_800_000_000_000) {
            let (drop, sku): (DropId, SkuId) = (drop.parse().unwrap(), sku.parse().unwrap());
            let nonce = Nonce::of_request(&drop, &sku, &"ada".parse().unwrap(), &key, Timestamp::from_millis(ms));
            prop_assert_eq!(&nonce.as_str().parse::<Nonce>().unwrap(), &nonce);
            let id = ReservationId { shard: ShardKey { drop, sku, index }, nonce };
            prop_assert_eq!(&id.to_string().parse::<ReservationId>().unwrap(), &id);
            let order = OrderId::of_reservation(&id);
            prop_assert_eq!(&order.as_str().parse::<OrderId>().unwrap(), &order);
            prop_assert_eq!(&id.shard.to_string().parse::<ShardKey>().unwrap(), &id.shard);
        }

        #[test]
        fn a_text_that_is_read_is_written_the_same(text in "[a-z]{1,2}[.#][A-Z]{1,2}[.#][0+]?[0-9]{1,4}([.#][a-z]{10})?") {
            if let Ok(key) = text.parse::<ShardKey>() {
                prop_assert_eq!(key.to_string(), &*text);
            }
            if let Ok(id) = text.parse::<ReservationId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn a_nonce_tells_requests_apart_and_the_times_of_one_request() {
        let nonce = |sku: &str, shopper: &str, key: &str, ms| {
            let (sku, shopper) = (sku.parse().unwrap(), shopper.parse().unwrap());
            Nonce::of_request(
                &"d".parse().unwrap(),
                &sku,
                &shopper,
                key,
                Timestamp::from_millis(ms),
            )
        };
        let first = nonce("A", "ada", "k", 1_800_000_000_000);
        let later = nonce("A", "ada", "k", 1_800_000_000_001);
        assert!(first != later && first.is_same_request(&later));
        for other in [
            nonce("B", "ada", "k", 0),
            nonce("A", "bob", "k", 0),
            nonce("A", "ada", "l", 0),
        ] {
            assert!(!first.is_same_request(&other), "{other}");
        }
    }
}
