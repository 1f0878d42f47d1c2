//! Starts all parts of a stack in the order in which they need each other, and stops them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use domain::limits::MAX_GATEWAY_CALLS_PER_SECOND;
use stack_api::StackFile;
use time::OffsetDateTime;
use tokens::{Audience, SigningKey};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;

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
use crate::runtime::{DEFAULT_ACCOUNT_CONCURRENCY, DEFAULT_CONCURRENCY, Functions, OnDemand, Settings};
use crate::secrets::{self, Secrets};
use crate::sources::{self, Sources};
use crate::sqs::{self, Sqs};
use crate::template::{self, Model, REGION, Surroundings};
use crate::workdir::{Place, Signer};

/// The lifetime of the operator's token in `stack.json` and of the tokens of `stampede-local token`.
pub const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// The operator's name in the token of `stack.json`.
pub const OPERATOR: &str = "local-operator";

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
    /// The largest number of concurrent invocations of all functions together, waiting ones included.
    #[arg(long, default_value_t = DEFAULT_ACCOUNT_CONCURRENCY)]
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

#[derive(Debug)]
pub struct Stack {
    /// The addresses of all servers of the stack, as in `stack.json`.
    pub file: StackFile,
    place: Place,
    functions: Arc<Functions>,
    sqs: Sqs,
    sources: Option<Sources>,
    control_planes: Option<ControlPlanes>,
    postgres: Arc<Mutex<Postgres>>,
    faults: Arc<Faults>,
    fault_tasks: JoinSet<()>,
    gateway: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<std::io::Result<()>>)>,
    servers: JoinSet<()>,
    _control: Arc<Control>,
}

/// Placeholder values for everything that a template refers to, for parsing it without a stack.
#[must_use]
pub fn sample_surroundings() -> Surroundings {
    surroundings(
        &Signer::ALL.map(|signer| (signer.parameter(), "x".to_owned())),
        "http://127.0.0.1:1",
        postgres::parameters(2, "z"),
        "http://127.0.0.1:3",
        &BTreeMap::new(),
    )
}

fn surroundings(
    keys: &[(&str, String)],
    gateway: &str,
    mut parameters: BTreeMap<String, String>,
    sqs: &str,
    mappings: &BTreeMap<String, String>,
) -> Surroundings {
    let map = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    for (name, value) in [
        ("GatewayUrl", gateway),
        ("MailFrom", MAIL_FROM),
        ("MailIdentity", MAIL_DOMAIN),
    ] {
        parameters.insert(name.to_owned(), value.to_owned());
    }
    Surroundings {
        parameters,
        parameter_store: keys.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
        secrets: map(&[
            ("stampede/gateway:api_key", GATEWAY_API_KEY),
            ("stampede/gateway-webhook:secrets", GATEWAY_WEBHOOK_SECRET),
        ]),
        mappings: mappings.clone(),
        sqs_url: sqs.to_owned(),
    }
}

/// The listeners of all servers of the stack, which are bound before any server starts.
struct Listeners {
    api: TcpListener,
    control: TcpListener,
    dynamodb: TcpListener,
    gateway: TcpListener,
    mail: TcpListener,
    control_planes: TcpListener,
    secrets: TcpListener,
    sqs: TcpListener,
}

/// The URLs of all servers of the stack.
struct Urls {
    api: String,
    control: String,
    dynamodb: String,
    gateway: String,
    mail: String,
    /// Set if the stack has control planes.
    control_planes: Option<String>,
    secrets: String,
    sqs: String,
}

async fn bind() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("a free port")?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

async fn bind_all(options: &Options) -> Result<(Listeners, Urls)> {
    let (dynamodb, dynamodb_url) = bind().await?;
    let (sqs, sqs_url) = bind().await?;
    let (gateway, gateway_url) = bind().await?;
    let (api, api_url) = bind().await?;
    let (control, control_url) = bind().await?;
    let (control_planes, planes_url) = bind().await?;
    let (secrets, secrets_url) = bind().await?;
    let (mail, mail_url) = bind().await?;
    let listeners = Listeners {
        api,
        control,
        dynamodb,
        gateway,
        mail,
        control_planes,
        secrets,
        sqs,
    };
    let urls = Urls {
        api: api_url,
        control: control_url,
        dynamodb: dynamodb_url,
        gateway: gateway_url,
        mail: mail_url,
        control_planes: options.control_planes.is_some().then_some(planes_url),
        secrets: secrets_url,
        sqs: sqs_url,
    };
    Ok((listeners, urls))
}

