//! The contracts of the ports, on the DynamoDB adapters against a real server.

mod stock {
    memory::stock_contract!(crate::support::Local::start().await);
}
mod orders {
    memory::orders_contract!(crate::support::Local::start().await);
}
mod calls {
    memory::calls_contract!(crate::support::Local::start().await);
}
mod drops {
    memory::drops_contract!(crate::support::Local::start().await);
}
mod issuers {
    memory::issuers_contract!(crate::support::Local::start().await);
}
mod status {
    memory::status_contract!(crate::support::Local::start().await);
}
mod prescale {
    memory::prescale_contract!(crate::support::Local::start().await);
}
