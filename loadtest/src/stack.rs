//! Starts the local stack as a child process and stops it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_api::StackFile;
use stack_api::faults::FaultPlan;
use tokens::SigningKey;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::files::{create_folder, read};

/// The time limit from the start of the stack until it is ready.
const START_LIMIT: Duration = Duration::from_secs(90);
/// The time that the stack has to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// The difference in nice values between the generator and the stack. With the higher priority, the generator is on
/// time although the stack uses the same cores.
const AHEAD: i8 = 10;

/// Raises this process's priority, which needs privileges. Call it before any thread is started, since threads inherit
/// the priority.
///
/// Returns whether the priority was raised.
#[must_use]
pub fn go_first() -> bool {
    let renice = std::process::Command::new("renice")
        .args(["-n", &format!("-{AHEAD}"), "-p", &std::process::id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    renice.is_ok_and(|status| status.success())
}

/// The key that signs shoppers' tokens, from the folder of a stack's keys.
///
/// # Errors
/// When the file does not exist or is not a key.
pub fn shopper_key(keys: &Path) -> anyhow::Result<SigningKey> {
    let path = keys.join("shopper.jwk");
    SigningKey::from_jwk(&read(&path)?).with_context(|| format!("in {}", path.display()))
}

/// The settings with which the local stack is started as a child process.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The folder of the functions' and the stack's binaries.
    pub functions: &'a Path,
    /// The folder that gets the stack's folder `stack` and the stack's output, `stack.log`.
    pub out: &'a Path,
    /// The seed of all random numbers of the stack.
    pub seed: u64,
    /// The injected faults.
    pub faults: &'a FaultPlan,
    pub further: &'a [String],
}

impl Start<'_> {
    /// Starts a stack, runs `work` on it once it is ready, and stops it also when `work` fails.
    ///
    /// # Errors
    /// The errors of `work`; also when the stack does not start or ends by itself, or when `stop` turns true before
    /// the stack is ready. Later, `work` itself must react to `stop`.
    pub async fn run<T>(
        &self,
        mut stop: watch::Receiver<bool>,
        work: impl AsyncFnOnce(StackFile) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut stack = self.spawn()?;
        let ready = tokio::select! {
            ready = self.ready(&mut stack) => ready,
            Ok(_) = stop.wait_for(|stop| *stop) => Err(anyhow!("stopped")),
        };
        let done = match ready {
            Ok(file) => tokio::select! {
                done = work(file) => done,
                ended = stack.wait() => Err(anyhow!(
                    "the stack ended by itself ({}); see {}",
                    ended.map_or_else(|error| error.to_string(), |status| status.to_string()),
                    self.log().display()
                )),
            },
            Err(error) => Err(error),
        };
        stop_child(stack).await;
        done
    }

    fn log(&self) -> PathBuf {
        self.out.join("stack.log")
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let binary = self.functions.join("stampede-local");
        if !binary.exists() {
            bail!(
                "{} is not there; build it with `cargo build --release`",
                binary.display()
            );
        }
        create_folder(self.out)?;
        let log = self.log();
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        // `setpriv` ends the stack when this process dies, even after SIGKILL. `nice` lowers the stack's priority below
        // the generator's, or back to normal if the generator's priority was raised. Both programs replace themselves
        // by the stack, which keeps the process id.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "nice", "-n", &AHEAD.to_string()]);
        if !on_path("setpriv") || !on_path("nice") {
            command = Command::new(&binary);
        } else {
            command.arg(&binary);
        }
        command
            .arg("up")
            .arg("--functions-dir")
            .arg(self.functions)
            .arg("--out")
            .arg(self.out.join("stack"))
            .args(["--function-log", "warn", "--seed"])
            .arg(self.seed.to_string())
            .arg("--fault-seed")
            .arg(self.seed.to_string())
            // An empty value is passed, too: without the argument, the stack would read it from the generator's
            // environment.
            .arg(format!("--faults={}", self.faults))
            .args(self.further)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // The stack has its own process group, so that Ctrl-C reaches only this process, which then stops the
            // stack.
            .process_group(0)
            .kill_on_drop(true);
        command
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))
    }

    /// Waits until the stack is ready.
    async fn ready(&self, stack: &mut Child) -> anyhow::Result<StackFile> {
        match tokio::time::timeout(START_LIMIT, self.announced(stack)).await {
            Ok(Ok(file)) => Ok(file),
            Ok(Err(error)) => Err(error.context(format!("the stack did not start:\n{}", tail(&self.log())))),
            Err(_) => bail!(
                "the stack was not ready within {} s:\n{}",
                START_LIMIT.as_secs(),
                tail(&self.log())
            ),
        }
    }

    async fn announced(&self, stack: &mut Child) -> anyhow::Result<StackFile> {
        let path = self.out.join("stack/stack.json");
        let mut interval = tokio::time::interval(Duration::from_millis(50));
        loop {
            interval.tick().await;
            if let Some(status) = stack.try_wait()? {
                bail!("it ended with {status}");
            }
            if let Ok(file) = StackFile::load(&path)
                && Some(file.pid) == stack.id()
            {
                return Ok(file);
            }
        }
    }
}

/// Asks the stack to stop and waits; kills it after the time limit.
async fn stop_child(mut stack: Child) {
    if let Some(pid) = stack.id().and_then(|pid| i32::try_from(pid).ok()) {
        // An error means that the stack has already ended.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if tokio::time::timeout(STOP_LIMIT, stack.wait()).await.is_err() {
        let _ = stack.kill().await;
    }
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let (_, last) = lines.split_at(lines.len().saturating_sub(15));
    last.join("\n")
}
