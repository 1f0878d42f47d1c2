//! Contains the program `bench`, which measures, prints a table, and writes `summary.json`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use bench::cold::{first_next_ms, standard};
use bench::cpu::{BLOCK, Bench};
use bench::host::{BASELINE, HELLO, Host, NODE, RESERVE, environment, model};
use bench::stage::{self, Plan};
use bench::summary::{Summary, mb};
use bench::verify::{ALGORITHMS, Tokens};
use clap::{Parser, ValueEnum};
use loadtest::progress::say;
use loadtest::stack::go_first;
use stampede_local::template::Model;
use tokens::SigningKey;
use tokio::signal::unix::{SignalKind, signal};

/// The folder into which `infra/tools/package` writes the programs for this machine's processor.
const FUNCTIONS_DIR: &str = if cfg!(target_arch = "aarch64") {
    "target/package/arm64/programs"
} else {
    "target/package/x86_64/programs"
};

/// The local stack's program.
const STACK: &str = "stampede-local";

/// The load generator has the functions' allocator, which leaves more CPU time for the stack.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Sizes of the binaries.
    Size,
    /// Cold starts.
    Cold,
    /// CPU time of invocations.
    Cpu,
    /// CPU time of verifying a token, by algorithm.
    Tokens,
    /// Load on the whole stack.
    Load,
    /// Reservations alone, without figures, for a profiler. Runs only when requested.
    Profile,
}

/// Measures the cost of a reservation, the throughput of the stack, and the time of a cold start.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    /// The parts to measure, separated by commas; without it all parts except `profile`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// The folder of the functions' programs, made by `infra/tools/package --stand-ins`.
    #[arg(long, default_value = FUNCTIONS_DIR)]
    functions_dir: PathBuf,
    /// The folder of the stack's program.
    #[arg(long, default_value = "target/release")]
    stack_dir: PathBuf,
    /// The folder of the Node.js function, made by `loadtest/bench/node/build`.
    #[arg(long, default_value = "target/bench/node")]
    node_dir: PathBuf,
    /// The SAM template.
    #[arg(long, default_value = "infra/template.yaml")]
    template: PathBuf,
    /// The drop of the load.
    #[arg(long, default_value = "loadtest/bench/drop.toml")]
    drop: PathBuf,
    /// The folder for all output.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Rounds of the CPU measurement. The load has a third as many, the cold starts five times as many.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: u16,
    /// Send reservations only instead of the mix, to profile them.
    #[arg(long)]
    reserves_only: bool,
    /// The seed of all random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Cli {
    fn wants(&self, part: Part) -> bool {
        self.only.contains(&part) || (self.only.is_empty() && part != Part::Profile)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Without privileges this fails, which is no error: the stack gets a lower priority in any case.
    let _ = go_first();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let done = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(until_stopped(&cli)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn until_stopped(cli: &Cli) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        done = measure(cli) => done,
        _ = interrupt.recv() => anyhow::bail!("stopped"),
        _ = terminate.recv() => anyhow::bail!("stopped"),
    }
}

async fn measure(cli: &Cli) -> anyhow::Result<()> {
    std::fs::create_dir_all(&cli.out)?;
    let model = model(&cli.template)?;
    let programs = programs(cli, &model)?;
    let mut summary = Summary::default();
    if cli.wants(Part::Size) {
        sizes(cli, &model, &mut summary)?;
    }
    if cli.wants(Part::Cold) {
        say("cold starts");
        cold_starts(cli, &model, &programs, &mut summary)?;
    }
    if cli.wants(Part::Cpu) {
        say("CPU time of invocations");
        cpu_times(cli, &programs, &mut summary).await?;
    }
    if cli.wants(Part::Tokens) {
        verifications(cli, &mut summary)?;
    }
    if cli.wants(Part::Profile) {
        let host = Host::start(&cli.template, programs.clone(), cli.out.join("logs")).await?;
        let done = profiled(&host, cli.rounds).await;
        host.stop().await;
        return done;
    }
    if cli.wants(Part::Load) {
        say("load");
        let plan = Plan {
            binaries: programs.clone(),
            folder: cli.out.clone(),
            drop: cli.drop.clone(),
            rounds: usize::from(cli.rounds).div_ceil(3),
            closed_seconds: 8.0,
            open_seconds: 12.0,
            reserves_only: cli.reserves_only,
            seed: cli.seed,
        };
        summary.load(&stage::run(&plan, &model).await?);
    }
    std::io::stdout().write_all(summary.table().as_bytes())?;
    summary.write(&cli.out.join("summary.json"))
}

/// Makes one folder with a link to each measured program.
fn programs(cli: &Cli, model: &Model) -> anyhow::Result<PathBuf> {
    let folder = cli.out.join("programs");
    std::fs::create_dir_all(&folder)?;
    let functions = model.functions.keys().map(String::as_str);
    let packaged = functions.chain([BASELINE, HELLO]);
    let packaged = packaged.map(|name| (name, &cli.functions_dir));
    let others = [(NODE, &cli.node_dir), (STACK, &cli.stack_dir)];
    for (name, place) in packaged.chain(others) {
        let path = place.join(name);
        let program = path.canonicalize();
        let program =
            program.with_context(|| format!("{} is not there; `make bench` builds it", path.display()))?;
        let link = folder.join(name);
        if link.symlink_metadata().is_ok() {
            std::fs::remove_file(&link)?;
        }
        symlink(program, link)?;
    }
    Ok(folder)
}

