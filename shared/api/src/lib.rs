//! Defines the wire contract of the HTTP API: bodies, problem codes and the OpenAPI document.
//!
//! All types that a client sees are in this crate. Functions convert between these types and the domain's. A change of
//! this crate changes the contract, and a golden file (`docs/openapi.json`) shows the change.
//!
//! Bodies are JSON in snake_case. Moments are RFC 3339 in UTC with milliseconds, money is in minor units with its
//! currency. A request with an unknown member is refused, so that a misspelt member is not silently ignored. Responses
//! may get additional members.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

#[macro_use]
mod names;

mod address;
pub mod drops;
pub mod moment;
pub mod openapi;
pub mod operator;
pub mod orders;
pub mod problem;
pub mod reservations;
