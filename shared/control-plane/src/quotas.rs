//! Reads the account's limits: by an API where an API exists, otherwise as declared in the document `quotas`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use capacity::baseline::Baseline;
use capacity::members;
use capacity::quotas::Quotas;
use capacity::read;
use domain::rate::CallRate;
use ports::orders::FindDueOrders;
use ports::prescale::{ControlError, ReadQuotas, Readable};
use tokio::time::Instant;

use crate::error::{Answered as _, NOT_FOUND, broken, mistake};
use crate::{AwsAccount, at_once, paging, units};

/// The largest number of other functions whose provisioned concurrency is read. Lambda's control plane allows 15 calls
/// a second for the whole account, and deployments need some of these calls.
pub(crate) const MOST_OTHERS: usize = 60;

/// How long a process caches the provisioned concurrency of other functions. Reading it takes a call for each function
/// of the account, and other teams do not provision for this shop's drops.
const REMEMBERED: Duration = Duration::from_secs(300);

/// The provisioned concurrency of other functions, as this process last read it.
#[derive(Debug, Default)]
pub(crate) struct OthersProvisioned(Mutex<Option<(Instant, u32)>>);

impl OthersProvisioned {
    fn remembered(&self) -> Option<u32> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, units) = known?;
        (asked.elapsed() < REMEMBERED).then_some(units)
    }

    fn remember(&self, units: u32) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), units));
    }
}

/// Limits that no API returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Declared {
    provisioned_per_minute: u32,
    api_requests_per_second: u32,
    api_burst: u32,
    table_write_units: u32,
    table_read_units: u32,
    gateway_calls_per_second: u32,
    /// The provisioned concurrency that other functions have without a reservation. If the document states it, no call
    /// for each of these functions is needed.
    provisioned_by_others: Option<u32>,
}

members!(Declared:
    provisioned_per_minute, api_requests_per_second, api_burst, table_write_units,
    table_read_units, gateway_calls_per_second, provisioned_by_others,
);

impl<O: FindDueOrders> ReadQuotas for AwsAccount<O> {
    async fn quotas(&self, baseline: &Baseline) -> Result<Readable<Quotas>, ControlError> {
        let declared = match self.declared().await? {
            Ok(declared) => declared,
            Err(mistakes) => return Ok(Err(mistakes)),
        };
        let ours = self.ours(baseline)?;
        let (account, unreserved) = self.account_limits().await?;
        let reserved_by_us = at_once(ours.iter().map(|name| self.reserved(name))).await?;
        let reserved_by_us = reserved_by_us.into_iter().flatten().fold(0, u32::saturating_add);
        let reserved = account.saturating_sub(unreserved).saturating_sub(reserved_by_us);
        let remembered = || self.others_provisioned.remembered();
        let provisioned = match declared.provisioned_by_others.or_else(remembered) {
            Some(units) => units,
            None => {
                let others = self.others(&ours).await?;
                if others.len() > MOST_OTHERS {
                    let why = format!(
                        "must be stated, since the account has more than {MOST_OTHERS} other functions: what they have \
                         provisioned without having reserved it"
                    );
                    return Ok(Err(vec![mistake("quotas.provisioned_by_others", &why)]));
                }
                let units = self.provisioned_without_reservation(&others).await?;
                self.others_provisioned.remember(units);
                units
            }
        };
        let rate = self.gateway_rate;
        Ok(Ok(Quotas {
            account_concurrency: account,
            reserved_by_others: reserved.saturating_add(provisioned),
            provisioned_per_minute: declared.provisioned_per_minute,
            api_requests_per_second: declared.api_requests_per_second,
            api_burst: declared.api_burst,
            table_write_units: declared.table_write_units,
            table_read_units: declared.table_read_units,
            gateway_calls_per_second: rate.map_or(declared.gateway_calls_per_second, CallRate::per_second),
        }))
    }
}

