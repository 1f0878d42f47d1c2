//! Lists the tokens of payment methods, and the result of a confirm with each token.
//!
//! The `pm_card_…` tokens are those of Stripe's testing page (<https://docs.stripe.com/testing>), which lists
//! some of them with and without `visa_`; both spellings are accepted. The `pm_sandbox_…` tokens exist only
//! here.

use crate::ids::mix;

/// The result of a confirm with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Money is taken.
    Succeed,
    /// The bank refuses, with this decline code.
    Decline(&'static str),
    /// The customer must authenticate first.
    Authenticate,
    /// Money is taken after a delay, even if no client waits for it.
    Slow,
    /// The first confirm is lost before it is carried out; later confirms succeed.
    LostBeforeCharge,
    /// Money is taken and the first answer is lost.
    LostAfterCharge,
}

/// The behaviour of a token; `None` for an unknown token.
#[must_use]
pub fn behaviour(token: &str) -> Option<Behaviour> {
    Some(match token {
        "pm_card_visa" | "pm_card_mastercard" | "pm_card_amex" => Behaviour::Succeed,
        "pm_card_visa_chargeDeclined" | "pm_card_chargeDeclined" => Behaviour::Decline("generic_decline"),
        "pm_card_visa_chargeDeclinedInsufficientFunds" | "pm_card_chargeDeclinedInsufficientFunds" => {
            Behaviour::Decline("insufficient_funds")
        }
        "pm_card_visa_chargeDeclinedLostCard" | "pm_card_chargeDeclinedLostCard" => {
            Behaviour::Decline("lost_card")
        }
        "pm_card_visa_chargeDeclinedProcessingError" | "pm_card_chargeDeclinedProcessingError" => {
            Behaviour::Decline("processing_error")
        }
        "pm_card_authenticationRequired" => Behaviour::Authenticate,
        "pm_sandbox_slow" => Behaviour::Slow,
        "pm_sandbox_timeout_before_charge" => Behaviour::LostBeforeCharge,
        "pm_sandbox_timeout_after_charge" => Behaviour::LostAfterCharge,
        _ => return None,
    })
}

/// The fingerprint of the card that a token represents in a payment. The token of the lost card represents
/// the same card in every payment. Any other token represents a different card in each payment, as shoppers
/// have different cards.
#[must_use]
pub fn fingerprint(token: &str, intent: &str) -> String {
    let owner = if token.ends_with("LostCard") { "" } else { intent };
    format!("{:016x}", mix(0, &[owner.as_bytes(), token.as_bytes()]))
}
