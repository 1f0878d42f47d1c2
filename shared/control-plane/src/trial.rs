//! Makes trial invocations, which check whether a function answers an event that changes nothing.

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use ports::orders::FindDueOrders;
use ports::prescale::{CallFunction, ControlError};
use serde_json::{Value, json};

use crate::error::Answered as _;
use crate::{AwsAccount, Trial};

impl<O: FindDueOrders> CallFunction for AwsAccount<O> {
    async fn answers(&self, function: &str) -> Result<bool, ControlError> {
        let named = self.function(function)?;
        let call = self.clients.lambda.reads.invoke().function_name(&named.name);
        let call = call.qualifier(&self.names.alias);
        let call = call.invocation_type(InvocationType::RequestResponse);
        let call = call.payload(Blob::new(event(&named.trial).to_string()));
        let answer = call.send().await.answered("Invoke")?;
        if let Some(error) = answer.function_error() {
            tracing::warn!(
                function,
                error,
                "a trial invocation failed, so the function counts as not ready"
            );
            return Ok(false);
        }
        let payload = answer.payload().map(Blob::as_ref).unwrap_or_default();
        Ok(is_an_answer(&named.trial, payload))
    }
}

fn event(trial: &Trial) -> Value {
    match trial {
        Trial::Batch => json!({"Records": []}),
        Trial::Request { method, path } => json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": "",
            "headers": {"accept": "application/json", "host": "trial.invalid", "user-agent": "prescale"},
            "requestContext": {
                "accountId": "trial",
                "apiId": "trial",
                "domainName": "trial.invalid",
                "domainPrefix": "trial",
                "http": {
                    "method": method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.1",
                    "userAgent": "prescale",
                },
                "requestId": "trial",
                "routeKey": "$default",
                "stage": "$default",
                "time": "01/Jan/1970:00:00:00 +0000",
                "timeEpoch": 0,
            },
            "isBase64Encoded": false,
        }),
    }
}

/// Whether the payload is an answer. A refusal of the request is an answer; an error of the function is not.
fn is_an_answer(trial: &Trial, payload: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(payload) else {
        return false;
    };
    match trial {
        Trial::Request { .. } => answer
            .get("statusCode")
            .and_then(Value::as_u64)
            .is_some_and(|status| (200..500).contains(&status)),
        Trial::Batch => {
            let failures = answer.get("batchItemFailures").and_then(Value::as_array);
            failures.is_none_or(Vec::is_empty)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_an_answer_and_an_error_is_none() {
        let request = Trial::Request {
            method: "GET".to_owned(),
            path: "/drops/-".to_owned(),
        };
        for (payload, is) in [
            (r#"{"statusCode":404,"body":"{}"}"#, true),
            (r#"{"statusCode":401}"#, true),
            (r#"{"statusCode":200}"#, true),
            (r#"{"statusCode":500}"#, false),
            (r#"{"statusCode":503}"#, false),
            ("{}", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(is_an_answer(&request, payload.as_bytes()), is, "{payload}");
        }
        for (payload, is) in [
            (r#"{"batchItemFailures":[]}"#, true),
            ("null", true),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, false),
            ("", false),
        ] {
            assert_eq!(is_an_answer(&Trial::Batch, payload.as_bytes()), is, "{payload}");
        }
    }
}
