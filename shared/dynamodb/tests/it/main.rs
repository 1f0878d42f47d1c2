//! The adapters against a real DynamoDB server and against a server that answers by script.
#![cfg(test)]

mod contract;
mod failures;
mod layout;
mod prescale;
mod support;
mod told;
