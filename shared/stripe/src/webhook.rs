//! Verifies webhooks: whether a request comes from the gateway, and which order it is about.
//!
//! **The signature.** The header `Stripe-Signature` is `t=SECONDS,v1=HEX,…`: a time and one or more
//! signatures, each the HMAC-SHA256 of `SECONDS.BODY` under a signing secret. The signature covers the exact
//! bytes of the body, so it is checked before the body is parsed as JSON. During the replacement of a secret,
//! the gateway signs with both secrets, so two secrets may be valid here.
//!
//! **The time** is refused when it is more than [`TOLERANCE_SECONDS`] away from now, so that a recorded
//! request cannot be repeated later.
//!
//! Sources: <https://docs.stripe.com/webhooks#verify-manually>, <https://docs.stripe.com/api/events/types>.

use data_encoding::HEXLOWER_PERMISSIVE;
use domain::ids::OrderId;
use domain::time::Timestamp;
use ports::secrets::SecretText;
use ring::hmac;
use serde::Deserialize;

/// The name of this gateway in the webhook's path.
pub const GATEWAY: &str = "stripe";
/// The header that contains time and signatures.
pub const SIGNATURE_HEADER: &str = "stripe-signature";
/// The largest difference between the signed time and now, in seconds, as in Stripe's own libraries.
pub const TOLERANCE_SECONDS: i64 = 300;
/// The longest body that is read, in bytes. An event with an intent takes about 4 KB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// The largest number of signing secrets that are valid at a time.
pub const MAX_SECRETS: usize = 2;
/// The largest number of signatures that are checked.
const MAX_SIGNATURES: usize = 8;
/// The longest id of an event, in bytes.
const MAX_EVENT_ID_BYTES: usize = 255;

/// The events after which an order can end. All other events repeat the answer to this system's own call, or are about
/// something else.
const SETTLING: [&str; 3] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
];

/// Why a request is not accepted as a request of the gateway. No variant contains any part of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header is missing or malformed.
    #[error("the signature's header is not of the form t=SECONDS,v1=HEX")]
    Form,
    /// The request was signed too long ago, or in the future.
    #[error("the signed time is too far from now")]
    Time,
    /// No signature was made with a valid secret: the body was changed, or another secret signed it.
    #[error("no signature fits the body and a valid secret")]
    Mismatch,
    /// There is no signing secret, or there are more than [`MAX_SECRETS`].
    #[error("the secret holds none or more than two signing secrets")]
    NoSecret,
}

/// Checks the header `Stripe-Signature` of a request against its raw body. `secrets` contains one signing secret, or
/// two with a space between them. The comparison takes the same time for every wrong signature.
///
/// # Errors
/// [`SignatureError`]
pub fn verify(header: &str, body: &[u8], secrets: &SecretText, now: Timestamp) -> Result<(), SignatureError> {
    let keys: Vec<hmac::Key> = secrets
        .expose()
        .split_ascii_whitespace()
        .map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
        .collect();
    if keys.is_empty() || keys.len() > MAX_SECRETS {
        return Err(SignatureError::NoSecret);
    }
    let (time, signatures) = read_header(header).ok_or(SignatureError::Form)?;
    let seconds: i64 = time.parse().map_err(|_| SignatureError::Form)?;
    let now_seconds = now.as_millis().div_euclid(1_000);
    if now_seconds.abs_diff(seconds) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(SignatureError::Time);
    }
    let signed = [time.as_bytes(), b".", body].concat();
    let fits = |signature: &Vec<u8>| {
        keys.iter()
            .any(|key| hmac::verify(key, &signed, signature).is_ok())
    };
    if signatures.iter().any(fits) {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

/// The time as it was written, and the signatures of the scheme `v1`. Unknown schemes are skipped.
fn read_header(header: &str) -> Option<(&str, Vec<Vec<u8>>)> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=')? {
            ("t", value) if time.is_none() => time = Some(value),
            ("v1", value) if signatures.len() < MAX_SIGNATURES => {
                signatures.push(HEXLOWER_PERMISSIVE.decode(value.as_bytes()).ok()?);
            }
            ("t" | "v1", _) => return None,
            _ => {}
        }
    }
    (!signatures.is_empty()).then_some((time?, signatures))
}

