//! Packs messages into batches within SQS's limits.

use std::borrow::Cow;

use ports::messages::SendError;

use crate::{MAX_BATCH_BYTES, MAX_BATCH_MESSAGES};

/// A batch: bodies, each with its index in the input.
pub(crate) type Batch = Vec<(usize, String)>;

/// Batches to send, and inputs that can never be sent.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(crate) batches: Vec<Batch>,
    pub(crate) refused: Vec<(usize, SendError)>,
}

/// Packs bodies in their order.
pub(crate) fn pack(bodies: impl IntoIterator<Item = Result<String, SendError>>) -> Packed {
    let mut packed = Packed::default();
    let mut batch = Batch::new();
    let mut bytes = 0;
    for (place, body) in bodies.into_iter().enumerate() {
        let body = match body.and_then(|body| sendable(&body).map(Cow::into_owned)) {
            Ok(body) => body,
            Err(error) => {
                packed.refused.push((place, error));
                continue;
            }
        };
        if batch.len() == MAX_BATCH_MESSAGES || bytes + body.len() > MAX_BATCH_BYTES {
            packed.batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += body.len();
        batch.push((place, body));
    }
    if !batch.is_empty() {
        packed.batches.push(batch);
    }
    packed
}

/// A JSON text that SQS accepts: not empty, not too long, and without forbidden characters.
///
/// SQS accepts the characters of XML 1.0. JSON text never contains raw control characters. Of the other characters only
/// U+FFFE and U+FFFF are forbidden; in JSON they occur only in strings, where they can be escaped.
pub(crate) fn sendable(json: &str) -> Result<Cow<'_, str>, SendError> {
    let text = if json.contains(['\u{fffe}', '\u{ffff}']) {
        Cow::Owned(json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff"))
    } else {
        Cow::Borrowed(json)
    };
    match text.len() {
        0 => Err(SendError("a message may not be empty".to_owned())),
        1..=MAX_BATCH_BYTES => Ok(text),
        _ => Err(SendError("a message is too long".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_lengths(lengths: &[usize]) -> Packed {
        pack(lengths.iter().map(|n| Ok("x".repeat(*n))))
    }

    fn places(packed: &Packed) -> Vec<Vec<usize>> {
        packed
            .batches
            .iter()
            .map(|batch| batch.iter().map(|(place, _)| *place).collect())
            .collect()
    }

    #[test]
    fn nothing_makes_no_batch() {
        assert!(of_lengths(&[]).batches.is_empty());
    }

    #[test]
    fn a_batch_has_ten_messages_at_most() {
        let packed = of_lengths(&[5; 21]);
        assert_eq!(
            packed.batches.iter().map(Vec::len).collect::<Vec<_>>(),
            [10, 10, 1]
        );
        assert_eq!(places(&packed).concat(), (0..21).collect::<Vec<_>>());
    }

    #[test]
    fn a_batch_is_never_too_large() {
        let half = MAX_BATCH_BYTES / 2;
        assert_eq!(places(&of_lengths(&[half, half, 1])), [vec![0, 1], vec![2]]);
        assert_eq!(places(&of_lengths(&[half, half + 1])), [vec![0], vec![1]]);
        assert_eq!(
            places(&of_lengths(&[1, MAX_BATCH_BYTES, 1])),
            [vec![0], vec![1], vec![2]]
        );
    }

    #[test]
    fn what_cannot_be_sent_does_not_hold_up_the_rest() {
        let packed = of_lengths(&[1, MAX_BATCH_BYTES + 1, 0, 1]);
        assert_eq!(places(&packed), [vec![0, 3]]);
        assert_eq!(
            packed.refused.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
            [1, 2]
        );
    }

    #[test]
    fn refused_characters_are_escaped() {
        assert_eq!(sendable("\"a\u{fffe}\u{ffff}\"").unwrap(), r#""a\ufffe\uffff""#);
        assert_eq!(sendable("\"€ \u{10ffff}\"").unwrap(), "\"€ \u{10ffff}\"");
    }
}
