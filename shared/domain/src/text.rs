//! Contains macros for types that have one text form, in storage, messages and reports, and the rule of texts that
//! people write.

/// Whether `text` is a text that people can read: not only of spaces, at most `most` bytes, without control characters.
#[must_use]
pub fn is_text(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && text.len() <= most && !text.chars().any(char::is_control)
}

/// Implements serde for a type by its `Display` and `FromStr`, so that the type has one text form and
/// one parser.
#[macro_export]
macro_rules! serde_as_text {
    ($type:ty) => {
        impl $crate::text::serde::Serialize for $type {
            fn serialize<S: $crate::text::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> $crate::text::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::text::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <String as $crate::text::serde::Deserialize>::deserialize(from)?;
                text.parse().map_err($crate::text::serde::de::Error::custom)
            }
        }
    };
}

/// Declares an enum whose variants have names. `Display`, `FromStr` and serde use these names.
#[macro_export]
macro_rules! named {
    ($(#[$of_type:meta])* pub enum $type:ident { $($(#[$of_variant:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$of_type])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$of_variant])* $variant,)* }

        impl $type {
            /// All variants, in the order of their declaration.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The variant's name in its text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::text::UnknownName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let named = Self::ALL.into_iter().find(|one| one.as_str() == text);
                named.ok_or($crate::text::UnknownName(stringify!($type)))
            }
        }

        $crate::serde_as_text!($type);
    };
}

#[doc(hidden)]
pub use serde;

/// The error for a text that is no variant's name. It contains the name of the enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a known {0}")]
pub struct UnknownName(pub &'static str);

#[cfg(test)]
mod tests {
    use crate::order::{EndReason, OrderStatus};

    #[test]
    fn a_name_is_read_back_and_no_other_text_is_one() {
        for status in OrderStatus::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
            let json = format!("{:?}", status.as_str());
            assert_eq!(serde_json::to_string(&status).unwrap(), json);
            assert_eq!(serde_json::from_str::<OrderStatus>(&json).unwrap(), status);
        }
        for bad in ["", "Placed", "placed ", "by_shopper"] {
            let error = bad.parse::<OrderStatus>().unwrap_err().to_string();
            assert_eq!(error, "not the name of a known OrderStatus", "{bad}");
        }
        assert_eq!("by_shopper".parse(), Ok(EndReason::ByShopper));
    }
}
