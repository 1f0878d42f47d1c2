//! Identifiers out of the path.

use std::str::FromStr;

use crate::Failure;
use api::problem::{Code, Problem};

/// The identifier that a path names. A text that cannot be one names nothing, so the answer is the same as for one that
/// does not exist.
///
/// # Errors
/// `not_found`.
pub fn path_id<T: FromStr>(what: &str, text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|_| Problem::new(Code::NotFound, format!("There is no such {what}.")).into())
}
