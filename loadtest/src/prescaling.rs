//! Does the operator's part of pre-scaling in a run: adds the drop to the calendar, runs the function `prescale` until
//! the drop is ready, and afterwards until all capacity is returned.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use api::moment::Moment;
use aws_credential_types::Credentials;
use domain::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use stack_api::StackFile;
use tokio::time::Instant;

use crate::control;
use crate::drop_file::DropFile;
use crate::facts::DropFacts;
use crate::progress::say;
use crate::usage::processes;

/// The time limit for one run of the function `prescale`.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two checks whether the drop is ready.
const PAUSE: Duration = Duration::from_millis(500);
/// The pause between two runs while capacity is reduced. Two runs must be half a minute apart to confirm a reduction.
const BETWEEN_RUNS: Duration = Duration::from_secs(31);
/// The largest number of runs until capacity is reduced.
const MOST_RUNS: u32 = 12;

/// Pre-scales one drop on a stack that has control planes.
#[derive(Debug, Clone)]
pub struct Prescaling<'a> {
    ssm: aws_sdk_ssm::Client,
    /// The path of the documents in Parameter Store.
    path: &'a str,
    stack: &'a StackFile,
    drop: &'a DropFacts,
    file: &'a DropFile,
    shoppers: u32,
}

/// The time and the cost of making a drop's capacity ready.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prepared {
    /// The time from the first run of `prescale` that reported on the drop until all capacity was ready.
    pub took: Duration,
    /// The cost of the plan beyond the same drop unscaled, in US dollars by list prices.
    pub usd: f64,
}

/// The part of the answer of `prescale` that this module uses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outcome {
    standby_for: Option<String>,
    drops: Vec<Value>,
    warnings: Vec<Value>,
    steps: Vec<Value>,
    withheld: Vec<Value>,
    readiness: Vec<Readiness>,
    plans: Vec<Plan>,
}

#[derive(Debug, Deserialize)]
struct Readiness {
    drop: String,
    ready: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
struct Part {
    kind: String,
    name: String,
    wanted: f64,
    there: f64,
    ready: bool,
}

#[derive(Debug, Deserialize)]
struct Plan {
    drop: String,
    cost: Cost,
}

#[derive(Debug, Deserialize)]
struct Cost {
    total_usd: f64,
    unscaled_usd: f64,
}

impl<'a> Prescaling<'a> {
    /// Uses the control planes of a stack. `shoppers` is the number of expected shoppers.
    ///
    /// # Errors
    /// When the stack has no control planes.
    pub fn new(
        stack: &'a StackFile,
        drop: &'a DropFacts,
        file: &'a DropFile,
        shoppers: u32,
    ) -> anyhow::Result<Self> {
        let url = stack.control_planes_url.as_ref();
        let url = url.context("the stack has no control planes")?;
        let path = stack.environment.get("DOCUMENTS_PATH");
        let config = aws_sdk_ssm::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_ssm::config::Region::new("us-east-1"))
            .endpoint_url(url)
            .credentials_provider(Credentials::new("local", "local", None, None, "operator"))
            .http_client(connector::plain(Duration::from_secs(1)))
            .build();
        Ok(Self {
            ssm: aws_sdk_ssm::Client::from_conf(config),
            path: path.context("the stack has no DOCUMENTS_PATH")?,
            stack,
            drop,
            file,
            shoppers,
        })
    }

