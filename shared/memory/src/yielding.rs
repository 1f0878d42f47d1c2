//! Lets other tasks run, on any executor.

use std::future::poll_fn;
use std::task::Poll;

/// Returns after every other ready task has run, so that races happen in single-threaded tests too.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
