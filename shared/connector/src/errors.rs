//! What hyper's errors mean to the SDK: it repeats what it calls I/O, time-outs and transient, and nothing else.

use std::error::Error;
use std::io;

use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::retry::ErrorKind;
use hyper_util::client::legacy;

use crate::causes::cause;

/// The SDK's kind of error for the client's; the error itself stays inside, for whoever looks for its cause.
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
        // The connection was closed before an answer: a kept-alive one whose time was up, as a rule.
        ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
    } else {
        ConnectorError::other(error.into(), None)
    }
}

fn timed_out(error: &(dyn Error + 'static)) -> bool {
    cause::<io::Error>(error).is_some_and(|io| io.kind() == io::ErrorKind::TimedOut)
        || cause::<hyper::Error>(error).is_some_and(hyper::Error::is_timeout)
}
