//! The contract of the payment gateway port, on the gateway in memory.

memory::gateway_contract!(memory::MemoryGateway::new());
