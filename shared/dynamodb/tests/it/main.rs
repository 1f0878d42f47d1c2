//! Tests the adapters against an embedded emulator of DynamoDB and against a scripted server.
#![cfg(test)]

mod contract;
mod failures;
mod layout;
mod prescale;
mod scripted;
mod support;
