//! Implements the mail port on Amazon SES (its API of version 2).
//!
//! **Problem.** A mail service refuses a mail in several ways, and one of its refusals quotes the recipient's address.
//! The address must reach no log.
//!
//! **Model.** [`SesMail`] sends one mail of plain text in UTF-8. A failure is a [`MailError`], made from the error's
//! code alone: the service's message is neither logged nor kept.
//!
//! | answer | meaning |
//! |---|---|
//! | no connection, 429, `TooManyRequestsException`, `LimitExceededException` | `Busy` |
//! | any other refusal: unverified sender, paused sending, missing permission, address not accepted | `Refused` |
//! | connection lost, time-out, 5xx | `Unknown` |
//!
//! Source: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>.
//!
//! **Permission.** `ses:SendEmail` on the identity that was verified for the sender's address: its domain, or
//! the address itself.
//!
//! **What it does not do.** It sends no HTML and no attachments, repeats nothing, and does not process bounces.
#![forbid(unsafe_code)]

use std::time::Duration;

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::Builder;
use aws_sdk_sesv2::error::BuildError;
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message};
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use connector::{Failure, Kind};
use ports::mail::{Mail, MailError, SendMail};

/// The environment variable that replaces the endpoint, named by the rule of the AWS SDKs.
pub const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_SESV2";
/// The time limit of one call, connecting included, in milliseconds.
pub const SEND_TIMEOUT_MS: u64 = 3_000;

/// Sends mails by SES.
#[derive(Debug, Clone)]
pub struct SesMail {
    client: Client,
    from: String,
}

impl SesMail {
    /// Sends mails from the address `from`. `aws` gives region, credentials and HTTP client. It must
    /// send each request once, as `startup`'s configuration does. No request is sent yet.
    #[must_use]
    pub fn new(aws: &SdkConfig, from: String) -> Self {
        let whole = Duration::from_millis(SEND_TIMEOUT_MS);
        let config = Builder::from(aws)
            .timeout_config(TimeoutConfig::builder().operation_timeout(whole).build())
            .build();
        Self {
            client: Client::from_conf(config),
            from,
        }
    }
}

fn content(mail: &Mail) -> Result<EmailContent, BuildError> {
    let text = |data: &str| Content::builder().data(data).charset("UTF-8").build();
    let message = Message::builder()
        .subject(text(&mail.subject)?)
        .body(Body::builder().text(text(&mail.text)?).build());
    Ok(EmailContent::builder().simple(message.build()).build())
}

impl SendMail for SesMail {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        // Building a content fails only if a member is missing, and both members are set.
        let content = content(mail).map_err(|_| MailError::Refused)?;
        let to = Destination::builder().to_addresses(mail.to.expose()).build();
        let request = self
            .client
            .send_email()
            .from_email_address(&self.from)
            .destination(to)
            .content(content);
        let sent = request.send().await;
        sent.map(drop).map_err(|error| {
            let failure = Failure::of("SendEmail", &error);
            tracing::warn!(%failure, "a mail was not confirmed as sent; the caller decides about a repeat");
            match failure.kind {
                Kind::NotSent | Kind::Throttled | Kind::InProgress => MailError::Busy,
                Kind::NotBuilt | Kind::Refused => MailError::Refused,
                Kind::Unknown => MailError::Unknown,
            }
        })
    }
}
