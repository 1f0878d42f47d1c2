//! Writes the subject and the text of each mail.

use domain::money::Currency;
use domain::order::EndReason;
use domain::time::Timestamp;
use events::{News, OrderData};
use time::OffsetDateTime;
use time::macros::format_description;

/// Subject and text of a mail about `order`. `deadline` is the shopper's time limit, for news that asks the
/// shopper to act.
pub(crate) fn of(
    news: News,
    order: &OrderData,
    orders_url: &str,
    deadline: Option<Timestamp>,
    now: Timestamp,
) -> (String, String) {
    let id = &order.order_id;
    let (subject, first) = match news {
        News::Confirmed => (
            format!("Your order {id} is confirmed"),
            "Your payment went through and your order is confirmed.".to_owned(),
        ),
        News::ActNow => (
            format!("Confirm the payment of your order {id}"),
            format!(
                "Your bank asks you to confirm the payment. {} Open your order and follow the link to your bank. If the payment is \
                 not confirmed in time, the order is cancelled and its units go to others.",
                time_left(deadline, now)
            ),
        ),
        News::CardDeclined => (
            format!("Another card for your order {id}"),
            format!(
                "Your card was declined and nothing was charged. {} Open your order and pay with another card. Otherwise the order is \
                 cancelled and its units go to others.",
                time_left(deadline, now)
            ),
        ),
        News::Declined => (
            format!("The payment of your order {id} was declined"),
            "Your payment was declined, so the order has ended. You have paid nothing. Your bank can tell you the reason.".to_owned(),
        ),
        News::Cancelled => (
            format!("Your order {id} is cancelled"),
            format!("Your order is cancelled. {} You have paid nothing.", because(order.reason)),
        ),
    };
    let amount = amount(order.amount_minor, &order.currency);
    let text = format!(
        "{first}\n\n\
         Order:  {id}\n\
         Drop:   {}\n\
         Item:   {} x {}\n\
         Amount: {amount}\n\n\
         Your order: {orders_url}/{id}\n\n\
         You get this mail because this address was given with the order.\n",
        order.drop_id, order.quantity, order.sku
    );
    (subject, text)
}

/// The shopper's remaining time, rounded down so that the mail never promises too much.
fn time_left(deadline: Option<Timestamp>, now: Timestamp) -> String {
    let Some(deadline) = deadline else {
        return String::new();
    };
    let seconds = deadline.millis_since(now) / 1_000;
    let (number, unit) = match seconds {
        ..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        _ => (seconds / 3_600, "hour"),
    };
    let plural = if number == 1 { "" } else { "s" };
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let until = OffsetDateTime::from_unix_timestamp(deadline.as_millis() / 1_000).ok();
    match until.and_then(|until| until.format(form).ok()) {
        Some(until) => format!("You have {number} {unit}{plural} left, until {until} UTC."),
        None => format!("You have {number} {unit}{plural} left."),
    }
}

fn because(reason: Option<EndReason>) -> &'static str {
    match reason {
        Some(EndReason::ByShopper) => "You asked for it.",
        Some(EndReason::PaymentDeadline) => "The payment was not completed in time.",
        Some(EndReason::DropCancelled) => "The seller cancelled the drop.",
        Some(EndReason::PaymentDeclined) => "The payment was declined.",
        Some(EndReason::GatewayUnavailable) => "The payment service could not be reached for a long time.",
        None => "",
    }
}

/// An amount with as many decimal places as its currency has.
fn amount(minor: i64, currency: &str) -> String {
    let exponent = currency
        .parse()
        .map_or(0, |currency: Currency| currency.exponent());
    let unit = 10_i64.pow(u32::from(exponent));
    let (whole, rest) = (minor / unit, minor % unit);
    match usize::from(exponent) {
        0 => format!("{whole} {currency}"),
        places => format!("{whole}.{rest:0places$} {currency}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn amounts_have_the_places_of_their_currency() {
        for (minor, currency, written) in [
            (4_900, "EUR", "49.00 EUR"),
            (5, "EUR", "0.05 EUR"),
            (4_900, "JPY", "4900 JPY"),
            (4_900, "KWD", "4.900 KWD"),
            (4_900, "ZZZ", "4900 ZZZ"),
        ] {
            assert_eq!(amount(minor, currency), written);
        }
    }

    #[test]
    fn the_time_that_is_left_is_rounded_down() {
        for (seconds, written) in [
            (1, "1 second left, until 2027-01-15 08:00:01 UTC."),
            (119, "119 seconds left, until 2027-01-15 08:01:59 UTC."),
            (599, "9 minutes left, until 2027-01-15 08:09:59 UTC."),
            (7_300, "2 hours left, until 2027-01-15 10:01:40 UTC."),
        ] {
            let told = time_left(Some(NOW.plus_seconds(seconds)), NOW);
            assert_eq!(told, format!("You have {written}"));
        }
    }

    #[test]
    fn every_end_has_its_reason() {
        for reason in EndReason::ALL {
            assert!(because(Some(reason)).ends_with('.'));
        }
    }
}
