//! Computes the capacity that DynamoDB charges where the emulator reports none.
//!
//! [`stack_api::units`] has the rules.

use dynoxide::types::{Item, item_size};
use stack_api::units;

/// The write units of a single write that its condition refused.
#[must_use]
pub fn refused_write(existing: Option<&Item>) -> f64 {
    units::refused_write(existing.map_or(0, item_size))
}

/// The write units of one item of a cancelled transaction. The larger of the existing and the new item counts. The
/// result of an update is unknown, so the existing item's size is used.
#[must_use]
pub fn transaction_item(existing: Option<&Item>, new: Option<&Item>) -> f64 {
    units::transaction_item(existing.map_or(0, item_size), new.map_or(0, item_size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynoxide::AttributeValue;

    /// An item of exactly `bytes`: the attribute name `pk` and a string.
    fn item(bytes: usize) -> Item {
        Item::from([("pk".to_owned(), AttributeValue::S("x".repeat(bytes - 2)))])
    }

    #[test]
    fn a_refused_write_costs_by_the_item_that_is_there() {
        assert_eq!(refused_write(None), 1.0);
        assert_eq!(refused_write(Some(&item(1024))), 1.0);
        assert_eq!(refused_write(Some(&item(1025))), 2.0);
    }

    #[test]
    fn a_cancelled_transaction_costs_double_by_item() {
        assert_eq!(transaction_item(None, None), 2.0);
        assert_eq!(transaction_item(Some(&item(1024)), None), 2.0);
        assert_eq!(transaction_item(None, Some(&item(2049))), 6.0);
        assert_eq!(transaction_item(Some(&item(2000)), Some(&item(10))), 4.0);
    }
}
