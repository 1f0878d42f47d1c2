//! Tests the message ports on SQS: an embedded server, called over HTTP.
#![cfg(test)]

mod contract;
mod failures;
mod local;
mod standard_queue;
