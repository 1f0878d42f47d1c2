//! Contains the program `prescale-plan`, which prints the planned changes for a drop: when they happen,
//! their cost, and the limits that they reach.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use api::moment::Moment;
use capacity::freeze;
use capacity::observed::Observed;
use capacity::plan::plan;
use clap::Parser;
use domain::time::Timestamp;
use prescale_plan::documents::{self, Files};
use prescale_plan::render;

/// The exit code when a deployment must not begin.
const FROZEN: u8 = 3;

/// The plan of a drop's capacity.
#[derive(Debug, Parser)]
#[command(name = "prescale-plan", version)]
struct Cli {
    /// The drop's file.
    #[arg(long, default_value = "infra/prescale/drops/reference-spike.toml")]
    drop: PathBuf,
    #[command(flatten)]
    files: Files,
    /// The file of another drop on the calendar; may be repeated.
    #[arg(long)]
    beside: Vec<PathBuf>,
    /// Plan as of this moment, such as 2030-03-01T17:00:00Z, instead of now.
    #[arg(long, value_parser = moment)]
    now: Option<Timestamp>,
    /// Print JSON; moments are milliseconds since 1970, shares are millionths.
    #[arg(long)]
    json: bool,
    /// Instead of a plan, report whether a deployment that takes this many seconds may begin.
    #[arg(long, value_name = "SECONDS")]
    deployable: Option<u32>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let input = documents::read(&cli.files, &cli.drop, &cli.beside)?;
    let now = match cli.now {
        Some(now) => now,
        None => clock()?,
    };
    let mut out = std::io::stdout();
    if let Some(seconds) = cli.deployable {
        let allowed = freeze::check(&input.documents, &input.quotas, now, seconds);
        let Err(frozen) = allowed else {
            writeln!(out, "a deployment may begin")?;
            return Ok(ExitCode::SUCCESS);
        };
        let (from, until) = (render::moment(frozen.from), render::moment(frozen.until));
        writeln!(out, "{frozen}, from {from} to {until}")?;
        return Ok(ExitCode::from(FROZEN));
    }
    let observed = Observed::at_baseline(&input.documents.baseline);
    let plan = plan(&input.documents, &input.quotas, &observed, &input.drop, now)?;
    let text = if cli.json {
        serde_json::to_string_pretty(&plan)? + "\n"
    } else {
        render::plan(&plan, &input.documents.profile.source, &input.quotas)
    };
    out.write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn moment(text: &str) -> Result<Timestamp, serde_json::Error> {
    let moment: Moment = serde_json::from_value(text.into())?;
    Ok(moment.0)
}

fn clock() -> anyhow::Result<Timestamp> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?;
    Ok(Timestamp::from_millis(i64::try_from(since.as_millis())?))
}
