//! Reads and writes moments in bodies: RFC 3339 in UTC, with milliseconds.

use domain::time::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// A moment, written as `2026-12-04T18:00:00.000Z`. Texts with any RFC 3339 offset are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

capacity::scalars!(Moment);

impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

/// The years that the API accepts: claims store times up to 2059.
const YEARS: std::ops::RangeInclusive<i32> = 2020..=2058;

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let nanos = i128::from(self.0.as_millis()) * 1_000_000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(S::Error::custom)?;
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        serializer.serialize_str(&at.format(form).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = OffsetDateTime::parse(&text, &Rfc3339)
            .map_err(|_| D::Error::custom("not a moment as in RFC 3339, such as 2026-12-04T18:00:00.000Z"))?
            // With an offset, a time in year 9999 or 0 may have no UTC time in the calendar.
            .checked_to_offset(UtcOffset::UTC)
            .filter(|at| YEARS.contains(&at.year()))
            .ok_or_else(|| D::Error::custom("a year between 2020 and 2058 is expected"))?;
        let ms = at.unix_timestamp() * 1000 + i64::from(at.millisecond());
        Ok(Self(Timestamp::from_millis(ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn moments_survive_the_wire(ms in 1_577_836_800_000i64..2_800_000_000_000) {
            let moment = Moment(Timestamp::from_millis(ms));
            let text = serde_json::to_string(&moment).unwrap();
            prop_assert_eq!(text.len(), 26);
            prop_assert_eq!(serde_json::from_str::<Moment>(&text).unwrap(), moment);
        }
    }

    #[test]
    fn offsets_are_read_and_nonsense_is_not() {
        let moment: Moment = serde_json::from_str("\"2026-12-04T19:00:00+01:00\"").unwrap();
        assert_eq!(
            serde_json::to_string(&moment).unwrap(),
            "\"2026-12-04T18:00:00.000Z\""
        );
        for bad in [
            "\"tomorrow\"",
            "\"9999-01-01T00:00:00Z\"",
            "\"0001-01-01T00:00:00Z\"",
            "\"9999-12-31T23:59:59-14:00\"",
            "\"0000-01-01T00:00:00+14:00\"",
            "7",
            "\"2026-13-01T00:00:00Z\"",
        ] {
            assert!(serde_json::from_str::<Moment>(bad).is_err(), "{bad}");
        }
    }
}
