//! Starts the function `notify-shopper` with its settings and its adapters.

use std::process::ExitCode;

use dynamodb::Table::{Addresses, Orders};
use dynamodb::{OrderStore, Tables};
use mail::SesMail;
use notify_shopper::Notifier;
use startup::runtime::SystemRuntime;

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let client = startup::aws::dynamodb(config);
        let tables = Tables::read([Orders, Addresses], |variable| config.text(variable));
        let aws = startup::aws::service(config, mail::ENDPOINT_VARIABLE);
        let mail = config.optional("MAIL_FROM").map(|from| SesMail::new(&aws, from));
        if mail.is_none() {
            tracing::warn!("MAIL_FROM is empty: no mail is sent");
        }
        let orders_url = config.text("ORDERS_URL");
        Some(Notifier::new(
            OrderStore::new(&client, &tables),
            mail,
            orders_url,
            SystemRuntime,
        ))
    })
}
