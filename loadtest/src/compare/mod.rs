//! Compares one drop with and without pre-scaling, mainly in the first second.
//!
//! It runs one drop file three times with the same seed: without pre-scaling; without pre-scaling and without the
//! platform's share of a cold start; and with pre-scaling. Each run has a new stack, which starts processes as
//! Lambda does. The stack's control planes decide the size of its ledger.

mod figures;
mod plot;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use stack_api::StackFile;
use stack_api::faults::FaultPlan;
use tokio::sync::watch;

pub use figures::Figures;

use crate::files::write;
use crate::prescaling::Prescaling;
use crate::progress::say;
use crate::run::{Load, Options, Ran, run};
use crate::stack::Start;

/// The largest number of processes of one function: more than the drop's plan needs, and few enough for this
/// machine's memory.
const PROCESSES: u32 = 400;
/// The largest number of concurrent invocations: a new account's limit.
const ACCOUNT: u32 = 1_000;
/// The extra time that the drain may take with an undersized ledger: a message whose handler found no database
/// connection is redelivered only after its queue's visibility timeout.
const PATIENCE: Duration = Duration::from_secs(420);

/// The drop to compare, and the settings of the comparison.
#[derive(Debug, Clone, clap::Args)]
pub struct Compare {
    /// The load of each run. Its output folder gets the runs' folders and the comparison.
    #[command(flatten)]
    pub load: Load,
    /// The folder of the functions' and the stack's binaries.
    #[arg(long = "functions-dir", default_value = "target/release")]
    pub functions: PathBuf,
    /// The documents of pre-scaling.
    #[arg(long, default_value = "loadtest/prescale")]
    pub documents: PathBuf,
    /// The platform's share of a cold start, in ms. It can be measured only on AWS.
    #[arg(long, default_value_t = 100)]
    pub platform_ms: u64,
}

/// The content of `prescale.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Whether pre-scaling had the promised effect, and the run with pre-scaling kept every promise of the API.
    pub ok: bool,
    /// The reasons why `ok` is false; empty otherwise.
    pub failures: Vec<String>,
    pub drop_file: String,
    /// The seed of all random numbers.
    pub seed: u64,
    pub shoppers: u64,
    /// The platform's share of each start on demand, in ms: a parameter. Figures that include it are modelled.
    pub platform_share_ms: u64,
    /// Figures without pre-scaling. Modelled.
    pub off: Figures,
    /// Figures with pre-scaling. Modelled, although no start should add a modelled time.
    pub on: Figures,
    /// Figures without pre-scaling and with a platform share of zero. Measured.
    pub off_without_platform_share: Figures,
    /// The first second's p99 without pre-scaling ÷ with it. Modelled.
    pub first_second_p99_ratio: f64,
    /// The first second's p99 without pre-scaling and without the platform's share ÷ with pre-scaling. Measured.
    pub first_second_p99_ratio_measured: f64,
    /// The time from the first run of the function `prescale` for the drop until the drop was ready, in ms. The control
    /// planes here act immediately.
    pub ready_after_ms: u64,
    /// The time from the end of the run until all capacity was returned, in ms.
    pub given_back_after_ms: u64,
}

/// The smallest factor by which pre-scaling must lower the first second's p99.
const LEAST_RATIO: f64 = 5.0;

impl Compare {
    /// Runs the drop three times, and writes `prescale.json` and `prescale.svg`.
    ///
    /// # Errors
    /// When a run does not complete, or was stopped. A broken promise is not an error: the comparison reports it.
    pub async fn run(&self, stop: watch::Receiver<bool>) -> anyhow::Result<Comparison> {
        say("1 of 3: without pre-scaling");
        let off = self.once("off", self.platform_ms, false, &stop).await?;
        say("2 of 3: without pre-scaling, the platform's share of a cold start left out");
        let bare = self.once("off-bare", 0, false, &stop).await?;
        say("3 of 3: with pre-scaling");
        let on = self.once("on", self.platform_ms, true, &stop).await?;
        let plot = plot::first_seconds(&off.ran.measured, &on.ran.measured);
        let comparison = self.compare(off.figures, bare.figures, on);
        let text = serde_json::to_string_pretty(&comparison)?;
        write(&self.load.out.join("prescale.json"), text)?;
        write(&self.load.out.join("prescale.svg"), plot?)?;
        Ok(comparison)
    }

