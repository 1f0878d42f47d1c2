//! A whole stack: its parts are started in order and stopped in reverse order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use domain::limits::MAX_GATEWAY_CALLS_PER_SECOND;
use stack_api::StackFile;
use time::OffsetDateTime;
use tokens::Audience;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;

use crate::child::Spawner;
use crate::control::{self, Control};
use crate::dynamodb::{self, Dynamo};
use crate::faults::{FaultPlan, Faults, Keys};
use crate::front::{self, Front};
use crate::mail::{self, Mailbox};
use crate::meter::Meter;
use crate::permissions::Permissions;
use crate::planes::{self, Planes};
use crate::postgres::{self, Postgres};
use crate::runtime::{DEFAULT_CONCURRENCY, Functions, OnDemand, Settings};
use crate::secrets::{self, Secrets};
use crate::sources::{self, Sources};
use crate::sqs::{self, Sqs};
use crate::template::{self, Model, REGION, Surroundings};
use crate::workdir::{Place, Signer};

/// The lifetime of the operator's token in `stack.json` and of the tokens of `stampede-local token`.
pub const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// The name in the operator's token.
pub const OPERATOR: &str = "local-operator";

/// The API key of the functions for the sandbox gateway.
const GATEWAY_API_KEY: &str = "sk_test_local";

/// The signing secret of the sandbox gateway's webhooks.
const GATEWAY_WEBHOOK_SECRET: &str = "whsec_local";

/// The sender of mails, and the domain that counts as verified by SES.
const MAIL_FROM: &str = "orders@shop.example";
const MAIL_DOMAIN: &str = "shop.example";

/// The settings of a stack.
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
    /// Scale as AWS does: start a process at once for every request that finds none idle, and add this many
    /// ms to its start for the platform's work. With control planes, the ledger's server gets the size that
    /// they hold.
    #[arg(long, value_name = "PLATFORM_MS")]
    pub as_aws: Option<u64>,
    /// The largest number of concurrent invocations of all functions together.
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