impl<O> AwsAccount<O> {
    async fn declared(&self) -> Result<Readable<Declared>, ControlError> {
        let name = format!("{}/quotas", self.documents);
        let get = self.clients.ssm.reads.get_parameter().name(name);
        let Some(found) = get.send().await.unless("ParameterNotFound", "GetParameter")? else {
            return Ok(Err(vec![mistake("quotas", "is missing")]));
        };
        let text = found.parameter().and_then(|parameter| parameter.value());
        let mut mistakes = Vec::new();
        let read = read::document("quotas", text.unwrap_or_default(), &mut mistakes);
        Ok(read.ok_or(mistakes))
    }

    /// The names in the account of the baseline's functions.
    fn ours(&self, baseline: &Baseline) -> Result<Vec<&str>, ControlError> {
        let names = baseline.functions.iter();
        names
            .map(|function| Ok(self.function(&function.function)?.name.as_str()))
            .collect()
    }

    /// The account's concurrency, and its unreserved part.
    async fn account_limits(&self) -> Result<(u32, u32), ControlError> {
        const OPERATION: &str = "GetAccountSettings";
        let get = self.clients.lambda.reads.get_account_settings();
        let settings = get.send().await.answered(OPERATION)?;
        let limit = settings.account_limit();
        let limit = limit.ok_or_else(|| broken(OPERATION, "no limits in the answer"))?;
        let account = units(Some(limit.concurrent_executions()));
        let unreserved = limit.unreserved_concurrent_executions();
        Ok((account, unreserved.map_or(account, |n| units(Some(n)))))
    }

    /// The names of all functions of the account except `ours`.
    async fn others(&self, ours: &[&str]) -> Result<Vec<String>, ControlError> {
        const OPERATION: &str = "ListFunctions";
        let mut all = paging::all(OPERATION, |marker| async {
            let page = self.clients.lambda.reads.list_functions();
            let page = page.set_marker(marker).send().await.answered(OPERATION)?;
            let names = page.functions().iter().filter_map(|f| f.function_name.clone());
            Ok((names.collect(), page.next_marker))
        })
        .await?;
        all.retain(|name| !ours.contains(&name.as_str()));
        Ok(all)
    }

    /// The provisioned concurrency of those `functions` that have no reservation. The provisioned concurrency of a
    /// function with a reservation is part of the reservation, which is counted already.
    async fn provisioned_without_reservation(&self, functions: &[String]) -> Result<u32, ControlError> {
        let of_one = async |name: &String| {
            let units = self.provisioned_anywhere(name).await?;
            let counts = units > 0 && self.reserved(name).await?.is_none();
            Ok(if counts { units } else { 0 })
        };
        let all = at_once(functions.iter().map(of_one)).await?;
        Ok(all.into_iter().fold(0, u32::saturating_add))
    }

    /// The requested provisioned concurrency of a function, summed over its aliases and versions.
    async fn provisioned_anywhere(&self, name: &str) -> Result<u32, ControlError> {
        const OPERATION: &str = "ListProvisionedConcurrencyConfigs";
        let all = paging::all(OPERATION, |marker| async {
            let page = self.clients.lambda.reads.list_provisioned_concurrency_configs();
            let page = page.function_name(name).set_marker(marker).send().await;
            // The function may have been deleted in the meantime.
            let Some(page) = page.unless(NOT_FOUND, OPERATION)? else {
                return Ok((Vec::new(), None));
            };
            let asked = page.provisioned_concurrency_configs().iter();
            let asked = asked.map(|config| units(config.requested_provisioned_concurrent_executions()));
            Ok((asked.collect(), page.next_marker))
        })
        .await?;
        Ok(all.into_iter().fold(0, u32::saturating_add))
    }

    /// The reserved concurrency of a function, by its name in the account; `None` without a reservation.
    pub(crate) async fn reserved(&self, name: &str) -> Result<Option<u32>, ControlError> {
        let there = self.clients.lambda.reads.get_function_concurrency();
        let there = there.function_name(name).send().await;
        let there = there.answered("GetFunctionConcurrency")?;
        let reserved = there.reserved_concurrent_executions();
        Ok(reserved.map(|reserved| units(Some(reserved))))
    }
}
