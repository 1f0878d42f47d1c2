//! Computes the units that DynamoDB charges by the size of items.
//!
//! Rules from the developer guide's pages on read and write operations and on transactions: a write costs one unit for
//! each 1 KB begun; a strongly consistent read costs one unit for each 4 KB begun, any other read half of that; a
//! refused conditional write costs by the size of the existing item, at least one unit; each item of a transaction
//! costs double, and a cancelled transaction costs as much as if it were applied.

/// The cost factor of an item in a transaction, compared with a single write.
pub const TRANSACTION_FACTOR: f64 = 2.0;

/// The number of blocks of `block` bytes that an item of this size occupies, at least one.
fn blocks(bytes: usize, block: usize) -> f64 {
    f64::from(u32::try_from(bytes.div_ceil(block).max(1)).unwrap_or(u32::MAX))
}

/// Write units of a single write of an item of this size.
#[must_use]
pub fn write(bytes: usize) -> f64 {
    blocks(bytes, 1_024)
}

/// Read units of a read of one item of this size (0 bytes if it does not exist), or of all items of a query
/// together.
#[must_use]
pub fn read(bytes: usize, consistent: bool) -> f64 {
    blocks(bytes, 4_096) * if consistent { 1.0 } else { 0.5 }
}

/// Write units of a single write that its condition refused. `existing` is the size of the existing item in
/// bytes (0 if there is none).
#[must_use]
pub fn refused_write(existing: usize) -> f64 {
    write(existing)
}

/// Write units of one item of a transaction. The larger of its sizes before and after the transaction counts, in bytes
/// (0 if the item does not exist).
#[must_use]
pub fn transaction_item(existing: usize, new: usize) -> f64 {
    write(existing.max(new)) * TRANSACTION_FACTOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_write_costs_by_the_item_that_is_there() {
        for (bytes, units) in [(0, 1.0), (1_024, 1.0), (1_025, 2.0)] {
            assert_eq!(refused_write(bytes), units, "{bytes}");
        }
    }

    #[test]
    fn a_transaction_costs_double_by_the_larger_size() {
        for (existing, new, units) in [(0, 0, 2.0), (1_024, 0, 2.0), (0, 2_049, 6.0), (2_000, 10, 4.0)] {
            assert_eq!(transaction_item(existing, new), units, "{existing} {new}");
        }
    }

    #[test]
    fn a_read_that_may_lag_costs_half() {
        for (bytes, units) in [(0, 1.0), (4_096, 1.0), (4_097, 2.0)] {
            assert_eq!(read(bytes, true), units, "{bytes}");
            assert_eq!(read(bytes, false), units / 2.0, "{bytes}");
        }
    }
}
