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
use std::fs::File;
use std::path::Path;
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
use seed::Names;

/// The time limit until the control planes answer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The time that the control planes have to stop before they are killed.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// The pause between two checks whether the control planes answer.
const PAUSE: Duration = Duration::from_millis(50);

/// The endpoint that functions call in a stack without control planes: no process listens there.
pub const NOWHERE: &str = "http://127.0.0.1:9";

#[derive(Debug)]
pub struct ControlPlanes {
    child: Child,
    /// Sends requests to the control planes behind the front.
    caller: Caller,
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
        let program = tools.join("venv/bin/ministack");
        if !program.is_file() {
            let program = program.display();
            bail!("no control planes in {program}: run `infra/tools/setup test`");
        }
        let port = child::free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let log = File::create(logs.join("control-planes.log")).context("the control planes' log")?;
        let account_concurrency = documents.account_concurrency.to_string();
        let mut command = spawner.command(&program, Signal::SIGKILL, 0);
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
            .env("LAMBDA_ACCOUNT_CONCURRENCY", account_concurrency)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("the control planes' log")?)
            .stderr(log);
        let mut child = spawner.spawn(command).await?;
        let caller = Caller::new(&url);
        answers(&caller, &mut child).await?;
        let names = Names::of(model)?;
        let seeded = seed::seed(&caller, model, &documents, names.as_ref()).await;
        let (mappings, tags) = seeded.context("the account at its baseline")?;
        let mut pulse = JoinSet::new();
        let changed = Arc::new(Notify::new());
        let mut alias = String::new();
        if let Some(names) = names {
            alias = names.alias;
            let cluster = Cluster {
                control_planes: caller.clone(),
                name: names.cluster,
                declared: documents.baseline.database,
                server,
                changed: Arc::clone(&changed),
            };
            pulse.spawn(cluster.beat());
        }
        let functions = documents.baseline.functions.into_iter();
        Ok(Self {
            child,
            caller,
            mappings,
            tags,
            alias,
            functions: functions.map(|declared| declared.function).collect(),
            database: changed,
            _pulse: pulse,
        })
    }

    pub async fn stop(mut self) {
        child::end(&mut self.child, Signal::SIGTERM, STOP_LIMIT).await;
    }
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