    /// Adds the drop to the calendar and runs the function `prescale` until the drop is ready, which must be before
    /// `by`.
    ///
    /// # Errors
    /// When the drop is not ready in time, or a call fails.
    pub async fn make_ready(&self, by: Instant) -> anyhow::Result<Prepared> {
        let drop_id = &self.drop.drop_id;
        self.put("scheduled").await?;
        let mut began = None;
        let plan = self.run("plan").await?;
        let plan = plan.plans.into_iter().find(|plan| &plan.drop == drop_id);
        let cost = plan.context("the drop has no plan")?.cost;
        let mut told = String::new();
        loop {
            let outcome = self.run("apply").await?;
            let of = outcome.readiness.into_iter().find(|r| &r.drop == drop_id);
            if of.is_some() {
                began.get_or_insert_with(Instant::now);
            }
            if of.as_ref().is_some_and(|readiness| readiness.ready) {
                break;
            }
            let missing = match of {
                Some(readiness) => missing(&readiness.parts),
                None => "its time has not come yet".to_owned(),
            };
            if Instant::now() + PAUSE >= by {
                bail!("the drop was not ready when the crowd began to gather: {missing}");
            }
            if missing != told {
                say(&format!("not ready: {missing}"));
                told = missing;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let took = began.map(|began| began.elapsed()).unwrap_or_default();
        ensure!(
            Instant::now() < by,
            "the drop was ready only after the crowd had begun to gather"
        );
        Ok(Prepared {
            took,
            usd: cost.total_usd - cost.unscaled_usd,
        })
    }

    /// Marks the drop as drained and runs the function `prescale` until it has no change left to make or to
    /// confirm, and no provisioned process remains. Returns the time that this took.
    ///
    /// # Errors
    /// When capacity is left after 12 runs, or a call fails.
    pub async fn give_back(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.put("drained").await?;
        for _ in 0..MOST_RUNS {
            let outcome = self.run("apply").await?;
            let back = outcome.standby_for.is_none()
                && outcome.drops.is_empty()
                && outcome.steps.is_empty()
                && outcome.withheld.is_empty();
            let held: usize = processes(self.stack).await?.iter().map(|p| p.ahead).sum();
            if back && held == 0 {
                return Ok(began.elapsed());
            }
            tracing::debug!(steps = ?outcome.steps, withheld = ?outcome.withheld, warnings = ?outcome.warnings, held, "the capacity is not at the baseline yet; pre-scaling runs again");
            tokio::time::sleep(BETWEEN_RUNS).await;
        }
        bail!("capacity was not given back within {MOST_RUNS} runs")
    }

    /// Writes the drop's entry in the calendar.
    async fn put(&self, state: &str) -> anyhow::Result<()> {
        let (drop, file) = (self.drop, self.file);
        let moment = |ms| Moment(Timestamp::from_millis(ms));
        let arrivals = &file.arrivals;
        let entry = json!({
            "id": drop.drop_id,
            "state": state,
            "starts_at": moment(drop.starts_at_ms),
            "ends_at": moment(drop.ends_at_ms),
            "shoppers": self.shoppers,
            "units": file.allocated(),
            "sold_within_seconds": file.sold_within_seconds,
            "before": {"seconds": whole(arrivals.before.seconds), "peak_factor": 1},
            // The arrivals fall linearly to zero, so the peak is twice the mean.
            "opening": {"seconds": whole(arrivals.surge.seconds), "peak_factor": 2},
            "sale_peak_factor": 1,
            "tail": {"seconds": file.hold_seconds + file.payment_seconds, "peak_factor": 1},
        });
        let put = self.ssm.put_parameter();
        put.name(format!("{}/calendar/{}", self.path, drop.drop_id))
            .value(entry.to_string())
            .r#type(aws_sdk_ssm::types::ParameterType::String)
            .overwrite(true)
            .send()
            .await
            .context("putting the drop on the calendar")?;
        Ok(())
    }

    async fn run(&self, mode: &str) -> anyhow::Result<Outcome> {
        let event = json!({"mode": mode}).to_string();
        control::post(self.stack, "/functions/prescale/invoke", Some(event), RUN_LIMIT).await
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds of a drop, rounded up to a whole number"
)]
fn whole(seconds: f64) -> u32 {
    seconds.ceil() as u32
}

fn missing(parts: &[Part]) -> String {
    let missing = parts.iter().filter(|part| !part.ready);
    let one = |part: &Part| format!("{} {}: {} of {}", part.kind, part.name, part.there, part.wanted);
    missing.map(one).collect::<Vec<_>>().join(", ")
}
