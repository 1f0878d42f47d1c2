//! Parses texts as identifiers, which must be parsed exactly or refused.

use std::fmt::Display;
use std::str::FromStr;

use domain::claim::Claim;
use domain::ids::{DropId, Nonce, OrderId, ReservationId, ShardKey, ShopperId, SkuId};
use domain::limits::{DROP_ID_MAX_BYTES, SHOPPER_ID_MAX_BYTES, SKU_ID_MAX_BYTES};
use domain::money::{Currency, Money};
use ports::payment::{Code, PaymentId};
use web::{decode_cursor, encode_cursor};

/// The fuzz target `identifiers`: panics if a text is parsed and then written differently.
pub fn target(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    whole::<DropId>(&text, DROP_ID_MAX_BYTES);
    whole::<SkuId>(&text, SKU_ID_MAX_BYTES);
    whole::<ShopperId>(&text, SHOPPER_ID_MAX_BYTES);
    whole::<Nonce>(&text, 10);
    whole::<OrderId>(&text, 27);
    whole::<ReservationId>(&text, 64);
    whole::<ShardKey>(&text, 64);
    whole::<Claim>(&text, 20);
    whole::<Currency>(&text, 3);
    whole::<PaymentId>(&text, 255);
    let _ = Code::or_unnamed(&text);
    if let Ok(reservation) = text.parse::<ReservationId>() {
        whole::<OrderId>(OrderId::of_reservation(&reservation).as_str(), 27);
    }
    cursor::<DropId>(&text);
    cursor::<OrderId>(&text);
    if let Ok(moment) = serde_json::from_value::<api::moment::Moment>(text.as_ref().into()) {
        let written = serde_json::to_value(moment).expect("a moment is written");
        let again: api::moment::Moment = serde_json::from_value(written).expect("what was written is read");
        assert_eq!(again.0, moment.0, "{text:?}");
    }
    if let Some((minor, units)) = text.split_once('*') {
        times(minor, units);
    }
}

/// Asserts that a parsed value is at most `max_bytes` long and is written as it was read, so that it has one
/// spelling.
fn whole<T: FromStr + Display>(text: &str, max_bytes: usize) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(
            read.to_string(),
            text,
            "{} has two spellings",
            std::any::type_name::<T>()
        );
        assert!(
            text.len() <= max_bytes,
            "{} of {} bytes",
            std::any::type_name::<T>(),
            text.len()
        );
    }
}

/// Asserts that a cursor leads to the same entry after it was written and parsed again.
fn cursor<T: FromStr + Display + PartialEq>(text: &str) {
    if let Some((at, id)) = decode_cursor::<T>(text) {
        let again = decode_cursor::<T>(&encode_cursor(at, &id));
        assert!(
            again.is_some_and(|(moment, name)| moment == at && name == id),
            "{text:?}"
        );
    }
}

/// Asserts that a price times a number of units is exact, if there is a result.
fn times(minor: &str, units: &str) {
    let (Ok(amount_minor), Ok(units)) = (minor.parse::<i64>(), units.parse::<u32>()) else {
        return;
    };
    let price = Money {
        amount_minor,
        currency: "EUR".parse().expect("a currency"),
    };
    let exact = i128::from(amount_minor) * i128::from(units);
    if let Some(product) = price.times(units) {
        assert_eq!(i128::from(product.amount_minor), exact);
    }
}