impl Urls {
    /// The environment of every function in addition to the template's.
    fn environment(&self) -> BTreeMap<String, String> {
        let control_planes = self.control_planes.as_deref();
        let of_planes = control_planes::ENDPOINTS
            .map(|variable| (variable, control_planes.unwrap_or(control_planes::NOWHERE)));
        [
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.as_str()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.secrets),
            ("AWS_ENDPOINT_URL_SESV2", &self.mail),
            ("AWS_ENDPOINT_URL_SQS", &self.sqs),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_SESSION_TOKEN", "local"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            // The token issuers of tests run on this machine without certificates, so functions must accept plain HTTP
            // from 127.0.0.1.
            ("PLAIN_HTTP_TO_LOOPBACK", "allowed"),
        ]
        .into_iter()
        .chain(of_planes)
        // With control planes, their front end serves Parameter Store: it looks in the stack's own stores first.
        .chain([("AWS_ENDPOINT_URL_SSM", control_planes.unwrap_or(&self.secrets))])
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
    }
}

/// The settings of the stack that are known before its servers start.
struct Draft {
    template: String,
    public_keys: Vec<(&'static str, String)>,
    /// The template's resources, with placeholders for the values that only the started servers determine.
    model: Model,
    faults: Arc<Faults>,
    settings: Settings,
}

impl Draft {
    /// Reads the template and checks the binaries, so that an error in them ends the start before any process runs.
    fn new(options: &Options, place: &Place, urls: &Urls, template: String) -> Result<Self> {
        let public_keys = place.public_keys()?;
        let placeholders = postgres::parameters(0, "not made yet");
        let around = around(options, urls, &public_keys, placeholders, &BTreeMap::new());
        let model = template::load(&template, &around)?;
        let keys = Keys::of(&model.tables);
        let faults = Faults::new(options.faults.clone(), options.fault_seed, keys, &place.tools()?)?;
        let settings = Settings {
            binaries: options.binaries.clone(),
            logs: place.logs(),
            concurrency: options.concurrency,
            on_demand: options.on_demand(),
            account_concurrency: options.account_concurrency,
            environment: urls.environment(),
            faults: Arc::clone(&faults),
        };
        missing(&model, &settings, options.control_planes.is_some())?;
        Ok(Self {
            template,
            public_keys,
            model,
            faults,
            settings,
        })
    }

