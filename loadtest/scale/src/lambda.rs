//! Models Lambda's environments: which environment takes a request, and when a request is refused.
//!
//! An environment serves one request at a time, and at most ten a second: it is free again when the request has
//! ended, but not within a tenth of a second after the request began. It is assumed that a request takes the
//! environment that became free last. Provisioned environments exist from the beginning. Beyond these, a function
//! starts environments on demand, within its reserved concurrency or the account's unreserved concurrency. A token
//! bucket limits these starts: it has 1,000 tokens and gets 100 in each second.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use replay::function::Function;
use serde::Serialize;

use crate::settings::{Lifted, Limits, Settings};
use crate::world::Bucket;

/// The environment that a request got, by its index among the function's environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A warm environment.
    Warm(usize),
    /// A provisioned environment that is used for the first time.
    Ahead(usize),
    /// A new environment, which starts while the request waits.
    Cold(usize),
}

/// The limit because of which a request got no environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// The function's scaling rate.
    ScalingRate,
    /// The function's reserved concurrency.
    Reserved,
    /// The account's concurrency.
    Account,
}

#[derive(Debug)]
struct Pool {
    /// The figures so far, except the two times below, which have another unit.
    report: FunctionReport,
    busy_us: u64,
    first_refused_us: Option<i64>,
    /// Environments in use, or used so recently that they take no request yet.
    taken: usize,
    free: Vec<usize>,
    /// Environments in use, by the time at which they become free.
    cooling: BinaryHeap<Reverse<(i64, usize)>>,
    scaling: Bucket,
}

/// The invocations, cold starts and refusals of one function in a run, and the use of its environments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FunctionReport {
    /// The function's name.
    pub function: &'static str,
    /// Provisioned environments.
    pub provisioned: usize,
    /// Reserved concurrency; `None` without a reservation.
    pub reserved: Option<usize>,
    /// Environments that served at least one request.
    pub environments: usize,
    /// The largest number of environments in use at a time. Each request uses one for at least a tenth of a
    /// second.
    pub most_taken: usize,
    /// Invocations that ran.
    pub invocations: u64,
    /// Invocations that waited for a cold start.
    pub cold_starts: u64,
    /// Refused invocations, by the limit that refused them.
    pub refused: BTreeMap<Refused, u64>,
    /// The time of the first refusal, in ms from the opening; `None` if none was refused.
    pub first_refused_ms: Option<i64>,
    /// Invocations that were ended at the function's time-out.
    pub timed_out: u64,
    /// The sum of the environments' busy times, in ms.
    pub busy_ms: u64,
}

/// The environments of all functions.
#[derive(Debug)]
pub struct Lambda {
    pools: BTreeMap<Function, Pool>,
    /// Concurrency that no function has reserved or provisioned.
    unreserved: usize,
    limits: Limits,
}

fn count(of: u32) -> usize {
    usize::try_from(of).unwrap_or(usize::MAX)
}

