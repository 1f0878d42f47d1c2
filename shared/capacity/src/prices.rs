//! List prices: a dated document. Check it before relying on a sum.

use serde::{Deserialize, Serialize};

use super::mistakes::Mistakes;
use crate::members;

/// List prices of one region, in US dollars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The date of the list.
    pub as_of: String,
    /// The region of the list.
    pub region: String,
    /// API Gateway HTTP API, one million requests.
    pub api_per_million: f64,
    /// Lambda, one million invocations.
    pub invocations_per_million: f64,
    /// Lambda on demand, one GB-second of running.
    pub on_demand_gb_second: f64,
    /// Lambda with provisioned concurrency, one GB-second of running.
    pub provisioned_gb_second: f64,
    /// Provisioned concurrency, one GB-second of being held.
    pub held_gb_second: f64,
    /// The number of seconds to which the time of provisioned concurrency is rounded up.
    pub held_rounding_seconds: u32,
    /// DynamoDB on demand, one million write units.
    pub write_units_per_million: f64,
    /// DynamoDB on demand, one million read units.
    pub read_units_per_million: f64,
    /// SQS standard queues, one million requests. Plans do not count these; reports of load runs do.
    pub sqs_requests_per_million: f64,
    /// Aurora Serverless v2, one ACU for an hour.
    pub acu_hour: f64,
    /// DynamoDB, one-time price for a write unit of warm throughput; none if the list does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_write_unit: Option<f64>,
    /// DynamoDB, one-time price for a read unit of warm throughput; none if the list does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_read_unit: Option<f64>,
}

members!(Prices:
    as_of, region, api_per_million, invocations_per_million, on_demand_gb_second,
    provisioned_gb_second, held_gb_second, held_rounding_seconds, write_units_per_million,
    read_units_per_million, sqs_requests_per_million, acu_hour, warm_write_unit, warm_read_unit,
);

impl Prices {
    pub(super) fn check(&self, m: &mut Mistakes) {
        m.check(
            !self.as_of.trim().is_empty(),
            "prices.as_of",
            "says when the list was written down",
        );
        let all = [
            ("api_per_million", self.api_per_million),
            ("invocations_per_million", self.invocations_per_million),
            ("on_demand_gb_second", self.on_demand_gb_second),
            ("provisioned_gb_second", self.provisioned_gb_second),
            ("held_gb_second", self.held_gb_second),
            ("write_units_per_million", self.write_units_per_million),
            ("read_units_per_million", self.read_units_per_million),
            ("sqs_requests_per_million", self.sqs_requests_per_million),
            ("acu_hour", self.acu_hour),
            ("warm_write_unit", self.warm_write_unit.unwrap_or_default()),
            ("warm_read_unit", self.warm_read_unit.unwrap_or_default()),
        ];
        for (field, usd) in all {
            m.within(usd, 0.0, 10_000.0, format!("prices.{field}"));
        }
        m.check(
            self.held_rounding_seconds > 0,
            "prices.held_rounding_seconds",
            "at least 1",
        );
    }
}
