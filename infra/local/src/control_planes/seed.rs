//! Creates an account at the declared baseline: the documents in Parameter Store, functions with their alias, event
//! source mappings, the ledger's cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use capacity::database::DatabaseBaseline;
use data_encoding::BASE64;
use http::Method;
use serde_json::{Value, json};

use super::caller::Caller;
use crate::permissions::Tags;
use crate::template::{ACCOUNT, Function, Model, REGION, queue_arn};

/// The environment variables of functions that call control planes: the JSON object with their resources' names, and
/// the path of their documents in Parameter Store.
const NAMES: &str = "NAMES";
const PATH: &str = "DOCUMENTS_PATH";
/// An empty archive: `ministack` runs no function.
const NO_CODE: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// The tag of an instance that names its cluster, in infra/network-and-database.yaml.
const CLUSTER_TAG: &str = "stampede-cluster";
/// The cluster's engine: the oldest version that supports Serverless v2 here.
const ENGINE: (&str, &str) = ("aurora-postgresql", "16.8");

/// The declared documents, as Parameter Store holds them.
#[derive(Debug)]
pub(super) struct Documents {
    /// The documents by their names below the path.
    texts: BTreeMap<String, Value>,
    /// The account's limit of concurrent executions. Functions read it from Lambda and not from a document.
    pub(super) account_concurrency: u64,
}

impl Documents {
    /// Reads the documents in `folder`, and the drops in its folder `drops`.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut texts = BTreeMap::new();
        for name in ["profile", "baseline", "budget", "prices", "quotas"] {
            texts.insert(name.to_owned(), document(&folder.join(format!("{name}.toml")))?);
        }
        let drops = folder.join("drops");
        for entry in std::fs::read_dir(&drops).with_context(|| drops.display().to_string())? {
            let drop = document(&entry?.path())?;
            let id = text(&drop, "id").context("a drop without an id")?;
            texts.insert(format!("calendar/{id}"), drop);
        }
        let quotas = texts.get_mut("quotas").and_then(Value::as_object_mut);
        let quotas = quotas.ok_or_else(|| anyhow!("quotas.toml is no document"))?;
        let account = quotas.remove("account_concurrency");
        let account_concurrency = account
            .as_ref()
            .and_then(Value::as_u64)
            .context("quotas.toml: account_concurrency")?;
        // Functions read this quota from the account, so the stored document does not have it.
        quotas.remove("reserved_by_others");
        Ok(Self {
            texts,
            account_concurrency,
        })
    }

    fn baseline(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let all = self.texts.get("baseline").and_then(|baseline| baseline.get(kind));
        all.and_then(Value::as_array).into_iter().flatten()
    }

    /// The name of the ledger's cluster, if a function uses it.
    pub(super) fn cluster(&self, model: &Model) -> Option<String> {
        named(model, "cluster")
    }

    /// The alias that carries provisioned concurrency, if a function uses it.
    pub(super) fn alias(&self, model: &Model) -> Option<String> {
        named(model, "alias")
    }

    /// The names of the functions that the baseline declares.
    pub(super) fn functions(&self) -> BTreeSet<String> {
        self.baseline("function")
            .filter_map(|f| text(f, "function").map(str::to_owned))
            .collect()
    }

    /// The database's part of the declared baseline.
    pub(super) fn database(&self) -> Result<DatabaseBaseline> {
        let declared = self
            .texts
            .get("baseline")
            .and_then(|baseline| baseline.get("database"));
        serde_json::from_value(declared.cloned().unwrap_or(Value::Null))
            .context("baseline.toml: the database")
    }
}

fn text<'a>(of: &'a Value, member: &str) -> Option<&'a str> {
    of.get(member).and_then(Value::as_str)
}

fn document(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

/// The value of an environment variable that functions with control-plane access share.
fn told<'a>(model: &'a Model, variable: &str) -> Option<&'a str> {
    let mut values = model
        .functions
        .values()
        .filter_map(|f| f.environment.get(variable));
    values.next().map(String::as_str)
}

