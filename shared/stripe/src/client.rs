//! Sends the calls to the gateway.

use domain::money::Money;
use ports::payment::{
    Code, GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId, PaymentMethod, Refund,
};
use ports::secrets::ReadSecret;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, redirect, retry};
use tracing::Instrument as _;

use crate::config::{ConfigError, StripeConfig, authorization};
use crate::mode::Mode;
use crate::outcome::{Answer, without_answer};

/// The API version that this adapter was written for.
pub const API_VERSION: &str = "2024-06-20";
/// The longest answer that is read, in bytes; an intent takes about 2 KB.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A gateway with Stripe's API. `S` reads the API key.
#[derive(Debug, Clone)]
pub struct StripeGateway<S> {
    client: Client,
    base: String,
    mode: Mode,
    key: S,
}

impl<S: ReadSecret> StripeGateway<S> {
    /// Makes the adapter, without a connection and without reading the key.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Client`]
    pub fn new(config: &StripeConfig, key: S) -> Result<Self, ConfigError> {
        // The client requires a TLS provider even for plain HTTP. A second installation has no effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = HeaderMap::new();
        headers.insert("stripe-version", HeaderValue::from_static(API_VERSION));
        let mut builder = Client::builder()
            .default_headers(headers)
            .connect_timeout(config.connect_timeout)
            .timeout(config.total_timeout)
            // The caller decides about retries, since only the caller has the order. A redirect would send
            // the key to another server.
            .retry(retry::never())
            .redirect(redirect::Policy::none())
            .no_proxy();
        if config.base.scheme() == "http" {
            // Without this setting, the client would load the system's certificates, which `http` URLs do not need.
            builder = builder.tls_certs_only([]);
        }
        let client = builder
            .build()
            .map_err(|error| ConfigError::Client(error.to_string()))?;
        Ok(Self {
            client,
            base: config.base.as_str().trim_end_matches('/').to_owned(),
            mode: config.mode,
            key,
        })
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        self.client.post(format!("{}/v1/{path}", self.base)).form(form)
    }

    /// A request that has its effect once, however often it is sent under `key`.
    fn post_once(&self, path: &str, form: &[(&str, &str)], key: &IdempotencyKey) -> RequestBuilder {
        self.post(path, form).header("idempotency-key", key.as_str())
    }

    /// Sends the request with the current key. All log lines about the call contain the action, and the payment if it
    /// has an id.
    async fn answer(
        &self,
        action: &'static str,
        payment: Option<&PaymentId>,
        request: RequestBuilder,
    ) -> Result<Answer, GatewayError> {
        let span = tracing::info_span!("payment", action, payment = payment.map(PaymentId::as_str));
        self.answered(request).instrument(span).await
    }

    async fn answered(&self, request: RequestBuilder) -> Result<Answer, GatewayError> {
        let key = self.key.read().await.map_err(|error| {
            tracing::warn!(%error, "the payment gateway's key cannot be read; nothing was sent");
            GatewayError::NoKey
        })?;
        let Some(header) = authorization(&key) else {
            tracing::warn!(
                "the payment gateway's key is empty or has invalid characters, so nothing was sent; correct it in the secret"
            );
            self.key.refused().await;
            return Err(GatewayError::NoKey);
        };
        let mode = Mode::of(&key);
        if mode != Some(self.mode) {
            let found = mode.map_or_else(|| "unknown".to_owned(), |mode| mode.to_string());
            tracing::error!(expected = %self.mode, found, "the gateway's key is of another mode; nothing was sent");
            self.key.refused().await;
            return Err(GatewayError::WrongMode);
        }
        let answer = send(request.header(AUTHORIZATION, header)).await?;
        if answer.refuses_key() {
            tracing::warn!(
                status = answer.status.as_u16(),
                "the payment gateway refused the key; the next call reads the key again"
            );
            self.key.refused().await;
        }
        Ok(answer)
    }
}

