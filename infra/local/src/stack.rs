//! Starts all parts of a stack in the order in which they need each other, and stops them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use domain::limits::MAX_GATEWAY_CALLS_PER_SECOND;
use stack_api::StackFile;
use time::OffsetDateTime;
use tokens::{Audience, SigningKey};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Mutex, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::child::Spawner;
use crate::control::{self, Control};
use crate::control_planes::{self, ControlPlanes};
use crate::dynamodb::{self, Dynamo};
use crate::faults::{FaultPlan, Faults, Keys};
use crate::front::{self, Front};
use crate::mail::{self, Mailbox};
use crate::meter::Meter;
use crate::permissions::Permissions;
use crate::postgres::{self, Postgres};
use crate::runtime::{DEFAULT_CONCURRENCY, Functions, OnDemand, Settings};
use crate::secrets::{self, Secrets};
use crate::sources::{self, Sources};
use crate::sqs::{self, Sqs};
use crate::template::{self, Model, REGION, Surroundings};
use crate::workdir::{Place, Signer};

/// The lifetime of the operator's token in `stack.json` and of the tokens of `stampede-local token`.
pub const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// The operator's name in the token of `stack.json`.
pub const OPERATOR: &str = "local-operator";

/// The number of connections that a server's queue holds until they are accepted. Linux limits it to
/// `net.core.somaxconn`, which is 4,096 by default. A client repeats the packets of a connection beyond it.
const BACKLOG: u32 = 4_096;

/// The API key of the functions for the sandbox gateway.
const GATEWAY_API_KEY: &str = "sk_test_local";

/// The signing secret of the sandbox gateway's webhooks.
const GATEWAY_WEBHOOK_SECRET: &str = "whsec_local";

/// The sender of mails, and the domain that counts as verified by SES.
const MAIL_FROM: &str = "orders@shop.example";
const MAIL_DOMAIN: &str = "shop.example";

/// The command-line options with which a stack is started.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The SAM template.
    #[arg(long, default_value = "infra/template.yaml")]
    pub template: PathBuf,
    /// The folder of the functions' binaries.
    #[arg(long = "functions-dir", default_value = "target/release")]
    pub binaries: PathBuf,
    /// The stack's own folder: stack.json, logs, keys.
    #[arg(long, default_value = "target/local")]
    pub out: PathBuf,
    /// The folder of the project's installed tools, such as PostgreSQL.
    #[arg(long, default_value = ".tools")]
    pub tools: PathBuf,
    /// Also start control planes, at the baseline of the documents in this folder: `infra/prescale`. Without
    /// control planes, the schedules of functions that call them do not run.
    #[arg(long)]
    pub control_planes: Option<PathBuf>,
    /// The largest number of processes per function.
    #[arg(long, default_value_t = DEFAULT_CONCURRENCY)]
    pub concurrency: usize,
    /// Scale as AWS does: start a process immediately for every request that finds no idle process, and add this many
    /// ms to its start for the platform's work. With control planes, the ledger's server gets the size that they hold.
    #[arg(long, value_name = "PLATFORM_MS")]
    pub as_aws: Option<u64>,
    /// The largest number of processes that are started on demand for all functions together. Without `--as-aws` a
    /// function gets up to 16 processes whatever the number is, within `--concurrency`.
    #[arg(long, default_value_t = 64)]
    pub account_concurrency: usize,
    /// The functions' log level, for instance `warn`; without it the template's level.
    #[arg(long)]
    pub function_log: Option<String>,
    /// The seed of the sandbox gateway's random numbers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Faults to inject: names separated by commas, or `everything`.
    #[arg(long, env = "FAULTS", default_value = "")]
    pub faults: FaultPlan,
    /// The seed of the faults' random numbers.
    #[arg(long, default_value_t = 1)]
    pub fault_seed: u64,
    /// The payment gateway's rate, in calls a second: the value of the template's parameter, and the limit
    /// beyond which the sandbox answers 429. Without it the sandbox has no limit, and the parameter has the
    /// highest rate.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_GATEWAY_CALLS_PER_SECOND)))]
    pub gateway_rate: Option<u32>,
}

impl Options {
    /// How processes are started on demand.
    fn on_demand(&self) -> OnDemand {
        self.as_aws.map_or(OnDemand::Sparing, |ms| OnDemand::AsLambda {
            platform_share: Duration::from_millis(ms),
        })
    }
}

