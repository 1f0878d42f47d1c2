//! Tests the mails: their content, their recipients and their number.
#![cfg(test)]

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use contracts::fixtures::{as_first, key, placing};
use domain::order::{DeclineReason, EndReason, Fingerprint, Order};
use events::OrderEvent;
use memory::{Fault, MailFault, MemoryMailbox, MemoryStore, Op, TestRuntime};
use notify_shopper::{LIMITS, NotNotified, Notified, Notifier};
use ports::invocation::{Handle as _, Invocation};
use ports::mail::{KeepContact as _, MailError};
use ports::orders::{AdvanceOrder as _, PlaceOrder as _};
use ports::runtime::Clock as _;
use ports::stock::{AllocateStock as _, ClaimStock as _};

const EMAIL: &str = "planted@example.org";

struct Scene {
    store: MemoryStore,
    mailbox: MemoryMailbox,
    runtime: TestRuntime,
    notifier: Notifier<MemoryStore, MemoryMailbox, TestRuntime>,
}

impl Scene {
    async fn new() -> Self {
        let (store, mailbox, runtime) = (MemoryStore::new(), MemoryMailbox::new(), TestRuntime::new(3));
        assert!(store.allocate(&key(0), 20).await.unwrap().is_done());
        let url = "https://shop.example/orders".to_owned();
        let notifier = Notifier::new(store.clone(), Some(mailbox.clone()), url, runtime.clone());
        Self {
            store,
            mailbox,
            runtime,
            notifier,
        }
    }

    async fn placed(&self, who: &str, email: &str) -> Order {
        let mut placing = as_first(placing(who, "k", 1, 2));
        placing.address = format!(r#"{{"name":"Ada","email":"{email}"}}"#);
        let claimed = self
            .store
            .claim(&key(0), &placing.order.shopper, &placing.hold)
            .await;
        assert!(claimed.unwrap().is_done());
        assert!(self.store.place(&placing).await.unwrap().is_done());
        placing.order
    }

    /// Stores a change of an order, and returns its event.
    async fn becomes(&self, before: &Order, after: domain::order::OrderStep) -> OrderEvent {
        assert!(self.store.advance(&after).await.unwrap().is_done());
        OrderEvent::of_change(Some(before), &after.order)
    }

    async fn paid(&self, who: &str) -> OrderEvent {
        let order = self.placed(who, EMAIL).await;
        self.becomes(&order, order.settle(self.runtime.now()).unwrap())
            .await
    }

    /// Places an order and stores that its payment is in progress at the gateway.
    async fn paying(&self, who: &str) -> Order {
        let order = self.placed(who, EMAIL).await;
        let payment = format!("pi_{who}").parse().unwrap();
        let paying = order.with_payment(payment, self.runtime.now()).unwrap();
        assert!(self.store.advance(&paying).await.unwrap().is_done());
        paying.order
    }

    async fn notify(&self, event: &OrderEvent) -> Result<Notified, NotNotified> {
        self.notifier
            .notify(event, self.runtime.now().plus_seconds(5))
            .await
    }

    fn subjects(&self) -> Vec<String> {
        self.mailbox.sent().into_iter().map(|mail| mail.subject).collect()
    }
}

#[tokio::test]
async fn a_paid_order_is_confirmed_once() {
    let scene = Scene::new().await;
    let event = scene.paid("ada").await;
    assert_eq!(scene.notify(&event).await, Ok(Notified::Now));
    assert_eq!(scene.notify(&event).await, Ok(Notified::Before));
    let sent = scene.mailbox.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].to.expose(), EMAIL);
    let id = event.data.order_id.as_str();
    assert_eq!(sent[0].subject, format!("Your order {id} is confirmed"));
    assert!(
        sent[0]
            .text
            .contains(&format!("https://shop.example/orders/{id}")),
        "{}",
        sent[0].text
    );
    assert!(!sent[0].text.contains(event.data.shopper_id.as_str()));
}

#[tokio::test]
async fn every_end_is_told_with_its_reason() {
    let scene = Scene::new().await;
    for (who, reason, subject, said) in [
        ("ada", EndReason::PaymentDeclined, "declined", "declined"),
        ("bob", EndReason::ByShopper, "cancelled", "You asked for it."),
        (
            "cyd",
            EndReason::PaymentDeadline,
            "cancelled",
            "not completed in time",
        ),
        (
            "dan",
            EndReason::DropCancelled,
            "cancelled",
            "The seller cancelled",
        ),
        (
            "eve",
            EndReason::GatewayUnavailable,
            "cancelled",
            "could not be reached",
        ),
    ] {
        let order = scene.placed(who, EMAIL).await;
        let event = scene
            .becomes(&order, order.undo(reason, scene.runtime.now()).unwrap())
            .await;
        assert_eq!(scene.notify(&event).await, Ok(Notified::Now), "{who}");
        let mail = scene.mailbox.sent().pop().unwrap();
        assert!(
            mail.subject.contains(subject) && mail.text.contains(said),
            "{mail:?}"
        );
        assert!(mail.text.contains("You have paid nothing."), "{mail:?}");
    }
}

