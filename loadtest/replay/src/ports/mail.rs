//! Implements the ports of the mail service and of the record of sent mails.

use std::sync::Arc;

use domain::ids::OrderId;
use loadtest::audit::Promise;
use ports::StoreError;
use ports::mail::{Contact, KeepContact, Mail, MailError, SendMail};

use crate::ports::store::Store;
use crate::ports::tell::short;
use crate::process::Process;
use crate::sabotage::Sabotage;

/// The mail port of one process. An accepted mail is delivered, and no part of the replay reads it.
#[derive(Clone)]
pub struct Mailbox {
    process: Arc<Process>,
}

impl Mailbox {
    /// The mail port of `process`.
    #[must_use]
    pub fn new(process: &Arc<Process>) -> Self {
        Self {
            process: Arc::clone(process),
        }
    }
}

impl SendMail for Mailbox {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let process = &self.process;
        let taken = process.hand_over(None, || {
            process.world.note("mailed");
            process.tell(|| format!("mail: {}", mail.subject));
        });
        if taken.await {
            Ok(())
        } else {
            Err(MailError::Unknown)
        }
    }
}

impl KeepContact for Store {
    async fn contact(&self, order: &OrderId) -> Result<Option<Contact>, StoreError> {
        self.read(
            "contact",
            false,
            || short(order).to_owned(),
            |memory| async move { memory.contact(order).await },
        )
        .await
    }

    async fn note_sent(&self, order: &OrderId, what: &str) -> Result<(), StoreError> {
        let watch = Arc::clone(&self.process.watch);
        let (id, what, world) = (order.clone(), what.to_owned(), self.world().clone());
        let (begun_ms, forgets) = (
            self.process.begun_ms(),
            world.is_sabotaged(Sabotage::ForgetWhoWasTold),
        );
        let of = format!("{} {what}", short(order));
        let act = move |memory: memory::MemoryStore| async move {
            if let Some(before_ms) = watch.told(&id, &what, world.now_ms())
                && before_ms < begun_ms
            {
                let line =
                    format!("{id}: {what} was mailed although that was noted before the invocation began");
                world.broken(Promise::Inconsistencies, line);
            }
            match forgets {
                true => Ok(()),
                false => memory.note_sent(&id, &what).await,
            }
        };
        self.write("note told", false, of, act).await
    }
}
