//! The local stack: started as a child and stopped again, or one that runs already.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tokens::SigningKey;
use tokio::process::{Child, Command};

/// How long the stack may take until it can be used.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long it may take to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How far ahead of the stack the generator should be in the queue for the processor: a generator on a machine of its own
/// would not be disturbed by the stack either.
const AHEAD: i8 = 10;

/// Puts this process ahead of others if it may, which takes privileges. To be called before any thread is started, since
/// threads inherit it.
///
/// Answers whether it did.
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

/// Where a running stack is: the file `stack.json` it writes.
#[derive(Debug, Clone, Deserialize)]
pub struct StackFile {
    /// The HTTP API.
    pub api_url: String,
    /// DynamoDB.
    pub dynamodb_url: String,
    /// SQS.
    pub sqs_url: String,
    /// The ledger's PostgreSQL.
    pub database_url: String,
    /// The gateway's own log.
    pub gateway_log: PathBuf,
    /// Figures, queues, whether anything is left to do.
    pub control_url: String,
    /// The control planes, if it has any.
    #[serde(default)]
    pub control_planes_url: Option<String>,
    /// What its functions are told.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// A bearer token for the operator's routes.
    pub operator_token: String,
    /// The process that runs the stack.
    pub pid: u32,
    /// What goes wrong on purpose: names of faults, separated by commas; empty if nothing does.
    pub faults: String,
    /// What the faults' draws follow from.
    pub fault_seed: u64,
    /// Table names by the environment variable that carries them.
    pub tables: BTreeMap<String, String>,
    /// Queue URLs by name.
    pub queues: BTreeMap<String, String>,
}

impl StackFile {
    /// Reads a stack's file.
    ///
    /// # Errors
    /// When there is none or it is of another form.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read(path).with_context(|| format!("no stack runs: reading {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))
    }

    /// The name of the table that the functions get as `variable`.
    ///
    /// # Errors
    /// When the stack has no such table.
    pub fn table(&self, variable: &str) -> anyhow::Result<&str> {
        self.tables
            .get(variable)
            .map(String::as_str)
            .with_context(|| format!("the stack has no {variable}"))
    }
}

/// The key that signs shoppers' tokens, from the folder of a stack's keys.
///
/// # Errors
/// When it is not there or not a key.
pub fn shopper_key(keys: &Path) -> anyhow::Result<SigningKey> {
    let path = keys.join("shopper.pkcs8");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    SigningKey::from_encoded(&text).with_context(|| format!("in {}", path.display()))
}

/// A stack that was started here.
#[derive(Debug)]
pub struct OwnStack {
    child: Child,
    stack_file: PathBuf,
    log: PathBuf,
}

impl OwnStack {
    /// Starts the stack in `folder` with the binaries in `functions`, these faults and `further` arguments, its output going to
    /// `log`. It is ready once [`OwnStack::ready`] says so.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        functions: &Path,
        folder: &Path,
        log: &Path,
        seed: u64,
        faults: &str,
        further: &[String],
    ) -> anyhow::Result<Self> {
        let binary = functions.join("stampede-local");
        if !binary.exists() {
            bail!(
                "{} is not there; build it with `cargo build --release`",
                binary.display()
            );
        }
        let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        // `setpriv` ends the stack with us even if we are killed outright; `nice` puts it behind the generator, where it
        // was before if the generator went first. Both replace themselves by the stack, which keeps the process id.
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
            .arg(functions)
            .arg("--out")
            .arg(folder)
            .args(["--function-log", "warn", "--seed"])
            .arg(seed.to_string())
            .arg("--fault-seed")
            .arg(seed.to_string())
            // Named even when empty: the environment of the generator is not the stack's.
            .arg(format!("--faults={faults}"))
            .args(further)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // In a group of its own: Ctrl-C reaches us, and we stop the stack in our order.
            .process_group(0)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        Ok(Self {
            child,
            stack_file: folder.join("stack.json"),
            log: log.to_owned(),
        })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time; it is still to be stopped then.
    pub async fn ready(&mut self) -> anyhow::Result<StackFile> {
        match tokio::time::timeout(START_LIMIT, self.announced()).await {
            Ok(Ok(file)) => Ok(file),
            Ok(Err(error)) => Err(error.context(format!("the stack did not start:\n{}", tail(&self.log)))),
            Err(_) => bail!(
                "the stack was not ready within {} s:\n{}",
                START_LIMIT.as_secs(),
                tail(&self.log)
            ),
        }
    }

    async fn announced(&mut self) -> anyhow::Result<StackFile> {
        let mut interval = tokio::time::interval(Duration::from_millis(50));
        loop {
            interval.tick().await;
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if let Ok(file) = StackFile::load(&self.stack_file)
                && Some(file.pid) == self.child.id()
            {
                return Ok(file);
            }
        }
    }

    /// Waits until it ends by itself; answers how.
    pub async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Asks it to stop and waits; kills it if it does not.
    pub async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // An error says that it has ended, which is the aim.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(15)..)
        .unwrap_or_default()
        .join("\n")
}
