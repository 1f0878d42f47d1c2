//! Makes answers in the services' formats.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_smithy_cbor::Encoder;
use serde_json::{Value, json};

use crate::scripted::server::Answer;

fn body(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Answer {
    Answer::Body(status, vec![("content-type", kind.to_owned())], body.into())
}

/// Makes a good answer in JSON, as Lambda, DynamoDB, Parameter Store and SQS send it.
pub(crate) fn ok(value: Value) -> Answer {
    body(200, "application/x-amz-json-1.0", value.to_string())
}

/// Makes an error of Lambda, whose code is in a header.
pub(crate) fn lambda_error(status: u16, code: &str) -> Answer {
    lambda_refusal(status, code, "about arn:aws:lambda:…")
}

pub(crate) fn lambda_refusal(status: u16, code: &str, message: &str) -> Answer {
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-amzn-errortype", code.to_owned()),
    ];
    let text = json!({"Type": "User", "Message": message}).to_string();
    Answer::Body(status, headers, text.into_bytes())
}

/// Makes an error of DynamoDB, Parameter Store or SQS, whose code is in the body.
pub(crate) fn json_error(status: u16, code: &str) -> Answer {
    let text = json!({"__type": format!("com.amazonaws#{code}"), "message": "about a thing"});
    body(status, "application/x-amz-json-1.0", text.to_string())
}

/// Makes a good answer of RDS, in XML.
pub(crate) fn rds(operation: &str, result: &str) -> Answer {
    let text = format!(
        "<{operation}Response xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><{operation}Result>{result}\
         </{operation}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{operation}Response>"
    );
    body(200, "text/xml", text)
}

