//! Resolves CloudFormation's intrinsic functions to local values.
//!
//! Supports what the template uses: `Ref`, `GetAtt`, `Sub`, `If` with `Equals` and `Not`, dynamic references to Secrets
//! Manager, and parameters with values in Parameter Store. Anything else is an error that names its path in the
//! template.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Queue,
    Function,
    Mapping,
    Bucket,
    LogGroup,
    Role,
    Other,
}

/// The kind of a logical id's resource, with its local name. The name of a role or a mapping is its logical id.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) kind: Kind,
    pub(super) name: String,
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
            Yaml::Sequence(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(i, item)| self.resolve(item, &format!("{place}[{i}]")));
                Json::Array(items.collect::<Result<_>>()?)
            }
            Yaml::Mapping(map) => {
                let mut object = serde_json::Map::new();
                for (key, value) in map {
                    let key = key.as_str();
                    let key = key.with_context(|| format!("{place}: a key that is no string"))?;
                    if key == "Ref" || key.starts_with("Fn::") {
                        bail!("{place}: write the intrinsic {key} in its short form");
                    }
                    object.insert(key.to_owned(), self.resolve(value, &format!("{place}.{key}"))?);
                }
                Json::Object(object)
            }
            Yaml::Tagged(tagged) if tagged.tag == "If" => {
                let [condition, holds, fails] = arguments(&tagged.value, place)?;
                let condition = condition.as_str();
                let condition =
                    condition.with_context(|| format!("{place}: a condition that is no string"))?;
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
                    "Sub" => self.dynamic(&self.substitute(argument()?, place)?, place)?,
                    other => bail!("{place}: the local stack does not support the intrinsic !{other}"),
                })
            }
        })
    }

    /// Whether the template's condition `name` holds.
    fn holds(&self, name: &str) -> Result<bool> {
        let place = format!("Conditions.{name}");
        let condition = self.conditions.and_then(|conditions| conditions.get(name));
        let condition = condition.with_context(|| format!("{place} is missing"))?;
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
        if let Some(Named { kind, name }) = self.resources.get(name) {
            return Ok(match kind {
                Kind::Queue => format!("{}/{ACCOUNT}/{name}", self.surroundings.sqs_url),
                Kind::Mapping => self.surroundings.mappings.get(name).unwrap_or(name).clone(),
                _ => name.clone(),
            });
        }
        if let Some(value) = self.surroundings.parameters.get(name) {
            return Ok(value.clone());
        }
        let declared = self.parameters.and_then(|parameters| parameters.get(name));
        let declared =
            declared.with_context(|| format!("{place}: {name} is neither a resource nor a parameter"))?;
        let default = declared.get("Default").and_then(scalar);
        default.with_context(|| format!("{place}: the parameter {name} has no default and no local value"))
    }

    fn attribute(&self, path: &str, place: &str) -> Result<String> {
        let (id, attribute) = path
            .split_once('.')
            .with_context(|| format!("{place}: !GetAtt {path} has no attribute"))?;
        let named = self.resources.get(id);
        let Named { kind, name } = named.with_context(|| format!("{place}: there is no resource {id}"))?;
        Ok(match (kind, attribute) {
            (Kind::Table, "Arn") => table_arn(name),
            (Kind::Table, "StreamArn") => stream_arn(name),
            (Kind::Bucket, "Arn") => bucket_arn(name),
            // CloudFormation appends `:*`, which matches the group's streams.
            (Kind::LogGroup, "Arn") => format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*"),
            (Kind::Role, "Arn") => format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
            (Kind::Queue, "Arn") => queue_arn(name),
            (Kind::Queue, "QueueName") => name.clone(),
            (Kind::Function, "Arn") => function_arn(name),
            (Kind::Other, "Arn") => format!("arn:aws:local:{REGION}:{ACCOUNT}:{name}"),
            _ => bail!("{place}: the local stack does not support the attribute {path}"),
        })
    }

    fn substitute(&self, text: &str, place: &str) -> Result<String> {
        let value = |name: &str| match name.strip_prefix('!') {
            Some(literal) => Ok(format!("${{{literal}}}")),
            None if name.contains('.') => self.attribute(name, place),
            None => self.reference(name, place),
        };
        let replaced = replace(text, "${", "}", value)?;
        replaced.with_context(|| format!("{place}: an unfinished ${{ in !Sub"))
    }

    /// Replaces each dynamic reference `{{resolve:secretsmanager:…}}` with the local value of the secret's member.
    fn dynamic(&self, text: &str, place: &str) -> Result<String> {
        let value = |reference: &str| {
            let parts: Vec<&str> = reference.split(':').collect();
            let ["secretsmanager", secret, "SecretString", member] = parts.as_slice() else {
                bail!("{place}: the local stack does not support the dynamic reference {reference}");
            };
            let key = format!("{secret}:{member}");
            let value = self.surroundings.secrets.get(&key).cloned();
            value.with_context(|| format!("{place}: no local value for the secret {key}"))
        };
        let replaced = replace(text, "{{resolve:", "}}", value)?;
        replaced.with_context(|| format!("{place}: an unfinished dynamic reference"))
    }
}

/// Replaces each text between `open` and `close`, and the two marks, with its value. `None` if a `close` is missing.
fn replace(
    text: &str,
    open: &str,
    close: &str,
    value: impl Fn(&str) -> Result<String>,
) -> Result<Option<String>> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once(open) {
        let Some((inner, tail)) = after.split_once(close) else {
            return Ok(None);
        };
        out.push_str(before);
        out.push_str(&value(inner)?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(Some(out))
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
