//! Reads the paging of lists from requests: `limit` and an opaque `cursor`.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use data_encoding::BASE64URL_NOPAD;
use domain::limits::MAX_PAGE;
use domain::time::Timestamp;
use http::request::Parts;
use serde::Deserialize;

use crate::{Failure, QueryOf};
use api::problem::Problem;

/// The query parameters of a list, unchecked.
#[derive(Debug, Clone, Deserialize)]
pub struct PageQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// The requested page of a list that is ordered by a moment and an identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The largest number of entries: 1 to [`MAX_PAGE`], 20 by default.
    pub limit: u16,
    /// The entry before the first entry of the page; `None` for the first page.
    pub after: Option<(Timestamp, T)>,
}

const DEFAULT_LIMIT: u16 = 20;

impl<T: FromStr + Send, S: Send + Sync> FromRequestParts<S> for Page<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let bad =
            |field: &str, message: String| Failure::from(Problem::of_parameters().field(field, message));
        let QueryOf(query) = QueryOf::<PageQuery>::from_request_parts(parts, state).await?;
        let limit = match query.limit.as_deref().map(str::parse) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if (1..=MAX_PAGE).contains(&limit) => limit,
            Some(_) => return Err(bad("limit", format!("1 to {MAX_PAGE}"))),
        };
        let after = match query.cursor.as_deref().map(decode_cursor) {
            None => None,
            Some(Some(after)) => Some(after),
            Some(None) => return Err(bad("cursor", "as `next_cursor` of the page before".to_owned())),
        };
        Ok(Self { limit, after })
    }
}

/// The cursor that points behind an entry.
pub fn encode_cursor(at: Timestamp, id: &impl Display) -> String {
    BASE64URL_NOPAD.encode(format!("{}|{id}", at.as_millis()).as_bytes())
}

/// The entry that a cursor points behind; `None` if the text is not a cursor.
#[must_use]
pub fn decode_cursor<T: FromStr>(cursor: &str) -> Option<(Timestamp, T)> {
    if cursor.len() > 128 {
        return None;
    }
    let text = String::from_utf8(BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?).ok()?;
    let (at, id) = text.split_once('|')?;
    Some((Timestamp::from_millis(at.parse().ok()?), id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::problem::Code;
    use domain::ids::DropId;
    use proptest::prelude::*;

    async fn page(query: &str) -> Result<Page<DropId>, Code> {
        let (mut parts, ()) = http::Request::builder()
            .uri(format!("/drops{query}"))
            .body(())
            .unwrap()
            .into_parts();
        Page::from_request_parts(&mut parts, &())
            .await
            .map_err(|f| f.problem().code)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn pages_are_bounded() {
        assert_eq!(
            page("").await,
            Ok(Page {
                limit: 20,
                after: None
            })
        );
        assert_eq!(
            page("?limit=100").await,
            Ok(Page {
                limit: 100,
                after: None
            })
        );
        for bad in [
            "?limit=0",
            "?limit=101",
            "?limit=-1",
            "?limit=x",
            "?cursor=x",
            "?limit=1&limit=2",
            "?cursor=%FF",
        ] {
            assert_eq!(page(bad).await, Err(Code::InvalidRequest), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn cursors_survive(ms in any::<i64>(), id in "[a-z0-9-]{1,20}") {
            let id: DropId = id.parse().unwrap();
            let at = Timestamp::from_millis(ms);
            prop_assert_eq!(decode_cursor(&encode_cursor(at, &id)), Some((at, id)));
        }
    }

    #[test]
    fn what_no_page_answered_is_no_cursor() {
        let after = |inner: &str| decode_cursor::<DropId>(&BASE64URL_NOPAD.encode(inner.as_bytes()));
        assert_eq!(
            after("-7|d|"),
            None,
            "a second bar belongs to the identifier, which may not have one"
        );
        assert_eq!(
            after("-7|d"),
            Some((Timestamp::from_millis(-7), "d".parse().unwrap()))
        );
        for inner in [
            "",
            "|",
            "7",
            "7|",
            "|d",
            "x|d",
            "7|D",
            "7 |d",
            "9223372036854775808|d",
        ] {
            assert_eq!(after(inner), None, "{inner}");
        }
        for text in ["", "=", "N3xk=", "N3x", "N3x*", "N3xk\n", "\u{e4}", "_w"] {
            assert_eq!(decode_cursor::<DropId>(text), None, "{text}");
        }
        // Leading zeros leave the entry the same, so that only the length differs.
        let long = |zeros: usize| after(&format!("{}7|d", "0".repeat(zeros)));
        assert!(long(93).is_some());
        assert_eq!(long(94), None);
    }
}
