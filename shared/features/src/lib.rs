//! Nothing but features: those of the crates under the AWS SDK that some package of the workspace asks for.
//!
//! **Why.** Cargo compiles a crate once for each set of features that a build asks of it, and of everything above it. The
//! functions are built by themselves, without what the emulators ask for (see `infra/tools/build`); were the SDK's
//! foundations to differ between the two builds, the SDK would be compiled twice, which takes longer than all else. So the
//! functions ask for the same here. It costs them nothing: what is not called is not linked.
//!
//! **How to keep it.** When a build of the functions compiles `aws-sdk-…` again after the workspace's, compare what
//! `cargo tree --edges normal --format '{p} {f}'` says of the two, and add what is missing below the SDK.
