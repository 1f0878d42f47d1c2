//! Searches for the largest spike that is served, and for the limit that ends service.
//!
//! The capacity stays as planned for the settings' crowd; only the crowd changes. At most eight probes of ten virtual
//! seconds each narrow the range between a served and an unserved crowd. Then one probe for each resource, at
//! 1.1 times the limit and with a quarter more of that resource, identifies the limiting resource: the only
//! one with which the larger spike is served. A probe is two runs with two seeds, one on each of two threads.

use anyhow::anyhow;
use capacity::amounts::Polling;
use clap::ValueEnum;
use serde::Serialize;

use crate::report::Report;
use crate::run::run;
use crate::settings::Settings;

/// The largest number of probes that search.
const PROBES: usize = 8;
/// The length of each probe after the opening, in virtual seconds.
const SECONDS: u32 = 10;
/// The smallest share of requests that must be served.
const SERVED: f64 = 0.9999;
/// The smallest crowd that is tried, in shoppers.
const LEAST: u32 = 5_000;
/// The factor by which a resource is increased in a last probe.
const MORE: f64 = 1.25;

/// A resource whose limit may end service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// API Gateway's rate and burst.
    Api,
    /// Environments: provisioned, reserved, and the account's.
    Environments,
    /// The rate at which a function starts environments.
    Scaling,
    /// Read units of a partition.
    PartitionReads,
    /// Write units of a partition.
    PartitionWrites,
    TableUnits,
    /// Concurrent batches of queues.
    Consumers,
    /// The gateway's rate.
    Gateway,
    /// The rows that the ledger writes in a second.
    Ledger,
}

impl Resource {
    /// `settings` with a quarter more of the resource.
    #[must_use]
    pub fn raised(self, settings: &Settings) -> Settings {
        let mut more = settings.clone();
        let quotas = &mut more.capacity.quotas;
        match self {
            Self::Api => {
                quotas.api_requests_per_second = up(quotas.api_requests_per_second);
                quotas.api_burst = up(quotas.api_burst);
            }
            Self::Environments => {
                quotas.account_concurrency = up(quotas.account_concurrency);
                for function in more.capacity.functions.values_mut() {
                    function.provisioned = up(function.provisioned);
                    function.reserved = function.reserved.map(up);
                }
            }
            Self::Scaling => {
                more.limits.scaling_burst *= MORE;
                more.limits.scaling_per_second *= MORE;
            }
            Self::PartitionReads => more.limits.partition_read_units *= MORE,
            Self::PartitionWrites => more.limits.partition_write_units *= MORE,
            Self::TableUnits => {
                quotas.table_read_units = up(quotas.table_read_units);
                quotas.table_write_units = up(quotas.table_write_units);
            }
            Self::Consumers => {
                for polling in more.capacity.queues.values_mut() {
                    if let Polling::MaximumConcurrency(most) = polling {
                        *most = up(*most);
                    }
                }
                more.limits.pollers = up(more.limits.pollers);
                more.limits.pollers_per_minute = up(more.limits.pollers_per_minute);
            }
            Self::Gateway => quotas.gateway_calls_per_second = up(quotas.gateway_calls_per_second),
            Self::Ledger => more.capacity.ledger_rows_per_second *= MORE,
        }
        more
    }
}

/// A quarter more, rounded up.
fn up(of: u32) -> u32 {
    of.saturating_add(of.div_ceil(4))
}

/// The result of a probe, which has two runs. The figures are those of the run that was served worse.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    pub shoppers: u32,
    /// The resource of which the probe had a quarter more; `None` in the search.
    pub raised: Option<Resource>,
    /// Requests in the run's busiest second.
    pub peak_rps: u64,
    /// Requests answered other than 5xx and 429 ÷ all answered requests; `None` without any.
    pub served_share: Option<f64>,
    /// Whether the share was large enough, and every promise that holds at each instant was kept.
    pub served: bool,
    /// The limit that refused first; `None` if none refused.
    pub first_refusal: Option<String>,
}

/// The largest spike that was served, and the resource that ends service.
#[derive(Debug, Clone, Serialize)]
pub struct Limit {
    /// Requests in the busiest second of the largest spike that was served; `None` if the smallest crowd was
    /// not served.
    pub served_rps: Option<u64>,
    pub shoppers: Option<u32>,
    /// The resource that ends service: with a quarter more of it alone, 1.1 times as many requests are
    /// served. `None` if no single resource or more than one has this effect.
    pub first_limit: Option<Resource>,
    /// Every probe, in order.
    pub probes: Vec<Probe>,
}

