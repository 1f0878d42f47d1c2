//! Prepares an account for one test, with everything that the scene's baseline names.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::types as dynamodb;
use aws_sdk_lambda::config::BehaviorVersion;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, Runtime, ScalingConfig};
use aws_sdk_rds::types::ServerlessV2ScalingConfiguration;
use aws_sdk_ssm::types::ParameterType;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_types::SdkConfig;
use aws_types::region::Region;

use capacity::amounts::Polling;
use capacity::calendar::CalendarDrop;
use capacity::database::DatabaseBaseline;
use capacity::documents::Documents;
use contracts::account::{AccountPorts, ControlPlanes, account_fixtures};
use control_plane::{AwsAccount, Clients, FunctionName, Names, Patience, Service, SourceName, Trial};
use domain::time::Timestamp;
use memory::MemoryStore;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::local::servers::{servers, tool};

/// The path of the documents in Parameter Store.
pub(crate) const DOCUMENTS: &str = "/stampede/prescale";

/// Clients that call the emulators directly, without the adapter under test.
pub(crate) struct Past {
    pub(crate) lambda: aws_sdk_lambda::Client,
    pub(crate) rds: aws_sdk_rds::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) ssm: aws_sdk_ssm::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
}

pub(crate) struct Local {
    pub(crate) account: AwsAccount<MemoryStore>,
    pub(crate) names: Names,
    pub(crate) past: Past,
    documents: Documents,
}

/// The SDK configuration for account `number` at the local server.
fn config(number: u64, service: Service) -> SdkConfig {
    let server = match service {
        Service::DynamoDb => &servers().moto,
        _ => &servers().ministack,
    };
    // The emulator derives the account from the access key.
    let credentials = Credentials::new(format!("{number:012}"), "secret", None, None, "tests");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(connector::plain(std::time::Duration::from_secs(5)))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(SharedTimeSource::new(SystemTimeSource::new()))
        .endpoint_url(&server.url)
        .build()
}

impl Local {
    pub(crate) async fn serverless() -> Self {
        Self::start(|_| account_fixtures::serverless()).await
    }

    pub(crate) async fn provisioned() -> Self {
        Self::start(|number| {
            let name = |part| format!("db-{number}-{part}");
            let [one, two, three] = ["one", "two", "three"].map(name);
            account_fixtures::provisioned([&one, &two, &three])
        })
        .await
    }

    async fn start(documents: impl FnOnce(u64) -> Documents) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let documents = documents(number);
        let past = Past {
            lambda: aws_sdk_lambda::Client::new(&config(number, Service::Lambda)),
            rds: aws_sdk_rds::Client::new(&config(number, Service::Rds)),
            dynamodb: aws_sdk_dynamodb::Client::new(&config(number, Service::DynamoDb)),
            ssm: aws_sdk_ssm::Client::new(&config(number, Service::Ssm)),
            sqs: aws_sdk_sqs::Client::new(&config(number, Service::Sqs)),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&config(number, Service::CloudWatch)),
        };
        let mut names = Names {
            alias: "live".to_owned(),
            functions: BTreeMap::new(),
            tables: BTreeMap::new(),
            sources: BTreeMap::new(),
            cluster: format!("ledger-{number}"),
        };
        for (function, trial) in [
            (account_fixtures::API, "GET /drops/-"),
            (account_fixtures::WORKER, "batch"),
        ] {
            let name = format!("stack-{function}-{number}");
            past.make_function(&name).await;
            let trial = Trial::try_from(trial.to_owned()).unwrap();
            names
                .functions
                .insert(function.to_owned(), FunctionName { name, trial });
        }
        for function in &documents.baseline.functions {
            if let Some(reserved) = function.reserved {
                let put = past.lambda.put_function_concurrency();
                let put = put.function_name(&names.functions[&function.function].name);
                let reserved = i32::try_from(reserved).unwrap();
                put.reserved_concurrent_executions(reserved).send().await.unwrap();
            }
        }
        let queue = past
            .sqs
            .create_queue()
            .queue_name("payments")
            .send()
            .await
            .unwrap();
        let worker = &names.functions[account_fixtures::WORKER].name;
        let Polling::MaximumConcurrency(most) = documents.baseline.queues[0].polling else {
            panic!("{:?}", documents.baseline.queues);
        };
        let scaling = ScalingConfig::builder().maximum_concurrency(i32::try_from(most).unwrap());
        let mapping = past.lambda.create_event_source_mapping();
        let mapping = mapping.event_source_arn(format!("arn:aws:sqs:eu-central-1:{number:012}:payments"));
        let mapping = mapping.function_name(format!("{worker}:live"));
        let mapping = mapping.scaling_config(scaling.build()).send().await.unwrap();
        let source = SourceName {
            mapping: mapping.uuid.unwrap(),
            queue_url: queue.queue_url.unwrap(),
        };
        names.sources.insert(account_fixtures::SOURCE.to_owned(), source);
        let table = format!("stack-orders-{number}");
        past.make_table(&table).await;
        names.tables.insert(account_fixtures::TABLE.to_owned(), table);
        past.make_database(&names.cluster, &documents.baseline.database)
            .await;
        let clients = Clients::new(|service| config(number, service), Patience::default());
        let local = Self {
            account: AwsAccount::new(clients, names.clone(), DOCUMENTS, MemoryStore::new()),
            names,
            past,
            documents,
        };
        local.declare(&local.documents).await;
        local
    }

    /// Stores a document's text.
    pub(crate) async fn put(&self, name: &str, text: &str) {
        let put = self.past.ssm.put_parameter();
        let put = put.name(format!("{DOCUMENTS}/{name}")).value(text);
        let put = put.r#type(ParameterType::String).overwrite(true);
        put.send().await.unwrap();
    }
}

