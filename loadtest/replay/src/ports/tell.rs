//! Writes short descriptions of the ports' answers for the history.

use domain::claim::{Claim, ClaimState};
use domain::drops::{Drop, ListedDrop};
use domain::ids::{OrderId, PaymentId, ShardKey};
use domain::order::Order;
use domain::rate::Turn;
use domain::shard::Shard;
use domain::status::DropStatus;
use ports::Conditional;
use ports::drops::{FreeCounts, Lease};
use ports::mail::Contact;
use ports::orders::{NotPlaced, OrderPage};
use ports::stock::Peek;

use crate::stream::short;

/// A value with a short description.
pub(crate) trait Tell {
    fn tell(&self) -> String;

    /// Whether the history includes the value.
    fn is_news(&self) -> bool {
        true
    }
}

impl<T: Tell, E: std::fmt::Display> Tell for Result<T, E> {
    fn tell(&self) -> String {
        match self {
            Ok(answer) => answer.tell(),
            Err(error) => format!("ERROR {error}"),
        }
    }

    fn is_news(&self) -> bool {
        self.as_ref().map_or(true, Tell::is_news)
    }
}

impl<T: Tell> Tell for Option<T> {
    fn tell(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Tell::tell)
    }
}

impl Tell for u32 {
    fn tell(&self) -> String {
        self.to_string()
    }
}

impl Tell for () {
    fn tell(&self) -> String {
        "not as seen".to_owned()
    }
}

impl Tell for Contact {
    fn tell(&self) -> String {
        format!("sent {:?}", self.sent)
    }

    fn is_news(&self) -> bool {
        false
    }
}

impl<T: Tell> Tell for Conditional<T> {
    fn tell(&self) -> String {
        match self {
            Self::Done => "done".to_owned(),
            Self::Refused(why) => format!("refused: {}", why.tell()),
        }
    }
}

impl Tell for Turn {
    fn tell(&self) -> String {
        match self {
            Self::From(at) => format!("from {}", at.as_millis()),
            Self::Later(at) => format!("none before {}", at.as_millis()),
        }
    }

    fn is_news(&self) -> bool {
        matches!(self, Self::Later(_))
    }
}

impl Tell for Claim {
    fn tell(&self) -> String {
        let state = match self.state {
            ClaimState::Held => "held",
            ClaimState::Ordered => "ordered",
        };
        let (units, nonce, deadline) = (self.units, &self.nonce, seconds(self.deadline));
        format!("{state} x{units} {nonce} until {deadline}")
    }
}

/// Writes a time for the history, in seconds since the beginning.
pub(crate) fn seconds(at: domain::time::Timestamp) -> String {
    let ms = at.millis_since(memory::TestRuntime::START);
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

impl Tell for Shard {
    fn tell(&self) -> String {
        let (free, sold, allocated) = (self.free, self.sold, self.allocated);
        let claims = self.claims.iter();
        let claims: Vec<String> = claims
            .map(|(shopper, claim)| format!("{shopper} {}", claim.tell()))
            .collect();
        format!("{free} free, {sold} sold of {allocated} [{}]", claims.join("; "))
    }
}

impl Tell for Vec<(ShardKey, Shard)> {
    fn tell(&self) -> String {
        let shards: Vec<String> = self
            .iter()
            .map(|(key, shard)| format!("{}#{}: {}", key.sku, key.index, shard.tell()))
            .collect();
        shards.join(", ")
    }
}

impl Tell for Peek {
    fn tell(&self) -> String {
        format!("{}, {} bought", self.shards.tell(), self.purchased)
    }
}

impl Tell for Order {
    fn tell(&self) -> String {
        let payment = self.payment_id.as_ref().map_or("no payment", PaymentId::as_str);
        let wish = if self.cancel_requested.is_some() {
            ", to be cancelled"
        } else {
            ""
        };
        format!("{} at {}, {payment}{wish}", self.status.as_str(), self.version)
    }
}

impl Tell for NotPlaced {
    fn tell(&self) -> String {
        match self {
            Self::Exists(order) => format!("exists, {}", order.tell()),
            Self::HoldChanged => "the hold has changed".to_owned(),
            Self::LimitReached => "limit reached".to_owned(),
            Self::NotFirst { .. } => "not the shopper's first order".to_owned(),
        }
    }
}

impl Tell for OrderPage {
    fn tell(&self) -> String {
        format!("{} orders", self.orders.len())
    }
}

impl Tell for Vec<OrderId> {
    fn tell(&self) -> String {
        let ids: Vec<&str> = self.iter().map(short).collect();
        format!("[{}]", ids.join(", "))
    }

    fn is_news(&self) -> bool {
        !self.is_empty()
    }
}

impl Tell for Drop {
    fn tell(&self) -> String {
        let paused = if self.paused { ", paused" } else { "" };
        format!("{:?} at {}{paused}", self.state, self.version)
    }
}

impl Tell for Vec<ListedDrop> {
    fn tell(&self) -> String {
        format!("{} drops", self.len())
    }

    fn is_news(&self) -> bool {
        false
    }
}

impl Tell for DropStatus {
    fn tell(&self) -> String {
        let skus: Vec<String> = self
            .skus
            .iter()
            .map(|c| format!("{} {}/{}/{}/{}", c.sku, c.free, c.held, c.ordered, c.sold))
            .collect();
        let (skus, as_of, fencing) = (skus.join(", "), seconds(self.as_of), self.fencing);
        format!("{skus} as of {as_of} under {fencing}")
    }
}

impl Tell for FreeCounts {
    fn tell(&self) -> String {
        let (as_of, fencing) = (seconds(self.as_of), self.fencing);
        format!("{:?} as of {as_of} under {fencing}", self.free)
    }
}

impl Tell for Result<Lease, Lease> {
    fn tell(&self) -> String {
        match self {
            Ok(lease) => format!("held under {}", lease.fencing),
            Err(lease) => format!("another's under {}", lease.fencing),
        }
    }

    fn is_news(&self) -> bool {
        false
    }
}
