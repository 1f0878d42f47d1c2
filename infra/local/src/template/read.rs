//! Converts the template's YAML to a [`Model`].

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use yaml_serde::Value as Yaml;

use super::events::{Event, name_in_arn};
use super::resolve::{ACCOUNT, Kind, Named, REGION, Resolver, Surroundings};
use super::{Function, Model, Queue, Statement, Table};

/// Lambda's defaults for properties that the template may omit.
const DEFAULT_TIMEOUT_SECONDS: u64 = 3;
const DEFAULT_MEMORY_MB: u32 = 128;
const DEFAULT_ASYNC_RETRIES: u32 = 2;

/// Reads a template.
///
/// # Errors
/// When the template is not YAML, refers to something unknown, or uses a resource, intrinsic or event source that the
/// local stack cannot run. The error names the place in the template.
pub fn load(text: &str, surroundings: &Surroundings) -> Result<Model> {
    let template: Yaml = yaml_serde::from_str(text).context("the template is no YAML")?;
    let resources = template.get("Resources").and_then(Yaml::as_mapping);
    let resources = resources.context("the template has no Resources")?;
    let mut names = BTreeMap::new();
    for (id, node) in resources {
        let id = id.as_str().context("Resources: an id that is no string")?;
        names.insert(id.to_owned(), named(id, node)?);
        // AWS SAM creates a resource for a queue's event, and the template may refer to it.
        for event in queue_events(node) {
            let name = format!("{id}{event}");
            let kind = Kind::Mapping;
            names.insert(name.clone(), Named { kind, name });
        }
    }
    let resolver = Resolver {
        surroundings,
        parameters: template.get("Parameters"),
        conditions: template.get("Conditions"),
        resources: names,
    };
    let globals = template.get("Globals").and_then(|g| g.get("Function"));
    let mut model = Model {
        functions: BTreeMap::new(),
        tables: BTreeMap::new(),
        queues: BTreeMap::new(),
        cors: None,
    };
    for (id, node) in resources {
        let id = id.as_str().unwrap_or_default();
        let place = Place {
            resolver: &resolver,
            id,
            node,
            globals,
            resources,
        };
        match kind(node) {
            "AWS::DynamoDB::Table" => {
                let table = place.table()?;
                model.tables.insert(table.name.clone(), table);
            }
            "AWS::SQS::Queue" => {
                let queue = place.queue()?;
                model.queues.insert(queue.name.clone(), queue);
            }
            "AWS::Serverless::Function" => {
                let function = place.function()?;
                model.functions.insert(function.name.clone(), function);
            }
            "AWS::Serverless::HttpApi" => model.cors = place.optional("CorsConfiguration")?,
            // Functions may refer to these resources, so they have names; the stack does not run them.
            "AWS::IAM::Role"
            | "AWS::Logs::LogGroup"
            | "AWS::S3::Bucket"
            | "AWS::S3::BucketPolicy"
            | "AWS::Scheduler::ScheduleGroup" => {}
            other => bail!("Resources.{id}: the local stack cannot run a {other}"),
        }
    }
    Ok(model)
}

fn kind(node: &Yaml) -> &str {
    node.get("Type").and_then(Yaml::as_str).unwrap_or_default()
}

/// The names of a function's events that are event source mappings of queues.
fn queue_events(node: &Yaml) -> impl Iterator<Item = &str> {
    let events = node.get("Properties").and_then(|p| p.get("Events"));
    let events = events.and_then(Yaml::as_mapping).into_iter().flatten();
    events
        .filter(|(_, event)| kind(event) == "SQS")
        .filter_map(|(name, _)| name.as_str())
}

fn named(id: &str, node: &Yaml) -> Result<Named> {
    let without = |suffix: &str| kebab(id.strip_suffix(suffix).unwrap_or(id));
    let (kind, name) = match kind(node) {
        "AWS::DynamoDB::Table" => (Kind::Table, without("Table")),
        "AWS::SQS::Queue" => (Kind::Queue, without("Queue")),
        "AWS::Serverless::Function" => {
            let build = node.get("Metadata").and_then(|m| m.get("BuildProperties"));
            let binary = build.and_then(|b| b.get("Binary")).and_then(Yaml::as_str);
            let binary = binary
                .with_context(|| format!("Resources.{id}: Metadata.BuildProperties.Binary is missing"))?;
            (Kind::Function, binary.to_owned())
        }
        "AWS::S3::Bucket" => (Kind::Bucket, without("Bucket")),
        "AWS::Logs::LogGroup" => (Kind::LogGroup, kebab(id)),
        "AWS::IAM::Role" => (Kind::Role, id.to_owned()),
        "" => bail!("Resources.{id}: Type is missing"),
        _ => (Kind::Other, kebab(id)),
    };
    Ok(Named { kind, name })
}