pub(crate) fn rds_error(status: u16, code: &str) -> Answer {
    let text = format!(
        "<ErrorResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>about a cluster</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    );
    body(status, "text/xml", text)
}

/// Makes an answer of CloudWatch, in CBOR, whose body `write` encodes.
fn cbor(status: u16, write: impl FnOnce(&mut Encoder)) -> Answer {
    let mut encoder = Encoder::new(Vec::new());
    write(&mut encoder);
    let headers = vec![
        ("content-type", "application/cbor".to_owned()),
        ("smithy-protocol", "rpc-v2-cbor".to_owned()),
    ];
    Answer::Body(status, headers, encoder.into_writer())
}

/// Makes an answer with the values of one metric, each with its second, and the result's status and next
/// page token.
pub(crate) fn figures(values: &[(i64, f64)], status: &str, next: Option<&str>) -> Answer {
    cbor(200, |encoder| {
        encoder.begin_map();
        encoder.str("MetricDataResults").begin_array();
        encoder.begin_map();
        encoder.str("Id").str("figure");
        encoder.str("StatusCode").str(status);
        encoder.str("Values").begin_array();
        for (_, value) in values {
            encoder.double(*value);
        }
        encoder.end();
        encoder.str("Timestamps").begin_array();
        for (at, _) in values {
            encoder.timestamp(&DateTime::from_secs(*at));
        }
        encoder.end();
        encoder.end().end();
        if let Some(next) = next {
            encoder.str("NextToken").str(next);
        }
        encoder.end();
    })
}

pub(crate) fn cloudwatch_error(status: u16, code: &str) -> Answer {
    cbor(status, |encoder| {
        encoder.begin_map();
        encoder
            .str("__type")
            .str(&format!("com.amazonaws.cloudwatch#{code}"));
        encoder.str("message").str("about a metric").end();
    })
}

/// Makes Lambda's answer about provisioned concurrency: requested, allocated, and the status.
pub(crate) fn provisioned(asked: u32, allocated: u32, status: &str) -> Answer {
    ok(json!({
        "RequestedProvisionedConcurrentExecutions": asked,
        "AvailableProvisionedConcurrentExecutions": allocated,
        "AllocatedProvisionedConcurrentExecutions": allocated,
        "Status": status,
        "LastModified": "2030-03-01T17:00:00+0000",
    }))
}

pub(crate) fn nothing_provisioned() -> Answer {
    lambda_error(404, "ProvisionedConcurrencyConfigNotFoundException")
}

pub(crate) fn reserved(units: Option<u32>) -> Answer {
    ok(units.map_or(json!({}), |units| json!({"ReservedConcurrentExecutions": units})))
}

/// Makes Lambda's answer about an event source: its state, and one of its settings.
pub(crate) fn source(state: &str, setting: Value) -> Answer {
    let mut value = json!({"UUID": "mapping", "State": state, "BatchSize": 10});
    for (name, setting) in setting.as_object().unwrap() {
        value[name] = setting.clone();
    }
    ok(value)
}

/// Makes DynamoDB's answer about a table with an index: the states of both, and of their warm throughput.
pub(crate) fn table(state: &str, warming: &str, index: &str, index_warming: &str) -> Answer {
    ok(json!({"Table": {
        "TableName": "stack-orders",
        "TableStatus": state,
        "WarmThroughput": {"ReadUnitsPerSecond": 12_000, "WriteUnitsPerSecond": 4_000, "Status": warming},
        "GlobalSecondaryIndexes": [{
            "IndexName": "open",
            "IndexStatus": index,
            "WarmThroughput": {"ReadUnitsPerSecond": 9_000, "WriteUnitsPerSecond": 4_000, "Status": index_warming},
        }],
    }}))
}

/// Writes RDS's description of a cluster of three instances with one writer.
pub(crate) fn cluster_xml(status: &str, writer: &str, capacity: Option<(f64, f64)>) -> String {
    let member = |name: &str| {
        format!(
            "<DBClusterMember><DBInstanceIdentifier>{name}</DBInstanceIdentifier><IsClusterWriter>{}</IsClusterWriter>\
             <PromotionTier>1</PromotionTier></DBClusterMember>",
            name == writer
        )
    };
    let capacity = capacity.map_or(String::new(), |(minimum, maximum)| {
        format!(
            "<ServerlessV2ScalingConfiguration><MinCapacity>{minimum}</MinCapacity><MaxCapacity>{maximum}</MaxCapacity>\
             </ServerlessV2ScalingConfiguration>"
        )
    });
    let members: String = ["one", "two", "three"].map(member).concat();
    format!(
        "<DBClusterIdentifier>ledger</DBClusterIdentifier><Status>{status}</Status>\
         <DBClusterMembers>{members}</DBClusterMembers>{capacity}"
    )
}

pub(crate) fn cluster(status: &str, writer: &str, capacity: Option<(f64, f64)>) -> Answer {
    let xml = cluster_xml(status, writer, capacity);
    rds(
        "DescribeDBClusters",
        &format!("<DBClusters><DBCluster>{xml}</DBCluster></DBClusters>"),
    )
}

/// Writes RDS's description of an instance: its name, class, state, and pending class.
pub(crate) fn instance_xml(name: &str, class: &str, status: &str, pending: Option<&str>) -> String {
    let pending = pending.map_or(String::new(), |class| {
        format!("<DBInstanceClass>{class}</DBInstanceClass>")
    });
    format!(
        "<DBInstanceIdentifier>{name}</DBInstanceIdentifier><DBInstanceClass>{class}</DBInstanceClass>\
         <DBInstanceStatus>{status}</DBInstanceStatus><PendingModifiedValues>{pending}</PendingModifiedValues>\
         <DBClusterIdentifier>ledger</DBClusterIdentifier>"
    )
}

pub(crate) fn instances(all: &[(&str, &str, &str, Option<&str>)], next: Option<&str>) -> Answer {
    let one = |(name, class, status, pending): &(&str, &str, &str, Option<&str>)| {
        format!(
            "<DBInstance>{}</DBInstance>",
            instance_xml(name, class, status, *pending)
        )
    };
    let all: String = all.iter().map(one).collect();
    let next = next.map_or(String::new(), |token| format!("<Marker>{token}</Marker>"));
    rds(
        "DescribeDBInstances",
        &format!("{next}<DBInstances>{all}</DBInstances>"),
    )
}