impl Lambda {
    /// All functions without an environment.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let (capacity, limits) = (&settings.capacity, settings.limits);
        let mut unreserved = count(capacity.quotas.account_concurrency)
            .saturating_sub(count(capacity.quotas.reserved_by_others));
        let pools = Function::ALL.into_iter().map(|function| {
            let there = capacity.functions.get(function.name());
            let there = there.copied().unwrap_or_default();
            let reserved = there.reserved.or(function.limits().reserved_concurrency);
            unreserved = unreserved.saturating_sub(count(there.provisioned.max(reserved.unwrap_or(0))));
            let lifted = settings.lifted.contains(&Lifted::Environments);
            let provisioned = count(there.provisioned);
            let report = FunctionReport {
                function: function.name(),
                provisioned: if lifted { usize::MAX } else { provisioned },
                reserved: reserved.map(count).filter(|_| !lifted),
                ..FunctionReport::default()
            };
            let pool = Pool {
                report,
                busy_us: 0,
                first_refused_us: None,
                taken: 0,
                free: Vec::new(),
                cooling: BinaryHeap::new(),
                scaling: Bucket::full(limits.scaling_per_second, limits.scaling_burst),
            };
            (function, pool)
        });
        Self {
            pools: pools.collect(),
            unreserved,
            limits,
        }
    }

    /// Frees the environments that may be used again.
    fn cool(&mut self, now_us: i64) {
        for pool in self.pools.values_mut() {
            while let Some(Reverse((at_us, environment))) = pool.cooling.peek().copied() {
                if at_us > now_us {
                    break;
                }
                pool.cooling.pop();
                pool.taken -= 1;
                pool.free.push(environment);
            }
        }
    }

    /// Takes an environment of `function`.
    ///
    /// # Errors
    ///
    /// [`Refused`] when none is available.
    pub fn take(&mut self, function: Function, now_us: i64) -> Result<Taken, Refused> {
        self.cool(now_us);
        let on_demand = |pool: &Pool| match pool.report.reserved {
            Some(_) => 0,
            None => pool.taken.saturating_sub(pool.report.provisioned),
        };
        let others: usize = self.pools.values().map(on_demand).sum();
        let unreserved = self.unreserved;
        let Some(pool) = self.pools.get_mut(&function) else {
            return Err(Refused::Account);
        };
        let environments = pool.report.environments;
        let report = &mut pool.report;
        let refused = match report.reserved {
            _ if pool.taken < report.provisioned => None,
            Some(reserved) => (pool.taken >= reserved).then_some(Refused::Reserved),
            None => (others >= unreserved).then_some(Refused::Account),
        };
        let taken = match (refused, pool.free.pop()) {
            (Some(refused), environment) => {
                pool.free.extend(environment);
                Err(refused)
            }
            (None, Some(environment)) => Ok(Taken::Warm(environment)),
            (None, None) if environments < report.provisioned => Ok(Taken::Ahead(environments)),
            (None, None) if pool.scaling.take(now_us) => Ok(Taken::Cold(environments)),
            (None, None) => Err(Refused::ScalingRate),
        };
        if let Ok(taken) = taken {
            pool.taken += 1;
            report.environments += usize::from(!matches!(taken, Taken::Warm(_)));
            report.most_taken = report.most_taken.max(pool.taken);
            report.invocations += 1;
            report.cold_starts += u64::from(matches!(taken, Taken::Cold(_)));
        }
        taken
    }

    /// Counts an invocation that was finally refused.
    pub fn refuse(&mut self, function: Function, why: Refused, now_us: i64) {
        if let Some(pool) = self.pools.get_mut(&function) {
            *pool.report.refused.entry(why).or_default() += 1;
            pool.first_refused_us.get_or_insert(now_us);
        }
    }

    /// Releases an environment that was taken at `from_us`.
    pub fn give_back(&mut self, function: Function, environment: usize, from_us: i64, now_us: i64) {
        let free_us = now_us.max(from_us + self.limits.least_unit_us);
        self.free_again(function, environment, from_us, now_us, free_us);
    }

    /// Ends an invocation that began at `from_us` and exceeded its time limit. Its environment starts again,
    /// which takes `start_us`.
    pub fn time_out(
        &mut self,
        function: Function,
        environment: usize,
        from_us: i64,
        now_us: i64,
        start_us: i64,
    ) {
        if let Some(pool) = self.pools.get_mut(&function) {
            pool.report.timed_out += 1;
        }
        self.free_again(function, environment, from_us, now_us, now_us + start_us);
    }

    fn free_again(&mut self, function: Function, at: usize, from_us: i64, now_us: i64, free_us: i64) {
        if let Some(pool) = self.pools.get_mut(&function) {
            pool.busy_us += (now_us - from_us).unsigned_abs();
            pool.cooling.push(Reverse((free_us, at)));
        }
    }

    /// The functions' figures; the drop opened at `opens_us`.
    #[must_use]
    pub fn report(&self, opens_us: i64) -> Vec<FunctionReport> {
        let report = |pool: &Pool| FunctionReport {
            first_refused_ms: (pool.first_refused_us).map(|us| (us - opens_us).div_euclid(1_000)),
            busy_ms: pool.busy_us / 1_000,
            ..pool.report.clone()
        };
        self.pools.values().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capacity::amounts::Concurrency;

    fn lambda(account: u32, provisioned: u32, reserved: Option<u32>) -> Lambda {
        let functions = [(
            "reserve".to_owned(),
            Concurrency {
                provisioned,
                reserved,
            },
        )];
        let mut settings = Settings::of_new_account();
        settings.capacity.quotas.account_concurrency = account;
        settings.capacity.functions = functions.into();
        Lambda::new(&settings)
    }

    fn taken(lambda: &mut Lambda, tries: usize, now_us: i64) -> (usize, Option<Refused>) {
        let mut refused = None;
        let got = (0..tries)
            .filter(|_| match lambda.take(Function::Reserve, now_us) {
                Ok(_) => true,
                Err(why) => {
                    refused = Some(why);
                    false
                }
            })
            .count();
        (got, refused)
    }

    #[test]
    fn a_function_starts_a_thousand_at_once_and_a_hundred_a_second() {
        let mut lambda = lambda(30_000, 0, None);
        let rate = Some(Refused::ScalingRate);
        assert_eq!(taken(&mut lambda, 2_000, 0), (1_000, rate));
        assert_eq!(taken(&mut lambda, 2_000, 1_000_000), (100, rate));
        // Unused starts are not saved beyond the burst of 1,000.
        assert_eq!(taken(&mut lambda, 5_000, 3_600_000_000), (1_000, rate));
    }

    #[test]
    fn provisioned_ones_come_first_and_the_rest_spills_over_within_the_account() {
        let mut lambda = lambda(1_500, 1_200, None);
        assert_eq!(taken(&mut lambda, 5_000, 0), (1_500, Some(Refused::Account)));
        let report = lambda.report(0);
        let reserve = report.iter().find(|report| report.function == "reserve").unwrap();
        assert_eq!(reserve.cold_starts, 300);
        assert_eq!(reserve.environments, 1_500);
    }

    #[test]
    fn reserved_concurrency_is_a_ceiling() {
        let mut lambda = lambda(30_000, 10, Some(20));
        assert_eq!(taken(&mut lambda, 100, 0), (20, Some(Refused::Reserved)));
    }

    #[test]
    fn an_environment_serves_ten_requests_a_second() {
        let mut lambda = lambda(1, 0, None);
        let mut served = 0;
        for ms in 0..1_000 {
            let now_us = ms * 1_000;
            if let Ok(Taken::Warm(at) | Taken::Cold(at) | Taken::Ahead(at)) =
                lambda.take(Function::Reserve, now_us)
            {
                served += 1;
                lambda.give_back(Function::Reserve, at, now_us, now_us + 5_000);
            }
        }
        assert_eq!(served, 10);
    }
}
