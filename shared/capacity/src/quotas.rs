//! Defines the account's limits, and the budget for capacity.

use serde::{Deserialize, Serialize};

use super::mistakes::Mistakes;
use crate::members;

/// The units of the account's concurrency that Lambda keeps unreserved.
pub const ALWAYS_UNRESERVED: u32 = 100;

/// The account's limits, read from the account or, for a plan without an account, from a file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// The units of concurrency of the account in this region.
    pub account_concurrency: u32,
    /// The units that functions outside the baseline have reserved or provisioned.
    pub reserved_by_others: u32,
    /// The units of provisioned concurrency that Lambda allocates in a minute.
    pub provisioned_per_minute: u32,
    /// API Gateway's rate limit, in requests a second.
    pub api_requests_per_second: u32,
    /// API Gateway's burst limit: the largest number of simultaneous requests. It is the size of a token
    /// bucket, which the rate limit refills.
    pub api_burst: u32,
    /// The most write units a second of one table.
    pub table_write_units: u32,
    /// The most read units a second of one table.
    pub table_read_units: u32,
    /// The most calls a second that the payment gateway accepts.
    pub gateway_calls_per_second: u32,
}

impl Quotas {
    /// The units of concurrency that may be provisioned or reserved for the baseline's functions.
    #[must_use]
    pub const fn concurrency_for_us(&self) -> u32 {
        self.account_concurrency
            .saturating_sub(self.reserved_by_others)
            .saturating_sub(ALWAYS_UNRESERVED)
    }

    pub(super) fn check(&self, m: &mut Mistakes) {
        for (field, limit) in [
            ("provisioned_per_minute", self.provisioned_per_minute),
            ("api_requests_per_second", self.api_requests_per_second),
            ("gateway_calls_per_second", self.gateway_calls_per_second),
        ] {
            m.check(limit > 0, field, "at least 1");
        }
    }
}

/// The allowed cost of capacity beyond the baseline, in US dollars by list prices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The largest cost for an hour in which the capacity is held.
    pub usd_per_hour: f64,
    /// The largest cost for the whole time in which the capacity is held for one drop.
    pub usd_per_drop: f64,
}

members!(Budget: usd_per_hour, usd_per_drop);

impl Budget {
    pub(super) fn check(&self, m: &mut Mistakes) {
        m.within(self.usd_per_hour, 0.0, 1e9, "usd_per_hour");
        m.within(self.usd_per_drop, 0.0, 1e9, "usd_per_drop");
    }
}
