//! Tests drop files, the generator's shoppers, and the open model.
#![cfg(test)]

mod drop_files;
mod journeys;
mod open_model;
mod support;
