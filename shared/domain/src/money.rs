//! Defines amounts of money: whole minor units with their currency. No amount is a floating-point number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_ORDER_MINOR;
use crate::serde_as_text;

/// The rules of a card gateway for amounts of one currency.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Row {
    /// The currency's code in ISO 4217.
    code: &'static str,
    /// The number of decimal places of the minor unit.
    exponent: u8,
    /// The number of minor units of which each amount must be a multiple.
    step: i64,
    /// The smallest amount of one payment, in minor units.
    least: i64,
}

const fn row(code: &'static str, exponent: u8, step: i64, least: i64) -> Row {
    Row {
        code,
        exponent,
        step,
        least,
    }
}

/// The currencies in which drops can sell. Exponents and steps are Stripe's ("Supported currencies:
/// zero-decimal currencies, three-decimal currencies, special cases"). Stripe counts ISK and UGX with two
/// decimal places, which must be zero, and pays out only whole units of HUF and TWD. With three decimal
/// places, the last digit must be zero. The smallest amounts are Stripe's where it states one ("Minimum and
/// maximum charge amounts"). For BHD, ISK, JOD, KRW, KWD, OMR, TND, TWD and UGX, the account's own currency
/// decides; their smallest amounts here are about one US dollar at the rates of 2026.
static CURRENCIES: [Row; 33] = [
    row("AED", 2, 1, 200),
    row("AUD", 2, 1, 50),
    row("BGN", 2, 1, 100),
    row("BHD", 3, 10, 400),
    row("BRL", 2, 1, 50),
    row("CAD", 2, 1, 50),
    row("CHF", 2, 1, 50),
    row("CZK", 2, 1, 1_500),
    row("DKK", 2, 1, 250),
    row("EUR", 2, 1, 50),
    row("GBP", 2, 1, 30),
    row("HKD", 2, 1, 400),
    row("HUF", 2, 100, 17_500),
    row("INR", 2, 1, 50),
    row("ISK", 2, 100, 15_000),
    row("JOD", 3, 10, 700),
    row("JPY", 0, 1, 50),
    row("KRW", 0, 1, 1_500),
    row("KWD", 3, 10, 300),
    row("MXN", 2, 1, 1_000),
    row("MYR", 2, 1, 200),
    row("NOK", 2, 1, 300),
    row("NZD", 2, 1, 50),
    row("OMR", 3, 10, 400),
    row("PLN", 2, 1, 200),
    row("RON", 2, 1, 200),
    row("SEK", 2, 1, 300),
    row("SGD", 2, 1, 50),
    row("THB", 2, 1, 1_000),
    row("TND", 3, 10, 3_000),
    row("TWD", 2, 100, 3_500),
    row("UGX", 2, 100, 400_000),
    row("USD", 2, 1, 50),
];

/// A currency in which a drop can be sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(&'static Row);

/// The error for a text that is not the code of a supported currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a currency that is sold in, as its code in ISO 4217")]
pub struct CurrencyError;

impl Currency {
    /// All supported currencies, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Self> {
        CURRENCIES.iter().map(Self)
    }

    /// The currency's code in ISO 4217, in capitals.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        self.0.code
    }

    /// The number of decimal places of the currency's minor unit.
    #[must_use]
    pub const fn exponent(&self) -> u8 {
        self.0.exponent
    }

    /// Whether one payment can have this number of minor units.
    #[must_use]
    pub const fn takes(&self, amount_minor: i64) -> bool {
        self.0.least <= amount_minor && amount_minor <= MAX_ORDER_MINOR && amount_minor % self.0.step == 0
    }

    /// The rule of [`Currency::takes`], as text for an error message.
    #[must_use]
    pub fn rule(&self) -> String {
        let Row {
            code, step, least, ..
        } = self.0;
        match step {
            1 => format!("{least} to {MAX_ORDER_MINOR} minor units of {code}"),
            _ => format!("a multiple of {step} from {least} to {MAX_ORDER_MINOR} minor units of {code}"),
        }
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;
    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        Self::all()
            .find(|currency| currency.0.code == text)
            .ok_or(CurrencyError)
    }
}

serde_as_text!(Currency);

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount of money, which is never a floating-point number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// The number of minor units of the currency, for example of cents.
    pub amount_minor: i64,
    /// The currency of the amount.
    pub currency: Currency,
}

impl Money {
    /// The product of this amount and `units`; `None` when the number overflows.
    #[must_use]
    pub fn times(self, units: u32) -> Option<Self> {
        let amount_minor = self.amount_minor.checked_mul(i64::from(units))?;
        Some(Self { amount_minor, ..self })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (minor units)", self.amount_minor, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_currencies_that_are_sold_in_have_codes() {
        assert_eq!("EUR".parse::<Currency>().unwrap().as_str(), "EUR");
        for bad in ["", "eur", "EURO", "ZZZ", "XXX", "ÄÖ"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
        let codes: Vec<&str> = Currency::all().map(|currency| currency.0.code).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    }

    /// ISO 4217 gives ISK and UGX no decimal places, but Stripe counts both with two.
    #[test]
    fn exponents_are_those_of_iso_4217_with_stripes_exceptions() {
        for currency in Currency::all() {
            let code = currency.as_str();
            let iso = iso_currency::Currency::from_code(code)
                .unwrap()
                .exponent()
                .unwrap();
            let expected = if ["ISK", "UGX"].contains(&code) { 2 } else { iso };
            assert_eq!(u16::from(currency.exponent()), expected, "{code}");
        }
    }

    #[test]
    fn a_gateway_takes_amounts_of_some_size_and_step() {
        for (code, taken, refused) in [
            ("EUR", [50, 51, 99_999_999], [1, 49, 100_000_000]),
            ("JPY", [50, 51, 4_999], [0, 49, -50]),
            ("KWD", [300, 310, 4_990], [290, 301, 305]),
            ("HUF", [17_500, 17_600, 490_000], [17_400, 17_501, 17_550]),
            ("ISK", [15_000, 15_100, 490_000], [14_900, 15_001, 15_010]),
        ] {
            let currency: Currency = code.parse().unwrap();
            assert!(taken.iter().all(|amount| currency.takes(*amount)), "{code}");
            assert!(!refused.iter().any(|amount| currency.takes(*amount)), "{code}");
        }
        let rule = |code: &str| code.parse::<Currency>().unwrap().rule();
        assert_eq!(rule("EUR"), "50 to 99999999 minor units of EUR");
        assert_eq!(
            rule("KWD"),
            "a multiple of 10 from 300 to 99999999 minor units of KWD"
        );
    }

    #[test]
    fn a_product_that_overflows_is_no_amount() {
        let price = Money {
            amount_minor: i64::MAX / 2,
            currency: "EUR".parse().unwrap(),
        };
        assert_eq!(price.times(2).map(|m| m.amount_minor), Some(i64::MAX - 1));
        assert!(price.times(3).is_none());
    }
}
