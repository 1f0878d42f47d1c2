//! Limits the time of one call.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use crate::StoreError;
use crate::runtime::Clock;

/// The result of `call`, or [`StoreError::Unknown`] after `ms` milliseconds. The call may still take effect
/// after that, so `call` must be a read.
pub(crate) async fn within<T>(
    clock: &impl Clock,
    ms: i64,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let mut call = pin!(call);
    let mut end = pin!(clock.sleep(ms.unsigned_abs()));
    std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Pending => end.as_mut().poll(context).map(|()| Err(StoreError::Unknown)),
        ready => ready,
    })
    .await
}