#[tokio::test]
async fn act_now_is_told_while_there_is_time() {
    let scene = Scene::new().await;
    let order = scene.paying("ada").await;
    let acting = order
        .require_action("https://bank.example/secret".to_owned(), scene.runtime.now())
        .unwrap();
    let event = scene.becomes(&order, acting.clone()).await;
    assert_eq!(scene.notify(&event).await, Ok(Notified::Now));
    let mail = scene.mailbox.sent().pop().unwrap();
    assert!(mail.text.contains("left, until 2027-01-15"), "{}", mail.text);
    assert!(
        !mail.text.contains("bank.example"),
        "the mail leads to the order: {}",
        mail.text
    );

    // Bob's payment ends before the message arrives, so no action is required any more.
    let bob = scene.paying("bob").await;
    let acting = bob
        .require_action("https://bank.example".to_owned(), scene.runtime.now())
        .unwrap();
    let late = scene.becomes(&bob, acting.clone()).await;
    scene
        .becomes(&acting.order, acting.order.settle(scene.runtime.now()).unwrap())
        .await;
    assert_eq!(scene.notify(&late).await, Ok(Notified::Nothing));

    // The shopper's time limit passes before the message arrives.
    let cyd = scene.paying("cyd").await;
    let acting = cyd
        .require_action("https://bank.example".to_owned(), scene.runtime.now())
        .unwrap();
    let over = scene.becomes(&cyd, acting.clone()).await;
    scene.runtime.set(acting.order.payment_deadline);
    assert_eq!(scene.notify(&over).await, Ok(Notified::Nothing));
    assert_eq!(scene.mailbox.sent().len(), 1);
}

#[tokio::test]
async fn each_page_of_the_bank_is_told_of_once_and_after_a_long_wait_with_ten_minutes() {
    let scene = Scene::new().await;
    let order = scene.paying("ada").await;
    scene.runtime.advance_seconds(3_600);
    let page = |order: &Order, n: u32| {
        let url = format!("https://bank.example/{n}");
        order.require_action(url, scene.runtime.now()).unwrap()
    };
    let mut before = order;
    let mut events = Vec::new();
    for n in 1..=2 {
        let acting = page(&before, n);
        let event = scene.becomes(&before, acting.clone()).await;
        for notified in [Notified::Now, Notified::Before] {
            assert_eq!(scene.notify(&event).await, Ok(notified), "page {n}");
        }
        let mail = scene.mailbox.sent().pop().unwrap();
        assert!(mail.text.contains("You have 10 minutes left"), "{}", mail.text);
        events.push(event);
        before = acting.order;
    }
    assert_eq!(
        scene.notify(&events[0]).await,
        Ok(Notified::Before),
        "an older event tells of the page that is there"
    );
    assert_eq!(scene.mailbox.sent().len(), 2);
    // The number of mails is limited even if the gateway requires page after page.
    for n in 3..30 {
        let acting = page(&before, n);
        let event = scene.becomes(&before, acting.clone()).await;
        assert!(scene.notify(&event).await.is_ok());
        before = acting.order;
    }
    assert_eq!(scene.mailbox.sent().len(), 10);
}

#[tokio::test]
async fn another_card_is_asked_for_while_there_is_time() {
    let scene = Scene::new().await;
    let paying = scene.paying("ada").await;
    let failed = paying.declined(DeclineReason::CardDeclined, None, scene.runtime.now());
    let failed = failed.unwrap();
    let event = scene.becomes(&paying, failed.clone()).await;
    assert_eq!(scene.notify(&event).await, Ok(Notified::Now));
    assert_eq!(scene.notify(&event).await, Ok(Notified::Before));
    let mail = scene.mailbox.sent().pop().unwrap();
    assert!(mail.subject.starts_with("Another card"), "{}", mail.subject);
    assert!(mail.text.contains("left, until 2027-01-15"), "{}", mail.text);

    // The shopper submits another card before the message about the declined card arrives.
    let paying = scene.paying("bob").await;
    let failed = paying.declined(DeclineReason::CardDeclined, None, scene.runtime.now());
    let failed = failed.unwrap();
    let late = scene.becomes(&paying, failed.clone()).await;
    let request = Fingerprint::of_request(b"k2", b"pm_2");
    let again = failed
        .order
        .another_card("pm_2".to_owned(), request, scene.runtime.now());
    scene.becomes(&failed.order, again.unwrap()).await;
    assert_eq!(scene.notify(&late).await, Ok(Notified::Nothing));
    assert_eq!(scene.mailbox.sent().len(), 1);
}

