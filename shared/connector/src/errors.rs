//! Maps hyper's errors to the SDK's error kinds. The SDK retries I/O errors, time-outs and transient errors, and no
//! other kind of error.

use std::error::Error;
use std::io;

use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::retry::ErrorKind;
use hyper_util::client::legacy;

use crate::causes::cause;

/// The SDK's error for the client's error. The original error stays in the chain of causes.
pub(crate) fn sorted(error: legacy::Error) -> ConnectorError {
    if timed_out(&error) {
        return ConnectorError::timeout(error.into());
    }
    if error.is_connect() {
        return ConnectorError::io(error.into());
    }
    let Some(http) = cause::<hyper::Error>(&error) else {
        return if cause::<io::Error>(&error).is_some() {
            ConnectorError::io(error.into())
        } else {
            ConnectorError::other(error.into(), None)
        };
    };
    if http.is_user() {
        ConnectorError::user(error.into())
    } else if http.is_closed() || http.is_canceled() || cause::<io::Error>(http).is_some() {
        ConnectorError::io(error.into())
    } else if http.is_incomplete_message() {
        // The server closed the connection before it answered. This usually happens to an idle kept-alive connection.
        ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
    } else {
        ConnectorError::other(error.into(), None)
    }
}

fn timed_out(error: &(dyn Error + 'static)) -> bool {
    cause::<io::Error>(error).is_some_and(|io| io.kind() == io::ErrorKind::TimedOut)
        || cause::<hyper::Error>(error).is_some_and(hyper::Error::is_timeout)
}
