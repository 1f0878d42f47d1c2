//! Resolves CloudFormation's intrinsic functions to local values.
//!
//! Supports what the template uses: `Ref`, `GetAtt`, `Sub`, `If` with `Equals` and `Not`, dynamic references to Secrets
//! Manager, and parameters with values in Parameter Store. Anything else is an error that names its path in the
//! template.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value as Json;
use yaml_serde::Value as Yaml;

/// The account id in every local ARN.
pub const ACCOUNT: &str = "000000000000";
/// The region in every local ARN and in the functions' environment.
pub const REGION: &str = "us-east-1";

/// Local values for everything that the template refers to but does not define.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Template parameters by name; they override the template's defaults.
    pub parameters: BTreeMap<String, String>,
    /// Parameter Store: values by parameter name.
    pub parameter_store: BTreeMap<String, String>,
    /// Secrets Manager: values by `secret id:JSON member`.
    pub secrets: BTreeMap<String, String>,
    /// The ids of a control plane's event source mappings, by logical id. A logical id without a mapping resolves to
    /// itself.
    pub mappings: BTreeMap<String, String>,
    /// The address of SQS without a trailing slash; queue URLs start with it.
    pub sqs_url: String,
}

/// The kind of a logical id's resource, with its local name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Table(String),
    Queue(String),
    Function(String),
    Mapping(String),
    Bucket(String),
    LogGroup(String),
    /// A role, with its logical id as its name.
    Role(String),
    Other(String),
}

/// Resolves nodes of one template.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    pub(super) surroundings: &'a Surroundings,
    pub(super) parameters: Option<&'a Yaml>,
    pub(super) conditions: Option<&'a Yaml>,
    pub(super) resources: BTreeMap<String, Named>,
}

#[must_use]
pub fn table_arn(name: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}")
}

#[must_use]
pub fn stream_arn(table: &str) -> String {
    format!("{}/stream/local", table_arn(table))
}

#[must_use]
pub fn bucket_arn(name: &str) -> String {
    format!("arn:aws:s3:::{name}")
}

#[must_use]
pub fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

#[must_use]
pub fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

/// The local ARN of a stored parameter, whose name begins with `/`.
#[must_use]
pub fn parameter_arn(name: &str) -> String {
    format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{name}")
}

/// The local ARN of a secret, by its name or its ARN.
#[must_use]
pub fn secret_arn(id: &str) -> String {
    if id.starts_with("arn:") {
        return id.to_owned();
    }
    format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{id}-local0")
}

