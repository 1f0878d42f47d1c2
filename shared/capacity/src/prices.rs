//! Defines the document of AWS list prices. `as_of` is the date of the prices; check that they are current before
//! you rely on a computed cost.

use serde::{Deserialize, Serialize};

use super::mistakes::Mistakes;
use crate::members;

/// List prices of one region, in US dollars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The date of the price list.
    pub as_of: String,
    /// The AWS region whose prices these are.
    pub region: String,
    /// API Gateway's price of one million requests to an HTTP API.
    pub api_per_million: f64,
    /// Lambda's price of one million invocations.
    pub invocations_per_million: f64,
    /// Lambda's price of one GB-second of run time on demand.
    pub on_demand_gb_second: f64,
    /// Lambda's price of one GB-second of run time in provisioned concurrency.
    pub provisioned_gb_second: f64,
    /// Lambda's price of one GB-second for which provisioned concurrency is held.
    pub held_gb_second: f64,
    /// The number of seconds to a multiple of which the time of provisioned concurrency is rounded up.
    pub held_rounding_seconds: u32,
    /// DynamoDB's price of one million write units on demand.
    pub write_units_per_million: f64,
    /// DynamoDB's price of one million read units on demand.
    pub read_units_per_million: f64,
    /// SQS's price of one million requests to standard queues. Plans do not count these requests; reports of
    /// load runs do.
    pub sqs_requests_per_million: f64,
    /// Aurora Serverless v2's price of one ACU for an hour.
    pub acu_hour: f64,
    /// DynamoDB's one-time price of one write unit of warm throughput; `None` if the list does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_write_unit: Option<f64>,
    /// DynamoDB's one-time price of one read unit of warm throughput; `None` if the list does not have it.
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
        let is_dated = !self.as_of.trim().is_empty();
        m.check(is_dated, "as_of", "says when the list was written down");
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
            m.within(usd, 0.0, 10_000.0, field);
        }
        let rounds = self.held_rounding_seconds > 0;
        m.check(rounds, "held_rounding_seconds", "at least 1");
    }
}
