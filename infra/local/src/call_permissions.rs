//! Determines the permissions that a call to a service other than DynamoDB and SQS needs, by AWS's Service
//! Authorization Reference.

use std::borrow::Cow;

use http::Method;
use http::request::Parts;
use serde_json::Value;

use crate::http1;
use crate::permissions::{Denied, Need, Permissions, service, signer};
use crate::template::{ACCOUNT, REGION, function_arn, parameter_arn, secret_arn};

/// The parts of a call that determine its permissions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The function that signed the call; `None` for another caller.
    pub(crate) signer: Option<&'a str>,
    /// The service that the signature is for.
    pub(crate) service: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// The value of `X-Amz-Target`, in protocols that name the operation in this header.
    pub(crate) target: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

impl<'a> Call<'a> {
    /// The call that a request with these parts and this body makes.
    pub(crate) fn of(parts: &'a Parts, body: &'a [u8]) -> Self {
        let authorization = http1::header(parts, "authorization");
        Self {
            signer: signer(authorization),
            service: service(authorization).unwrap_or_default(),
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            target: http1::header(parts, "x-amz-target"),
            body,
        }
    }

    /// The operation's name without the service's prefix, in protocols that name the operation in `X-Amz-Target`.
    pub(crate) fn operation(&self) -> Option<&'a str> {
        self.target.and_then(|target| target.rsplit('.').next())
    }

    /// The member of the JSON body with this name, if it is a text.
    fn member(&self, name: &str) -> Option<String> {
        let body: Value = serde_json::from_slice(self.body).ok()?;
        body.get(name)?.as_str().map(str::to_owned)
    }

    /// The value of a field of the body, if the body is a form.
    fn field(&self, name: &str) -> Option<&'a str> {
        value(std::str::from_utf8(self.body).ok()?, name)
    }

    /// The value of a query parameter, as written in the URL.
    fn parameter(&self, name: &str) -> Option<&'a str> {
        value(self.query, name)
    }

    /// Checks the call against the policies of the function that signed it. A call that no function signed is always
    /// allowed.
    pub(crate) fn permitted(&self, permissions: &Permissions) -> Result<(), Denied> {
        self.signer
            .map_or(Ok(()), |function| permissions.check(function, &needs(self)))
    }
}

/// The permissions that the call needs. An unknown call needs a permission that no policy grants, so it is refused.
pub(crate) fn needs(call: &Call<'_>) -> Vec<Need> {
    let known = match call.service {
        "ssm" => parameter_store(call),
        "secretsmanager" => secrets_manager(call),
        "ses" => mail(call),
        "lambda" => lambda(call),
        "rds" => rds(call),
        "monitoring" => cloudwatch(call),
        _ => None,
    };
    known.unwrap_or_else(|| {
        let action = format!("{}:{} {}", call.service, call.method, call.path);
        vec![need(action, "*")]
    })
}

fn need(action: impl Into<Cow<'static, str>>, resource: impl Into<String>) -> Need {
    Need {
        action: action.into(),
        resource: resource.into(),
    }
}

fn arn(service: &str, rest: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}")
}

fn parameter_store(call: &Call<'_>) -> Option<Vec<Need>> {
    let operation = call.operation()?;
    let name = call.member(match operation {
        "GetParametersByPath" => "Path",
        "GetParameter" => "Name",
        _ => return None,
    })?;
    Some(vec![need(format!("ssm:{operation}"), parameter_arn(&name))])
}

fn secrets_manager(call: &Call<'_>) -> Option<Vec<Need>> {
    if call.operation()? != "GetSecretValue" {
        return None;
    }
    let resource = secret_arn(&call.member("SecretId")?);
    Some(vec![need("secretsmanager:GetSecretValue", resource)])
}

/// The path of SES's `SendEmail`.
pub(crate) const SEND_EMAIL_PATH: &str = "/v2/email/outbound-emails";

/// The call needs the permission on the identity of the sender's domain. SES also accepts a separately verified
/// address; the stack does not.
fn mail(call: &Call<'_>) -> Option<Vec<Need>> {
    if call.method != Method::POST || call.path != SEND_EMAIL_PATH {
        return None;
    }
    let from = call.member("FromEmailAddress")?;
    let (_, domain) = from.split_once('@')?;
    let identity = arn("ses", &format!("identity/{domain}"));
    Some(vec![need("ses:SendEmail", identity)])
}

/// The function that a call of Lambda's `Invoke` names; `None` for other calls.
pub(super) fn invoked<'a>(call: &Call<'a>) -> Option<&'a str> {
    if call.service != "lambda" || call.method != Method::POST {
        return None;
    }
    match segments(call.path).as_slice() {
        [_, "functions", name, "invocations"] => Some(*name),
        _ => None,
    }
}