    /// The template's resources with the addresses of the running servers, and the values that the template refers to.
    fn complete(&self, options: &Options, urls: &Urls, servers: &Servers) -> Result<(Model, Surroundings)> {
        let mappings = servers
            .control_planes
            .as_ref()
            .map(|control_planes| control_planes.mappings.clone());
        let around = around(
            options,
            urls,
            &self.public_keys,
            servers.parameters.clone(),
            &mappings.unwrap_or_default(),
        );
        let mut model = template::load(&self.template, &around)?;
        if let Some(level) = &options.function_log {
            for function in model.functions.values_mut() {
                function.environment.insert("RUST_LOG".to_owned(), level.clone());
            }
        }
        Ok((model, around))
    }
}

fn around(
    options: &Options,
    urls: &Urls,
    public_keys: &[(&str, String)],
    mut parameters: BTreeMap<String, String>,
    mappings: &BTreeMap<String, String>,
) -> Surroundings {
    let rate = options.gateway_rate.unwrap_or(MAX_GATEWAY_CALLS_PER_SECOND);
    parameters.insert("GatewayCallsPerSecond".to_owned(), rate.to_string());
    surroundings(public_keys, &urls.gateway, parameters, &urls.sqs, mappings)
}

/// PostgreSQL and, if requested, the control planes, which are processes of other programs.
struct Servers {
    postgres: Arc<Mutex<Postgres>>,
    /// PostgreSQL's values of the template's parameters.
    parameters: BTreeMap<String, String>,
    superuser_url: String,
    authority: String,
    control_planes: Option<ControlPlanes>,
}

impl Servers {
    async fn start(options: &Options, place: &Place, model: &Model, spawner: &Spawner) -> Result<Self> {
        let mut postgres = Postgres::start(place.root(), &place.logs(), &options.tools, spawner).await?;
        postgres.migrate().await.context("the ledger's migrations")?;
        let capacity_control = match options.on_demand().is_as_lambda() {
            true => Some(postgres.sizeable().await.context("a server of any size")?),
            false => None,
        };
        let control_planes = match &options.control_planes {
            None => None,
            Some(documents) => {
                let (logs, scratch) = (place.logs(), place.tools()?);
                let started = ControlPlanes::start(
                    model,
                    documents,
                    &options.tools,
                    &logs,
                    &scratch,
                    capacity_control,
                    spawner,
                );
                Some(started.await.context("the control planes")?)
            }
        };
        Ok(Self {
            parameters: postgres.parameters(),
            superuser_url: postgres.superuser_url(),
            authority: postgres.authority().to_owned(),
            postgres: Arc::new(Mutex::new(postgres)),
            control_planes,
        })
    }
}

/// The services that functions call, except the payment gateway and the control planes.
struct Services {
    meter: Arc<Meter>,
    permissions: Arc<Permissions>,
    secrets: Arc<Secrets>,
    mailbox: Arc<Mailbox>,
    dynamo: Dynamo,
    sqs: Sqs,
}

impl Services {
    /// Creates the services with the template's tables and queues.
    async fn create(
        model: &Model,
        around: &Surroundings,
        place: &Place,
        control_planes: Option<&ControlPlanes>,
        faults: &Arc<Faults>,
        sqs: (&str, u16),
    ) -> Result<Self> {
        let meter = Arc::new(Meter::default());
        let tags = control_planes.map(|control_planes| control_planes.tags.clone());
        let permissions = Permissions::of(model)?.with_tags(tags.unwrap_or_default());
        permissions.check_lambda(model)?;
        let permissions = Arc::new(permissions);
        let dynamo = Dynamo::create(&model.tables, Arc::clone(&meter))?
            .guarded(Arc::clone(&permissions))
            .faulty(Arc::clone(faults));
        let (sqs_url, sqs_port) = sqs;
        let sqs = Sqs::new(sqs_url, sqs_port, Arc::clone(&meter))
            .guarded(Arc::clone(&permissions))
            .faulty(Arc::clone(faults));
        sqs.create(&model.queues).await?;
        Ok(Self {
            secrets: Arc::new(Secrets::new(around, Arc::clone(&permissions))),
            mailbox: Arc::new(Mailbox::new(place.mails(), Arc::clone(&permissions))),
            meter,
            permissions,
            dynamo,
            sqs,
        })
    }
}

/// Creates the functions, and gives `faults` a weak reference to them, so that an injected fault can kill a function's
/// process.
fn functions(
    model: &Model,
    settings: Settings,
    spawner: Spawner,
    meter: &Arc<Meter>,
    faults: &Faults,
) -> Arc<Functions> {
    let functions = Arc::new(Functions::new(model, settings, spawner, Arc::clone(meter)));
    let victims = Arc::downgrade(&functions);
    faults.kill_with(move |function, invocation| {
        let functions = victims.upgrade();
        functions.is_some_and(|functions| functions.kill(function, invocation))
    });
    functions
}

/// The content of `stack.json`.
fn stack_file(
    options: &Options,
    place: &Place,
    urls: Urls,
    servers: &Servers,
    services: &Services,
    model: &Model,
    operator: &SigningKey,
) -> Result<StackFile> {
    let now = now_seconds();
    let life = i64::try_from(TOKEN_LIFE.as_secs())?;
    let queues = model.queues.keys();
    let queues = queues.map(|queue| (queue.clone(), services.sqs.queue_url(queue)));
    Ok(StackFile {
        environment: everyone(model, urls.environment()),
        api_url: urls.api,
        dynamodb_url: urls.dynamodb,
        sqs_url: urls.sqs,
        database_url: servers.superuser_url.clone(),
        database_roots: servers.authority.clone(),
        gateway_url: urls.gateway,
        gateway_calls_per_second: options.gateway_rate,
        gateway_log: place.gateway_log(),
        mails: place.mails(),
        control_url: urls.control,
        control_planes_url: urls.control_planes,
        operator_token: operator.sign(Audience::Operator, OPERATOR, now, now + life)?,
        pid: std::process::id(),
        faults: options.faults.clone(),
        fault_seed: options.fault_seed,
        tables: variables(model, "_TABLE"),
        queues: queues.collect(),
    })
}

fn now_seconds() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
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
    let now = now_seconds();
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
        let (listeners, urls) = bind_all(options).await?;
        let operator = place.make_keys()?;
        let draft = Draft::new(options, &place, &urls, template)?;
        let servers = Servers::start(options, &place, &draft.model, &spawner).await?;
        let (model, around) = draft.complete(options, &urls, &servers)?;
        let faults = draft.faults;
        let sqs_at = (urls.sqs.as_str(), sqs::port(&listeners.sqs)?);
        let services = Services::create(
            &model,
            &around,
            &place,
            servers.control_planes.as_ref(),
            &faults,
            sqs_at,
        )
        .await?;