fn named(model: &Model, member: &str) -> Option<String> {
    let names: Value = told(model, NAMES).and_then(|names| serde_json::from_str(names).ok())?;
    text(&names, member).map(str::to_owned)
}

/// Creates the account's resources. Returns the ids of the event source mappings by their logical ids in the template,
/// and the tags of the database's instances.
pub(super) async fn seed(
    caller: &Caller,
    model: &Model,
    documents: &Documents,
) -> Result<(BTreeMap<String, String>, Tags)> {
    let Some(path) = told(model, PATH) else {
        return Ok((BTreeMap::new(), Tags::new()));
    };
    for (name, document) in &documents.texts {
        let put = json!({"Name": format!("{path}/{name}"), "Value": document.to_string(), "Type": "String"});
        parameter_store(caller, "PutParameter", &put).await?;
    }
    let names: Value = serde_json::from_str(told(model, NAMES).unwrap_or("null")).context(NAMES)?;
    let alias = text(&names, "alias").context("NAMES: the alias")?;
    let mut mappings = BTreeMap::new();
    for declared in documents.baseline("function") {
        let name = text(declared, "function").unwrap_or_default();
        let function = model.functions.get(name);
        let function = function.ok_or_else(|| anyhow!("the template has no function {name}"))?;
        make(caller, function, alias, declared).await?;
        for source in &function.queues {
            let made = lambda(
                caller,
                Method::POST,
                "/2015-03-31/event-source-mappings",
                &json!({
                    "FunctionName": format!("{name}:{alias}"),
                    "EventSourceArn": queue_arn(&source.queue),
                    "BatchSize": source.batch_size,
                    "FunctionResponseTypes": ["ReportBatchItemFailures"],
                    "ScalingConfig": {"MaximumConcurrency": source.max_concurrency},
                    // The emulated mapping polls nothing, since the queues are in this stack.
                    "Enabled": true,
                }),
            )
            .await?;
            let uuid = text(&made, "UUID").context("a mapping's UUID")?;
            mappings.insert(source.id.clone(), uuid.to_owned());
        }
    }
    let cluster = text(&names, "cluster").context("NAMES: the cluster")?;
    let declared = documents
        .texts
        .get("baseline")
        .and_then(|baseline| baseline.get("database"));
    let instances = database(caller, cluster, declared.context("baseline.toml: the database")?).await?;
    let tag = BTreeMap::from([(CLUSTER_TAG.to_owned(), cluster.to_owned())]);
    let arn = |instance| format!("arn:aws:rds:{REGION}:{ACCOUNT}:db:{instance}");
    let tags = instances.into_iter().map(|instance| (arn(instance), tag.clone()));
    Ok((mappings, tags.collect()))
}

async fn make(caller: &Caller, function: &Function, alias: &str, declared: &Value) -> Result<()> {
    let name = &function.name;
    let create = json!({
        "FunctionName": name,
        "Runtime": "provided.al2023",
        "Handler": "bootstrap",
        "Role": format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
        "Code": {"ZipFile": BASE64.encode(NO_CODE)},
        "MemorySize": function.memory_mb,
        "Timeout": function.timeout.as_secs(),
    });
    lambda(caller, Method::POST, "/2015-03-31/functions", &create).await?;
    let at = format!("/2015-03-31/functions/{name}");
    let version = lambda(caller, Method::POST, &format!("{at}/versions"), &json!({})).await?;
    let live = json!({"Name": alias, "FunctionVersion": version.get("Version")});
    lambda(caller, Method::POST, &format!("{at}/aliases"), &live).await?;
    if let Some(units) = declared.get("reserved").and_then(Value::as_u64) {
        let path = format!("/2017-10-31/functions/{name}/concurrency");
        let put = json!({"ReservedConcurrentExecutions": units});
        lambda(caller, Method::PUT, &path, &put).await?;
    }
    let provisioned = declared.get("provisioned").and_then(Value::as_u64);
    if let Some(units) = provisioned.filter(|units| *units > 0) {
        let path = format!("/2019-09-30/functions/{name}/provisioned-concurrency?Qualifier={alias}");
        let put = json!({"ProvisionedConcurrentExecutions": units});
        lambda(caller, Method::PUT, &path, &put).await?;
    }
    Ok(())
}

