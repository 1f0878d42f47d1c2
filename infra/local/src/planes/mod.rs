//! Control planes: Lambda's, RDS's, Parameter Store and CloudWatch, which the function `prescale` looks at and changes.
//!
//! `ministack` holds them; it is started beside the stack when asked for, and stands at the declared baseline
//! ([`seed`]). Functions reach it through a [`front`] that holds each call against their policies, and that
//! takes trial calls to the functions of this stack: they run here and not there.
//!
//! What they hold of Lambda is honoured here: so many processes of a function are started ahead, and are allocated once they
//! have started ([`follow`]). If the stack is asked to scale as AWS does, the ledger's server takes as many connections and
//! rows a second as is declared for the cluster's size ([`cluster`]).
//!
//! Where this differs from AWS: preparing takes no time of its own, a minimum ACU is there at once and never grows with the
//! load, and warm throughput is kept by the stack's own tables. All of a function's provisioned concurrency is on the one alias, so
//! `ListProvisionedConcurrencyConfigs` has at most one entry and no pages. Calls are not throttled, an alias takes weights beside provisioned
//! concurrency, and nobody else changes anything; the scripted server of `shared/control-plane`'s tests stands for those.

mod caller;
mod cluster;
mod follow;
pub mod front;
pub(crate) mod needs;
pub mod relay;
mod seed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::Method;
use nix::sys::signal::Signal;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::child::{self, Spawner};
use crate::permissions::Tags;
use crate::postgres::Doors;
use crate::template::Model;
use caller::Caller;
use cluster::Cluster;

/// How long they may take until they answer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long they may take to stop before they are killed.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// Between two looks at whether they answer.
const PAUSE: Duration = Duration::from_millis(50);

/// Where functions are sent when there are none: nobody listens there.
pub const NOWHERE: &str = "http://127.0.0.1:9";

/// The variables that lead the clients of these services here.
pub const ENDPOINTS: [&str; 4] = [
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_ENDPOINT_URL_LAMBDA",
    "AWS_ENDPOINT_URL_RDS",
    "AWS_ENDPOINT_URL_SSM",
];

/// Running control planes.
#[derive(Debug)]
pub struct Planes {
    child: Child,
    /// Where they answer, past the front.
    url: String,
    /// The event source mappings made there, by their logical ids.
    pub mappings: BTreeMap<String, String>,
    /// The tags of what was made there, which conditions are about.
    pub tags: Tags,
    /// The alias that is live.
    alias: String,
    /// The functions they know.
    functions: BTreeSet<String>,
    /// Told when the ledger's cluster may be another.
    database: Arc<Notify>,
    _pulse: JoinSet<()>,
}

impl Planes {
    /// Starts them, at the baseline that the documents in `documents` declare. `tools` is where the project installs
    /// programs; the log goes to `logs`, what they write to `scratch`. `server` is given the size that the cluster has.
    ///
    /// # Errors
    /// When the program is missing, does not answer in time, or a document is not in its format.
    pub async fn start(
        model: &Model,
        documents: &Path,
        tools: &Path,
        logs: &Path,
        scratch: &Path,
        server: Option<Doors>,
        spawner: &Spawner,
    ) -> Result<Self> {
        let documents = seed::Documents::read(documents)?;
        let program = program(tools)?;
        let port = child::free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let log =
            std::fs::File::create(logs.join("control-planes.log")).context("the control planes' log")?;
        let mut command = Command::new(&program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", scratch)
            .env("TMPDIR", scratch)
            .env("STATE_DIR", scratch)
            .env("S3_DATA_DIR", scratch)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("AWS_ENDPOINT_URL", &url)
            .env("MINISTACK_HOST", "localhost")
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .env(
                "LAMBDA_ACCOUNT_CONCURRENCY",
                documents.account_concurrency.to_string(),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("the control planes' log")?)
            .stderr(log);
        let mut child = spawner.spawn(command, Signal::SIGKILL, 0).await?;
        let caller = Caller::new(&url);
        answers(&caller, &mut child).await?;
        let (mappings, tags) = seed::seed(&caller, model, &documents)
            .await
            .context("the account at its baseline")?;
        let mut pulse = JoinSet::new();
        let changed = Arc::new(Notify::new());
        if let Some(name) = documents.cluster(model) {
            let cluster = Cluster {
                planes: caller,
                name,
                declared: documents.database()?,
                server,
                changed: Arc::clone(&changed),
            };
            pulse.spawn(cluster.beat());
        }
        Ok(Self {
            child,
            url,
            mappings,
            tags,
            alias: documents.alias(model).unwrap_or_default(),
            functions: documents.functions(),
            database: changed,
            _pulse: pulse,
        })
    }

    /// What forwards to them.
    pub(crate) fn caller(&self) -> Caller {
        Caller::new(&self.url)
    }

    /// Ends them.
    pub async fn stop(mut self) {
        child::end(&mut self.child, Signal::SIGTERM, STOP_LIMIT).await;
    }
}

fn program(tools: &Path) -> Result<PathBuf> {
    let program = tools.join("venv/bin/ministack");
    if !program.is_file() {
        bail!(
            "no control planes in {}: run `infra/tools/setup test`",
            program.display()
        );
    }
    Ok(program)
}

async fn answers(caller: &Caller, child: &mut Child) -> Result<()> {
    let until = Instant::now() + START_LIMIT;
    loop {
        let health = caller.call("health", Method::GET, "/_ministack/health", &[], Vec::new());
        if health.await.is_ok_and(|answer| answer.status.is_success()) {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            bail!("the control planes ended ({status}); their log says why");
        }
        if Instant::now() > until {
            bail!("the control planes did not answer within {START_LIMIT:?}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