/// Whether a run was served. A run that was cut short has open holds and orders, so only promises that hold
/// at every instant count.
fn is_served(report: &Report) -> bool {
    let found = &report.findings;
    let broken =
        found.oversold + found.over_limit_shoppers + found.duplicate_orders + found.duplicate_charges;
    report.served_share.is_some_and(|share| share >= SERVED) && broken == 0
}

fn probe(settings: &Settings, shoppers: u32, raised: Option<Resource>) -> anyhow::Result<Probe> {
    let mut settings = raised.map_or_else(|| settings.clone(), |resource| resource.raised(settings));
    settings.shoppers = shoppers;
    settings.expects = settings.shape.expects(shoppers);
    settings.seconds = Some(SECONDS);
    let other = Settings {
        seed: settings.seed.wrapping_add(1),
        ..settings.clone()
    };
    let of = |report: &Report| Probe {
        shoppers,
        raised,
        peak_rps: report.peak_rps,
        served_share: report.served_share,
        served: is_served(report),
        first_refusal: report.first_refusals.first().map(|first| first.limit.clone()),
    };
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(&other, |_| {}).map(|report| of(&report)));
        let one = run(&settings, |_| {}).map(|report| of(&report));
        (one, other.join())
    });
    let (one, other) = (one?, other.map_err(|_| anyhow!("a run panicked"))??);
    let worse = |of: &Probe| (of.served, of.served_share.map(f64::to_bits));
    Ok(if worse(&other) < worse(&one) { other } else { one })
}

/// The crowd of the last probes: 1.1 times the largest crowd that was served.
fn beyond(served: u32) -> u32 {
    served.saturating_add(served.div_ceil(10))
}

/// The crowd of the next probe, between the largest crowd that was served and the smallest that was not; `None` if
/// the two are close enough or no smaller crowd is tried.
fn next(served: Option<u32>, unserved: Option<u32>) -> Option<u32> {
    match (served, unserved) {
        (Some(served), Some(unserved)) if unserved <= beyond(served) => None,
        // This is the mean of the logarithms, so that the ratio to both ends is the same.
        (Some(served), Some(unserved)) => {
            u32::try_from((u64::from(served) * u64::from(unserved)).isqrt()).ok()
        }
        (Some(served), None) => served.checked_mul(2),
        (None, unserved) => unserved
            .map(|unserved| unserved / 4)
            .filter(|less| *less >= LEAST),
    }
}

/// Searches for the largest spike that is served with `settings`, beginning with the settings' crowd. `tell` receives
/// each probe.
///
/// # Errors
///
/// When a run fails.
pub fn limit(settings: &Settings, tell: impl Fn(&Probe)) -> anyhow::Result<Limit> {
    let (mut served, mut unserved): (Option<Probe>, Option<u32>) = (None, None);
    let mut probes = Vec::new();
    let mut shoppers = Some(settings.shoppers);
    while let Some(crowd) = shoppers.take_if(|_| probes.len() < PROBES) {
        let probe = probe(settings, crowd, None)?;
        tell(&probe);
        probes.push(probe.clone());
        if probe.served {
            served = Some(probe);
        } else {
            unserved = Some(crowd);
        }
        shoppers = next(served.as_ref().map(|probe| probe.shoppers), unserved);
    }
    let mut first_limit = None;
    if let Some(served) = &served {
        let beyond = beyond(served.shoppers);
        let mut lets = Vec::new();
        for resource in Resource::value_variants() {
            let probe = probe(settings, beyond, Some(*resource))?;
            tell(&probe);
            lets.extend(probe.served.then_some(*resource));
            probes.push(probe);
        }
        first_limit = match lets.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
    }
    Ok(Limit {
        served_rps: served.as_ref().map(|probe| probe.peak_rps),
        shoppers: served.as_ref().map(|probe| probe.shoppers),
        first_limit,
        probes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_doubles_quarters_and_halves() {
        assert_eq!(next(Some(100_000), None), Some(200_000));
        assert_eq!(next(None, Some(100_000)), Some(25_000));
        assert_eq!(next(None, Some(4 * LEAST - 1)), None);
        assert_eq!(next(Some(100_000), Some(400_000)), Some(200_000));
        assert_eq!(next(Some(100_000), Some(111_000)), Some(105_356));
        assert_eq!(next(Some(100_000), Some(110_000)), None);
    }
}
