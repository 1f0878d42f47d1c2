//! Builds Lambda events in API Gateway's payload format 2.0. All events of a block of calls are built before the CPU
//! time of the block is measured.

use bytes::Bytes;
use serde_json::{Value, json};

/// The request that an event contains.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The route, such as `POST /orders`.
    pub route: &'a str,
    pub path: &'a str,
    /// The value of the header `Authorization`, with its scheme.
    pub bearer: &'a str,
    /// The value of the header `Idempotency-Key`.
    pub key: &'a str,
    /// The path parameter `drop_id`; `None` if the route has no such parameter.
    pub drop_id: Option<&'a str>,
    pub body: &'a Value,
}

/// The event in payload format 2.0, with the headers of a browser behind a CDN.
#[must_use]
pub fn event(call: &Call<'_>) -> Bytes {
    let method = call.route.split(' ').next().unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": call.route,
        "rawPath": call.path,
        "rawQueryString": "",
        "headers": {
            "accept": "application/json",
            "accept-encoding": "gzip, br",
            "authorization": call.bearer,
            "content-type": "application/json",
            "host": "api.example.org",
            "idempotency-key": call.key,
            "user-agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "x-amzn-trace-id": "Root=1-65a0b0c0-0123456789abcdef01234567",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "api.example.org",
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": call.path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
            },
            "requestId": "bench",
            "routeKey": call.route,
            "stage": "$default",
            "time": "04/Dec/2026:18:00:00 +0000",
            "timeEpoch": 1_796_407_200_000_u64,
        },
        "body": call.body.to_string(),
        "isBase64Encoded": false,
    });
    if let (Some(drop_id), Some(event)) = (call.drop_id, event.as_object_mut()) {
        event.insert("pathParameters".to_owned(), json!({"drop_id": drop_id}));
    }
    event.to_string().into()
}