/// Functions with large SDKs. Their sizes are reported separately, since they start once a minute and no user waits
/// for them.
const APART: [&str; 2] = ["prescale", "fetch-keys"];

fn sizes(cli: &Cli, model: &Model, summary: &mut Summary) -> anyhow::Result<()> {
    let mut sizes = Vec::new();
    for name in model.functions.keys() {
        let path = cli.functions_dir.join(name);
        let file = path.metadata().with_context(|| format!("{}", path.display()))?;
        let bytes = file.len();
        if APART.contains(&name.as_str()) {
            summary.value(&format!("{}_binary_mb", name.replace('-', "_")), mb(bytes));
        } else {
            sizes.push((bytes, name));
        }
    }
    if let Some((bytes, name)) = sizes.iter().max() {
        summary.value("binary_mb_max", mb(*bytes));
        summary.note("binary_mb_max", name.as_str());
    }
    Ok(())
}

fn cold_starts(cli: &Cli, model: &Model, programs: &Path, summary: &mut Summary) -> anyhow::Result<()> {
    let mut variables: BTreeMap<String, String> = standard(RESERVE);
    // The variables are those of the template, without a custom endpoint, so that the client prepares TLS.
    variables.extend(environment(model, RESERVE, &SigningKey::generate("bench")?)?);
    let names = [HELLO, RESERVE, NODE];
    let mut taken: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..=5 * usize::from(cli.rounds) {
        for name in names {
            let ms = first_next_ms(&programs.join(name), &variables)?;
            // The first start reads the program from disk, so it does not count.
            if round > 0 {
                taken.entry(name).or_default().push(ms);
            }
        }
    }
    let of = |name: &str| taken.get(name).map(Vec::as_slice).unwrap_or_default();
    summary.rounds("cold_start_ms", of(RESERVE));
    summary.rounds("hello_world_cold_start_ms", of(HELLO));
    summary.rounds("node_cold_start_ms", of(NODE));
    summary.ratio("cold_start_over_hello_world", of(RESERVE), of(HELLO));
    summary.ratio("cold_start_over_node", of(RESERVE), of(NODE));
    Ok(())
}

fn verifications(cli: &Cli, summary: &mut Summary) -> anyhow::Result<()> {
    /// The number of verifications in a round, which take some tenths of a second for each algorithm.
    const TIMES: u32 = 3_000;
    let tokens = Tokens::read()?;
    let mut taken: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..cli.rounds {
        for algorithm in ALGORITHMS {
            let us = tokens.cpu_us(algorithm, TIMES)?;
            taken.entry(algorithm).or_default().push(us);
        }
    }
    for (algorithm, rounds) in &taken {
        summary.rounds(&format!("verify_{}_cpu_us", algorithm.to_lowercase()), rounds);
    }
    Ok(())
}

async fn cpu_times(cli: &Cli, programs: &Path, summary: &mut Summary) -> anyhow::Result<()> {
    let host = Host::start(&cli.template, programs.to_owned(), cli.out.join("logs")).await?;
    let rounds = rounds(&host, usize::from(cli.rounds)).await;
    host.stop().await;
    let rounds = rounds?;
    summary.rounds("reserve_cpu_us", &rounds.reserve);
    summary.rounds("baseline_cpu_us", &rounds.baseline);
    summary.rounds("node_reserve_cpu_us", &rounds.node);
    let peeks = rounds.reserve_with_peek.iter().zip(&rounds.reserve);
    let peeks: Vec<f64> = peeks.map(|(with, without)| with - without).collect();
    summary.rounds("reserve_peek_cpu_us", &peeks);
    let checkout_ms: Vec<f64> = rounds.checkout.iter().map(|us| us / 1e3).collect();
    summary.rounds("checkout_cpu_ms", &checkout_ms);
    summary.ratio("reserve_cpu_over_baseline", &rounds.reserve, &rounds.baseline);
    summary.ratio("reserve_cpu_over_node", &rounds.reserve, &rounds.node);
    let disturbed = rounds.disturbed;
    summary.note(
        "cpu",
        format!("{BLOCK} invocations a round; {disturbed} blocks were disturbed and taken again"),
    );
    Ok(())
}

async fn profiled(host: &Host, blocks: u16) -> anyhow::Result<()> {
    let mut bench = Bench::new(host);
    for _ in 0..blocks {
        bench.profiled().await?;
    }
    Ok(())
}

async fn rounds(host: &Host, count: usize) -> anyhow::Result<bench::cpu::Rounds> {
    let mut bench = Bench::new(host);
    bench.warm_up().await?;
    for _ in 0..count {
        bench.round().await?;
    }
    Ok(bench.finish())
}