/// The content of an event: a change of the payment of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The gateway's id of the event. A repeat has the same id.
    pub event: String,
    /// The order that the intent's metadata names.
    pub order: OrderId,
}

/// The body is not an event. The error contains no part of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is no event of the gateway")]
pub struct NotAnEvent;

#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct OfIntent {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Intent,
}

#[derive(Deserialize)]
struct Intent {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    order_id: Option<String>,
}

/// Parses an event whose signature was checked. `None` if the event needs no action: an event of another type, or of an
/// intent without an order of this shop.
///
/// # Errors
///
/// [`NotAnEvent`]
pub fn read(body: &[u8]) -> Result<Option<Notice>, NotAnEvent> {
    let event: Envelope = serde_json::from_slice(body).map_err(|_| NotAnEvent)?;
    let is_id =
        (1..=MAX_EVENT_ID_BYTES).contains(&event.id.len()) && event.id.bytes().all(|b| b.is_ascii_graphic());
    if !is_id {
        return Err(NotAnEvent);
    }
    if !SETTLING.contains(&event.kind.as_str()) {
        return Ok(None);
    }
    let of: OfIntent = serde_json::from_slice(body).map_err(|_| NotAnEvent)?;
    let order = of.data.object.metadata.order_id;
    Ok(order.and_then(|id| id.parse().ok()).map(|order| Notice {
        event: event.id,
        order,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1","type":"payment_intent.succeeded"}"#;
    const SECRET: &str = "whsec_test_secret";
    const AT: i64 = 1_800_000_000;

    fn secrets(text: &str) -> SecretText {
        SecretText::new(text.to_owned())
    }

    fn signature(secret: &str, at: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signed = [at.to_string().as_bytes(), b".", body].concat();
        HEXLOWER_PERMISSIVE.encode(hmac::sign(&key, &signed).as_ref())
    }

    fn header(secret: &str, at: i64, body: &[u8]) -> String {
        format!("t={at},v1={}", signature(secret, at, body))
    }

    fn check(header: &str, body: &[u8], secret: &str, at: i64) -> Result<(), SignatureError> {
        verify(
            header,
            body,
            &secrets(secret),
            Timestamp::from_millis(at * 1_000 + 999),
        )
    }

    /// OpenSSL computed the signature: `printf '1800000000.BODY' | openssl dgst -sha256 -hmac whsec_test_secret`.
    #[test]
    fn a_known_signature_is_accepted() {
        let known = "t=1800000000,v1=334f9dbfd609cf6c38f112f028756732c80faa7fdbeab117549d6303a5dcf896";
        assert_eq!(check(known, BODY, SECRET, AT), Ok(()));
        let capitals = known
            .replace("v1=", "v0=00,v1=")
            .to_ascii_uppercase()
            .replace("T=", "t=")
            .replace("V", "v");
        assert_eq!(check(&capitals, BODY, SECRET, AT), Ok(()));
    }

    #[test]
    fn a_changed_body_time_or_secret_is_refused() {
        let good = header(SECRET, AT, BODY);
        let mismatch = Err(SignatureError::Mismatch);
        for at in 0..BODY.len() {
            let mut changed = BODY.to_vec();
            changed[at] ^= 1;
            assert_eq!(check(&good, &changed, SECRET, AT), mismatch, "byte {at}");
        }
        assert_eq!(check(&good, &BODY[1..], SECRET, AT), mismatch);
        assert_eq!(check(&good, &[BODY, b" "].concat(), SECRET, AT), mismatch);
        assert_eq!(check(&good, BODY, "whsec_other", AT), mismatch);
        let later = good.replace(&AT.to_string(), &(AT + 1).to_string());
        assert_eq!(check(&later, BODY, SECRET, AT), mismatch);
        let cut = &good[..good.len() - 2];
        assert_eq!(check(cut, BODY, SECRET, AT), mismatch);
    }

    #[test]
    fn an_old_or_future_time_is_refused() {
        let good = header(SECRET, AT, BODY);
        for (now, expected) in [
            (AT + TOLERANCE_SECONDS, Ok(())),
            (AT - TOLERANCE_SECONDS, Ok(())),
            (AT + TOLERANCE_SECONDS + 1, Err(SignatureError::Time)),
            (AT - TOLERANCE_SECONDS - 1, Err(SignatureError::Time)),
        ] {
            assert_eq!(check(&good, BODY, SECRET, now), expected, "{now}");
        }
        let far = format!("t={},v1=00", i64::MIN);
        assert_eq!(check(&far, BODY, SECRET, AT), Err(SignatureError::Time));
    }

    #[test]
    fn two_secrets_are_valid_at_a_time() {
        let both = "whsec_new whsec_old";
        for secret in ["whsec_new", "whsec_old"] {
            assert_eq!(check(&header(secret, AT, BODY), BODY, both, AT), Ok(()));
        }
        // During the replacement of a secret, the gateway signs with both secrets.
        let other = signature("whsec_other", AT, BODY);
        let rolled = format!("t={AT},v1={other},v1={}", signature("whsec_old", AT, BODY));
        assert_eq!(check(&rolled, BODY, both, AT), Ok(()));
        for none in ["", " ", "a b c"] {
            assert_eq!(
                check(&header("a", AT, BODY), BODY, none, AT),
                Err(SignatureError::NoSecret),
                "{none:?}"
            );
        }
    }

    #[test]
    fn a_header_of_another_form_is_refused() {
        let hex = signature(SECRET, AT, BODY);
        for bad in [
            String::new(),
            hex.clone(),
            format!("v1={hex}"),
            format!("t={AT}"),
            format!("t={AT},v0={hex}"),
            format!("t=now,v1={hex}"),
            format!("t={AT},t={AT},v1={hex}"),
            format!("t={AT},v1=zz"),
            format!("t={AT},v1={}", &hex[1..]),
            format!("t={AT},{}", ["v1=00"; MAX_SIGNATURES + 1].join(",")),
        ] {
            assert_eq!(check(&bad, BODY, SECRET, AT), Err(SignatureError::Form), "{bad}");
        }
    }

    #[test]
    fn only_what_can_end_an_order_is_a_notice() {
        let order = "oaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let event = |kind: &str, object: &str| {
            format!(r#"{{"id":"evt_1","type":"{kind}","data":{{"object":{object}}}}}"#)
        };
        let ours = format!(r#"{{"id":"pi_1","metadata":{{"order_id":"{order}","x":"y"}}}}"#);
        for kind in SETTLING {
            let notice = read(event(kind, &ours).as_bytes()).unwrap().unwrap();
            assert_eq!(notice.event.as_str(), "evt_1");
            assert_eq!(notice.order.as_str(), order);
        }
        for (kind, object) in [
            ("payment_intent.created", ours.as_str()),
            ("customer.created", "7"),
            (SETTLING[0], "{}"),
            (SETTLING[0], r#"{"metadata":{}}"#),
            (SETTLING[0], r#"{"metadata":{"order_id":"somebody else's"}}"#),
        ] {
            assert_eq!(read(event(kind, object).as_bytes()), Ok(None), "{kind} {object}");
        }
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"id":"","type":"x"}"#,
            r#"{"id":"evt 1","type":"x"}"#,
            r#"{"id":"evt_1","type":"payment_intent.succeeded"}"#,
        ] {
            assert_eq!(read(bad.as_bytes()), Err(NotAnEvent), "{bad}");
        }
    }
}
