//! The contract of the payment gateway port, over HTTP against the sandbox gateway.

mod support;

memory::gateway_contract!(support::Sandbox::start().await);
