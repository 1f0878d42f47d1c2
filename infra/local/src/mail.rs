//! Serves SES's `SendEmail` with a check of the caller's policy. Each mail becomes a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::call_permissions::{Call, SEND_EMAIL_PATH};
use crate::http1::{self, Reply};
use crate::permissions::Permissions;

/// The limit for a request's body. A plain-text mail is far shorter.
const MAX_BODY_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub struct Mailbox {
    folder: PathBuf,
    sent: AtomicU64,
    permissions: Arc<Permissions>,
}

impl Mailbox {
    /// A mailbox that writes each mail as a file to `folder`, which must exist.
    #[must_use]
    pub const fn new(folder: PathBuf, permissions: Arc<Permissions>) -> Self {
        Self {
            folder,
            sent: AtomicU64::new(0),
            permissions,
        }
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        let Some(body) = http1::read(body, MAX_BODY_BYTES).await else {
            return http1::json(StatusCode::PAYLOAD_TOO_LARGE, "");
        };
        let call = Call::of(&parts, &body);
        if let Err(denied) = call.permitted(&self.permissions) {
            let reason = denied.to_string();
            return refused(StatusCode::FORBIDDEN, "AccessDeniedException", &reason);
        }
        let text = (call.path == SEND_EMAIL_PATH).then(|| written(&body)).flatten();
        let Some(text) = text else {
            let reason = "no mail of plain text";
            return refused(StatusCode::BAD_REQUEST, "BadRequestException", reason);
        };
        let number = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        match self.keep(number, &text) {
            Ok(()) => {
                let id = json!({"MessageId": format!("local-{number}")});
                http1::json(StatusCode::OK, id.to_string())
            }
            Err(error) => {
                tracing::error!(number, %error, "the mail cannot be written; the sender gets an error");
                let reason = "the mail cannot be kept";
                refused(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", reason)
            }
        }
    }

    /// Writes and renames the file, so that a reader of the folder sees only complete mails.
    fn keep(&self, number: u64, text: &str) -> std::io::Result<()> {
        let draft = self.folder.join(format!(".{number:06}"));
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, self.folder.join(format!("{number:06}.txt")))
    }
}

fn refused(status: StatusCode, kind: &'static str, message: &str) -> Reply {
    let mut response = http1::json(status, json!({ "message": message }).to_string());
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert("x-amzn-errortype", kind);
    response
}

/// The content of a mail's file: header lines, an empty line, the text. `None` if `body` is not the request for a
/// plain-text mail with a sender, a recipient and a subject.
fn written(body: &[u8]) -> Option<String> {
    let mail: Value = serde_json::from_slice(body).ok()?;
    let of = |pointer: &str| mail.pointer(pointer).and_then(Value::as_str);
    let from = of("/FromEmailAddress")?;
    let to = of("/Destination/ToAddresses/0")?;
    let subject = of("/Content/Simple/Subject/Data")?;
    let text = of("/Content/Simple/Body/Text/Data")?;
    Some(format!("From: {from}\nTo: {to}\nSubject: {subject}\n\n{text}"))
}

/// Serves requests until the returned future is dropped.
pub async fn serve(listener: TcpListener, mailbox: Arc<Mailbox>) {
    http1::serve(listener, mailbox, |mailbox, request, _| mailbox.handle(request)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_written_as_it_would_be_read() {
        let text = |data: &str| json!({"Data": data, "Charset": "UTF-8"});
        let mail = json!({
            "FromEmailAddress": "orders@shop.example", "Destination": {"ToAddresses": ["ada@example.com"]},
            "Content": {"Simple": {"Subject": text("Paid"), "Body": {"Text": text("Thanks.\n")}}},
        });
        let written = |mail: &Value| written(mail.to_string().as_bytes());
        let expected = "From: orders@shop.example\nTo: ada@example.com\nSubject: Paid\n\nThanks.\n";
        assert_eq!(written(&mail).as_deref(), Some(expected));
        for pointer in [
            "/FromEmailAddress",
            "/Destination",
            "/Content/Simple/Subject",
            "/Content/Simple/Body",
        ] {
            let mut without = mail.clone();
            *without.pointer_mut(pointer).unwrap() = Value::Null;
            assert_eq!(written(&without), None, "{pointer}");
        }
    }
}
