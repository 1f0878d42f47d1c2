//! Defines the ports of mails to shoppers, and of the record of the mails that were sent.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use domain::ids::OrderId;

use crate::StoreError;
use crate::retry::Transient;

/// The longest address, in bytes (RFC 5321, 4.5.3.1.3, without the angle brackets).
const MAX_ADDRESS_BYTES: usize = 254;
/// The longest part before the `@`, in bytes (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;

/// An e-mail address in a form that every mail service accepts: ASCII, a dot-atom before the `@`, and a
/// domain that contains a dot. `Debug` does not show the address.
#[derive(Clone, PartialEq, Eq)]
pub struct MailAddress(String);

/// The error for a text that is not a [`MailAddress`]. It contains no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address that mail can be sent to")]
pub struct MailAddressError;

impl MailAddress {
    /// The address as text. It must only be passed to the mail service, and never logged.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailAddress(…)")
    }
}

impl FromStr for MailAddress {
    type Err = MailAddressError;

    fn from_str(text: &str) -> Result<Self, MailAddressError> {
        let atom = |part: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
            !part.is_empty() && part.bytes().all(allowed)
        };
        let label = |part: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(allowed)
        };
        let is_address = text.len() <= MAX_ADDRESS_BYTES
            && text.split_once('@').is_some_and(|(local, domain)| {
                local.len() <= MAX_LOCAL_BYTES
                    && local.split('.').all(atom)
                    && domain.contains('.')
                    && domain.split('.').all(label)
            });
        is_address.then(|| Self(text.to_owned())).ok_or(MailAddressError)
    }
}

/// A mail of plain text to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The address of the recipient.
    pub to: MailAddress,
    /// The subject, which is one line.
    pub subject: String,
    /// The text of the mail.
    pub text: String,
}

/// Why a mail was not sent, or may not have been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// Nothing was sent: the service is throttling, or was not reached.
    #[error("the mail service is throttling, or was not reached")]
    Busy,
    /// Nothing was sent, and a repeat fails until a person changes something: the sender is not verified,
    /// sending is paused, a permission is missing, or the service does not accept the address.
    #[error("the mail service refused the mail")]
    Refused,
    /// The service did not answer, so the mail may have been sent.
    #[error("the mail service did not answer; the outcome is unknown")]
    Unknown,
}

impl Transient for MailError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Busy)
    }
}

/// Sends mails.
pub trait SendMail: Send + Sync {
    /// Sends one mail, without a repeat after an error.
    fn send(&self, mail: &Mail) -> impl Future<Output = Result<(), MailError>> + Send;
}

/// Data of an order that is in no stream: the shipping address, and the record of the mails to the shopper.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    /// The shipping address as the shopper's request contained it, as JSON text.
    pub address: String,
    /// The marks of the mails that were sent. A mark is the name of the news; if the news can occur again,
    /// `:` and a text that distinguishes the occurrences follow.
    pub sent: Vec<String>,
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact")
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

/// Reads the contact of an order, and records the mails that were sent.
pub trait KeepContact: Send + Sync {
    /// The contact of an order, strongly consistent; `None` if the order does not exist.
    fn contact(&self, order: &OrderId) -> impl Future<Output = Result<Option<Contact>, StoreError>> + Send;

    /// Records that the news `what` were sent to the shopper. A repeat changes nothing.
    fn note_sent(&self, order: &OrderId, what: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_sent_to_is_an_address() {
        for good in [
            "ada@example.com",
            "a.b+tag@sub.example.co.uk",
            "o'hara@example.org",
        ] {
            assert_eq!(good.parse::<MailAddress>().unwrap().expose(), good);
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "ada@@example.com",
            "ada@example..com",
            ".ada@example.com",
            "ada@-example.com",
            "a b@example.com",
            "ada@example.com,bob@example.com",
            "Ada <ada@example.com>",
            "ada@example.com\r\nBcc: bob@example.com",
            "ädä@example.com",
            "ada@exämple.com",
            &long,
        ] {
            assert_eq!(bad.parse::<MailAddress>(), Err(MailAddressError), "{bad}");
        }
    }

    #[test]
    fn no_address_is_printed() {
        let to: MailAddress = "ada@example.com".parse().unwrap();
        let mail = Mail {
            to,
            subject: "s".to_owned(),
            text: "t".to_owned(),
        };
        let contact = Contact {
            address: r#"{"email":"ada@example.com"}"#.to_owned(),
            sent: vec!["confirmed".to_owned()],
        };
        let printed = format!("{mail:?} {contact:?}");
        assert!(
            !printed.contains("ada@") && printed.contains("confirmed"),
            "{printed}"
        );
    }
}
