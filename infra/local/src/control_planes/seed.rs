//! Creates an account at the declared baseline: the documents in Parameter Store, functions with their alias, event
//! source mappings, the ledger's cluster.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use capacity::baseline::{Baseline, FunctionBaseline};
use capacity::database::DatabaseBaseline;
use data_encoding::BASE64;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::{Caller, provisioned_path};
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
    pub(super) baseline: Baseline,
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
        let baseline = texts.get("baseline").cloned().unwrap_or_default();
        let baseline = serde_json::from_value(baseline).context("baseline.toml")?;
        let drops = folder.join("drops");
        for entry in std::fs::read_dir(&drops).with_context(|| drops.display().to_string())? {
            let drop = document(&entry?.path())?;
            let id = text(&drop, "id").context("a drop without an id")?;
            texts.insert(format!("calendar/{id}"), drop);
        }
        let quotas = texts.get_mut("quotas").and_then(Value::as_object_mut);
        let quotas = quotas.ok_or_else(|| anyhow!("quotas.toml is no document"))?;
        let account = quotas.remove("account_concurrency");
        let account = account.as_ref().and_then(Value::as_u64);
        let account_concurrency = account.context("quotas.toml: account_concurrency")?;
        // Functions read this quota from the account, so the stored document does not have it.
        quotas.remove("reserved_by_others");
        Ok(Self {
            texts,
            baseline,
            account_concurrency,
        })
    }
}

/// The names of resources that functions with control-plane access get.
#[derive(Debug, Deserialize)]
pub(super) struct Names {
    /// The alias that carries provisioned concurrency.
    pub(super) alias: String,
    /// The ledger's cluster.
    pub(super) cluster: String,
}

impl Names {
    /// The names that the template gives; `None` if no function gets names.
    pub(super) fn of(model: &Model) -> Result<Option<Self>> {
        let names = told(model, NAMES).map(serde_json::from_str);
        names.transpose().context(NAMES)
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

/// Creates the account's resources. Returns the ids of the event source mappings by their logical ids in the template,
/// and the tags of the database's instances.
pub(super) async fn seed(
    caller: &Caller,
    model: &Model,
    documents: &Documents,
    names: Option<&Names>,
) -> Result<(BTreeMap<String, String>, Tags)> {
    let Some(path) = told(model, PATH) else {
        return Ok((BTreeMap::new(), Tags::new()));
    };
    for (name, document) in &documents.texts {
        let put = json!({"Name": format!("{path}/{name}"), "Value": document.to_string(), "Type": "String"});
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "AmazonSSM.PutParameter"),
        ];
        let answer = caller.call("ssm", Method::POST, "/", &headers, put.to_string().into());
        answer.await?.good("PutParameter")?;
    }
    let Names { alias, cluster } = names.context("no function has NAMES")?;
    let mut mappings = BTreeMap::new();
    for declared in &documents.baseline.functions {
        let name = &declared.function;
        let function = model.functions.get(name);
        let function = function.ok_or_else(|| anyhow!("the template has no function {name}"))?;
        make(caller, function, alias, declared).await?;
        for source in &function.queues {
            let create = json!({
                "FunctionName": format!("{name}:{alias}"),
                "EventSourceArn": queue_arn(&source.queue),
                "BatchSize": source.batch_size,
                "MaximumBatchingWindowInSeconds": source.window.as_secs(),
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": source.max_concurrency},
                // The emulated mapping polls nothing, since the queues are in this stack.
                "Enabled": true,
            });
            let path = "/2015-03-31/event-source-mappings";
            let made = lambda(caller, Method::POST, path, &create).await?;
            let uuid = text(&made, "UUID").context("a mapping's UUID")?;
            mappings.insert(source.id.clone(), uuid.to_owned());
        }
    }
    let instances = database(caller, cluster, &documents.baseline.database).await?;
    let tag = BTreeMap::from([(CLUSTER_TAG.to_owned(), cluster.clone())]);
    let arn = |instance| format!("arn:aws:rds:{REGION}:{ACCOUNT}:db:{instance}");
    let tags = instances.into_iter().map(|instance| (arn(instance), tag.clone()));
    Ok((mappings, tags.collect()))
}

async fn make(caller: &Caller, function: &Function, alias: &str, declared: &FunctionBaseline) -> Result<()> {
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
    if let Some(units) = declared.reserved {
        let path = format!("/2017-10-31/functions/{name}/concurrency");
        let put = json!({"ReservedConcurrentExecutions": units});
        lambda(caller, Method::PUT, &path, &put).await?;
    }
    if declared.provisioned > 0 {
        let put = json!({"ProvisionedConcurrentExecutions": declared.provisioned});
        lambda(caller, Method::PUT, &provisioned_path(name, alias), &put).await?;
    }
    Ok(())
}

/// Creates the ledger's cluster: Serverless v2 with one instance, or the declared instances of the declared class.
/// Returns the instances' names.
async fn database(caller: &Caller, cluster: &str, declared: &DatabaseBaseline) -> Result<Vec<String>> {
    let (minimum, maximum);
    let mut create = vec![
        ("Action", "CreateDBCluster"),
        ("DBClusterIdentifier", cluster),
        ("Engine", ENGINE.0),
        ("EngineVersion", ENGINE.1),
        ("MasterUsername", "ledger"),
        ("MasterUserPassword", "of-nobody"),
    ];
    let (class, instances) = match declared {
        DatabaseBaseline::Serverless {
            minimum_acu,
            maximum_acu,
            ..
        } => {
            (minimum, maximum) = (minimum_acu.to_string(), maximum_acu.to_string());
            create.push(("ServerlessV2ScalingConfiguration.MinCapacity", &minimum));
            create.push(("ServerlessV2ScalingConfiguration.MaxCapacity", &maximum));
            ("db.serverless", vec![format!("{cluster}-1")])
        }
        DatabaseBaseline::Provisioned { class, instances, .. } => (class.as_str(), instances.clone()),
    };
    rds(caller, &create).await?;
    for instance in &instances {
        let create = [
            ("Action", "CreateDBInstance"),
            ("DBInstanceIdentifier", instance),
            ("DBClusterIdentifier", cluster),
            ("DBInstanceClass", class),
            ("Engine", ENGINE.0),
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

/// Sends one request to RDS, with a form as its body, and returns the answer's XML.
pub(super) async fn rds(caller: &Caller, fields: &[(&str, &str)]) -> Result<String> {
    form(caller, "rds", "2014-10-31", fields).await
}

/// Sends one request with a form as its body, and returns the answer's body.
pub(super) async fn form(
    caller: &Caller,
    service: &str,
    version: &str,
    fields: &[(&str, &str)],
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