#[derive(Debug)]
pub struct Stack {
    /// The addresses of all parts.
    pub file: StackFile,
    place: Place,
    functions: Arc<Functions>,
    sqs: Sqs,
    sources: Option<Sources>,
    planes: Option<Planes>,
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

async fn bind() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("a free port")?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
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
/// When no stack was started there.
pub fn token(out: &Path, audience: Audience, subject: &str) -> Result<String> {
    let key = crate::workdir::key(out, Signer::of(audience))?;
    let now = now_seconds();
    let life = i64::try_from(TOKEN_LIFE.as_secs())?;
    Ok(key.sign(audience, subject, now, now + life)?)
}

impl Stack {
    /// Starts everything that the template describes, and announces it.
    ///
    /// # Errors
    /// When a part cannot be started. Parts that already run are stopped.
    pub async fn start(options: &Options) -> Result<Self> {
        let text = std::fs::read_to_string(&options.template)
            .with_context(|| format!("the template {}", options.template.display()))?;
        let place = Place::take(&options.out)?;
        let spawner = Spawner::start()?;
        let (dynamo_at, dynamodb_url) = bind().await?;
        let (sqs_at, sqs_url) = bind().await?;
        let (gateway_at, gateway_url) = bind().await?;
        let (front_at, api_url) = bind().await?;
        let (control_at, control_url) = bind().await?;
        let (planes_at, planes_url) = bind().await?;
        let (secrets_at, secrets_url) = bind().await?;
        let (mail_at, mail_url) = bind().await?;
        let planes_url = options.control_planes.is_some().then_some(planes_url);
        let operator = place.make_keys()?;
        let public_keys = place.public_keys()?;
        let rate = options.gateway_rate.unwrap_or(MAX_GATEWAY_CALLS_PER_SECOND);
        let around = |mut parameters: BTreeMap<String, String>, mappings: &BTreeMap<String, String>| {
            parameters.insert("GatewayCallsPerSecond".to_owned(), rate.to_string());
            surroundings(&public_keys, &gateway_url, parameters, &sqs_url, mappings)
        };
        // Reports errors of the template and missing binaries before anything starts.
        let draft = template::load(
            &text,
            &around(postgres::parameters(0, "not made yet"), &BTreeMap::new()),
        )?;
        let keys = Keys::of(&draft.tables);
        let faults = Faults::new(options.faults.clone(), options.fault_seed, keys, &place.tools()?)?;
        let settings = Settings {
            binaries: options.binaries.clone(),
            logs: place.logs(),
            concurrency: options.concurrency,
            on_demand: options.on_demand(),
            account_concurrency: options.account_concurrency,
            environment: environment(
                &dynamodb_url,
                &sqs_url,
                &secrets_url,
                &mail_url,
                planes_url.as_deref(),
            ),
            faults: Arc::clone(&faults),
        };
        missing(&draft, &settings, options.control_planes.is_some())?;

        let mut postgres = Postgres::start(place.root(), &place.logs(), &options.tools, &spawner).await?;
        let (superuser_url, authority) = (postgres.superuser_url(), postgres.authority().to_owned());
        let parameters = postgres.parameters();
        postgres.migrate().await.context("the ledger's migrations")?;
        let capacity_control = match options.on_demand().is_as_lambda() {
            true => Some(postgres.sizeable().await.context("a server of any size")?),
            false => None,
        };
        let postgres = Arc::new(Mutex::new(postgres));
        let planes = match &options.control_planes {
            None => None,
            Some(documents) => {
                let (logs, scratch) = (place.logs(), place.tools()?);
                let started = Planes::start(
                    &draft,
                    documents,
                    &options.tools,
                    &logs,
                    &scratch,
                    capacity_control,
                    &spawner,
                );
                Some(started.await.context("the control planes")?)
            }
        };
        let mappings = planes.as_ref().map(|planes| planes.mappings.clone());
        let around = around(parameters, &mappings.unwrap_or_default());
        let mut model = template::load(&text, &around)?;
        if let Some(level) = &options.function_log {
            for function in model.functions.values_mut() {
                function.environment.insert("RUST_LOG".to_owned(), level.clone());
            }
        }

        let meter = Arc::new(Meter::default());
        let tags = planes.as_ref().map(|planes| planes.tags.clone());
        let permissions = Permissions::of(&model)?.with_tags(tags.unwrap_or_default());
        permissions.check_lambda(&model)?;
        let permissions = Arc::new(permissions);
        let secrets = Arc::new(Secrets::new(&around, Arc::clone(&permissions)));
        let mut servers = JoinSet::new();
        servers.spawn(secrets::serve(secrets_at, Arc::clone(&secrets)));
        let mailbox = Mailbox::new(place.mails(), Arc::clone(&permissions));
        servers.spawn(mail::serve(mail_at, Arc::new(mailbox)));
        let dynamo = Dynamo::create(&model.tables, Arc::clone(&meter))?
            .guarded(Arc::clone(&permissions))
            .faulty(Arc::clone(&faults));
        servers.spawn(dynamodb::serve(dynamo_at, dynamo.clone()));
        let sqs = Sqs::new(&sqs_url, sqs::port(&sqs_at)?, Arc::clone(&meter))
            .guarded(Arc::clone(&permissions))
            .faulty(Arc::clone(&faults));
        sqs.create(&model.queues).await?;
        servers.spawn(sqs::serve(sqs_at, sqs.clone()));
        faults
            .gateway()
            .change(|faults| faults.calls_per_second = options.gateway_rate);
        let gateway = start_gateway(gateway_at, place.gateway_log(), options.seed, &faults, &api_url);

        let functions = Arc::new(Functions::new(&model, settings, spawner, Arc::clone(&meter)));
        let victims = Arc::downgrade(&functions);
        faults.kill_with(move |function, invocation| {
            let functions = victims.upgrade();
            functions.is_some_and(|functions| functions.kill(function, invocation))
        });
        let front = Arc::new(Front::new(&model, Arc::clone(&functions))?);
        if let Some(planes) = &planes {
            let front = planes::front::Front::new(
                planes,
                Arc::clone(&functions),
                Arc::clone(&permissions),
                Arc::clone(&secrets),
            );
            servers.spawn(planes::front::serve(planes_at, Arc::new(front.await)));
        }
        fetch_keys(&model, &functions).await?;
        let sources = sources::start(
            &model,
            &sources::Context {
                functions: Arc::clone(&functions),
                dynamo,
                sqs: sqs.clone(),
                concurrency: options.concurrency,
                buckets: place.root().join("buckets"),
                control_planes: planes.is_some(),
            },
        );
        let control = Arc::new(Control {
            model: model.clone(),
            functions: Arc::clone(&functions),
            sqs: sqs.clone(),
            streams: sources.streams.clone(),
            meter,
            permissions,
            secrets,
            faults: Arc::clone(&faults),
            postgres: Arc::clone(&postgres),
        });
        servers.spawn(control::serve(control_at, Arc::clone(&control)));
        servers.spawn(front::serve(front_at, front));

        let now = now_seconds();
        let operator_token = operator.sign(
            Audience::Operator,
            OPERATOR,
            now,
            now + i64::try_from(TOKEN_LIFE.as_secs())?,
        )?;
        let everyone = everyone(
            &model,
            environment(
                &dynamodb_url,
                &sqs_url,
                &secrets_url,
                &mail_url,
                planes_url.as_deref(),
            ),
        );
        let file = StackFile {
            api_url,
            dynamodb_url,
            sqs_url,
            database_url: superuser_url,
            database_roots: authority,
            gateway_url,
            gateway_calls_per_second: options.gateway_rate,
            gateway_log: place.gateway_log(),
            mails: place.mails(),
            control_url,
            control_planes_url: planes_url,
            operator_token,
            pid: std::process::id(),
            faults: options.faults.clone(),
            fault_seed: options.fault_seed,
            tables: variables(&model, "_TABLE"),
            environment: everyone,
            queues: model
                .queues
                .keys()
                .map(|q| (q.clone(), sqs.queue_url(q)))
                .collect(),
        };
        let fault_tasks = faults.start(&postgres);
        place.announce(&file)?;
        Ok(Self {
            file,
            place,
            functions,
            sqs,
            sources: Some(sources),
            planes,
            postgres,
            faults,
            fault_tasks,
            gateway: Some(gateway),
            servers,
            _control: control,
        })
    }

