//! Checks the form of short texts in tokens and documents.

/// The longest `kid`, in bytes.
pub const MAX_KID_BYTES: usize = 128;

/// Whether a text is a valid `kid`.
pub(crate) fn is_kid(text: &str) -> bool {
    is_visible(text, MAX_KID_BYTES)
}

/// Whether a text consists of 1 to `max` visible ASCII characters.
pub(crate) fn is_visible(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
