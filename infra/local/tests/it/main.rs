//! Tests the local stack and its parts over real sockets and processes.
#![cfg(test)]

mod control_planes;
mod faults;
mod front;
mod lifecycle;
mod metering;
mod permissions;
mod runtime;
mod sources;
mod support;
mod template;