    /// Stops everything: first the listeners, then the processes, then the stores.
    pub async fn stop(mut self) {
        if let Err(error) = self.place.withdraw() {
            tracing::warn!("{error:#}");
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
        if let Some(planes) = self.planes.take() {
            planes.stop().await;
        }
        // These tasks end by themselves, after they have restarted a stopped server.
        while self.fault_tasks.join_next().await.is_some() {}
        self.postgres.lock().await.stop().await;
    }
}

/// The environment of every function in addition to the template's.
fn environment(
    dynamodb_url: &str,
    sqs_url: &str,
    secrets_url: &str,
    mail_url: &str,
    planes_url: Option<&str>,
) -> BTreeMap<String, String> {
    let planes = planes::ENDPOINTS.map(|variable| (variable, planes_url.unwrap_or(planes::NOWHERE)));
    [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets_url),
        ("AWS_ENDPOINT_URL_SESV2", mail_url),
        ("AWS_ENDPOINT_URL_SQS", sqs_url),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_SESSION_TOKEN", "local"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        // Issuers of tests run on this machine and have no certificates.
        ("PLAIN_HTTP_TO_LOOPBACK", "allowed"),
    ]
    .into_iter()
    .chain(planes)
    // The control planes' front end also reads parameters from the stores.
    .chain([("AWS_ENDPOINT_URL_SSM", planes_url.unwrap_or(secrets_url))])
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect()
}

/// Checks that every function to run has a binary. Functions that need control planes run only with `control_planes`.
///
/// # Errors
/// Names the missing binaries and the command that builds them.
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
    // Lambda sets this variable for every function. The stack's own processes get it at their start.
    let region = ("AWS_REGION".to_owned(), REGION.to_owned());
    base.into_iter()
        .chain([region])
        .chain(of_functions.map(|(name, value)| (name.clone(), value.clone())))
        .collect()
}

/// Runs the function that fetches the issuers' keys. Without keys no token is accepted, so the stack is not ready
/// before.
///
/// # Errors
/// When no run succeeds.
async fn fetch_keys(model: &Model, functions: &Functions) -> Result<()> {
    const FETCHER: &str = "fetch-keys";
    // Injected faults may hit each attempt.
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