async fn send(request: RequestBuilder) -> Result<Answer, GatewayError> {
    let response = request.send().await.map_err(|error| {
        let meaning = without_answer(&error);
        // The URL contains no secret, but also no information that the line's other fields lack.
        tracing::warn!(error = %error.without_url(), %meaning, "the payment gateway did not answer; the caller decides about a repeat");
        meaning
    })?;
    let status = response.status();
    let retry_after_ms = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok())
        .map(|seconds| seconds.saturating_mul(1_000));
    // The gateway's own log lists the request under this id: <https://docs.stripe.com/api/request_ids>.
    let gateway_request_id = response.headers().get("request-id");
    let gateway_request_id = gateway_request_id.and_then(|id| Some(id.to_str().ok()?.to_owned()));
    // The gateway sets this header on an answer that it gave before under the same key:
    // <https://docs.stripe.com/error-low-level#idempotency>.
    let replayed = response.headers().get("idempotent-replayed");
    let replayed = replayed.is_some_and(|value| value.as_bytes() == b"true");
    let body = bounded_body(response).await.inspect_err(|meaning| {
        tracing::warn!(status = status.as_u16(), gateway_request_id, %meaning, "the payment gateway's answer is incomplete or too long; the caller decides about a repeat");
    })?;
    if !status.is_success() {
        tracing::info!(
            status = status.as_u16(),
            gateway_request_id,
            "the payment gateway did not answer 2xx"
        );
    }
    Ok(Answer {
        status,
        retry_after_ms,
        replayed,
        body,
    })
}

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, GatewayError> {
    // A failing server often does not complete its answer, so its status alone decides.
    let broken = if response.status().is_server_error() {
        GatewayError::Unavailable
    } else {
        GatewayError::Unknown
    };
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER_BYTES => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Ok(Some(_)) | Err(_) => return Err(broken),
        }
    }
}

/// The text of an amount in the API's format. An amount that is not positive is refused.
fn amount_text(amount: Money) -> Result<String, GatewayError> {
    if amount.amount_minor <= 0 {
        return Err(GatewayError::Refused {
            code: Code::or_unnamed("amount_not_positive"),
        });
    }
    Ok(amount.amount_minor.to_string())
}

impl<S: ReadSecret> PaymentGateway for StripeGateway<S> {
    async fn create(&self, payment: &NewPayment, key: &IdempotencyKey) -> Result<Payment, GatewayError> {
        let amount = amount_text(payment.amount)?;
        let currency = payment.amount.currency.as_str().to_ascii_lowercase();
        let form = [
            ("amount", amount.as_str()),
            ("currency", currency.as_str()),
            ("capture_method", "automatic"),
            ("payment_method_types[]", "card"),
            ("metadata[order_id]", payment.order.as_str()),
        ];
        let request = self.post_once("payment_intents", &form, key);
        self.answer("create", None, request).await?.payment()
    }

    async fn confirm(
        &self,
        id: &PaymentId,
        method: &PaymentMethod,
        return_url: &str,
        key: &IdempotencyKey,
    ) -> Result<Payment, GatewayError> {
        let form = [("payment_method", method.as_str()), ("return_url", return_url)];
        let request = self.post_once(&format!("payment_intents/{id}/confirm"), &form, key);
        self.answer("confirm", Some(id), request).await?.payment()
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Payment>, GatewayError> {
        let request = self.client.get(format!("{}/v1/payment_intents/{id}", self.base));
        self.answer("find", Some(id), request).await?.found()
    }

    async fn cancel(&self, id: &PaymentId) -> Result<Payment, GatewayError> {
        // A cancel has no idempotency key: a replay would return an outdated state, and a second cancel is harmless.
        let request = self.post(&format!("payment_intents/{id}/cancel"), &[]);
        self.answer("cancel", Some(id), request).await?.cancelled()
    }

    async fn refund(
        &self,
        id: &PaymentId,
        amount: Money,
        key: &IdempotencyKey,
    ) -> Result<Refund, GatewayError> {
        let amount = amount_text(amount)?;
        let form = [("payment_intent", id.as_str()), ("amount", amount.as_str())];
        let request = self.post_once("refunds", &form, key);
        self.answer("refund", Some(id), request).await?.refunded()
    }
}
