//! Tests the contract of the payment gateway port, over HTTP against the sandbox gateway.

contracts::gateway_contract!(crate::support::Sandbox::start().await);