pub struct Stack {
    /// The addresses of all servers of the stack, as in `stack.json`.
    pub file: StackFile,
    place: Place,
    functions: Arc<Functions>,
    sqs: Sqs,
    sources: Sources,
    control_planes: Option<ControlPlanes>,
    postgres: Arc<Mutex<Postgres>>,
    faults: Arc<Faults>,
    fault_tasks: JoinSet<()>,
    gateway: Gateway,
    servers: JoinSet<()>,
}

/// The sender that stops the sandbox gateway, and the gateway's task.
type Gateway = (oneshot::Sender<()>, JoinHandle<std::io::Result<()>>);

/// Placeholder values for everything that a template refers to, for parsing it without a stack.
#[must_use]
pub fn sample_surroundings() -> Surroundings {
    let keys = Signer::ALL.map(|signer| (signer.parameter(), "x".to_owned()));
    let (gateway, sqs) = ("http://127.0.0.1:1", "http://127.0.0.1:3");
    surroundings(keys.into(), gateway, postgres::parameters(2, "z"), sqs)
}

fn surroundings(
    keys: BTreeMap<String, String>,
    gateway: &str,
    mut parameters: BTreeMap<String, String>,
    sqs: &str,
) -> Surroundings {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let own_parameters = [
        ("GatewayUrl", gateway),
        ("MailFrom", MAIL_FROM),
        ("MailIdentity", MAIL_DOMAIN),
    ];
    parameters.extend(own_parameters.map(owned));
    let secrets = [
        ("stampede/gateway:api_key", GATEWAY_API_KEY),
        ("stampede/gateway-webhook:secrets", GATEWAY_WEBHOOK_SECRET),
    ];
    Surroundings {
        parameters,
        parameter_store: keys,
        secrets: secrets.map(owned).into(),
        mappings: BTreeMap::new(),
        sqs_url: sqs.to_owned(),
    }
}

/// One value for each server of the stack: its listener or its URL.
struct Each<T> {
    api: T,
    control: T,
    control_planes: T,
    dynamodb: T,
    gateway: T,
    mail: T,
    secrets: T,
    sqs: T,
}

impl Each<TcpListener> {
    /// Binds the listeners of all servers, before any server starts.
    fn bind() -> Result<Self> {
        let bind = || {
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            socket.listen(BACKLOG).context("a free port")
        };
        Ok(Self {
            api: bind()?,
            control: bind()?,
            control_planes: bind()?,
            dynamodb: bind()?,
            gateway: bind()?,
            mail: bind()?,
            secrets: bind()?,
            sqs: bind()?,
        })
    }

    fn urls(&self) -> Result<Each<String>> {
        let url = |listener: &TcpListener| anyhow::Ok(format!("http://{}", listener.local_addr()?));
        Ok(Each {
            api: url(&self.api)?,
            control: url(&self.control)?,
            control_planes: url(&self.control_planes)?,
            dynamodb: url(&self.dynamodb)?,
            gateway: url(&self.gateway)?,
            mail: url(&self.mail)?,
            secrets: url(&self.secrets)?,
            sqs: url(&self.sqs)?,
        })
    }
}

