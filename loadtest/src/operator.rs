//! Acts as the operator before a drop: creates it, publishes it, and waits until it is scheduled.

use std::time::Duration;

use anyhow::{Context as _, bail};
use api::moment::Moment;
use api::operator::{DropBody, OperatorDropView, SkuBody};
use bytes::Bytes;
use domain::drops::DropState;
use domain::time::Timestamp;
use http::{HeaderValue, Method};
use stack_api::StackFile;

use crate::client::{Answer, Call, Client};
use crate::drop_file::DropFile;
use crate::facts::{DropFacts, SkuFacts};

/// The time limit for publishing.
pub const PUBLISH_LIMIT: Duration = Duration::from_secs(30);
/// The pause before an operator repeats a request.
const PAUSE: Duration = Duration::from_millis(300);

/// The operator's description of the drop of `file`, which is on sale between the two times (in ms since 1970).
///
/// # Errors
///
/// When the file contains a value that no drop can have.
pub fn body(file: &DropFile, starts_at_ms: i64, ends_at_ms: i64) -> anyhow::Result<DropBody> {
    let skus = file.skus.iter().map(|sku| -> anyhow::Result<SkuBody> {
        Ok(SkuBody {
            sku: sku.sku.parse()?,
            title: sku.title.clone(),
            price_minor: i64::try_from(sku.price_minor)?,
            units: sku.units,
        })
    });
    Ok(DropBody {
        title: file.title.clone(),
        currency: file.currency.parse()?,
        starts_at: Moment(Timestamp::from_millis(starts_at_ms)),
        ends_at: Moment(Timestamp::from_millis(ends_at_ms)),
        hold_seconds: file.hold_seconds,
        payment_seconds: file.payment_seconds,
        retry_seconds: file.retry_seconds,
        gateway_wait_seconds: file.gateway_wait_seconds,
        per_shopper_limit: file.per_shopper_limit,
        expected_shoppers: file.shoppers,
        listed: true,
        start_may_be_past: true,
        skus: skus.collect::<anyhow::Result<_>>()?,
    })
}

/// Puts the drop on sale under a new id. It opens `lead_seconds` after `now_ms` (ms since 1970). With
/// `insists`, the operator repeats temporarily failed requests unchanged.
///
/// # Errors
///
/// When the API refuses a request, or publishing takes longer than `within`.
pub async fn publish(
    stack: &StackFile,
    name: &str,
    file: &DropFile,
    now_ms: i64,
    lead_seconds: u32,
    within: Duration,
    insists: bool,
) -> anyhow::Result<DropFacts> {
    let starts_at_ms = now_ms + 1_000 * i64::from(lead_seconds);
    let ends_at_ms = starts_at_ms + 1_000 * i64::from(file.open_seconds);
    let drop_id = drop_id(name, now_ms);
    let body = body(file, starts_at_ms, ends_at_ms)?;
    let operator = Operator::new(stack, insists)?;
    let path = format!("/operator/drops/{drop_id}");
    let body = serde_json::to_vec(&body)?;
    let scheduled = async {
        let put = operator.call(Method::PUT, &path, Some(body)).await;
        put.context("putting the drop")?;
        let publish = format!("{path}/publish");
        let published = operator.call(Method::POST, &publish, None).await;
        published.context("publishing the drop")?;
        let mut interval = tokio::time::interval(Duration::from_millis(100));
        loop {
            interval.tick().await;
            let answer = operator.call(Method::GET, &path, None).await?;
            let view: OperatorDropView = answer.json().context("an operator's view of the drop")?;
            if view.state == DropState::Scheduled {
                return anyhow::Ok(());
            }
        }
    };
    let scheduled = tokio::time::timeout(within, scheduled).await;
    let scheduled = scheduled.context("the drop was not scheduled in time").flatten();
    if let Err(error) = scheduled {
        if insists {
            // The drop must not open, so it is cancelled. A failed cancellation does no harm: no shopper knows the
            // drop's id.
            let path = format!("{path}/cancel");
            let cancel = operator.call(Method::POST, &path, None);
            let _ = tokio::time::timeout(PAUSE * 10, cancel).await;
        }
        return Err(error);
    }
    let skus = file.skus.iter().map(|line| SkuFacts {
        sku: line.sku.clone(),
        units: line.units,
    });
    Ok(DropFacts {
        drop_id,
        published_at_ms: now_ms,
        starts_at_ms,
        ends_at_ms,
        hold_seconds: file.hold_seconds,
        payment_seconds: file.payment_seconds,
        per_shopper_limit: file.per_shopper_limit,
        skus: skus.collect(),
    })
}

struct Operator {
    client: Client,
    base: String,
    bearer: HeaderValue,
    insists: bool,
}

impl Operator {
    fn new(stack: &StackFile, insists: bool) -> anyhow::Result<Self> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", stack.operator_token))?;
        bearer.set_sensitive(true);
        Ok(Self {
            client: Client::new(PUBLISH_LIMIT),
            base: stack.api_url.clone(),
            bearer,
            insists,
        })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> anyhow::Result<Answer> {
        let call = Call {
            method,
            bearer: Some(self.bearer.clone()),
            body: body.map(|body| (Bytes::from(body), "application/json")),
            ..Call::get(format!("{}{path}", self.base).parse()?)
        };
        let answer = loop {
            let answer = self.client.send(&call).await;
            let passing = |answer: &Answer| answer.status >= 500 || answer.status == 429;
            if !self.insists || answer.as_ref().is_ok_and(|answer| !passing(answer)) {
                break answer?;
            }
            tokio::time::sleep(PAUSE).await;
        };
        let (status, text) = (answer.status, String::from_utf8_lossy(&answer.body));
        if !(200..300).contains(&status) {
            bail!("{} {path} was answered {status}: {text}", call.method);
        }
        Ok(answer)
    }
}

/// An id that no earlier run on the same stack had: the drop file's name, and the time in tenths of a second in
/// base 36.
fn drop_id(name: &str, now_ms: i64) -> String {
    let tenths = u64::try_from(now_ms / 100).unwrap_or_default();
    let digit = |place| u32::try_from(tenths / 36_u64.pow(place) % 36).ok();
    let digits = (0..7).rev().filter_map(digit);
    let moment: String = digits.filter_map(|digit| char::from_digit(digit, 36)).collect();
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    let name: String = name.chars().filter(allowed).take(12).collect();
    let name = if name.is_empty() { "drop" } else { name.as_str() };
    format!("{name}-{moment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_valid_and_new_every_time() {
        let one = drop_id("several-skus", 1_800_000_000_000);
        let two = drop_id("several-skus", 1_800_000_000_100);
        assert_ne!(one, two);
        for id in [one, two, drop_id("ÄÖ", 1), drop_id("default", 1_800_000_000_000)] {
            assert!(id.parse::<domain::ids::DropId>().is_ok(), "{id}");
        }
    }
}
