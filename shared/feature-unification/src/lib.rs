//! This crate has no code. It enables the features of crates that functions and tools have in common.
//!
//! **Why.** Cargo compiles a crate once for each set of features that a build requests, and with it every crate that
//! depends on it. The functions are built by themselves, without the features that the emulators need, then the tools,
//! then the tests, and `cargo lambda watch` builds one function at a time (see `infra/tools/build`). Without this crate
//! each of these builds would compile the AWS SDK again. This crate costs the functions nothing: code that is not
//! called is not linked.
//!
//! **What differs on purpose.** The features for HTTP/2 and for the emulators' servers are not enabled here: those of
//! hyper, hyper-util, axum, tower and tower-http, and of crates that depend on them. Functions must not contain this
//! code.
//!
//! **How to keep it.** `infra/tools/check_features` compares the features of all builds, and `make lint` runs it. The
//! tool names each crate that must be added here.
