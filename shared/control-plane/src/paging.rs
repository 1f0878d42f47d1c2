//! Reads lists in pages, up to a bound.

use std::future::Future;

use ports::prescale::ControlError;

use crate::error::broken;

/// The largest number of pages of one list: 70 documents need 7 pages, and a run has less than a minute.
pub(crate) const MAX_PAGES: usize = 32;

/// The items of all pages. `page` returns one page and the token of the next.
pub(crate) async fn all<T, F>(
    operation: &'static str,
    mut page: impl FnMut(Option<String>) -> F,
) -> Result<Vec<T>, ControlError>
where
    F: Future<Output = Result<(Vec<T>, Option<String>), ControlError>>,
{
    let mut found = Vec::new();
    let mut token = None;
    for _ in 0..MAX_PAGES {
        let (more, next) = page(token).await?;
        found.extend(more);
        match next.filter(|token| !token.is_empty()) {
            Some(next) => token = Some(next),
            None => return Ok(found),
        }
    }
    Err(broken(operation, &format!("more than {MAX_PAGES} pages")))
}
