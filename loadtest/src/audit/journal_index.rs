//! Indexes the journal for the audit's checks.

use std::collections::btree_map::Entry::Vacant;
use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{CheckoutRefused, Ended, Entry, Ordered, Reserved, Sampled};

/// The journal's entries, indexed by the keys that the checks need.
#[derive(Debug, Default)]
pub(super) struct JournalIndex<'a> {
    /// The first answer 201 of each reservation, by reservation.
    pub(super) reserved: BTreeMap<&'a str, &'a Reserved>,
    /// The first answer 201 of each reservation, by shopper.
    pub(super) reserved_by: BTreeMap<&'a str, Vec<&'a Reserved>>,
    /// Reservations that their shoppers released.
    pub(super) released: BTreeSet<&'a str>,
    /// Every answer 202 to a checkout.
    pub(super) ordered: Vec<&'a Ordered>,
    /// The orders in the answers 202.
    pub(super) accepted: BTreeSet<&'a str>,
    /// Orders whose cancellation the shoppers requested.
    pub(super) cancel_asked: BTreeSet<&'a str>,
    /// Orders whose end an operator requested.
    pub(super) end_asked: BTreeSet<&'a str>,
    /// Whether the operator cancelled the drop.
    pub(super) drop_cancelled: bool,
    /// Every refused checkout.
    pub(super) refused: Vec<&'a CheckoutRefused>,
    /// Every end of a visit.
    pub(super) ended: Vec<&'a Ended>,
    /// Every sample of the shards, ordered by time.
    pub(super) sampled: Vec<&'a Sampled>,
}

impl<'a> JournalIndex<'a> {
    /// The first answer 201 of each of the shopper's reservations.
    pub(super) fn reserved_by(&self, shopper: &str) -> &[&'a Reserved] {
        self.reserved_by.get(shopper).map_or(&[], Vec::as_slice)
    }

    pub(super) fn read(entries: &'a [Entry]) -> Self {
        let mut journal = Self::default();
        for entry in entries {
            match entry {
                Entry::Drop(_) | Entry::RepeatRefused(_) => {}
                Entry::Reserved(reserved) => {
                    if let Vacant(first) = journal.reserved.entry(&reserved.reservation_id) {
                        first.insert(reserved);
                        let of_shopper = journal.reserved_by.entry(&reserved.shopper).or_default();
                        of_shopper.push(reserved);
                    }
                }
                Entry::Released { reservation_id, .. } => {
                    journal.released.insert(reservation_id);
                }
                Entry::Ordered(ordered) => {
                    journal.ordered.push(ordered);
                    journal.accepted.insert(&ordered.order_id);
                }
                Entry::CancelAsked { order_id, .. } => {
                    journal.cancel_asked.insert(order_id);
                }
                Entry::EndAsked { order_id, .. } => {
                    journal.end_asked.insert(order_id);
                }
                Entry::DropCancelAsked { .. } => journal.drop_cancelled = true,
                Entry::CheckoutRefused(refused) => journal.refused.push(refused),
                Entry::Ended(ended) => journal.ended.push(ended),
                Entry::Sampled(sampled) => journal.sampled.push(sampled),
            }
        }
        journal.sampled.sort_by_key(|s| s.at_ms);
        journal
    }
}
