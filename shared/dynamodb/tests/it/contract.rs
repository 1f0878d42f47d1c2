//! Runs the contract tests of the ports on the DynamoDB adapters, against an embedded emulator of DynamoDB.

mod stock {
    contracts::stock_contract!(crate::support::Local::start().await);
}
mod orders {
    contracts::orders_contract!(crate::support::Local::start().await);
}
mod calls {
    contracts::calls_contract!(crate::support::Local::start().await);
}
mod drops {
    contracts::drops_contract!(crate::support::Local::start().await);
}
mod issuers {
    contracts::issuers_contract!(crate::support::Local::start().await);
}
mod status {
    contracts::status_contract!(crate::support::Local::start().await);
}
mod prescale {
    contracts::prescale_contract!(crate::support::Local::start().await);
}
