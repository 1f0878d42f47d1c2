//! Serves Secrets Manager and Parameter Store as far as functions read them at run time: `GetSecretValue` and
//! `GetParameter`, with a check of the caller's policy.
//!
//! The stores hold the values that the template refers to. Every secret's ARN ends in `-local0`, where AWS puts six
//! random characters. Each secret has one version; [`Secrets::put`] replaces it, as a rotation does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::call_permissions::Call;
use crate::http1::{self, Reply};
use crate::lock;
use crate::permissions::Permissions;
use crate::template::{Surroundings, parameter_arn, secret_arn};

/// The limit for a request's body. A request has an id and at most a version, and is far shorter.
const MAX_BODY_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub struct Secrets {
    /// The texts of secrets, by name.
    texts: Mutex<BTreeMap<String, String>>,
    parameters: Mutex<BTreeMap<String, String>>,
    permissions: Arc<Permissions>,
}

impl Secrets {
    /// The secrets and stored parameters of `surroundings`. A secret with members is the text of a JSON object.
    #[must_use]
    pub fn new(surroundings: &Surroundings, permissions: Arc<Permissions>) -> Self {
        let mut objects: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for (key, value) in &surroundings.secrets {
            if let Some((name, member)) = key.rsplit_once(':') {
                let object = objects.entry(name.to_owned()).or_default();
                object.insert(member.to_owned(), value.as_str().into());
            }
        }
        let texts = objects
            .into_iter()
            .map(|(name, object)| (name, Value::Object(object).to_string()))
            .collect();
        Self {
            texts: Mutex::new(texts),
            parameters: Mutex::new(surroundings.parameter_store.clone()),
            permissions,
        }
    }

    /// Makes `text` the current version of the secret `name`, which need not exist.
    pub fn put(&self, name: &str, text: String) {
        lock(&self.texts).insert(name.to_owned(), text);
    }

    /// Sets the stored parameter `name`, which need not exist.
    pub fn put_parameter(&self, name: &str, value: String) {
        lock(&self.parameters).insert(name.to_owned(), value);
    }

    /// The answer to a permitted call; `None` if the requested value does not exist.
    pub(crate) fn answer(&self, call: &Call<'_>) -> Option<Reply> {
        let body: Value = serde_json::from_slice(call.body).ok()?;
        let of = |member: &str| body.get(member).and_then(Value::as_str);
        let answer = match (call.service, call.operation()?) {
            ("secretsmanager", "GetSecretValue") => {
                let arn = secret_arn(of("SecretId")?);
                let texts = lock(&self.texts);
                let (name, text) = texts.iter().find(|(name, _)| secret_arn(name) == arn)?;
                json!({"ARN": arn, "Name": name, "SecretString": text, "VersionStages": ["AWSCURRENT"]})
            }
            ("ssm", "GetParameter") => {
                let name = of("Name")?;
                let parameters = lock(&self.parameters);
                let value = parameters.get(name)?;
                let arn = parameter_arn(name);
                json!({"Parameter": {"ARN": arn, "Name": name, "Type": "String", "Value": value, "Version": 1}})
            }
            _ => return None,
        };
        let media = "application/x-amz-json-1.1";
        Some(http1::reply(StatusCode::OK, media, answer.to_string()))
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        let Some(body) = http1::read(body, MAX_BODY_BYTES).await else {
            return http1::json(StatusCode::PAYLOAD_TOO_LARGE, "");
        };
        let call = Call::of(&parts, &body);
        if let Err(denied) = call.permitted(&self.permissions) {
            return http1::json(StatusCode::BAD_REQUEST, denied.body());
        }
        self.answer(&call).unwrap_or_else(|| {
            let kind = match call.operation() {
                Some("GetSecretValue") => "ResourceNotFoundException",
                Some("GetParameter") => "ParameterNotFound",
                _ => "UnknownOperationException",
            };
            http1::json(StatusCode::BAD_REQUEST, json!({ "__type": kind }).to_string())
        })
    }
}

/// Serves requests until the returned future is dropped.
pub async fn serve(listener: TcpListener, secrets: Arc<Secrets>) {
    http1::serve(listener, secrets, |secrets, request, _| secrets.handle(request)).await;
}
