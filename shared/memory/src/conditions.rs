//! Decides conditional writes: of leases, of documents that are written under a lease, and of single entries.

use domain::time::Timestamp;
use ports::Conditional;
use ports::drops::Lease;

/// Makes a write if its condition holds.
pub(crate) fn write_if(condition: bool, write: impl FnOnce()) -> Conditional<()> {
    if condition {
        write();
        Conditional::Done
    } else {
        Conditional::Refused(())
    }
}

/// The lease that `holder` gets at `now`, or the lease of another holder. A new holder gets a higher fencing number.
pub(crate) fn granted(
    stored: Option<&Lease>,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Lease, Lease> {
    let fencing = match stored {
        None => 1,
        Some(mine) if mine.holder == holder => mine.fencing,
        Some(lapsed) if lapsed.until <= now => lapsed.fencing + 1,
        Some(theirs) => return Err(theirs.clone()),
    };
    let holder = holder.to_owned();
    Ok(Lease {
        holder,
        fencing,
        until,
    })
}

/// Whether a write under `fencing` at `as_of` may replace a write with the values `stored`. A write under a newer lease
/// always may; a write under the same lease may unless its values are older.
pub(crate) fn may_replace(stored: Option<(u64, Timestamp)>, fencing: u64, as_of: Timestamp) -> bool {
    stored.is_none_or(|stored| stored <= (fencing, as_of))
}
