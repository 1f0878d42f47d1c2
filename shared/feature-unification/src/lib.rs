//! Nothing but features: those of the crates that functions and tools have in common.
//!
//! **Why.** Cargo compiles a crate once for each set of features that a build asks of it, and so everything above it. The
//! functions are built by themselves, without what the emulators ask for, then the tools, then the tests, and
//! `cargo lambda watch` builds one function at a time (see `infra/tools/build`). Without this crate each of these builds
//! would compile the AWS SDK again. It costs the functions nothing: code that is not called is not linked.
//!
//! **What differs on purpose.** HTTP/2 and the servers of the emulators: hyper, hyper-util, axum, tower and tower-http, and
//! what stands on them. Functions must not carry them.
//!
//! **How to keep it.** `infra/tools/check_features` compares the features of all builds, and `make lint` runs it. It names
//! each crate that has to be added here.
