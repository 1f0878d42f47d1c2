//! The adapters against a real DynamoDB server and against a scripted server.
#![cfg(test)]

mod contract;
mod failures;
mod layout;
mod prescale;
mod scripted;
mod support;