/// The function whose concurrency this call reads or sets, and the qualifier if the call concerns provisioned
/// concurrency. `None` for other calls.
pub(super) fn about_concurrency<'a>(call: &Call<'a>) -> Option<(&'a str, Option<&'a str>)> {
    if call.service != "lambda" {
        return None;
    }
    match segments(call.path).as_slice() {
        [_, "functions", name, "provisioned-concurrency"] => Some((*name, call.parameter("Qualifier"))),
        [_, "functions", name, "concurrency"] => Some((*name, None)),
        _ => None,
    }
}

/// The function whose provisioned concurrency this call lists; `None` for other calls.
pub(super) fn lists_provisioned<'a>(call: &Call<'a>) -> Option<&'a str> {
    let (function, _) = about_concurrency(call)?;
    let lists = call.method == Method::GET && call.parameter("List").is_some();
    lists.then_some(function)
}

/// Whether this call may change the ledger's cluster: every RDS call whose action does not begin with `Describe`.
pub(super) fn changes_database(call: &Call<'_>) -> bool {
    call.service == "rds" && !call.body.windows(15).any(|part| part == b"Action=Describe")
}

/// The value of `name` in a form or a query, as written there.
fn value<'a>(pairs: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = pairs.split('&');
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

fn lambda(call: &Call<'_>) -> Option<Vec<Need>> {
    let qualified = |name: &str| match call.parameter("Qualifier") {
        Some(qualifier) => format!("{}:{qualifier}", function_arn(name)),
        None => function_arn(name),
    };
    let get = call.method == Method::GET;
    let verb = match *call.method {
        Method::GET => "Get",
        Method::PUT => "Put",
        Method::DELETE => "Delete",
        _ => "",
    };
    let (action, resource) = match segments(call.path).as_slice() {
        [_, "account-settings"] if get => ("GetAccountSettings".to_owned(), "*".to_owned()),
        [_, "functions"] if get => ("ListFunctions".to_owned(), "*".to_owned()),
        [_, "functions", name, "invocations"] => ("InvokeFunction".to_owned(), qualified(name)),
        [_, "functions", name, "concurrency"] if !verb.is_empty() => {
            (format!("{verb}FunctionConcurrency"), function_arn(name))
        }
        [_, "functions", name, "provisioned-concurrency"] if get && call.parameter("List").is_some() => {
            let action = "ListProvisionedConcurrencyConfigs";
            (action.to_owned(), function_arn(name))
        }
        [_, "functions", name, "provisioned-concurrency"] if !verb.is_empty() => {
            (format!("{verb}ProvisionedConcurrencyConfig"), qualified(name))
        }
        [_, "event-source-mappings", mapping] if ["Get", "Put"].contains(&verb) => {
            let verb = if get { "Get" } else { "Update" };
            let resource = arn("lambda", &format!("event-source-mapping:{mapping}"));
            (format!("{verb}EventSourceMapping"), resource)
        }
        _ => return None,
    };
    Some(vec![need(format!("lambda:{action}"), resource)])
}

fn rds(call: &Call<'_>) -> Option<Vec<Need>> {
    let operation = call.field("Action")?;
    let (kind, field) = match operation {
        // A failover names an instance too, but needs only the permission on the cluster: Service Authorization
        // Reference, Amazon RDS.
        "DescribeDBClusters" | "ModifyDBCluster" | "FailoverDBCluster" => ("cluster", "DBClusterIdentifier"),
        "DescribeDBInstances" | "ModifyDBInstance" => ("db", "DBInstanceIdentifier"),
        _ => return None,
    };
    let resource = arn("rds", &format!("{kind}:{}", call.field(field).unwrap_or("*")));
    Some(vec![need(format!("rds:{operation}"), resource)])
}