/// Creates the ledger's cluster: Serverless v2 with one instance, or the declared instances of the declared class.
/// Returns the instances' names.
async fn database(caller: &Caller, cluster: &str, declared: &Value) -> Result<Vec<String>> {
    let acu = |field: &str| {
        declared
            .get(field)
            .and_then(Value::as_f64)
            .map(|acu| acu.to_string())
    };
    let mut create = vec![
        ("Action", "CreateDBCluster".to_owned()),
        ("DBClusterIdentifier", cluster.to_owned()),
        ("Engine", ENGINE.0.to_owned()),
        ("EngineVersion", ENGINE.1.to_owned()),
        ("MasterUsername", "ledger".to_owned()),
        ("MasterUserPassword", "of-nobody".to_owned()),
    ];
    let (class, instances): (String, Vec<String>) =
        if let (Some(minimum), Some(maximum)) = (acu("minimum_acu"), acu("maximum_acu")) {
            create.push(("ServerlessV2ScalingConfiguration.MinCapacity", minimum));
            create.push(("ServerlessV2ScalingConfiguration.MaxCapacity", maximum));
            ("db.serverless".to_owned(), vec![format!("{cluster}-1")])
        } else {
            let class = text(declared, "class").unwrap_or_default().to_owned();
            let instances = declared
                .get("instances")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let instances = instances.filter_map(Value::as_str).map(str::to_owned);
            (class, instances.collect())
        };
    rds(caller, &create).await?;
    for instance in &instances {
        let create = [
            ("Action", "CreateDBInstance".to_owned()),
            ("DBInstanceIdentifier", instance.clone()),
            ("DBClusterIdentifier", cluster.to_owned()),
            ("DBInstanceClass", class.clone()),
            ("Engine", ENGINE.0.to_owned()),
        ];
        rds(caller, &create).await?;
    }
    Ok(instances)
}

async fn lambda(caller: &Caller, method: Method, path: &str, body: &Value) -> Result<Value> {
    let headers = [("content-type", "application/json")];
    let answer = caller.call("lambda", method, path, &headers, body.to_string().into_bytes());
    let text = answer.await?.good(path)?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|_| json!({})))
}

async fn parameter_store(caller: &Caller, operation: &str, body: &Value) -> Result<()> {
    let target = format!("AmazonSSM.{operation}");
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", target.as_str()),
    ];
    let answer = caller.call("ssm", Method::POST, "/", &headers, body.to_string().into_bytes());
    answer.await?.good(operation).map(drop)
}

/// Sends one request to RDS, with a form as its body, and returns the answer's XML.
pub(super) async fn rds(caller: &Caller, fields: &[(&str, String)]) -> Result<String> {
    form(caller, "rds", "2014-10-31", fields).await
}

/// Sends one request with a form as its body, and returns the answer's body.
pub(super) async fn form(
    caller: &Caller,
    service: &str,
    version: &str,
    fields: &[(&str, String)],
) -> Result<String> {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("Version", version)
        .extend_pairs(fields)
        .finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = caller.call(service, Method::POST, "/", &headers, body.into_bytes());
    answer.await?.good(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_those_of_the_project() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../prescale");
        let documents = Documents::read(&folder).unwrap();
        let names: Vec<&str> = documents.texts.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "baseline",
                "budget",
                "calendar/reference-spike",
                "calendar/small",
                "prices",
                "profile",
                "quotas"
            ]
        );
        assert_eq!(documents.account_concurrency, 1_000);
        // Parameter Store limits a standard parameter, which costs nothing, to 4,096 bytes.
        assert!(documents.texts.values().all(|d| d.to_string().len() <= 4_096));
    }
}