    async fn once(
        &self,
        name: &str,
        platform_ms: u64,
        prescaled: bool,
        stop: &watch::Receiver<bool>,
    ) -> anyhow::Result<Once> {
        let out = self.load.out.join(name);
        let further = [
            "--control-planes".to_owned(),
            self.documents.display().to_string(),
            format!("--as-aws={platform_ms}"),
            format!("--concurrency={PROCESSES}"),
            format!("--account-concurrency={ACCOUNT}"),
        ];
        let options = Options {
            load: Load {
                out: out.clone(),
                ..self.load.clone()
            },
            keys: out.join("stack/keys"),
            prescaled,
            patience: PATIENCE,
        };
        let start = Start {
            functions: &self.functions,
            out: &out,
            seed: self.load.seed,
            faults: &FaultPlan::default(),
            further: &further,
        };
        let mut stopped = stop.clone();
        let done = start.run(stop.clone(), async |file| {
            tokio::select! {
                done = on_stack(&file, &options, stop.clone()) => done,
                _ = stopped.wait_for(|stop| *stop) => Err(anyhow!("stopped")),
            }
        });
        let (ran, back) = done.await.with_context(|| format!("the run {name}"))?;
        let delayed = figures::delayed_by_database(&out.join("stack/logs"))?;
        say(&ran.report.summary());
        let figures = Figures::of(&ran, delayed);
        Ok(Once { ran, figures, back })
    }

    fn compare(&self, off: Figures, bare: Figures, on: Once) -> Comparison {
        let prepared = on.ran.prepared;
        let run = on.ran.report.run;
        let with = on.figures.first_second_p99_ms.max(f64::MIN_POSITIVE);
        let mut comparison = Comparison {
            ok: false,
            failures: Vec::new(),
            drop_file: run.drop_file,
            seed: self.load.seed,
            shoppers: run.shoppers,
            platform_share_ms: self.platform_ms,
            first_second_p99_ratio: off.first_second_p99_ms / with,
            first_second_p99_ratio_measured: bare.first_second_p99_ms / with,
            off,
            on: on.figures,
            off_without_platform_share: bare,
            ready_after_ms: prepared.map_or(0, |prepared| ms(prepared.took)),
            given_back_after_ms: ms(on.back),
        };
        comparison.failures = comparison.judge();
        comparison.ok = comparison.failures.is_empty();
        comparison
    }
}

/// One of the compared runs.
struct Once {
    ran: Ran,
    figures: Figures,
    /// The time from the end of the run until all capacity was returned; zero without pre-scaling.
    back: Duration,
}

async fn on_stack(
    stack: &StackFile,
    options: &Options,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<(Ran, Duration)> {
    let ran = run(stack, options, stop).await?;
    if !options.prescaled {
        return Ok((ran, Duration::ZERO));
    }
    say("the drop is over; waiting until capacity is given back");
    let shoppers = u32::try_from(ran.report.run.shoppers)?;
    let prescaling = Prescaling::new(stack, &ran.report.run.drop, &ran.file, shoppers)?;
    let back = prescaling.give_back().await?;
    Ok((ran, back))
}

impl Comparison {
    /// The promised effects that pre-scaling did not have, and the promises of the API that its run broke.
    fn judge(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let on = &self.on;
        for (name, figure) in [
            ("cold_starts", on.cold_starts),
            ("orders_delayed_by_database", on.orders_delayed_by_database),
            ("errors", on.errors),
        ] {
            if figure > 0 {
                failures.push(format!("with pre-scaling, {name} is {figure}"));
            }
        }
        if self.first_second_p99_ratio < LEAST_RATIO {
            failures.push(format!(
                "the first second's p99 is {:.1} times lower, not {LEAST_RATIO}",
                self.first_second_p99_ratio
            ));
        }
        let broken = on.failures.iter();
        failures.extend(broken.map(|failure| format!("with pre-scaling, {failure}")));
        failures
    }

    /// The comparison as a table for the terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let (off, on, bare) = (&self.off, &self.on, &self.off_without_platform_share);
        let mut lines = vec![format!(
            "{:<40}{:>14}{:>14}{:>16}",
            "", "off", "on", "off, share 0"
        )];
        let mut line = |name: &str, of: &dyn Fn(&Figures) -> String| {
            lines.push(format!("{name:<40}{:>14}{:>14}{:>16}", of(off), of(on), of(bare)));
        };
        line("cold_starts", &|f| f.cold_starts.to_string());
        line("cold_request_share", &|f| format!("{:.4}", f.cold_request_share));
        line("first_second_p99_ms", &|f| {
            format!("{:.1}", f.first_second_p99_ms)
        });
        line("first_second_p99_ms_measured_part", &|f| {
            format!("{:.1}", f.first_second_p99_ms_measured_part)
        });
        line("first_10s_p999_ms", &|f| format!("{:.1}", f.first_10s_p999_ms));
        line("errors", &|f| f.errors.to_string());
        line("spill_over", &|f| f.spill_over.to_string());
        line("sold_out_after_ms", &|f| {
            f.sold_out_after_ms
                .map_or("never".to_owned(), |ms| ms.to_string())
        });
        line("orders_delayed_by_database", &|f| {
            f.orders_delayed_by_database.to_string()
        });
        line("usd_prescale", &|f| format!("{:.4}", f.usd_prescale));
        lines.push(format!(
            "the first second's p99 is {:.1} times lower (modelled: {} ms of each cold start are a parameter), {:.1} times \
             without that parameter",
            self.first_second_p99_ratio, self.platform_share_ms, self.first_second_p99_ratio_measured
        ));
        lines.extend(self.failures.iter().map(|failure| format!("NOT KEPT: {failure}")));
        lines.join("\n")
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
