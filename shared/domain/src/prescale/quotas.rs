//! What the account allows, and what its owner will pay.

use serde::{Deserialize, Serialize};

use super::mistakes::Mistakes;

/// Units of concurrency that Lambda keeps out of every reservation.
pub const ALWAYS_UNRESERVED: u32 = 100;

/// Limits as read from the account (or, for a plan made away from it, written down).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Units of concurrency of the account in this region.
    pub account_concurrency: u32,
    /// Of these, reserved by functions that the baseline does not name.
    pub reserved_by_others: u32,
    /// Units of provisioned concurrency that Lambda allocates a minute.
    pub provisioned_per_minute: u32,
    /// Requests a second that API Gateway lets through.
    pub api_requests_per_second: u32,
    /// Requests that may come at once: the size of API Gateway's token bucket, which that rate refills.
    pub api_burst: u32,
    /// Write units a second that one table may use.
    pub table_write_units: u32,
    /// Read units a second that one table may use.
    pub table_read_units: u32,
    /// Calls a second that the payment gateway takes.
    pub gateway_calls_per_second: u32,
}

impl Quotas {
    /// Units of concurrency that may be provisioned or reserved here.
    #[must_use]
    pub const fn concurrency_for_us(&self) -> u32 {
        self.account_concurrency
            .saturating_sub(self.reserved_by_others)
            .saturating_sub(ALWAYS_UNRESERVED)
    }

    pub(super) fn check(&self, m: &mut Mistakes) {
        m.check(
            self.provisioned_per_minute > 0,
            "quotas.provisioned_per_minute",
            "at least 1",
        );
        m.check(
            self.api_requests_per_second > 0,
            "quotas.api_requests_per_second",
            "at least 1",
        );
        m.check(
            self.gateway_calls_per_second > 0,
            "quotas.gateway_calls_per_second",
            "at least 1",
        );
    }
}

/// What capacity beyond the baseline may cost, in US dollars by list prices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// For an hour in which it is held.
    pub usd_per_hour: f64,
    /// For all the time it is held for one drop.
    pub usd_per_drop: f64,
}

impl Budget {
    pub(super) fn check(&self, m: &mut Mistakes) {
        m.within(self.usd_per_hour, 0.0, 1e9, "budget.usd_per_hour");
        m.within(self.usd_per_drop, 0.0, 1e9, "budget.usd_per_drop");
    }
}
