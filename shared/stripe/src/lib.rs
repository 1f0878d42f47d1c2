//! Implements the payment gateway port over Stripe's HTTP API: PaymentIntents and refunds.
//!
//! **Problem.** A call to a gateway ends in more ways than success and failure, and confusing two of them charges a
//! shopper twice or delivers unpaid goods. The port names the outcomes ([`ports::payment::GatewayError`]). This crate
//! decides which outcome each status, error code and broken connection is.
//!
//! **Model.** A payment is a PaymentIntent. A first call creates it without a means of payment, and a second call
//! confirms it with one. Its `metadata[order_id]` names the order. [`wire`] parses the API's answers, [`outcome`] maps
//! an answer to its meaning, and [`client`] sends requests. This crate retries nothing, since a retry needs the order
//! and only the caller has it.
//!
//! | answer | meaning |
//! |---|---|
//! | no connection could be made | `NotSent` |
//! | connection lost, time-out, unreadable or too long answer | `Unknown` |
//! | 200 | the object |
//! | 402 with the intent | a payment, declined; with the card and the charge that its `last_payment_error` names |
//! | 409: another call under this key is running | `Unknown` |
//! | 429 | `Throttled` |
//! | 5xx | `Unavailable` |
//! | 404 to a look-up | no such payment |
//! | 400 `payment_intent_unexpected_state` to a cancel | the payment as it is |
//! | 401, 403: the key is wrong, or may not do this | `NoKey` |
//! | nothing, since the key has the other mode or its mode is unknown | `WrongMode` |
//! | any other 4xx | `Refused` |
//!
//! **The key** is read before each call ([`ports::secrets::ReadSecret`], which caches it), and reported as refused when
//! the gateway refuses it. A key that was changed is therefore used from the next call on. A key of another [`Mode`]
//! than the configured mode is never sent: a live key in a test stage would move real money by mistake.
//!
//! Sources: <https://docs.stripe.com/api/errors>, <https://docs.stripe.com/api/idempotent_requests>,
//! <https://docs.stripe.com/payments/paymentintents/lifecycle>.
//!
//! **Webhooks.** [`webhook`] checks whether a request is the gateway's own, and reads which order it is about.
//!
//! **What it does not do.** It supports neither manual capture nor saved customers. It does not convert amounts:
//! `Money`'s minor unit is Stripe's, except for the currencies on <https://docs.stripe.com/currencies#special-cases>.
#![forbid(unsafe_code)]

pub mod client;
pub mod config;
pub mod mode;
pub mod outcome;
pub mod webhook;
pub mod wire;

pub use client::StripeGateway;
pub use config::{ConfigError, StripeConfig};
pub use mode::{Mode, ModeError};
