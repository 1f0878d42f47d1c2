//! Searches the causes of an error. An SDK error's chain of causes ends in this connector's errors.

use std::error::Error;
use std::{fmt, io};

/// An error and its causes, the outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// The first error of type `E` in the chain of causes.
pub(crate) fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// Whether no connection was made, so that no byte of the request was sent. Counts only errors that an established
/// connection cannot have.
pub(crate) fn never_connected(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    let mut io = chain(error).filter_map(|error| error.downcast_ref::<io::Error>());
    io.any(|io| {
        matches!(
            io.kind(),
            ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable
        )
    })
}

/// Shows an error with its causes, for a log line.
#[derive(Debug)]
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        chain(self.0).skip(1).try_for_each(|cause| write!(f, ": {cause}"))
    }
}
