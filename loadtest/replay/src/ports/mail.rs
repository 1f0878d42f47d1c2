//! Implements the ports of the mail service and of the record of sent mails.

use std::sync::Arc;

use domain::ids::OrderId;
use loadtest::audit::Promise;
use memory::MemoryStore;
use ports::StoreError;
use ports::mail::{Contact, KeepContact, Mail, MailError, SendMail};

use crate::ports::{Ports, Services};
use crate::sabotage::Sabotage;
use crate::stream::short;

impl SendMail for Ports {
    /// An accepted mail is delivered, and no part of the replay reads it.
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let process = &self.process;
        let taken = process.hand_over(None, || {
            process.world.note("mailed");
            process.tell(|| format!("mail: {}", mail.subject));
        });
        taken.await.then_some(()).ok_or(MailError::Unknown)
    }
}

impl KeepContact for Ports {
    async fn contact(&self, order: &OrderId) -> Result<Option<Contact>, StoreError> {
        let of = || short(order).to_owned();
        let act = |memory: MemoryStore| async move { memory.contact(order).await };
        self.read("contact", false, of, act).await
    }

    async fn note_sent(&self, order: &OrderId, what: &str) -> Result<(), StoreError> {
        let (id, what, begun_ms) = (order.clone(), what.to_owned(), self.process.begun_ms());
        let of = format!("{} {what}", short(order));
        let act = move |on: Arc<Services>| async move {
            if let Some(before_ms) = on.watch.told(&id, &what)
                && before_ms < begun_ms
            {
                let line =
                    format!("{id}: {what} was mailed although that was noted before the invocation began");
                on.world.broken(Promise::Inconsistencies, line);
            }
            match on.world.is_sabotaged(Sabotage::ForgetWhoWasTold) {
                true => Ok(()),
                false => on.memory.note_sent(&id, &what).await,
            }
        };
        self.write("note told", false, of, act).await
    }
}
