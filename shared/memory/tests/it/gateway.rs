//! Tests the contract of the payment gateway port, on the gateway in memory.

contracts::gateway_contract!(memory::MemoryGateway::new());