/// The environment of every function in addition to the template's.
fn environment(options: &Options, urls: &Each<String>) -> BTreeMap<String, String> {
    let control_planes = options
        .control_planes
        .as_ref()
        .map(|_| urls.control_planes.as_str());
    let planes = control_planes.unwrap_or(control_planes::NOWHERE);
    [
        ("AWS_ENDPOINT_URL_CLOUDWATCH", planes),
        ("AWS_ENDPOINT_URL_DYNAMODB", &urls.dynamodb),
        ("AWS_ENDPOINT_URL_LAMBDA", planes),
        ("AWS_ENDPOINT_URL_RDS", planes),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &urls.secrets),
        ("AWS_ENDPOINT_URL_SESV2", &urls.mail),
        ("AWS_ENDPOINT_URL_SQS", &urls.sqs),
        // With control planes, their front end serves Parameter Store: it looks in the stack's own stores first.
        ("AWS_ENDPOINT_URL_SSM", control_planes.unwrap_or(&urls.secrets)),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_SESSION_TOKEN", "local"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        // The token issuers of tests run on this machine without certificates, so functions must accept plain HTTP
        // from 127.0.0.1.
        ("PLAIN_HTTP_TO_LOOPBACK", "allowed"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// What the stack knows of the template and its settings.
struct Draft {
    template: String,
    around: Surroundings,
    /// The template's resources. Until [`Self::complete`], placeholders stand for the values that only the started
    /// servers determine.
    model: Model,
    faults: Arc<Faults>,
    settings: Settings,
}

impl Draft {
    /// Reads the template and checks the binaries, so that an error in them ends the start before any process runs.
    fn new(options: &Options, place: &Place, urls: &Each<String>, template: String) -> Result<Self> {
        let placeholders = postgres::parameters(0, "not made yet");
        let mut around = surroundings(place.public_keys()?, &urls.gateway, placeholders, &urls.sqs);
        let rate = options.gateway_rate.unwrap_or(MAX_GATEWAY_CALLS_PER_SECOND);
        let name = "GatewayCallsPerSecond".to_owned();
        around.parameters.insert(name, rate.to_string());
        let model = template::load(&template, &around)?;
        let keys = Keys::of(&model.tables);
        let faults = Faults::new(options.faults.clone(), options.fault_seed, keys, &place.tools()?)?;
        let settings = Settings {
            binaries: options.binaries.clone(),
            logs: place.logs(),
            concurrency: options.concurrency,
            on_demand: options.on_demand(),
            account_concurrency: options.account_concurrency,
            environment: environment(options, urls),
            faults: Arc::clone(&faults),
        };
        missing(&model, &settings, options.control_planes.is_some())?;
        Ok(Self {
            template,
            around,
            model,
            faults,
            settings,
        })
    }

    /// Replaces the placeholders by the addresses of the running servers.
    fn complete(
        &mut self,
        options: &Options,
        postgres: &Postgres,
        control_planes: Option<&ControlPlanes>,
    ) -> Result<()> {
        self.around.parameters.extend(postgres.parameters());
        if let Some(control_planes) = control_planes {
            self.around.mappings.clone_from(&control_planes.mappings);
        }
        self.model = template::load(&self.template, &self.around)?;
        if let Some(level) = &options.function_log {
            for function in self.model.functions.values_mut() {
                function.environment.insert("RUST_LOG".to_owned(), level.clone());
            }
        }
        Ok(())
    }
}

/// Starts PostgreSQL and, if requested, the control planes, which are processes of other programs.
async fn start_servers(
    options: &Options,
    place: &Place,
    model: &Model,
    spawner: &Spawner,
) -> Result<(Postgres, Option<ControlPlanes>)> {
    let mut postgres = Postgres::start(place.root(), &place.logs(), &options.tools, spawner).await?;
    postgres.migrate().await.context("the ledger's migrations")?;
    let capacity = match options.on_demand().is_as_lambda() {
        true => Some(postgres.sizeable().await.context("a server of any size")?),
        false => None,
    };
    let Some(documents) = &options.control_planes else {
        return Ok((postgres, None));
    };
    let (tools, logs, scratch) = (&options.tools, place.logs(), place.tools()?);
    let started = ControlPlanes::start(model, documents, tools, &logs, &scratch, capacity, spawner);
    let control_planes = started.await.context("the control planes")?;
    Ok((postgres, Some(control_planes)))
}

/// The content of `stack.json`.
fn stack_file(
    options: &Options,
    place: &Place,
    urls: Each<String>,
    postgres: &Postgres,
    sqs: &Sqs,
    model: &Model,
    operator: &SigningKey,
) -> Result<StackFile> {
    let environment = everyone(model, environment(options, &urls));
    let tables = environment.iter().filter(|(name, _)| name.ends_with("_TABLE"));
    let tables = tables.map(|(name, value)| (name.clone(), value.clone()));
    let queues = model.queues.keys();
    let queues = queues.map(|queue| (queue.clone(), sqs.queue_url(queue)));
    Ok(StackFile {
        api_url: urls.api,
        dynamodb_url: urls.dynamodb,
        sqs_url: urls.sqs,
        database_url: postgres.superuser_url(),
        database_roots: postgres.authority().to_owned(),
        gateway_url: urls.gateway,
        gateway_calls_per_second: options.gateway_rate,
        gateway_log: place.gateway_log(),
        mails: place.mails(),
        control_url: urls.control,
        control_planes_url: options.control_planes.is_some().then_some(urls.control_planes),
        operator_token: sign(operator, Audience::Operator, OPERATOR)?,
        pid: std::process::id(),
        faults: options.faults.clone(),
        fault_seed: options.fault_seed,
        tables: tables.collect(),
        queues: queues.collect(),
        environment,
    })
}

fn now_millis() -> u64 {
    let ms = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    u64::try_from(ms).unwrap_or_default()
}

/// A bearer token for `subject`, signed with the keys of the stack in `out`.
///
/// # Errors
/// When no stack was started in `out`.
pub fn token(out: &Path, audience: Audience, subject: &str) -> Result<String> {
    let key = crate::workdir::key(out, Signer::of(audience))?;
    sign(&key, audience, subject)
}

fn sign(key: &SigningKey, audience: Audience, subject: &str) -> Result<String> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let life = i64::try_from(TOKEN_LIFE.as_secs())?;
    Ok(key.sign(audience, subject, now, now + life)?)
}

impl Stack {
    /// Starts everything that the template describes, and writes `stack.json` when all parts run.
    ///
    /// # Errors
    /// When a part cannot be started. Parts that already run are stopped.
    pub async fn start(options: &Options) -> Result<Self> {
        let template = std::fs::read_to_string(&options.template)
            .with_context(|| format!("the template {}", options.template.display()))?;
        let place = Place::take(&options.out)?;
        let spawner = Spawner::start()?;
        let listeners = Each::bind()?;
        let urls = listeners.urls()?;
        let operator = place.make_keys()?;
        let mut draft = Draft::new(options, &place, &urls, template)?;
        let (postgres, control_planes) = start_servers(options, &place, &draft.model, &spawner).await?;
        draft.complete(options, &postgres, control_planes.as_ref())?;
        let Draft {
            around,
            model,
            faults,
            settings,
            ..
        } = draft;

        let meter = Arc::new(Meter::default());
        let tags = control_planes.as_ref().map(|planes| planes.tags.clone());
        let permissions = Permissions::of(&model)?.with_tags(tags.unwrap_or_default());
        permissions.check_lambda(&model)?;
        let permissions = Arc::new(permissions);
        let dynamo = Dynamo::create(&model.tables, Arc::clone(&meter))?
            .guarded(Arc::clone(&permissions))
            .faulty(Arc::clone(&faults));
        let sqs = Sqs::new(&urls.sqs, sqs::port(&listeners.sqs)?, Arc::clone(&meter))
            .guarded(Arc::clone(&permissions))
            .faulty(Arc::clone(&faults));
        sqs.create(&model.queues).await?;
        let secrets = Arc::new(Secrets::new(&around, Arc::clone(&permissions)));
        let mailbox = Arc::new(Mailbox::new(place.mails(), Arc::clone(&permissions)));

        let mut listening = JoinSet::new();
        listening.spawn(secrets::serve(listeners.secrets, Arc::clone(&secrets)));
        listening.spawn(mail::serve(listeners.mail, mailbox));
        listening.spawn(dynamodb::serve(listeners.dynamodb, dynamo.clone()));
        listening.spawn(sqs::serve(listeners.sqs, sqs.clone()));
        let gateway = start_gateway(listeners.gateway, options, &place, &faults, &urls.api);

        let functions = Arc::new(Functions::new(&model, settings, spawner, Arc::clone(&meter)));
        // A weak reference, since the functions have a reference to the faults.
        let victims = Arc::downgrade(&functions);
        faults.kill_with(move |function, invocation| {
            let functions = victims.upgrade();
            functions.is_some_and(|functions| functions.kill(function, invocation))
        });
        let front = Arc::new(Front::new(&model, Arc::clone(&functions))?);
        if let Some(control_planes) = &control_planes {
            let (functions, permissions) = (Arc::clone(&functions), Arc::clone(&permissions));
            let secrets = Arc::clone(&secrets);
            let front = control_planes::front::Front::new(control_planes, functions, permissions, secrets);
            let front = Arc::new(front.await);
            listening.spawn(control_planes::front::serve(listeners.control_planes, front));
        }
        fetch_keys(&model, &functions).await?;
        let context = sources::Context {
            functions: Arc::clone(&functions),
            dynamo,
            sqs: sqs.clone(),
            concurrency: options.concurrency,
            buckets: place.root().join("buckets"),
            control_planes: control_planes.is_some(),
        };
        let sources = sources::start(&model, &context);
        let file = stack_file(options, &place, urls, &postgres, &sqs, &model, &operator)?;
        let postgres = Arc::new(Mutex::new(postgres));
        let control = Control {
            model,
            functions: Arc::clone(&functions),
            sqs: sqs.clone(),
            streams: sources.streams.clone(),
            meter,
            permissions,
            secrets,
            faults: Arc::clone(&faults),
            postgres: Arc::clone(&postgres),
        };
        listening.spawn(control::serve(listeners.control, Arc::new(control)));
        listening.spawn(front::serve(listeners.api, front));

        let fault_tasks = faults.start(&postgres);
        place.announce(&file)?;
        Ok(Self {
            file,
            place,
            functions,
            sqs,
            sources,
            control_planes,
            postgres,
            faults,
            fault_tasks,
            gateway,
            servers: listening,
        })
    }

    /// Stops everything: first the listeners, then the processes, then the stores.
    pub async fn stop(mut self) {
        if let Err(error) = self.place.withdraw() {
            tracing::warn!("`stack.json` stays and names a stopped stack: {error:#}");
        }
        self.faults.end();
        self.servers.abort_all();
        drop(self.sources);
        self.functions.stop().await;
        let (stop, task) = self.gateway;
        let _ = stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), task).await;
        self.sqs.stop().await;
        if let Some(control_planes) = self.control_planes {
            control_planes.stop().await;
        }
        // A fault task that has crashed PostgreSQL restarts it before the task ends. A stop before that would leave the
        // restarted server running.
        while self.fault_tasks.join_next().await.is_some() {}
        self.postgres.lock().await.stop().await;
    }
}