#[tokio::test]
async fn what_is_no_news_is_told_to_nobody() {
    let scene = Scene::new().await;
    let order = scene.placed("ada", EMAIL).await;
    assert_eq!(
        scene.notify(&OrderEvent::of_change(None, &order)).await,
        Ok(Notified::Nothing)
    );
    assert_eq!(
        scene.notify(&OrderEvent::due(&order)).await,
        Ok(Notified::Nothing)
    );
    assert!(scene.mailbox.sent().is_empty());
}

#[tokio::test]
async fn an_address_that_cannot_be_sent_to_gets_nothing() {
    let scene = Scene::new().await;
    for (who, email) in [
        ("ada", "ädä@example.org"),
        ("bob", "a@b"),
        ("cyd", "a@b.c, d@e.f"),
    ] {
        let order = scene.placed(who, email).await;
        let event = scene
            .becomes(&order, order.settle(scene.runtime.now()).unwrap())
            .await;
        assert_eq!(scene.notify(&event).await, Ok(Notified::NoAddress));
    }
    assert!(scene.mailbox.sent().is_empty());
}

#[tokio::test]
async fn without_a_sender_nothing_is_sent() {
    let scene = Scene::new().await;
    let event = scene.paid("ada").await;
    let silent = Notifier::new(
        scene.store.clone(),
        None::<MemoryMailbox>,
        String::new(),
        scene.runtime.clone(),
    );
    let notified = silent.notify(&event, scene.runtime.now().plus_seconds(5)).await;
    assert_eq!(notified, Ok(Notified::SwitchedOff));
    let contact = scene.store.contact(&event.data.order_id).await.unwrap().unwrap();
    assert!(contact.sent.is_empty(), "it is not said to have been told");
}

#[tokio::test]
async fn a_mail_that_was_not_taken_comes_again() {
    let scene = Scene::new().await;
    let event = scene.paid("ada").await;
    scene.mailbox.fail_next(MailFault::Failed(MailError::Refused));
    assert_eq!(
        scene.notify(&event).await,
        Err(NotNotified::Mail(MailError::Refused))
    );
    for _ in 0..2 {
        scene.mailbox.fail_next(MailFault::Failed(MailError::Busy));
    }
    assert_eq!(
        scene.notify(&event).await,
        Ok(Notified::Now),
        "a busy service is asked again at once"
    );
    assert_eq!(scene.subjects().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_or_mark_sends_it_twice_at_worst() {
    let scene = Scene::new().await;
    let ada = scene.paid("ada").await;
    scene.mailbox.fail_next(MailFault::Unconfirmed);
    assert_eq!(
        scene.notify(&ada).await,
        Err(NotNotified::Mail(MailError::Unknown))
    );
    assert_eq!(scene.notify(&ada).await, Ok(Notified::Now));
    assert_eq!(scene.notify(&ada).await, Ok(Notified::Before));
    assert_eq!(scene.subjects().len(), 2);

    let bob = scene.paid("bob").await;
    scene.store.fail_next(Op::NoteSent, Fault::Broken);
    assert_eq!(scene.notify(&bob).await, Err(NotNotified::Store));
    assert_eq!(scene.notify(&bob).await, Ok(Notified::Now));
    assert_eq!(scene.notify(&bob).await, Ok(Notified::Before));
    assert_eq!(scene.subjects().len(), 4);
}

#[tokio::test]
async fn a_batch_answers_for_each_message_and_ends_in_time() {
    let scene = Scene::new().await;
    let events = [scene.paid("ada").await, scene.paid("bob").await];
    let mut batch = SqsEvent::default();
    for (n, body) in [
        events[0].encode().unwrap(),
        "{".to_owned(),
        events[1].encode().unwrap(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut message = SqsMessage::default();
        message.message_id = Some(n.to_string());
        message.body = Some(body);
        batch.records.push(message);
    }
    let failed = async |seconds: u32| {
        let invocation = Invocation {
            request_id: "r".to_owned(),
            deadline: scene.runtime.now().plus_seconds(seconds),
        };
        let report = scene.notifier.handle(batch.clone(), &invocation).await.unwrap();
        let named = report
            .batch_item_failures
            .into_iter()
            .map(|failure| failure.item_identifier);
        named.collect::<Vec<_>>()
    };
    assert_eq!(failed(3).await, ["0", "1", "2"], "too late to begin anything");
    assert!(scene.mailbox.sent().is_empty());
    assert_eq!(failed(LIMITS.timeout_seconds).await, ["1"]);
    assert_eq!(scene.subjects().len(), 2);
}