fn cloudwatch(call: &Call<'_>) -> Option<Vec<Need>> {
    let in_path = || match segments(call.path).as_slice() {
        ["service", _, "operation", operation] => Some(*operation),
        _ => None,
    };
    let in_form = || call.field("Action");
    let operation = call.operation().or_else(in_path).or_else(in_form)?;
    Some(vec![need(format!("cloudwatch:{operation}"), "*")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(service: &str, method: Method, path: &str, target: Option<&str>, body: &str) -> Vec<String> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let call = Call {
            signer: None,
            service,
            method: &method,
            path,
            query,
            target,
            body: body.as_bytes(),
        };
        let one = |need: Need| format!("{} {}", need.action, need.resource.replace("arn:aws:", ""));
        needs(&call).into_iter().map(one).collect()
    }

    #[test]
    fn each_call_needs_its_action_on_what_it_names() {
        let lambda = |method, path: &str| texts("lambda", method, path, None, "").remove(0);
        let here = "lambda:us-east-1:000000000000";
        for (method, path, expected) in [
            (
                Method::GET,
                "/2016-08-19/account-settings",
                "lambda:GetAccountSettings *".to_owned(),
            ),
            (
                Method::GET,
                "/2015-03-31/functions",
                "lambda:ListFunctions *".to_owned(),
            ),
            (
                Method::GET,
                "/2019-09-30/functions/reserve/concurrency",
                format!("lambda:GetFunctionConcurrency {here}:function:reserve"),
            ),
            (
                Method::PUT,
                "/2019-09-30/functions/reserve/provisioned-concurrency?Qualifier=live",
                format!("lambda:PutProvisionedConcurrencyConfig {here}:function:reserve:live"),
            ),
            (
                Method::GET,
                "/2019-09-30/functions/reserve/provisioned-concurrency?List=ALL",
                format!("lambda:ListProvisionedConcurrencyConfigs {here}:function:reserve"),
            ),
            (
                Method::POST,
                "/2015-03-31/functions/reserve/invocations?Qualifier=live",
                format!("lambda:InvokeFunction {here}:function:reserve:live"),
            ),
            (
                Method::PUT,
                "/2015-03-31/event-source-mappings/7",
                format!("lambda:UpdateEventSourceMapping {here}:event-source-mapping:7"),
            ),
        ] {
            assert_eq!(lambda(method, path), expected);
        }
        let path = r#"{"Path": "/stampede/prescale", "Recursive": true}"#;
        assert_eq!(
            texts(
                "ssm",
                Method::POST,
                "/",
                Some("AmazonSSM.GetParametersByPath"),
                path
            ),
            ["ssm:GetParametersByPath ssm:us-east-1:000000000000:parameter/stampede/prescale"]
        );
        for id in [
            "stampede/gateway",
            "arn:aws:secretsmanager:us-east-1:000000000000:secret:stampede/gateway-local0",
        ] {
            let (target, body) = (
                "secretsmanager.GetSecretValue",
                format!(r#"{{"SecretId": "{id}"}}"#),
            );
            assert_eq!(
                texts("secretsmanager", Method::POST, "/", Some(target), &body),
                [
                    "secretsmanager:GetSecretValue secretsmanager:us-east-1:000000000000:secret:stampede/gateway-local0"
                ]
            );
        }
        let from = r#"{"FromEmailAddress": "orders@shop.example"}"#;
        assert_eq!(
            texts("ses", Method::POST, SEND_EMAIL_PATH, None, from),
            ["ses:SendEmail ses:us-east-1:000000000000:identity/shop.example"]
        );
        let rds = |body| texts("rds", Method::POST, "/", None, body);
        assert_eq!(
            rds("Action=ModifyDBCluster&Version=2014-10-31&DBClusterIdentifier=ledger"),
            ["rds:ModifyDBCluster rds:us-east-1:000000000000:cluster:ledger"]
        );
        assert_eq!(
            rds("Action=FailoverDBCluster&DBClusterIdentifier=l&TargetDBInstanceIdentifier=l-2"),
            ["rds:FailoverDBCluster rds:us-east-1:000000000000:cluster:l"]
        );
        assert_eq!(
            rds("Action=DescribeDBInstances&Filters.Filter.1.Name=db-cluster-id"),
            ["rds:DescribeDBInstances rds:us-east-1:000000000000:db:*"]
        );
        for (path, target, body) in [
            ("/", Some("GraniteServiceVersion20100801.GetMetricData"), "{}"),
            (
                "/service/GraniteServiceVersion20100801/operation/GetMetricData",
                None,
                "",
            ),
            ("/", None, "Action=GetMetricData"),
        ] {
            let found = texts("monitoring", Method::POST, path, target, body);
            assert_eq!(found, ["cloudwatch:GetMetricData *"]);
        }
    }

    #[test]
    fn what_is_not_known_needs_what_nobody_has() {
        for (service, method, path, target, body) in [
            (
                "lambda",
                Method::DELETE,
                "/2015-03-31/functions/reserve",
                None,
                "",
            ),
            (
                "lambda",
                Method::POST,
                "/2015-03-31/functions/reserve/concurrency",
                None,
                "",
            ),
            (
                "rds",
                Method::POST,
                "/",
                None,
                "Action=DeleteDBCluster&DBClusterIdentifier=l",
            ),
            (
                "ssm",
                Method::POST,
                "/",
                Some("AmazonSSM.PutParameter"),
                r#"{"Name": "/x"}"#,
            ),
            ("ssm", Method::POST, "/", Some("AmazonSSM.GetParameter"), "{}"),
            (
                "secretsmanager",
                Method::POST,
                "/",
                Some("secretsmanager.PutSecretValue"),
                r#"{"SecretId": "x"}"#,
            ),
            (
                "secretsmanager",
                Method::POST,
                "/",
                Some("secretsmanager.GetSecretValue"),
                "{}",
            ),
            ("ses", Method::POST, SEND_EMAIL_PATH, None, "{}"),
            ("ses", Method::DELETE, SEND_EMAIL_PATH, None, "{}"),
            ("iam", Method::POST, "/", None, ""),
        ] {
            let expected = format!("{service}:{method} {path} *");
            assert_eq!(texts(service, method.clone(), path, target, body), [expected]);
        }
    }
}
