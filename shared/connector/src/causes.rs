//! The causes of an error: what adapters ask of the SDK's errors, whose chains end in this connector's.

use std::error::Error;
use std::{fmt, io};

/// An error and its causes, the outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// The first error of a kind in the chain of causes.
pub(crate) fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// Whether no connection came about, so that nothing can have been sent. Only errors that a running connection cannot
/// have count.
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

/// An error with its causes, for a log line.
#[derive(Debug)]
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        chain(self.0).skip(1).try_for_each(|cause| write!(f, ": {cause}"))
    }
}
