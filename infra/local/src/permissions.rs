//! Checks the functions' policies before every call, and counts the used and refused permissions.
//!
//! A function's process signs with its own access key, as it signs with its role's key on AWS. The key identifies the
//! caller, also when a call outlives its invocation. The signature itself is not checked. A call with any other key
//! comes from outside (tests, the load generator) and is always allowed.
//!
//! The rules are IAM's for identity-based policies: a call that no statement allows is denied, and a deny takes
//! precedence. Supported patterns are resources that end in `*` or in one or more `?`. Supported conditions are
//! `StringEquals` of a resource's tag and `Null` of `lambda:SourceFunctionArn`. [`Permissions::of`] refuses all other
//! patterns and conditions.
//!
//! Lambda itself uses a function's role too: it writes the log, reads queues and streams, writes failed records to a
//! bucket and creates network interfaces. The local stack makes no signed calls for these, so
//! [`Permissions::check_lambda`] checks all of them once, and a missing statement fails at the start.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::lock;
use crate::template::{
    ACCOUNT, Function, Model, OnFailure, Statement, bucket_arn, queue_arn, stream_arn, table_arn,
};

/// The prefix of a function's access key; the function's name follows.
const KEY_PREFIX: &str = "function.";

/// The access key that a function signs with.
#[must_use]
pub fn access_key(function: &str) -> String {
    format!("{KEY_PREFIX}{function}")
}

/// The function that signed, from the value of `Authorization`; `None` when the caller is from outside.
#[must_use]
pub fn signer(authorization: Option<&str>) -> Option<&str> {
    let (_, scope) = authorization?.split_once("Credential=")?;
    let (key, _) = scope.split_once('/')?;
    key.strip_prefix(KEY_PREFIX)
}

/// The service that a request was signed for, from the value of `Authorization`.
#[must_use]
pub fn service(authorization: Option<&str>) -> Option<&str> {
    let (_, scope) = authorization?.split_once("Credential=")?;
    scope.split([',', ' ']).next()?.split('/').nth(3)
}

/// A permission that a call needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The action, such as `dynamodb:PutItem`.
    pub action: Cow<'static, str>,
    pub resource: String,
}

/// A call that no policy allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "User: arn:aws:sts::{ACCOUNT}:assumed-role/{function}/{function} is not authorized to perform: {action} on resource: \
     {resource} because no identity-based policy allows the {action} action"
)]
pub struct Denied {
    function: String,
    action: String,
    resource: String,
}

impl Denied {
    /// The same refusal with the action in small letters, as SQS writes it.
    #[must_use]
    pub fn in_small_letters(mut self) -> Self {
        self.action.make_ascii_lowercase();
        self
    }

    /// The body of the refusal in AWS's JSON protocols.
    #[must_use]
    pub fn body(&self) -> String {
        let kind = "com.amazon.coral.service#AccessDeniedException";
        serde_json::json!({"__type": kind, "Message": self.to_string()}).to_string()
    }
}

/// A supported condition of a statement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    /// The resource has the tag of this name with this value.
    Tagged(String, String),
    /// The call comes from the function's own code (false), or from Lambda with the function's role (true).
    ByLambda(bool),
}

/// The prefix of condition keys about resource tags.
const TAG: &str = "aws:ResourceTag/";
/// This key is present in calls of a function's own code. It is absent in calls that Lambda makes with the role to read
/// event sources and to create network interfaces: Lambda Developer Guide, "Using source function ARN to control
/// function access behavior".
const SOURCE_FUNCTION: &str = "lambda:SourceFunctionArn";

impl Condition {
    fn all(statement: &Statement) -> Option<Vec<Self>> {
        let mut all = Vec::new();
        for (operator, keys) in &statement.condition {
            for (key, value) in keys {
                all.push(match (operator.as_str(), key.strip_prefix(TAG)) {
                    ("StringEquals", Some(tag)) => Self::Tagged(tag.to_owned(), value.clone()),
                    ("Null", None) if key == SOURCE_FUNCTION => Self::ByLambda(value.parse().ok()?),
                    _ => return None,
                });
            }
        }
        Some(all)
    }
}

pub type Tags = BTreeMap<String, BTreeMap<String, String>>;

