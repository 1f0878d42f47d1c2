//! Lists in pages.

/// Cuts the entries that were found in a list to a page of at most `limit`, and answers the place of its last entry when
/// there are more. A reader looks for one entry more than `limit` to know that.
pub fn cut<T, P>(found: &mut Vec<T>, limit: u16, place: impl Fn(&T) -> P) -> Option<P> {
    let limit = usize::from(limit);
    let more = found.len() > limit;
    found.truncate(limit);
    found.last().filter(|_| more).map(place)
}