        let mut listening = JoinSet::new();
        listening.spawn(secrets::serve(listeners.secrets, Arc::clone(&services.secrets)));
        listening.spawn(mail::serve(listeners.mail, Arc::clone(&services.mailbox)));
        listening.spawn(dynamodb::serve(listeners.dynamodb, services.dynamo.clone()));
        listening.spawn(sqs::serve(listeners.sqs, services.sqs.clone()));
        faults
            .gateway()
            .change(|faults| faults.calls_per_second = options.gateway_rate);
        let gateway = start_gateway(
            listeners.gateway,
            place.gateway_log(),
            options.seed,
            &faults,
            &urls.api,
        );

        let functions = functions(&model, draft.settings, spawner, &services.meter, &faults);
        let front = Arc::new(Front::new(&model, Arc::clone(&functions))?);
        if let Some(control_planes) = &servers.control_planes {
            let front = control_planes::front::Front::new(
                control_planes,
                Arc::clone(&functions),
                Arc::clone(&services.permissions),
                Arc::clone(&services.secrets),
            );
            listening.spawn(control_planes::front::serve(
                listeners.control_planes,
                Arc::new(front.await),
            ));
        }
        fetch_keys(&model, &functions).await?;
        let sources = sources::start(
            &model,
            &sources::Context {
                functions: Arc::clone(&functions),
                dynamo: services.dynamo.clone(),
                sqs: services.sqs.clone(),
                concurrency: options.concurrency,
                buckets: place.root().join("buckets"),
                control_planes: servers.control_planes.is_some(),
            },
        );
        let control = Arc::new(Control {
            model: model.clone(),
            functions: Arc::clone(&functions),
            sqs: services.sqs.clone(),
            streams: sources.streams.clone(),
            meter: Arc::clone(&services.meter),
            permissions: Arc::clone(&services.permissions),
            secrets: Arc::clone(&services.secrets),
            faults: Arc::clone(&faults),
            postgres: Arc::clone(&servers.postgres),
        });
        listening.spawn(control::serve(listeners.control, Arc::clone(&control)));
        listening.spawn(front::serve(listeners.api, front));

        let file = stack_file(options, &place, urls, &servers, &services, &model, &operator)?;
        let fault_tasks = faults.start(&servers.postgres);
        place.announce(&file)?;
        Ok(Self {
            file,
            place,
            functions,
            sqs: services.sqs,
            sources: Some(sources),
            control_planes: servers.control_planes,
            postgres: servers.postgres,
            faults,
            fault_tasks,
            gateway: Some(gateway),
            servers: listening,
            _control: control,
        })
    }

    /// Stops everything: first the listeners, then the processes, then the stores.
    pub async fn stop(mut self) {
        if let Err(error) = self.place.withdraw() {
            tracing::warn!("`stack.json` stays and names a stopped stack: {error:#}");
        }
        self.faults.end();
        self.servers.abort_all();
        drop(self.sources.take());
        self.functions.stop().await;
        if let Some((stop, task)) = self.gateway.take() {
            let _ = stop.send(());
            let _ = tokio::time::timeout(Duration::from_secs(1), task).await;
        }
        self.sqs.stop().await;
        if let Some(control_planes) = self.control_planes.take() {
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

fn variables(model: &Model, suffix: &str) -> BTreeMap<String, String> {
    model
        .functions
        .values()
        .flat_map(|f| &f.environment)
        .filter(|(name, _)| name.ends_with(suffix))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn start_gateway(
    listener: TcpListener,
    log: PathBuf,
    seed: u64,
    faults: &Faults,
    api_url: &str,
) -> (oneshot::Sender<()>, tokio::task::JoinHandle<std::io::Result<()>>) {
    let (stop, stopped) = oneshot::channel();
    let mut options = sandbox_gateway::Options::new(GATEWAY_API_KEY, log, seed, Arc::new(now_millis));
    options.faults = faults.gateway();
    options.webhooks = faults.webhooks(
        format!("{api_url}/payments/stripe/webhook"),
        GATEWAY_WEBHOOK_SECRET.to_owned(),
    );
    let task = tokio::spawn(sandbox_gateway::serve(listener, options, async {
        let _ = stopped.await;
    }));
    (stop, task)
}