/// The permission for one action on one resource or pattern, with the number of its uses.
#[derive(Debug)]
struct Grant {
    action: String,
    conditions: Vec<Condition>,
    used: AtomicU64,
}

/// The grants of one function, by resource. A resource that ends in `*` matches every resource with this prefix; each
/// `?` at the end matches any one character.
type Grants = HashMap<String, Vec<Grant>>;

/// The part of a statement's resource before a pattern at its end.
fn beginning(resource: &str) -> &str {
    resource
        .strip_suffix('*')
        .unwrap_or_else(|| resource.trim_end_matches('?'))
}

/// Whether a pattern matches a resource.
fn covers(pattern: &str, resource: &str) -> bool {
    let begins = resource.starts_with(beginning(pattern));
    begins && (pattern.ends_with('*') || resource.len() == pattern.len())
}

/// The grant that allows an action on a resource: the grant on exactly this resource, else the grant with the longest
/// matching pattern. Only grants whose conditions all hold count.
fn grant<'a>(grants: &'a Grants, need: &Need, holds: &dyn Fn(&Condition) -> bool) -> Option<&'a Grant> {
    let fits = |grant: &&Grant| grant.action == need.action && grant.conditions.iter().all(holds);
    let of = |grants: &'a Vec<Grant>| grants.iter().find(fits);
    if let Some(grant) = grants.get(&need.resource).and_then(of) {
        return Some(grant);
    }
    let covering = grants
        .iter()
        .filter(|(pattern, _)| covers(pattern, &need.resource));
    let fitting = covering.filter_map(|(pattern, grants)| Some((pattern.len(), of(grants)?)));
    Some(fitting.max_by_key(|(length, _)| *length)?.1)
}

#[derive(Debug, Default)]
pub struct Permissions {
    granted: HashMap<String, Grants>,
    /// The numbers of refused calls, by function and by the text of the permission.
    denied: Mutex<BTreeMap<String, BTreeMap<String, u64>>>,
    tags: Tags,
}

/// A permission, with the number of times that it was used or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Times {
    /// Action and resource, such as `dynamodb:Query table/orders/index/open`.
    pub permission: String,
    /// The number of uses or refusals. Each item of a transaction counts as a use.
    pub times: u64,
}

/// One function's permissions, as `GET /permissions` returns them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// The granted permissions.
    pub granted: Vec<String>,
    /// The used permissions.
    pub used: Vec<Times>,
    /// Granted permissions without any use so far.
    pub unused: Vec<String>,
    /// Permissions that a call needed and no statement granted.
    pub denied: Vec<Times>,
}

/// The text of a permission in reports, such as `dynamodb:Query table/orders/index/open`: the action, and the ARN
/// without its partition, service, region and account.
fn text(action: &str, resource: &str) -> String {
    format!("{action} {}", resource.splitn(6, ':').last().unwrap_or_default())
}

impl Permissions {
    /// The permissions of a model's functions.
    ///
    /// # Errors
    /// When a statement has an unsupported pattern or condition, or an effect that is neither `Allow` nor `Deny`. The
    /// error names the function and this part of the statement.
    pub fn of(model: &Model) -> Result<Self> {
        let functions = model.functions.values();
        let granted = functions.map(|f| Ok((f.name.clone(), grants(&f.name, &f.statements)?)));
        Ok(Self {
            granted: granted.collect::<Result<_>>()?,
            ..Self::default()
        })
    }

    /// Sets the tags of resources, which conditions of statements refer to.
    #[must_use]
    pub fn with_tags(self, tags: Tags) -> Self {
        Self { tags, ..self }
    }

    fn granted(&self, function: &str, need: &Need, by_lambda: bool) -> Option<&Grant> {
        let holds = |condition: &Condition| match condition {
            Condition::ByLambda(expected) => *expected == by_lambda,
            Condition::Tagged(tag, value) => {
                let tags = self.tags.get(&need.resource);
                tags.and_then(|tags| tags.get(tag)) == Some(value)
            }
        };
        grant(self.granted.get(function)?, need, &holds)
    }

