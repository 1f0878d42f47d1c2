//! Defines the delivery address, and checks the parts that it may have and must have, by country.
//!
//! The table is made by `infra/tools/addresses` from Google's address data. An address may contain a part that its
//! country does not use: forms send such parts, and carriers do not print them.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

const COUNTRIES: &str = include_str!("address/countries.tsv");

/// The delivery address. It is stored separately from the order, and no event and no log contains it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shipping {
    /// The name of the recipient.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// The street and the house number.
    #[schema(min_length = 1, max_length = 200)]
    pub line1: String,
    /// Further information for the carrier, such as the floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub line2: Option<String>,
    /// The postal code, where the country has postal codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub postal_code: Option<String>,
    /// The town, where addresses of the country have a town.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub city: Option<String>,
    /// The state, province, prefecture or emirate, where addresses of the country have such a region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub region: Option<String>,
    /// The country's code in ISO 3166-1 alpha-2.
    #[schema(pattern = "^[A-Z]{2}$")]
    pub country: String,
    /// The e-mail address for mails about the order.
    #[schema(format = Email, max_length = 200)]
    pub email: String,
    /// The telephone number for the carrier, in international form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[+][0-9 ().-]{5,30}$")]
    pub phone: Option<String>,
}

impl std::fmt::Debug for Shipping {
    /// Writes no part of the address, so that an address does not reach a log by accident.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shipping(..)")
    }
}

/// A row of the table, for one country.
struct Country<'a> {
    /// The parts that an address must have, one letter each, such as `Z` for the postal code.
    must: &'a str,
    /// The form of postal codes, as a regular expression; empty if no form is known.
    postal_code: &'a str,
}

fn country(code: &str) -> Option<Country<'static>> {
    let mut rows = COUNTRIES.lines().filter(|row| !row.starts_with('#'));
    rows.find_map(|row| {
        let mut columns = row.split('\t');
        (columns.next()? == code).then_some(())?;
        let _has = columns.next()?;
        Some(Country {
            must: columns.next()?,
            postal_code: columns.next()?,
        })
    })
}

/// The mistakes of an address by the rules of its country: each with the field of [`Shipping`] and the rule.
pub(crate) fn mistakes(shipping: &Shipping) -> Vec<(&'static str, String)> {
    let code = &shipping.country;
    let Some(country) = country(code) else {
        return vec![("country", "two capital letters, as in ISO 3166-1".to_owned())];
    };
    let mut found = Vec::new();
    for (part, field, given) in [
        ('Z', "postal_code", &shipping.postal_code),
        ('C', "city", &shipping.city),
        ('S', "region", &shipping.region),
    ] {
        if given.is_none() && country.must.contains(part) {
            found.push((field, format!("required in {code}")));
        }
    }
    if let Some(given) = &shipping.postal_code
        && !is_postal_code(given, country.postal_code)
    {
        found.push(("postal_code", format!("a postal code of {code}")));
    }
    found
}

fn is_postal_code(given: &str, form: &str) -> bool {
    if form.is_empty() {
        return true;
    }
    match Regex::new(&format!("^(?:{form})$")) {
        Ok(form) => form.is_match(&given.trim().to_ascii_uppercase()),
        // An invalid expression in the table must not refuse an address. The table has none.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(
        country: &str,
        postal_code: Option<&str>,
        city: Option<&str>,
        region: Option<&str>,
    ) -> Vec<&'static str> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let shipping = Shipping {
            name: "Ada".to_owned(),
            line1: "1 Way".to_owned(),
            line2: None,
            postal_code: text(postal_code),
            city: text(city),
            region: text(region),
            country: country.to_owned(),
            email: "ada@example.com".to_owned(),
            phone: None,
        };
        mistakes(&shipping).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn a_country_says_what_its_addresses_must_have() {
        for (country, postal_code, city, region, mistakes) in [
            ("US", Some("95014"), Some("Cupertino"), Some("CA"), vec![]),
            (
                "US",
                Some("95014-1234"),
                Some("Cupertino"),
                Some("California"),
                vec![],
            ),
            ("US", Some("95014"), Some("Cupertino"), None, vec!["region"]),
            (
                "US",
                Some("9501"),
                Some("Cupertino"),
                Some("CA"),
                vec!["postal_code"],
            ),
            ("HK", None, Some("旺角"), Some("九龍"), vec![]),
            ("HK", Some("000000"), None, Some("Kowloon"), vec![]),
            ("HK", None, Some("旺角"), None, vec!["region"]),
            ("DE", Some("20457"), Some("Hamburg"), None, vec![]),
            ("DE", None, None, None, vec!["postal_code", "city"]),
            ("JP", Some("150-0001"), None, Some("東京都"), vec![]),
            ("GB", Some("sw1a 1aa"), Some("London"), None, vec![]),
            ("GB", Some("12345"), Some("London"), None, vec!["postal_code"]),
            ("IE", None, Some("Dublin"), None, vec![]),
            ("AE", None, None, Some("Dubai"), vec![]),
            ("XX", None, None, None, vec!["country"]),
            ("de", Some("20457"), Some("Hamburg"), None, vec!["country"]),
            ("", None, None, None, vec!["country"]),
        ] {
            let found = fields(country, postal_code, city, region);
            assert_eq!(found, mistakes, "{country} {postal_code:?} {city:?} {region:?}");
        }
    }

    #[test]
    fn every_row_of_the_table_can_be_read() {
        let rows: Vec<&str> = COUNTRIES.lines().filter(|row| !row.starts_with('#')).collect();
        assert!(rows.len() > 240);
        for row in rows {
            let code = row.split('\t').next().unwrap();
            let country = country(code).unwrap();
            assert!(Regex::new(country.postal_code).is_ok(), "{row}");
            assert!(
                country.must.bytes().all(|part| b"ACDSXZ".contains(&part)),
                "{row}"
            );
        }
    }
}
