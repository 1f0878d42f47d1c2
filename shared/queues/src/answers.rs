//! Determines the result of each entry of a batch from SQS's answer.

use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use ports::messages::SendError;

/// The same failure for each of `count` messages.
pub(crate) fn all(count: usize, error: &SendError) -> Vec<Result<(), SendError>> {
    vec![Err(error.clone()); count]
}

/// The results of a batch whose entries had the ids `0..count`. An entry that the answer does not name counts as not
/// accepted. An id that was not sent is ignored.
pub(crate) fn of_batch(count: usize, output: &SendMessageBatchOutput) -> Vec<Result<(), SendError>> {
    let mut answers = all(
        count,
        &SendError("the answer does not name the message".to_owned()),
    );
    for failed in output.failed() {
        if let Some(answer) = entry(&mut answers, failed.id()) {
            *answer = Err(SendError(failed.code().to_owned()));
        }
    }
    for accepted in output.successful() {
        if let Some(answer) = entry(&mut answers, accepted.id()) {
            *answer = Ok(());
        }
    }
    answers
}

fn entry<'a, T>(answers: &'a mut [T], id: &str) -> Option<&'a mut T> {
    answers.get_mut(id.parse::<usize>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchResultEntry};

    fn accepted(id: &str) -> SendMessageBatchResultEntry {
        let entry = SendMessageBatchResultEntry::builder().id(id);
        entry.message_id("m").md5_of_message_body("d").build().unwrap()
    }

    fn failed(id: &str) -> BatchResultErrorEntry {
        let entry = BatchResultErrorEntry::builder().id(id).code("InternalError");
        entry.sender_fault(false).build().unwrap()
    }

    #[test]
    fn each_entry_gets_its_own_answer() {
        let output = SendMessageBatchOutput::builder()
            .successful(accepted("2"))
            .successful(accepted("0"))
            .failed(failed("1"))
            .build()
            .unwrap();
        let internal = SendError("InternalError".to_owned());
        assert_eq!(of_batch(3, &output), [Ok(()), Err(internal), Ok(())]);
    }

    #[test]
    fn what_is_not_named_was_not_accepted_and_strangers_are_ignored() {
        let output = SendMessageBatchOutput::builder()
            .successful(accepted("9"))
            .successful(accepted("x"))
            .set_failed(Some(Vec::new()))
            .build()
            .unwrap();
        let answers = of_batch(2, &output);
        assert!(
            answers.len() == 2 && answers.iter().all(Result::is_err),
            "{answers:?}"
        );
    }
}