    /// Checks that each function's role grants what Lambda itself needs. The check does not count as a use.
    ///
    /// # Errors
    /// When a permission is missing. The error names the function, the action and the resource.
    pub fn check_lambda(&self, model: &Model) -> Result<()> {
        for function in model.functions.values() {
            for need in of_lambda(function) {
                let name = &function.name;
                if self.granted(name, &need, true).is_none() {
                    let Need { action, resource } = need;
                    bail!("{name}: its role does not let Lambda {action} on {resource}");
                }
            }
        }
        Ok(())
    }

    /// Checks that `function` has all permissions of `needs`. Uses are counted only if all permissions are granted.
    ///
    /// # Errors
    /// When a permission is missing. The error names the first one in `needs` that no statement grants.
    pub fn check(&self, function: &str, needs: &[Need]) -> Result<(), Denied> {
        let granted = |need| (self.granted(function, need, false)).ok_or_else(|| self.deny(function, need));
        let grants = needs.iter().map(granted).collect::<Result<Vec<_>, _>>()?;
        for grant in grants {
            grant.used.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn deny(&self, function: &str, need: &Need) -> Denied {
        let denied = Denied {
            function: function.to_owned(),
            action: need.action.clone().into_owned(),
            resource: need.resource.clone(),
        };
        let mut all = lock(&self.denied);
        let of_function = all.entry(function.to_owned()).or_default();
        let times = of_function.entry(text(&need.action, &need.resource));
        let times = times.or_default();
        if *times == 0 {
            tracing::error!("{denied}");
        }
        *times += 1;
        denied
    }

    #[must_use]
    pub fn report(&self) -> BTreeMap<String, Figures> {
        let mut report: BTreeMap<String, Figures> = BTreeMap::new();
        for (function, resources) in &self.granted {
            let figures = report.entry(function.clone()).or_default();
            for (resource, grants) in resources {
                for grant in grants {
                    let permission = text(&grant.action, resource);
                    figures.granted.push(permission.clone());
                    match grant.used.load(Ordering::Relaxed) {
                        0 => figures.unused.push(permission),
                        times => figures.used.push(Times { permission, times }),
                    }
                }
            }
            figures.granted.sort();
            figures.unused.sort();
            figures.used.sort_by(|a, b| a.permission.cmp(&b.permission));
        }
        for (function, permissions) in lock(&self.denied).clone() {
            let times = permissions.into_iter();
            let times = times.map(|(permission, times)| Times { permission, times });
            report.entry(function).or_default().denied.extend(times);
        }
        report
    }
}

/// The permissions that Lambda needs from a function's role, by the pages of its Developer Guide on logs, event
/// sources, on-failure destinations and VPCs.
fn of_lambda(function: &Function) -> Vec<Need> {
    const LOG: [&str; 2] = ["logs:CreateLogStream", "logs:PutLogEvents"];
    const QUEUE: [&str; 3] = [
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
    ];
    const STREAM: [&str; 3] = [
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
    ];
    const NETWORK: [&str; 6] = [
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    ];
    let mut needs = Vec::new();
    let mut all = |actions: &[&'static str], resource: &str| {
        needs.extend(actions.iter().map(|action| Need {
            action: Cow::Borrowed(action),
            resource: resource.to_owned(),
        }));
    };
    if let Some(group) = &function.log_group {
        all(&LOG, group);
    }
    for source in &function.queues {
        all(&QUEUE, &queue_arn(&source.queue));
    }
    for source in &function.streams {
        all(&STREAM, &stream_arn(&source.table));
        let any_stream = format!("{}/stream/any", table_arn(&source.table));
        all(&["dynamodb:ListStreams"], &any_stream);
        match &source.on_failure {
            Some(OnFailure::Queue(queue)) => all(&["sqs:SendMessage"], &queue_arn(queue)),
            Some(OnFailure::Bucket(bucket)) => {
                let bucket = bucket_arn(bucket);
                all(&["s3:ListBucket"], &bucket);
                all(&["s3:PutObject"], &format!("{bucket}/aws/lambda/any"));
            }
            None => {}
        }
    }
    if function.in_network {
        all(&NETWORK, "*");
    }
    needs
}

/// The grants of one function, by resource.
fn grants(function: &str, statements: &[Statement]) -> Result<Grants> {
    let mut allowed = BTreeSet::new();
    let mut denied = BTreeSet::new();
    for statement in statements {
        let set = match statement.effect.as_str() {
            "Allow" => &mut allowed,
            "Deny" => &mut denied,
            other => bail!("{function}: the local stack does not support the effect {other}"),
        };
        let conditions =
            Condition::all(statement).filter(|all| all.is_empty() || statement.effect == "Allow");
        let Some(conditions) = conditions else {
            let condition = &statement.condition;
            bail!("{function}: the local stack does not support the condition {condition:?}");
        };
        for action in &statement.action {
            let (resource, action) = (statement.resource.as_str(), action.as_str());
            let beginning = beginning(resource);
            let denies_widely = statement.effect == "Deny" && beginning != resource;
            if denies_widely || [beginning, action].iter().any(|text| text.contains(['*', '?'])) {
                bail!("{function}: the local stack does not support patterns: {action} {resource}");
            }
            set.insert(((resource, action), conditions.clone()));
        }
    }
    let is_denied = |pair| denied.iter().any(|(refused, _)| *refused == pair);
    let mut grants: HashMap<String, Vec<Grant>> = HashMap::new();
    for ((resource, action), conditions) in allowed.into_iter().filter(|(pair, _)| !is_denied(*pair)) {
        grants.entry(resource.to_owned()).or_default().push(Grant {
            action: action.to_owned(),
            conditions,
            used: AtomicU64::new(0),
        });
    }
    Ok(grants)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(effect: &str, actions: &[&str], resource: &str) -> Statement {
        Statement {
            effect: effect.to_owned(),
            action: actions.iter().map(|&a| a.to_owned()).collect(),
            resource: resource.to_owned(),
            condition: BTreeMap::new(),
        }
    }

    fn with_condition(mut statement: Statement, operator: &str, key: &str, value: &str) -> Statement {
        let keys = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        statement.condition.insert(operator.to_owned(), keys);
        statement
    }

    fn permissions(statements: &[Statement]) -> Permissions {
        Permissions {
            granted: HashMap::from([("f".to_owned(), grants("f", statements).unwrap())]),
            denied: Mutex::default(),
            tags: Tags::new(),
        }
    }

    fn need(action: &'static str, resource: &str) -> Need {
        Need {
            action: action.into(),
            resource: resource.to_owned(),
        }
    }

    #[test]
    fn only_a_function_signs_as_one() {
        let header = |key: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host"
            )
        };
        assert_eq!(signer(Some(&header(&access_key("get-drop")))), Some("get-drop"));
        assert_eq!(service(Some(&header("local"))), Some("dynamodb"));
        assert_eq!(service(None), None);
        for other in [
            None,
            Some(header("local")),
            Some(String::new()),
            Some("Credential=".to_owned()),
        ] {
            assert_eq!(signer(other.as_deref()), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_denied_and_what_is_denied_is_not_allowed() {
        let permissions = permissions(&[
            statement("Allow", &["s:Get", "s:Put"], "arn:a:b:t/x"),
            statement("Deny", &["s:Put"], "arn:a:b:t/x"),
        ]);
        let get = need("s:Get", "arn:a:b:t/x");
        assert_eq!(permissions.check("f", std::slice::from_ref(&get)), Ok(()));
        for bad in [
            need("s:Put", "arn:a:b:t/x"),
            need("s:Get", "arn:a:b:t/y"),
            need("s:Get", "arn:a:b:t/x/index/i"),
        ] {
            // The second need is denied, so the use of the first need, which is allowed, must not be counted.
            let denied = permissions.check("f", &[get.clone(), bad.clone()]).unwrap_err();
            assert_eq!(denied.action.as_str(), &*bad.action);
            assert_eq!(&denied.resource, &bad.resource);
        }
        assert!(permissions.check("nobody", &[get]).is_err());
        let report = permissions.report();
        let figures = &report["f"];
        assert_eq!(figures.granted, ["s:Get t/x"]);
        assert_eq!(figures.used[0].times, 1);
        assert_eq!(figures.unused.len(), 0);
        assert_eq!(figures.denied.len(), 3);
        assert_eq!(report["nobody"].denied[0].times, 1);
    }

    #[test]
    fn a_beginning_allows_what_begins_so_and_nothing_else() {
        let permissions = permissions(&[
            statement("Allow", &["s:Get", "s:Put"], "arn:a:b:t/x-*"),
            statement("Allow", &["s:Get"], "arn:a:b:t/x-1"),
            statement("Allow", &["s:List"], "*"),
        ]);
        for good in [
            need("s:Get", "arn:a:b:t/x-1"),
            need("s:Put", "arn:a:b:t/x-1"),
            need("s:Get", "arn:a:b:t/x-2"),
            need("s:List", "arn:a:b:t/y"),
            need("s:List", "*"),
        ] {
            assert_eq!(
                permissions.check("f", std::slice::from_ref(&good)),
                Ok(()),
                "{good:?}"
            );
        }
        for bad in [
            need("s:Get", "arn:a:b:t/y"),
            need("s:Del", "arn:a:b:t/x-1"),
            need("s:Get", "*"),
        ] {
            assert!(permissions.check("f", &[bad]).is_err());
        }
        let used = &permissions.report()["f"].used;
        let used: Vec<(&str, u64)> = used.iter().map(|u| (u.permission.as_str(), u.times)).collect();
        let expected = [
            ("s:Get t/x-*", 1),
            ("s:Get t/x-1", 1),
            ("s:List *", 2),
            ("s:Put t/x-*", 1),
        ];
        assert_eq!(used, expected);
    }

    #[test]
    fn a_question_mark_at_the_end_allows_any_one_character() {
        let permissions = permissions(&[statement("Allow", &["s:Get"], "arn:a:b:t/x-??")]);
        for (resource, is_allowed) in [
            ("arn:a:b:t/x-01", true),
            ("arn:a:b:t/x-0", false),
            ("arn:a:b:t/x-012", false),
            ("arn:a:b:t/y-01", false),
        ] {
            let checked = permissions.check("f", &[need("s:Get", resource)]);
            assert_eq!(checked.is_ok(), is_allowed, "{resource}");
        }
    }

    #[test]
    fn a_condition_on_a_tag_allows_only_resources_that_have_it() {
        let modify = statement("Allow", &["s:Modify"], "arn:a:b:db:*");
        let tagged = with_condition(modify, "StringEquals", "aws:ResourceTag/cluster", "ledger");
        let tags = |value: &str| BTreeMap::from([("cluster".to_owned(), value.to_owned())]);
        let all = Tags::from([
            ("arn:a:b:db:ledger-1".to_owned(), tags("ledger")),
            ("arn:a:b:db:ledger-2".to_owned(), tags("ledger-other")),
        ]);
        let permissions = permissions(&[tagged]).with_tags(all);
        for (resource, is_allowed) in [
            ("arn:a:b:db:ledger-1", true),
            ("arn:a:b:db:ledger-2", false),
            ("arn:a:b:db:ledger-3", false),
        ] {
            let checked = permissions.check("f", &[need("s:Modify", resource)]);
            assert_eq!(checked.is_ok(), is_allowed, "{resource}");
        }
    }

    #[test]
    fn what_is_for_lambda_alone_is_refused_to_the_functions_code() {
        let create = statement("Allow", &["ec2:Create"], "*");
        let permissions = permissions(&[with_condition(create, "Null", SOURCE_FUNCTION, "true")]);
        let create = need("ec2:Create", "*");
        assert!(permissions.granted("f", &create, true).is_some());
        assert!(permissions.check("f", &[create]).is_err());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            with_condition(
                statement("Allow", &["s:Get"], "r"),
                "StringLike",
                "aws:ResourceTag/t",
                "v",
            ),
            with_condition(
                statement("Allow", &["s:Get"], "r"),
                "StringEquals",
                "aws:SourceIp",
                "v",
            ),
            with_condition(
                statement("Deny", &["s:Get"], "r"),
                "StringEquals",
                "aws:ResourceTag/t",
                "v",
            ),
            statement("Allow", &["s:*"], "r"),
            statement("Allow", &["s:Get"], "r/*/x"),
            statement("Allow", &["s:Get"], "r/?/x"),
            statement("Allow", &["s:Get"], "r/?*"),
            statement("Deny", &["s:Get"], "r/*"),
            statement("Deny", &["s:Get"], "r/?"),
            statement("Allow", &["s:Ge?"], "r"),
            statement("Perhaps", &["s:Get"], "r"),
        ] {
            assert!(grants("f", std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
    }
}