/// Writes the declared documents as texts, by name.
pub(crate) fn texts(documents: &Documents) -> BTreeMap<String, String> {
    let quotas = json!({
        "provisioned_per_minute": 6_000,
        "api_requests_per_second": 10_000,
        "api_burst": 5_000,
        "table_write_units": 40_000,
        "table_read_units": 30_000,
        "gateway_calls_per_second": 100,
        "provisioned_by_others": 7,
    });
    let mut texts = BTreeMap::from([
        (
            "profile".to_owned(),
            serde_json::to_string(&documents.profile).unwrap(),
        ),
        (
            "baseline".to_owned(),
            serde_json::to_string(&documents.baseline).unwrap(),
        ),
        (
            "budget".to_owned(),
            serde_json::to_string(&documents.budget).unwrap(),
        ),
        (
            "prices".to_owned(),
            serde_json::to_string(&documents.prices).unwrap(),
        ),
        ("quotas".to_owned(), quotas.to_string()),
    ]);
    for drop in &documents.calendar {
        texts.insert(
            format!("calendar/{}", drop.id.as_str()),
            written(drop).to_string(),
        );
    }
    texts
}

/// Writes a drop of the calendar in the documents' format, with times as text.
fn written(drop: &CalendarDrop) -> Value {
    let moment = |at: Timestamp| {
        let seconds = at.as_millis() / 1_000;
        OffsetDateTime::from_unix_timestamp(seconds)
            .unwrap()
            .format(&Rfc3339)
            .unwrap()
    };
    let mut value = serde_json::to_value(drop).unwrap();
    value["starts_at"] = json!(moment(drop.starts_at));
    value["ends_at"] = json!(moment(drop.ends_at));
    value
}

/// A function's code: a program that answers every event, or a program that exits immediately.
fn code(answers: bool) -> &'static [u8] {
    const MAKE: &str = include_str!("code.py");
    static CODE: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];
    CODE[usize::from(answers)].get_or_init(|| {
        let mut python = Command::new(tool("python"));
        python.args(["-c", MAKE, if answers { "answers" } else { "ends" }]);
        let made = python.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        made.stdout
    })
}

impl Past {
    pub(crate) async fn make_function(&self, name: &str) {
        let code = FunctionCode::builder().zip_file(Blob::new(code(true)));
        let create = self.lambda.create_function().function_name(name);
        let create = create.runtime(Runtime::Providedal2023).handler("bootstrap");
        let create = create.role("arn:aws:iam::000000000000:role/tests");
        create.code(code.build()).publish(true).send().await.unwrap();
        let alias = self.lambda.create_alias().function_name(name).name("live");
        alias.function_version("1").send().await.unwrap();
    }

