//! Cuts lists into pages.

/// Reduces the found entries of a list to a page of at most `limit`, and returns the position of its last entry if
/// there are more. The caller reads one entry more than `limit`, which shows whether there are more.
pub fn cut<T, P>(found: &mut Vec<T>, limit: u16, place: impl Fn(&T) -> P) -> Option<P> {
    let limit = usize::from(limit);
    let more = found.len() > limit;
    found.truncate(limit);
    found.last().filter(|_| more).map(place)
}