impl Resolver<'_> {
    /// The node with every intrinsic replaced. `place` is the node's path, for error messages.
    pub(super) fn resolve(&self, node: &Yaml, place: &str) -> Result<Json> {
        Ok(match node {
            Yaml::Null => Json::Null,
            Yaml::Bool(b) => Json::Bool(*b),
            Yaml::Number(n) => serde_json::to_value(n).with_context(|| place.to_owned())?,
            Yaml::String(s) => Json::String(self.dynamic(s, place)?),
            Yaml::Sequence(items) => Json::Array(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| self.resolve(item, &format!("{place}[{i}]")))
                    .collect::<Result<_>>()?,
            ),
            Yaml::Mapping(map) => {
                let mut object = serde_json::Map::new();
                for (key, value) in map {
                    let key = key
                        .as_str()
                        .with_context(|| format!("{place}: a key that is no string"))?;
                    if key == "Ref" || key.starts_with("Fn::") {
                        bail!("{place}: write the intrinsic {key} in its short form");
                    }
                    object.insert(key.to_owned(), self.resolve(value, &format!("{place}.{key}"))?);
                }
                Json::Object(object)
            }
            Yaml::Tagged(tagged) if tagged.tag == "If" => {
                let [condition, holds, fails] = arguments(&tagged.value, place)?;
                let condition = condition
                    .as_str()
                    .with_context(|| format!("{place}: a condition that is no string"))?;
                let taken = if self.holds(condition)? { holds } else { fails };
                self.resolve(taken, place)?
            }
            Yaml::Tagged(tagged) if tagged.tag == "Ref" && tagged.value == "AWS::NoValue" => Json::Null,
            Yaml::Tagged(tagged) => {
                let argument = || {
                    tagged
                        .value
                        .as_str()
                        .with_context(|| format!("{place}: {} of something that is no string", tagged.tag))
                };
                Json::String(match tagged.tag.to_string().trim_start_matches('!') {
                    "Ref" => self.reference(argument()?, place)?,
                    "GetAtt" => self.attribute(argument()?, place)?,
                    "Sub" => {
                        let text = self.substitute(argument()?, place)?;
                        self.dynamic(&text, place)?
                    }
                    other => bail!("{place}: the local stack does not support the intrinsic !{other}"),
                })
            }
        })
    }

    /// Whether the template's condition `name` holds.
    fn holds(&self, name: &str) -> Result<bool> {
        let place = format!("Conditions.{name}");
        let condition = self.conditions.and_then(|conditions| conditions.get(name));
        let condition = condition.ok_or_else(|| anyhow!("{place} is missing"))?;
        self.is_true(condition, &place)
    }

    fn is_true(&self, condition: &Yaml, place: &str) -> Result<bool> {
        let Yaml::Tagged(tagged) = condition else {
            bail!("{place}: neither !Equals nor !Not");
        };
        match tagged.tag.to_string().trim_start_matches('!') {
            "Equals" => {
                let [one, other] = arguments(&tagged.value, place)?;
                Ok(self.resolve(one, place)? == self.resolve(other, place)?)
            }
            "Not" => {
                let [other] = arguments(&tagged.value, place)?;
                Ok(!self.is_true(other, place)?)
            }
            other => bail!("{place}: the local stack does not know the condition !{other}"),
        }
    }

    fn reference(&self, name: &str, place: &str) -> Result<String> {
        match name {
            "AWS::Region" => return Ok(REGION.to_owned()),
            "AWS::AccountId" => return Ok(ACCOUNT.to_owned()),
            "AWS::Partition" => return Ok("aws".to_owned()),
            "AWS::StackName" => return Ok("stampede".to_owned()),
            "AWS::URLSuffix" => return Ok("amazonaws.com".to_owned()),
            _ => {}
        }
        if let Some(named) = self.resources.get(name) {
            return Ok(match named {
                Named::Queue(queue) => format!("{}/{ACCOUNT}/{queue}", self.surroundings.sqs_url),
                Named::Mapping(id) => self.surroundings.mappings.get(id).unwrap_or(id).clone(),
                Named::Table(other)
                | Named::Function(other)
                | Named::Bucket(other)
                | Named::LogGroup(other)
                | Named::Role(other)
                | Named::Other(other) => other.clone(),
            });
        }
        if let Some(value) = self.surroundings.parameters.get(name) {
            return Ok(value.clone());
        }
        let declared = self
            .parameters
            .and_then(|p| p.get(name))
            .ok_or_else(|| anyhow!("{place}: {name} is neither a resource nor a parameter"))?;
        declared
            .get("Default")
            .and_then(scalar)
            .ok_or_else(|| anyhow!("{place}: the parameter {name} has no default and no local value"))
    }

    fn attribute(&self, path: &str, place: &str) -> Result<String> {
        let (name, attribute) = path
            .split_once('.')
            .ok_or_else(|| anyhow!("{place}: !GetAtt {path} has no attribute"))?;
        let named = self
            .resources
            .get(name)
            .ok_or_else(|| anyhow!("{place}: there is no resource {name}"))?;
        Ok(match (named, attribute) {
            (Named::Table(table), "Arn") => table_arn(table),
            (Named::Table(table), "StreamArn") => stream_arn(table),
            (Named::Bucket(bucket), "Arn") => bucket_arn(bucket),
            // CloudFormation appends `:*`, which matches the group's streams.
            (Named::LogGroup(group), "Arn") => format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:*"),
            (Named::Role(id), "Arn") => format!("arn:aws:iam::{ACCOUNT}:role/{id}"),
            (Named::Queue(queue), "Arn") => queue_arn(queue),
            (Named::Queue(queue), "QueueName") => queue.clone(),
            (Named::Function(function), "Arn") => function_arn(function),
            (Named::Other(other), "Arn") => format!("arn:aws:local:{REGION}:{ACCOUNT}:{other}"),
            _ => bail!("{place}: the local stack does not support the attribute {path}"),
        })
    }

    fn substitute(&self, text: &str, place: &str) -> Result<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let (name, tail) = after
                .split_once('}')
                .ok_or_else(|| anyhow!("{place}: an unfinished ${{ in !Sub"))?;
            if let Some(literal) = name.strip_prefix('!') {
                out.push_str("${");
                out.push_str(literal);
                out.push('}');
            } else if name.contains('.') {
                out.push_str(&self.attribute(name, place)?);
            } else {
                out.push_str(&self.reference(name, place)?);
            }
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Replaces each dynamic reference `{{resolve:secretsmanager:…}}` with the local value of the secret's member.
    fn dynamic(&self, text: &str, place: &str) -> Result<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{resolve:") {
            out.push_str(before);
            let (reference, tail) = after
                .split_once("}}")
                .ok_or_else(|| anyhow!("{place}: an unfinished dynamic reference"))?;
            let parts: Vec<&str> = reference.split(':').collect();
            let ["secretsmanager", secret, "SecretString", member] = parts.as_slice() else {
                bail!("{place}: the local stack does not support the dynamic reference {reference}");
            };
            let key = format!("{secret}:{member}");
            let value = self
                .surroundings
                .secrets
                .get(&key)
                .ok_or_else(|| anyhow!("{place}: no local value for the secret {key}"))?;
            out.push_str(value);
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The arguments of an intrinsic that takes `N` arguments.
fn arguments<'a, const N: usize>(node: &'a Yaml, place: &str) -> Result<&'a [Yaml; N]> {
    node.as_sequence()
        .and_then(|items| <&[Yaml; N]>::try_from(items.as_slice()).ok())
        .with_context(|| format!("{place}: an intrinsic takes {N} arguments"))
}

fn scalar(node: &Yaml) -> Option<String> {
    match node {
        Yaml::String(s) => Some(s.clone()),
        Yaml::Number(n) => Some(n.to_string()),
        Yaml::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}
