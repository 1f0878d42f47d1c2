//! Reads a JSON document into a type and collects all mistakes of its form, each with its path.
//!
//! Derived parsers stop at the first mistake. Here every member is read, even if other members are wrong, and
//! a value is returned only if no member is wrong. [`members!`](crate::members) makes the reader of a struct
//! from the names of its fields.

use std::collections::BTreeMap;

use domain::drops::FieldError;
use domain::ids::DropId;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The largest number of mistakes that are reported for one document.
const MOST_MISTAKES: usize = 64;

/// A type that can be read from a part of a JSON document, with all mistakes of its form.
pub trait Read: Sized {
    /// The value, or `None` after at least one mistake was added. `at` is the path of the part, for
    /// example `profile.group[0].weight`.
    fn read(part: &Value, at: &str, mistakes: &mut Vec<FieldError>) -> Option<Self>;

    /// The value for a member that is absent; `None` if the member is required. The reader of a struct may
    /// state another default.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }
}

/// Reads the whole document; returns `None` after at least one mistake was added. The mistakes' paths begin
/// with the name `document`.
pub fn document<T: Read>(document: &str, text: &str, mistakes: &mut Vec<FieldError>) -> Option<T> {
    let mut found = Vec::new();
    let read = match serde_json::from_str::<Value>(text) {
        Ok(value) => T::read(&value, document, &mut found),
        Err(error) => {
            let message = format!("not JSON: line {}, column {}", error.line(), error.column());
            wrong(document, message, &mut found)
        }
    };
    found.truncate(MOST_MISTAKES);
    mistakes.append(&mut found);
    read
}

/// Adds a mistake at the path `at`, and returns `None` as the value that could not be read.
pub fn wrong<T>(at: &str, message: impl Into<String>, mistakes: &mut Vec<FieldError>) -> Option<T> {
    mistakes.push(FieldError {
        field: at.to_owned(),
        message: message.into(),
    });
    None
}

/// Reads a value without members by its own parser, and accepts whatever that parser accepts.
pub fn scalar<'a, T: Deserialize<'a>>(
    part: &'a Value,
    at: &str,
    mistakes: &mut Vec<FieldError>,
) -> Option<T> {
    T::deserialize(part).map_or_else(|error| wrong(at, error.to_string(), mistakes), Some)
}

/// Implements [`Read`](read::Read) for the named types by their own parsers. This suits values without
/// members, which cannot have more than one mistake.
#[macro_export]
macro_rules! scalars {
    ($($scalar:ty),+) => {$(
        impl $crate::read::Read for $scalar {
            fn read(
                part: &serde_json::Value,
                at: &str,
                mistakes: &mut Vec<domain::drops::FieldError>,
            ) -> Option<Self> {
                $crate::read::scalar(part, at, mistakes)
            }
        }
    )+};
}

scalars!(bool, u32, f64, String, DropId);

impl<T: Read> Read for Option<T> {
    fn read(part: &Value, at: &str, mistakes: &mut Vec<FieldError>) -> Option<Self> {
        match part {
            Value::Null => Some(None),
            _ => T::read(part, at, mistakes).map(Some),
        }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(part: &Value, at: &str, mistakes: &mut Vec<FieldError>) -> Option<Self> {
        let Some(elements) = part.as_array() else {
            return wrong(at, "expected a list", mistakes);
        };
        let elements = elements.iter().enumerate();
        let read: Vec<Option<T>> = elements
            .map(|(n, element)| T::read(element, &format!("{at}[{n}]"), mistakes))
            .collect();
        read.into_iter().collect()
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(part: &Value, at: &str, mistakes: &mut Vec<FieldError>) -> Option<Self> {
        let members = object(part, at, mistakes)?.iter();
        let read: Vec<Option<(String, T)>> = members
            .map(|(name, member)| {
                let value = T::read(member, &format!("{at}.{name}"), mistakes);
                Some((name.clone(), value?))
            })
            .collect();
        read.into_iter().collect()
    }
}

/// The members of the object `part`; a part that is no object is a mistake.
pub fn object<'a>(
    part: &'a Value,
    at: &str,
    mistakes: &mut Vec<FieldError>,
) -> Option<&'a Map<String, Value>> {
    let members = part.as_object();
    members.or_else(|| wrong(at, "expected an object", mistakes))
}

/// The name and the content of an object's only member, which is how a variant is written; `None` if `part`
/// has another form.
#[must_use]
pub fn variant(part: &Value) -> Option<(&str, &Value)> {
    let mut members = part.as_object()?.iter();
    match (members.next(), members.next()) {
        (Some((name, content)), None) => Some((name, content)),
        _ => None,
    }
}

/// Reads the member `name` of an object. An absent member gets the value `absent`; without such a value, its
/// absence is a mistake.
pub fn member<T: Read>(
    members: &Map<String, Value>,
    name: &str,
    absent: Option<T>,
    at: &str,
    mistakes: &mut Vec<FieldError>,
) -> Option<T> {
    match members.get(name) {
        Some(member) => T::read(member, &format!("{at}.{name}"), mistakes),
        None => absent.or_else(|| wrong(at, format!("missing field `{name}`"), mistakes)),
    }
}

/// Adds a mistake for each member whose name is not in `known`, so that misspelt names are reported.
pub fn unknown(members: &Map<String, Value>, known: &[&str], at: &str, mistakes: &mut Vec<FieldError>) {
    for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("unknown field, expected one of {}", known.join(", "));
        wrong::<()>(&format!("{at}.{name}"), message, mistakes);
    }
}

/// Implements [`Read`](read::Read) for a struct: `members!(Table: table, warm, allowed or Warm::default())`. Each
/// field is the member of its name, or of another name with `field as "name"`. A field with `or value` may be left out.
///
/// In a reader of an enum, `members!(part, at, mistakes => Self::Variant { … })` reads a variant with fields.
#[macro_export]
macro_rules! members {
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    (@absent) => { $crate::read::Read::absent() };
    (@absent $absent:expr) => { Some($absent) };
    ($made:ident $(<$of:ident>)?: $($fields:tt)+) => {
        impl $(<$of: $crate::read::Read>)? $crate::read::Read for $made $(<$of>)? {
            fn read(
                part: &serde_json::Value,
                at: &str,
                mistakes: &mut Vec<domain::drops::FieldError>,
            ) -> Option<Self> {
                $crate::members!(part, at, mistakes => $made { $($fields)+ })
            }
        }
    };
    ($part:expr, $at:expr, $mistakes:expr => $($made:ident)::+ {
        $($field:ident $(as $name:literal)? $(or $absent:expr)?),+ $(,)?
    }) => {{
        let (at, mistakes) = ($at, $mistakes);
        let members = $crate::read::object($part, at, mistakes)?;
        $(let $field = $crate::read::member(
            members,
            $crate::members!(@name $field $($name)?),
            $crate::members!(@absent $($absent)?),
            at,
            mistakes,
        );)+
        let known = [$($crate::members!(@name $field $($name)?)),+];
        $crate::read::unknown(members, &known, at, mistakes);
        Some($($made)::+ { $($field: $field?),+ })
    }};
}