    /// Creates a table with an index. Both have the warm throughput of new tables.
    async fn make_table(&self, name: &str) {
        let attribute = |name: &str| {
            dynamodb::AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(dynamodb::ScalarAttributeType::S)
                .build()
                .unwrap()
        };
        let key = |name: &str| {
            dynamodb::KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(dynamodb::KeyType::Hash)
                .build()
                .unwrap()
        };
        let all = dynamodb::Projection::builder().projection_type(dynamodb::ProjectionType::All);
        let index = dynamodb::GlobalSecondaryIndex::builder()
            .index_name("open")
            .key_schema(key("open"))
            .projection(all.build());
        let create = self.dynamodb.create_table().table_name(name);
        let create = create.billing_mode(dynamodb::BillingMode::PayPerRequest);
        let create = create.attribute_definitions(attribute("pk"));
        let create = create.attribute_definitions(attribute("open"));
        let create = create.global_secondary_indexes(index.build().unwrap());
        create.key_schema(key("pk")).send().await.unwrap();
    }

    async fn make_database(&self, cluster: &str, declared: &DatabaseBaseline) {
        const ENGINE: &str = "aurora-postgresql";
        let create = self.rds.create_db_cluster().db_cluster_identifier(cluster);
        let create = create.engine(ENGINE).engine_version("16.8");
        let create = create.master_username("u").master_user_password("not-a-secret");
        let (create, instances, class) = match declared {
            DatabaseBaseline::Serverless {
                minimum_acu,
                maximum_acu,
                ..
            } => {
                let scaling = ServerlessV2ScalingConfiguration::builder()
                    .min_capacity(*minimum_acu)
                    .max_capacity(*maximum_acu);
                let create = create.serverless_v2_scaling_configuration(scaling.build());
                (create, vec![format!("{cluster}-one")], "db.serverless")
            }
            DatabaseBaseline::Provisioned { class, instances, .. } => {
                (create, instances.clone(), class.as_str())
            }
        };
        create.send().await.unwrap();
        for name in instances {
            let create = self.rds.create_db_instance().db_instance_identifier(name);
            let create = create.db_cluster_identifier(cluster).db_instance_class(class);
            create.engine(ENGINE).send().await.unwrap();
        }
    }

    /// The names of all documents under the calendar.
    async fn calendar(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut token = None;
        loop {
            let page = self.ssm.get_parameters_by_path();
            let page = page.path(format!("{DOCUMENTS}/calendar"));
            let page = page.set_next_token(token).send().await.unwrap();
            names.extend(page.parameters().iter().map(|p| p.name().unwrap().to_owned()));
            token = page.next_token;
            if token.is_none() {
                return names;
            }
        }
    }
}

impl ControlPlanes for Local {
    fn account(&self) -> impl AccountPorts {
        self.account.clone()
    }

    fn documents(&self) -> &Documents {
        &self.documents
    }

    async fn declare(&self, documents: &Documents) {
        let texts = texts(documents);
        for name in self.past.calendar().await {
            let declared = name.strip_prefix(DOCUMENTS).unwrap().trim_start_matches('/');
            if !texts.contains_key(declared) {
                self.past.ssm.delete_parameter().name(name).send().await.unwrap();
            }
        }
        for (name, text) in texts {
            self.put(&name, &text).await;
        }
    }

    /// The emulators complete every change immediately.
    async fn settle(&self) {}

    async fn send(&self) {
        let send = self.past.sqs.send_message();
        let send = send.queue_url(&self.names.sources[account_fixtures::SOURCE].queue_url);
        // The message is delayed beyond the end of the test, so that no consumer removes it before it is counted.
        send.message_body("{}").delay_seconds(900).send().await.unwrap();
    }

    async fn spoil(&self) {
        let name = &self.names.functions[account_fixtures::API].name;
        let update = self.past.lambda.update_function_code().function_name(name);
        let update = update.zip_file(Blob::new(code(false))).publish(true);
        let version = update.send().await.unwrap().version.unwrap();
        let alias = self.past.lambda.update_alias().function_name(name).name("live");
        alias.function_version(version).send().await.unwrap();
    }
}
