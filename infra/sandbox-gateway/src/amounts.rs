//! Lists the smallest amounts that can be charged:
//! <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>.
//!
//! The limit is that of the currency in which the account is paid out. A charge in another currency is converted first.

/// For each currency: its code, the smallest charge in minor units if Stripe states it, and the approximate value of a
/// US dollar in minor units (at the rates of 2026).
const CURRENCIES: [(&str, Option<u64>, u64); 33] = [
    ("aed", Some(200), 367),
    ("aud", Some(50), 152),
    ("bgn", Some(100), 168),
    ("bhd", None, 377),
    ("brl", Some(50), 540),
    ("cad", Some(50), 138),
    ("chf", Some(50), 80),
    ("czk", Some(1_500), 2_100),
    ("dkk", Some(250), 640),
    ("eur", Some(50), 86),
    ("gbp", Some(30), 75),
    ("hkd", Some(400), 780),
    ("huf", Some(17_500), 33_500),
    ("inr", Some(50), 8_800),
    ("isk", None, 12_300),
    ("jod", None, 709),
    ("jpy", Some(50), 150),
    ("krw", None, 1_400),
    ("kwd", None, 306),
    ("mxn", Some(1_000), 1_850),
    ("myr", Some(200), 420),
    ("nok", Some(300), 1_010),
    ("nzd", Some(50), 173),
    ("omr", None, 385),
    ("pln", Some(200), 366),
    ("ron", Some(200), 437),
    ("sek", Some(300), 945),
    ("sgd", Some(50), 129),
    ("thb", Some(1_000), 3_250),
    ("tnd", None, 2_900),
    ("twd", None, 3_050),
    ("ugx", None, 350_000),
    ("usd", Some(50), 100),
];

fn row(code: &str) -> Option<&'static (&'static str, Option<u64>, u64)> {
    CURRENCIES.iter().find(|(known, ..)| *known == code)
}

/// Whether this amount of `currency`, in minor units, is too small for an account that is paid out in
/// `settlement`; without `settlement`, for the charge's own currency. Currencies that are not listed have no
/// limit here.
#[must_use]
pub fn is_too_small(amount: u64, currency: &str, settlement: Option<&str>) -> bool {
    let paid_out = settlement.unwrap_or(currency);
    let (Some((_, _, from)), Some((_, Some(least), to))) = (row(currency), row(paid_out)) else {
        return false;
    };
    // This is amount ÷ from × to < least, compared without a division, so that nothing is rounded.
    u128::from(amount) * u128::from(*to) < u128::from(*least) * u128::from(*from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_currency_that_is_paid_out_decides() {
        assert!(is_too_small(49, "eur", None) && !is_too_small(50, "eur", None));
        // A US dollar is about 150 yen. So 50 yen suffice for a payout in yen, and are less than half a
        // dollar.
        assert!(!is_too_small(50, "jpy", None) && is_too_small(50, "jpy", Some("usd")));
        assert!(!is_too_small(75, "jpy", Some("usd")));
        assert!(is_too_small(174, "bhd", Some("huf")) && !is_too_small(1_000, "bhd", Some("huf")));
        assert!(!is_too_small(1, "xyz", None) && !is_too_small(1, "bhd", None));
    }
}
