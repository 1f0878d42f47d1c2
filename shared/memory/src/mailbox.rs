//! Simulates a mail service that records the sent mails.

use std::collections::VecDeque;

use ports::mail::{Mail, MailError, SendMail};

use crate::shared::Shared;
use crate::yielding::yield_now;

/// The outcome of sending a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailFault {
    /// The mail is not sent, and the sender gets an error that says so.
    Failed(MailError),
    /// The mail is sent; the outcome is unknown to the sender.
    Unconfirmed,
}

#[derive(Debug, Default)]
struct State {
    sent: Vec<Mail>,
    faults: VecDeque<MailFault>,
}

/// A mail service in memory. Clones share its mails.
#[derive(Debug, Clone, Default)]
pub struct MemoryMailbox(Shared<State>);

impl MemoryMailbox {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every mail sent, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<Mail> {
        self.0.lock().sent.clone()
    }

    /// Queues a failure for the next mail that has no queued failure.
    pub fn fail_next(&self, fault: MailFault) {
        self.0.lock().faults.push_back(fault);
    }
}

impl SendMail for MemoryMailbox {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        yield_now().await;
        let mut state = self.0.lock();
        let fault = state.faults.pop_front();
        if let Some(MailFault::Failed(error)) = fault {
            return Err(error);
        }
        state.sent.push(mail.clone());
        fault.map_or(Ok(()), |_| Err(MailError::Unknown))
    }
}