/// Converts `PaymentsDlq` to `payments-dlq`.
fn kebab(id: &str) -> String {
    let mut out = String::with_capacity(id.len() + 4);
    for c in id.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

struct Place<'a> {
    resolver: &'a Resolver<'a>,
    id: &'a str,
    node: &'a Yaml,
    globals: Option<&'a Yaml>,
    resources: &'a yaml_serde::Mapping,
}

impl Place<'_> {
    fn name(&self) -> String {
        let named = self.resolver.resources.get(self.id);
        named.map_or(self.id, |named| named.name.as_str()).to_owned()
    }

    fn property(&self, key: &str) -> Option<&Yaml> {
        self.node.get("Properties").and_then(|p| p.get(key))
    }

    fn optional<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let place = format!("Resources.{}.Properties.{key}", self.id);
        let value = self.property(key).map(|node| self.read(node, &place));
        Ok(value.transpose()?.flatten())
    }

    /// The property of `Globals`.
    fn global<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let node = self.globals.and_then(|globals| globals.get(key));
        let value = node.map(|node| self.read(node, &format!("Globals.Function.{key}")));
        value.transpose()
    }

    /// The resource's own property, else the property of `Globals`.
    fn inherited<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let own = self.optional(key)?;
        own.map_or_else(|| self.global(key), |own| Ok(Some(own)))
    }

    fn read<T: DeserializeOwned>(&self, node: &Yaml, place: &str) -> Result<T> {
        let json = self.resolver.resolve(node, place)?;
        serde_json::from_value(json).map_err(|e| anyhow!("{place}: {e}"))
    }

    fn table(&self) -> Result<Table> {
        let mut definition = serde_json::Map::new();
        for key in [
            "AttributeDefinitions",
            "KeySchema",
            "GlobalSecondaryIndexes",
            "BillingMode",
        ] {
            if let Some(value) = self.optional::<Json>(key)? {
                definition.insert(key.to_owned(), value);
            }
        }
        let stream: Option<serde_json::Map<String, Json>> = self.optional("StreamSpecification")?;
        let streamed = stream.is_some();
        if let Some(mut stream) = stream {
            // CreateTable requires this member, which CloudFormation's resource does not have.
            stream.insert("StreamEnabled".to_owned(), Json::Bool(true));
            definition.insert("StreamSpecification".to_owned(), Json::Object(stream));
        }
        Ok(Table {
            name: self.name(),
            definition,
            streamed,
        })
    }

    fn queue(&self) -> Result<Queue> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Redrive {
            dead_letter_target_arn: String,
            max_receive_count: u32,
        }
        let redrive: Option<Redrive> = self.optional("RedrivePolicy")?;
        let redrive = redrive.map(|redrive| {
            let name = name_in_arn(&redrive.dead_letter_target_arn);
            let name =
                name.with_context(|| format!("Resources.{}: the dead-letter ARN has no name", self.id))?;
            anyhow::Ok((name.to_owned(), redrive.max_receive_count))
        });
        Ok(Queue {
            name: self.name(),
            visibility: Duration::from_secs(self.optional("VisibilityTimeout")?.unwrap_or(30)),
            retention: Duration::from_secs(self.optional("MessageRetentionPeriod")?.unwrap_or(345_600)),
            redrive: redrive.transpose()?,
        })
    }

    fn function(&self) -> Result<Function> {
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase", default)]
        struct Environment {
            variables: BTreeMap<String, Json>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct EventInvoke {
            maximum_retry_attempts: Option<u32>,
        }
        let shared: Option<Environment> = self.global("Environment")?;
        let own: Option<Environment> = self.optional("Environment")?;
        let mut environment = shared.unwrap_or_default().variables;
        environment.extend(own.unwrap_or_default().variables);
        let environment = environment.into_iter().map(|(key, value)| match value {
            Json::String(s) => (key, s),
            other => (key, other.to_string()),
        });
        let logging: Option<BTreeMap<String, String>> = self.optional("LoggingConfig")?;
        let log_group = logging.and_then(|config| config.get("LogGroup").cloned());
        let invoke: Option<EventInvoke> = self.optional("EventInvokeConfig")?;
        let mut function = Function {
            name: self.name(),
            timeout: Duration::from_secs(self.inherited("Timeout")?.unwrap_or(DEFAULT_TIMEOUT_SECONDS)),
            memory_mb: self.inherited("MemorySize")?.unwrap_or(DEFAULT_MEMORY_MB),
            environment: environment.collect(),
            routes: Vec::new(),
            queues: Vec::new(),
            streams: Vec::new(),
            schedules: Vec::new(),
            async_retries: invoke
                .and_then(|i| i.maximum_retry_attempts)
                .unwrap_or(DEFAULT_ASYNC_RETRIES),
            reserved: self.optional("ReservedConcurrentExecutions")?,
            statements: self.statements()?,
            log_group: log_group
                .map(|group| format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:any")),
            in_network: self.property("VpcConfig").is_some(),
        };
        let events: Option<BTreeMap<String, Event>> = self.optional("Events")?;
        for (name, event) in events.unwrap_or_default() {
            let added = event.add_to(&mut function, format!("{}{name}", self.id));
            added.with_context(|| format!("Resources.{}.Properties.Events.{name}", self.id))?;
        }
        Ok(function)
    }

    /// The policy statements of the function's role. The template must define the role: a role made by SAM would have
    /// managed policies, whose statements are unknown here.
    fn statements(&self) -> Result<Vec<Statement>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Role {
            #[serde(rename = "AssumeRolePolicyDocument")]
            _trust: Json,
            policies: Vec<Policy>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Policy {
            policy_document: Document,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Document {
            statement: Vec<Written>,
        }
        /// A statement as it is written: it may name several resources.
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Written {
            resource: OneOrMany,
            #[serde(flatten)]
            rest: serde_json::Map<String, Json>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        let Some(arn) = self.optional::<String>("Role")? else {
            if self.property("Policies").is_some() {
                bail!("Resources.{}: policies stand in a role of their own", self.id);
            }
            return Ok(Vec::new());
        };
        let id = arn.rsplit('/').next().unwrap_or_default();
        let node = self.resources.get(id).and_then(|role| role.get("Properties"));
        let node = node.with_context(|| format!("Resources.{}: there is no role {arn}", self.id))?;
        let place = format!("Resources.{id}.Properties");
        let role: Role = self.read(node, &place)?;
        let mut statements = Vec::new();
        let documents = role.policies.into_iter().map(|p| p.policy_document);
        for written in documents.flat_map(|document| document.statement) {
            let resources = match written.resource {
                OneOrMany::One(resource) => vec![resource],
                OneOrMany::Many(resources) => resources,
            };
            for resource in resources {
                let mut one = written.rest.clone();
                one.insert("Resource".to_owned(), Json::String(resource));
                let one = serde_json::from_value(Json::Object(one));
                statements.push(one.map_err(|e| anyhow!("{place}: {e}"))?);
            }
        }
        Ok(statements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_logical_ids() {
        for (id, name) in [
            ("Stock", "stock"),
            ("PaymentsDlq", "payments-dlq"),
            ("RelayParked", "relay-parked"),
        ] {
            assert_eq!(kebab(id), name);
        }
    }

    #[test]
    fn what_is_unknown_is_named() {
        let template = "Resources:\n  A:\n    Type: AWS::SQS::Queue\n    Properties:\n      VisibilityTimeout: !Cidr x\n";
        let error = load(template, &Surroundings::default()).unwrap_err().to_string();
        assert!(
            error.contains("Resources.A.Properties.VisibilityTimeout") && error.contains("!Cidr"),
            "{error}"
        );
        let template = "Resources:\n  A:\n    Type: AWS::SNS::Topic\n";
        assert!(
            load(template, &Surroundings::default())
                .unwrap_err()
                .to_string()
                .contains("AWS::SNS::Topic")
        );
    }
}
