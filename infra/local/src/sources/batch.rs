//! Decides the step that follows an attempt at a batch of stream records, by Lambda's rules, as pure functions.

use std::ops::Range;

use serde_json::Value;

use crate::template::StreamSource;

/// One stream record, in the form that the function gets.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) sequence: String,
    pub(super) json: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) range: Range<usize>,
    pub(super) attempts: u32,
}

/// The next step after an attempt at a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Done,
    Again(Vec<Piece>),
    GiveUp(Range<usize>),
}

/// The number of records before the first failed record. `None` when the report names a record that is not in the
/// batch.
pub(super) fn checkpoint(records: &[Record], failed: &[String]) -> Option<usize> {
    let places: Option<Vec<usize>> = failed
        .iter()
        .map(|id| records.iter().position(|r| &r.sequence == id))
        .collect();
    Some(places?.into_iter().min().unwrap_or(records.len()))
}

/// The step after an attempt at a piece, by Lambda's rules. `handled` is the number of records before the first failed
/// record; `None` if the whole attempt failed. After a reported failure, the retry begins with the failed record. A
/// piece whose whole attempt failed is halved if the source says so, which costs no attempt. Otherwise the piece is
/// retried unchanged, until its attempts are used up or its first `expired` records are too old.
pub(super) fn next(piece: &Piece, handled: Option<usize>, expired: usize, source: &StreamSource) -> Step {
    let Range { start, end } = piece.range.clone();
    let attempts = piece.attempts + 1;
    match handled {
        Some(count) if start + count >= end => Step::Done,
        Some(count) if count > 0 => Step::Again(vec![Piece {
            range: start + count..end,
            attempts: 0,
        }]),
        None if source.bisect && end - start > 1 => {
            let middle = start + (end - start) / 2;
            let half = |range| Piece {
                range,
                attempts: piece.attempts,
            };
            Step::Again(vec![half(start..middle), half(middle..end)])
        }
        _ if source.max_retries.is_some_and(|most| attempts > most) => Step::GiveUp(start..end),
        _ if expired > 0 => Step::GiveUp(start..end.min(start + expired)),
        _ => Step::Again(vec![Piece {
            range: start..end,
            attempts,
        }]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(bisect: bool) -> StreamSource {
        StreamSource {
            table: "orders".to_owned(),
            batch_size: 10,
            window: Duration::ZERO,
            parallelization: 1,
            bisect,
            max_retries: Some(2),
            max_age: None,
            partial: true,
            on_failure: None,
        }
    }

    fn piece(range: Range<usize>, attempts: u32) -> Piece {
        Piece { range, attempts }
    }

    fn record(sequence: &str) -> Record {
        Record {
            sequence: sequence.to_owned(),
            json: Value::Null,
        }
    }

    #[test]
    fn the_checkpoint_is_the_first_failed_record() {
        let records = [record("1"), record("2"), record("3")];
        assert_eq!(checkpoint(&records, &[]), Some(3));
        assert_eq!(checkpoint(&records, &["3".to_owned(), "2".to_owned()]), Some(1));
        assert_eq!(checkpoint(&records, &["9".to_owned()]), None);
    }

    #[test]
    fn a_reported_failure_retries_from_there() {
        let source = source(true);
        assert_eq!(next(&piece(0..4, 0), Some(4), 0, &source), Step::Done);
        assert_eq!(
            next(&piece(0..4, 1), Some(3), 0, &source),
            Step::Again(vec![piece(3..4, 0)])
        );
        assert_eq!(
            next(&piece(3..4, 0), Some(0), 0, &source),
            Step::Again(vec![piece(3..4, 1)])
        );
        assert_eq!(next(&piece(3..4, 2), Some(0), 0, &source), Step::GiveUp(3..4));
    }

    #[test]
    fn a_failed_batch_is_halved_down_to_the_record_that_fails_it() {
        let source = source(true);
        assert_eq!(
            next(&piece(0..5, 1), None, 0, &source),
            Step::Again(vec![piece(0..2, 1), piece(2..5, 1)])
        );
        assert_eq!(
            next(&piece(1..2, 1), None, 0, &source),
            Step::Again(vec![piece(1..2, 2)])
        );
        assert_eq!(next(&piece(1..2, 2), None, 0, &source), Step::GiveUp(1..2));
    }

    #[test]
    fn without_a_limit_of_attempts_only_records_that_are_too_old_are_given_up() {
        let mut source = source(false);
        source.max_retries = None;
        let again = |range| Step::Again(vec![piece(range, 1_001)]);
        assert_eq!(next(&piece(0..5, 1_000), None, 0, &source), again(0..5));
        assert_eq!(next(&piece(1..5, 1_000), Some(0), 2, &source), Step::GiveUp(1..3));
        assert_eq!(next(&piece(1..5, 1_000), Some(0), 9, &source), Step::GiveUp(1..5));
        assert_eq!(next(&piece(1..5, 0), Some(4), 9, &source), Step::Done);
    }

    #[test]
    fn without_halving_the_whole_batch_is_tried_again() {
        let source = source(false);
        assert_eq!(
            next(&piece(0..5, 0), None, 0, &source),
            Step::Again(vec![piece(0..5, 1)])
        );
        assert_eq!(next(&piece(0..5, 2), None, 0, &source), Step::GiveUp(0..5));
    }
}
