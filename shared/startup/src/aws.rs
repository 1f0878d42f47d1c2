//! Makes AWS clients: explicit settings, one kept-alive connection pool, a small trust store.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;

use crate::config::Config;

/// The root certificates of AWS's endpoints, as published by Amazon Trust Services.
const ROOTS: [&[u8]; 5] = [
    include_bytes!("roots/amazon-root-ca-1.pem"),
    include_bytes!("roots/amazon-root-ca-2.pem"),
    include_bytes!("roots/amazon-root-ca-3.pem"),
    include_bytes!("roots/amazon-root-ca-4.pem"),
    include_bytes!("roots/starfield-services-root-g2.pem"),
];

/// The time limit of a call, connecting included, in milliseconds. When it has passed, the outcome is unknown.
pub const CALL_TIMEOUT_MS: u64 = 2_000;
/// The time limit for connecting, in milliseconds.
pub const CONNECT_TIMEOUT_MS: u64 = 1_000;

/// The credentials of the function's role. Lambda sets them when the process starts and does not change them.
pub fn credentials(config: &mut Config<'_>) -> Credentials {
    Credentials::new(
        config.text("AWS_ACCESS_KEY_ID"),
        config.text("AWS_SECRET_ACCESS_KEY"),
        config.optional("AWS_SESSION_TOKEN"),
        None,
        "environment",
    )
}

/// The endpoint of all services, unless the variable of one service is set. This is the rule of the AWS SDKs.
///
/// Source: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>.
const ANY_ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// The SDK configuration for one service. The variable `service_endpoint`, or else `AWS_ENDPOINT_URL`, replaces the
/// endpoint.
///
/// Each request is sent once. The caller repeats it with `ports::retry`, since only the caller knows whether a repeat is
/// safe and how much time is left.
pub fn service(config: &mut Config<'_>, service_endpoint: &str) -> SdkConfig {
    let region = config.text("AWS_REGION");
    let endpoint = config
        .optional(service_endpoint)
        .or_else(|| config.optional(ANY_ENDPOINT));
    let credentials = credentials(config);
    let connect = Duration::from_millis(CONNECT_TIMEOUT_MS);
    let http = if endpoint.as_deref().is_some_and(|url| url.starts_with("http://")) {
        connector::plain(connect)
    } else {
        // The roots are compiled in and a test parses them. If they cannot be parsed, `plain` refuses `https`, so no
        // request is sent.
        connector::secure(connect, &ROOTS).unwrap_or_else(|_| connector::plain(connect))
    };
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http)
        // Answers are small, and the call's time limit covers reading them. Stalled-stream protection would only set
        // more timers.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(SharedTimeSource::new(SystemTimeSource::new()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(connect)
                .operation_attempt_timeout(Duration::from_millis(CALL_TIMEOUT_MS))
                .build(),
        );
    if let Some(url) = endpoint {
        builder = builder.endpoint_url(url);
    }
    builder.build()
}

/// A DynamoDB client. `AWS_ENDPOINT_URL_DYNAMODB` replaces its endpoint.
pub fn dynamodb(config: &mut Config<'_>) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&service(config, "AWS_ENDPOINT_URL_DYNAMODB"))
}

/// An SQS client. `AWS_ENDPOINT_URL_SQS` replaces its endpoint.
pub fn sqs(config: &mut Config<'_>) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(&service(config, "AWS_ENDPOINT_URL_SQS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_trust_store_is_readable() {
        assert!(connector::secure(Duration::from_secs(1), &ROOTS).is_ok());
        assert!(
            ROOTS
                .iter()
                .all(|pem| pem.starts_with(b"-----BEGIN CERTIFICATE-----"))
        );
    }

    #[test]
    fn the_roots_are_those_that_amazon_publishes() {
        // SHA-256 of the certificates, from Amazon Trust Services' page and Debian's ca-certificates.
        let published = [
            "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
            "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
            "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
            "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
            "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
        ];
        for (pem, fingerprint) in ROOTS.into_iter().zip(published) {
            let text = std::str::from_utf8(pem).unwrap();
            let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
            let der = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
            let digest = <sha2::Sha256 as sha2::Digest>::digest(der);
            assert_eq!(data_encoding::HEXLOWER.encode(&digest), fingerprint);
        }
    }

    #[test]
    fn the_endpoint_of_a_service_wins_over_that_of_all() {
        let endpoint = |set: &[(&'static str, &'static str)]| {
            let set = set.to_vec();
            let mut config = Config::from_fn(move |name| {
                let found = set.iter().find(|(variable, _)| *variable == name);
                Some(found?.1.to_owned())
            });
            let made = service(&mut config, "AWS_ENDPOINT_URL_SQS");
            made.endpoint_url().map(str::to_owned)
        };
        let all = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        let own = ("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:2");
        let other = ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:3");
        assert_eq!(endpoint(&[]), None);
        assert_eq!(endpoint(&[other]), None);
        assert_eq!(endpoint(&[all, other]).as_deref(), Some(all.1));
        assert_eq!(endpoint(&[all, own]).as_deref(), Some(own.1));
        assert_eq!(endpoint(&[own]).as_deref(), Some(own.1));
        // An empty variable counts as unset.
        assert_eq!(
            endpoint(&[all, ("AWS_ENDPOINT_URL_SQS", "")]).as_deref(),
            Some(all.1)
        );
    }

    #[test]
    fn each_request_is_sent_once() {
        let made = service(&mut Config::from_fn(|_| Some("x".to_owned())), ANY_ENDPOINT);
        assert_eq!(made.retry_config().map(RetryConfig::max_attempts), Some(1));
    }

    #[test]
    fn a_missing_region_is_a_mistake() {
        let mut config = Config::from_fn(|_| None);
        let _client = dynamodb(&mut config);
        let error = config.finish(Some(())).unwrap_err().to_string();
        assert!(error.contains("AWS_REGION"));
    }
}