/// Checks that every function to run has a binary. Functions that need control planes run only with `control_planes`.
///
/// # Errors
/// When a binary is missing. The error names the missing binaries and the command that builds them.
pub fn missing(model: &Model, settings: &Settings, control_planes: bool) -> Result<()> {
    let missing: Vec<&str> = model
        .functions
        .iter()
        .filter(|(_, function)| control_planes || !function.needs_control_planes())
        .map(|(name, _)| name.as_str())
        .filter(|name| !settings.binaries.join(name).is_file())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: String = missing.iter().map(|name| format!(" -p {name}")).collect();
    bail!(
        "no binary of {} in {}\nbuild with: cargo build --release{packages}",
        missing.join(", "),
        settings.binaries.display()
    )
}

/// The environments of all functions merged; a name has the same meaning in each of them.
fn everyone(model: &Model, base: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let of_functions = model.functions.values().flat_map(|f| &f.environment);
    // Lambda sets this variable for every function. Here each function's process gets it at its start, so the base
    // environment does not have it.
    let region = ("AWS_REGION".to_owned(), REGION.to_owned());
    base.into_iter()
        .chain([region])
        .chain(of_functions.map(|(name, value)| (name.clone(), value.clone())))
        .collect()
}

/// Runs the function that fetches the issuers' keys. Without these keys functions accept no token, so the stack is
/// ready only after a successful run.
///
/// # Errors
/// When no run succeeds.
async fn fetch_keys(model: &Model, functions: &Functions) -> Result<()> {
    const FETCHER: &str = "fetch-keys";
    // An injected fault may make any attempt fail, so one attempt is not enough.
    const TRIES: u32 = 10;
    if !model.functions.contains_key(FETCHER) {
        return Ok(());
    }
    let mut last = None;
    for _ in 0..TRIES {
        match functions.call(FETCHER, "start", "{}".into()).await {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    bail!("{FETCHER} failed {TRIES} times; last: {last:?}")
}

fn start_gateway(
    listener: TcpListener,
    options: &Options,
    place: &Place,
    faults: &Faults,
    api_url: &str,
) -> Gateway {
    let switch = faults.gateway();
    switch.change(|faults| faults.calls_per_second = options.gateway_rate);
    let (stop, stopped) = oneshot::channel();
    let (log, clock) = (place.gateway_log(), Arc::new(now_millis));
    let mut sandbox = sandbox_gateway::Options::new(GATEWAY_API_KEY, log, options.seed, clock);
    sandbox.faults = switch;
    let webhooks = format!("{api_url}/payments/stripe/webhook");
    sandbox.webhooks = faults.webhooks(webhooks, GATEWAY_WEBHOOK_SECRET.to_owned());
    let task = tokio::spawn(sandbox_gateway::serve(listener, sandbox, async {
        let _ = stopped.await;
    }));
    (stop, task)
}
