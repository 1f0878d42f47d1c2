//! Runs the control planes (Lambda's, RDS's, Parameter Store and CloudWatch), which the function `prescale` reads and
//! changes.
//!
//! `ministack` emulates them. It is started beside the stack when requested, with the declared baseline ([`seed`]).
//! Functions reach it through a [`front`] that checks each call against their policies. The front routes trial
//! invocations to the functions of this stack instead of `ministack`.
//!
//! The stack applies the emulated Lambda settings: it keeps as many processes of a function started as its provisioned
//! concurrency says, and reports them as allocated when they have started ([`follow`]). If the stack scales as AWS
//! does, the ledger's server accepts the connections and rows a second that are declared for the cluster's size
//! ([`cluster`]).
//!
//! Differences from AWS: preparation takes no extra time, a minimum ACU is effective immediately and never grows with
//! the load, and the stack's own tables keep the warm throughput. All provisioned concurrency of a function is on one
//! alias, so `ListProvisionedConcurrencyConfigs` returns at most one entry and no pages. Calls are not throttled, an
//! alias accepts weights beside provisioned concurrency, and no other user changes settings; the scripted server of
//! `shared/control-plane`'s tests covers these cases.

mod caller;
mod cluster;
mod follow;
pub mod front;
pub mod proxy;
mod seed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::Method;
use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::child::{self, Spawner};
use crate::permissions::Tags;
use crate::postgres::CapacityControl;
use crate::template::Model;
use caller::Caller;
use cluster::Cluster;

/// The time limit until the control planes answer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The time that the control planes have to stop before they are killed.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// The pause between two checks whether the control planes answer.
const PAUSE: Duration = Duration::from_millis(50);

/// The endpoint that functions call in a stack without control planes: no process listens there.
pub const NOWHERE: &str = "http://127.0.0.1:9";

/// The environment variables that set the endpoints of the control planes.
pub const ENDPOINTS: [&str; 4] = [
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_ENDPOINT_URL_LAMBDA",
    "AWS_ENDPOINT_URL_RDS",
    "AWS_ENDPOINT_URL_SSM",
];

#[derive(Debug)]
pub struct ControlPlanes {
    child: Child,
    /// The address of the control planes behind the front.
    url: String,
    /// The ids of the emulated event source mappings, by their logical ids in the template.
    pub mappings: BTreeMap<String, String>,
    /// The tags of the emulated database instances, for conditions of policies.
    pub tags: Tags,
    /// The alias that carries provisioned concurrency.
    alias: String,
    /// The functions that the control planes know.
    functions: BTreeSet<String>,
    /// Notified when the ledger's cluster may have changed.
    database: Arc<Notify>,
    _pulse: JoinSet<()>,
}

impl ControlPlanes {
    /// Starts the control planes at the baseline that the documents in `documents` declare. `tools` is the folder of
    /// the project's installed programs. The log goes to `logs`, other files to `scratch`. `server` gets the capacity
    /// of the cluster's size.
    ///
    /// # Errors
    /// When the program is missing, does not answer in time, or a document is malformed.
    pub async fn start(
        model: &Model,
        documents: &Path,
        tools: &Path,
        logs: &Path,
        scratch: &Path,
        server: Option<CapacityControl>,
        spawner: &Spawner,
    ) -> Result<Self> {
        let documents = seed::Documents::read(documents)?;
        let program = program(tools)?;
        let port = child::free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let log =
            std::fs::File::create(logs.join("control-planes.log")).context("the control planes' log")?;
        let mut command = spawner.command(program.as_ref(), Signal::SIGKILL, 0);
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
        let mut child = spawner.spawn(command).await?;
        let caller = Caller::new(&url);
        answers(&caller, &mut child).await?;
        let (mappings, tags) = seed::seed(&caller, model, &documents)
            .await
            .context("the account at its baseline")?;
        let mut pulse = JoinSet::new();
        let changed = Arc::new(Notify::new());
        if let Some(name) = documents.cluster(model) {
            let cluster = Cluster {
                control_planes: caller,
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

    /// A client that forwards to the control planes.
    pub(crate) fn caller(&self) -> Caller {
        Caller::new(&self.url)
    }

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
            bail!("the control planes ended ({status}); see their log");
        }
        if Instant::now() > until {
            bail!("the control planes did not answer within {START_LIMIT:?}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
