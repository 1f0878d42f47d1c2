//! Tests queues and streams that invoke functions, with real processes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{Bench, empty, probe, until};
use serde_json::{Value, json};
use stampede_local::dynamodb::Dynamo;
use stampede_local::meter::Caller;
use stampede_local::sources::{self, Context, Sources};
use stampede_local::sqs::{Depth, Sqs};
use stampede_local::template::{
    Model, OnFailure, Queue, QueueSource, Schedule, Statement, StreamSource, Table,
};

struct Rig {
    bench: Bench,
    dynamo: Dynamo,
    sqs: Sqs,
    sources: Sources,
}

impl Rig {
    async fn start(model: &Model) -> Self {
        let bench = Bench::new(model, 4);
        let dynamo = Dynamo::create(&model.tables, bench.meter.clone()).unwrap();
        let sqs = Sqs::new("http://127.0.0.1:1", 1, bench.meter.clone());
        sqs.create(&model.queues).await.unwrap();
        let context = Context {
            functions: bench.functions.clone(),
            dynamo: dynamo.clone(),
            sqs: sqs.clone(),
            concurrency: 4,
            buckets: bench.folder.path().join("buckets"),
            control_planes: false,
        };
        let sources = sources::start(model, &context);
        Self {
            bench,
            dynamo,
            sqs,
            sources,
        }
    }

    fn put(&self, key: &str, bad: bool) {
        let mut item = json!({"pk": {"S": key}});
        if bad {
            item["bad"] = json!({"S": "yes"});
        }
        let body = json!({"TableName": "orders", "Item": item}).to_string();
        assert_eq!(
            self.dynamo
                .answer("PutItem", body.as_bytes(), Caller::Outside)
                .status,
            200
        );
    }

    async fn drained(&self) {
        until("the stream is drained", || async {
            self.sources.streams[0].drained().unwrap()
        })
        .await;
    }
}

fn queue(name: &str, visibility: Duration, redrive: Option<(&str, u32)>) -> (String, Queue) {
    let redrive = redrive.map(|(dead, receives)| (dead.to_owned(), receives));
    let retention = Duration::from_secs(3_600);
    (
        name.to_owned(),
        Queue {
            name: name.to_owned(),
            visibility,
            retention,
            redrive,
        },
    )
}

fn queue_model() -> Model {
    let mut model = empty();
    let mut function = probe("worker");
    function.queues = vec![QueueSource {
        id: "WorkerWork".to_owned(),
        queue: "work".to_owned(),
        batch_size: 10,
        window: Duration::ZERO,
        max_concurrency: 2,
        partial: true,
    }];
    model.functions.insert("worker".to_owned(), function);
    model.queues.extend([
        queue("work", Duration::from_secs(1), Some(("dead", 2))),
        queue("dead", Duration::from_secs(30), None),
    ]);
    model
}

fn stream_model(max_retries: u32) -> Model {
    let mut model = empty();
    let mut function = probe("relay");
    function.streams = vec![StreamSource {
        table: "orders".to_owned(),
        batch_size: 10,
        window: Duration::ZERO,
        parallelization: 2,
        bisect: true,
        max_retries: Some(max_retries),
        max_age: None,
        partial: true,
        on_failure: Some(OnFailure::Queue("parked".to_owned())),
    }];
    model.functions.insert("relay".to_owned(), function);
    model
        .queues
        .extend([queue("parked", Duration::from_secs(30), None)]);
    let definition = json!({
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    });
    let Value::Object(definition) = definition else {
        unreachable!()
    };
    let table = Table {
        name: "orders".to_owned(),
        definition,
        streamed: true,
    };
    model.tables = BTreeMap::from([("orders".to_owned(), table)]);
    model
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_batch_only_what_failed_comes_again_and_then_goes_to_the_dead() {
    let rig = Rig::start(&queue_model()).await;
    for body in ["one", "bad-two", "three"] {
        rig.sqs.send("work", body).await.unwrap();
    }
    until("the bad message is dead", || async {
        rig.sqs.depth("dead").await.unwrap().visible == 1
    })
    .await;
    assert_eq!(rig.sqs.depth("work").await.unwrap(), Depth::default());
    let mut notes = rig.bench.notes();
    notes.sort();
    assert_eq!(
        notes,
        ["failed bad-two", "failed bad-two", "handled one", "handled three"]
    );
    assert_eq!(rig.sqs.receive("dead", 10).await.unwrap()[0].body, "bad-two");
    rig.bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_collected_until_it_is_full() {
    let mut model = queue_model();
    let source = &mut model.functions.get_mut("worker").unwrap().queues[0];
    (source.batch_size, source.window) = (3, Duration::from_secs(3_600));
    model.queues.get_mut("work").unwrap().visibility = Duration::from_secs(3_600);
    let rig = Rig::start(&model).await;
    for body in ["one", "two", "three"] {
        rig.sqs.send("work", body).await.unwrap();
        until("the message is received", || async {
            rig.sqs.depth("work").await.unwrap().visible == 0
        })
        .await;
    }
    until("the batch is handled", || async {
        rig.bench.notes() == ["handled one", "handled two", "handled three"]
    })
    .await;
    assert_eq!(rig.bench.functions.figures()[0].invocations, 1);
    rig.bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_a_batch_is_handled_when_the_window_has_passed() {
    let mut model = queue_model();
    model.functions.get_mut("worker").unwrap().queues[0].window = Duration::from_millis(200);
    let rig = Rig::start(&model).await;
    rig.sqs.send("work", "one").await.unwrap();
    until("the message is handled", || async {
        rig.bench.notes() == ["handled one"]
    })
    .await;
    rig.bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_dies_loses_no_message() {
    let rig = Rig::start(&queue_model()).await;
    rig.sqs.send("work", "crash").await.unwrap();
    until("the message is dead", || async {
        rig.sqs.depth("dead").await.unwrap().visible == 1
    })
    .await;
    rig.sqs.send("work", "after").await.unwrap();
    until("the next one is handled", || async {
        rig.bench.notes() == ["handled after"]
    })
    .await;
    rig.bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_of_a_stream_is_handled_once_and_in_order_by_key() {
    let rig = Rig::start(&stream_model(3)).await;
    let keys = ["a", "b", "c", "d", "e"];
    for _ in 0..40 {
        for key in keys {
            // The item is put and deleted, since each of both makes a stream record.
            rig.put(key, false);
            let body = json!({"TableName": "orders", "Key": {"pk": {"S": key}}}).to_string();
            assert_eq!(
                rig.dynamo
                    .answer("DeleteItem", body.as_bytes(), Caller::Outside)
                    .status,
                200
            );
        }
    }
    rig.drained().await;
    let notes = rig.bench.notes();
    assert_eq!(notes.len(), 40 * keys.len() * 2);
    for key in keys {
        let prefix = format!("handled {key} ");
        let sequences: Vec<&str> = notes.iter().filter_map(|n| n.strip_prefix(&prefix)).collect();
        assert_eq!(sequences.len(), 80);
        assert!(sequences.is_sorted(), "{key}: {sequences:?}");
    }
    assert_eq!(rig.sqs.depth("parked").await.unwrap(), Depth::default());
    rig.bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_fails_for_good_is_told_about_and_the_rest_goes_on() {
    let rig = Rig::start(&stream_model(1)).await;
    rig.put("good-1", false);
    rig.drained().await;
    rig.put("bad", true);
    rig.drained().await;
    rig.put("good-2", false);
    rig.drained().await;
    let notes = rig.bench.notes();
    let count = |note: &str| {
        notes
            .iter()
            .filter(|n| n.starts_with(&format!("{note} ")))
            .count()
    };
    assert_eq!(count("handled good-1"), 1, "{notes:?}");
    assert_eq!(count("failed bad"), 2, "{notes:?}");
    assert_eq!(count("handled good-2"), 1, "{notes:?}");
    let parked = rig.sqs.receive("parked", 10).await.unwrap();
    assert_eq!(parked.len(), 1);
    let notice: Value = serde_json::from_str(&parked[0].body).unwrap();
    assert_eq!(notice["DDBStreamBatchInfo"]["batchSize"], 1);
    assert_eq!(notice["requestContext"]["approximateInvokeCount"], 2);
    rig.bench.functions.stop().await;
}

/// Lambda Developer Guide, "Retain discarded records for a DynamoDB event source": a bucket gets the records, a queue
/// gets only their position in the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_gets_the_records_that_are_too_old_whole() {
    let mut model = stream_model(1);
    let function = model.functions.get_mut("relay").unwrap();
    function.streams[0].max_retries = None;
    function.streams[0].max_age = Some(Duration::from_millis(1));
    function.streams[0].on_failure = Some(OnFailure::Bucket("failures".to_owned()));
    let rig = Rig::start(&model).await;
    rig.put("bad", true);
    rig.drained().await;
    rig.put("good", false);
    rig.drained().await;
    assert!(
        rig.bench
            .notes()
            .iter()
            .any(|note| note.starts_with("handled good "))
    );
    let shards = rig.bench.folder.path().join("buckets/failures/aws/lambda/local");
    let shard = std::fs::read_dir(shards).unwrap().next().unwrap().unwrap().path();
    let objects: Vec<Value> = std::fs::read_dir(shard)
        .unwrap()
        .map(|object| {
            serde_json::from_str(&std::fs::read_to_string(object.unwrap().path()).unwrap()).unwrap()
        })
        .collect();
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["requestContext"]["condition"], "RecordAgeExceeded");
    let event: Value = serde_json::from_str(objects[0]["payload"].as_str().unwrap()).unwrap();
    assert_eq!(
        event["Records"][0]["dynamodb"]["Keys"],
        json!({"pk": {"S": "bad"}})
    );
    assert_eq!(event["Records"].as_array().unwrap().len(), 1);
    rig.bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_fires_at_once() {
    let mut model = empty();
    let mut function = probe("clock");
    function.schedules = vec![Schedule {
        every: Duration::from_secs(3_600),
        input: None,
    }];
    model.functions.insert("clock".to_owned(), function);
    let rig = Rig::start(&model).await;
    until("it ran", || async {
        rig.bench.functions.figures()[0].invocations == 1
    })
    .await;
    let report = rig.bench.meter.report();
    assert_eq!(report.functions[0].route.as_str(), "schedule");
    assert_eq!(report.functions[0].status, 200);
    rig.bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_needs_control_planes_waits_for_them() {
    let mut model = empty();
    let schedule = || Schedule {
        every: Duration::from_secs(3_600),
        input: Some(json!({"rawPath": "/said"}).to_string()),
    };
    let mut alone = probe("alone");
    alone.schedules = vec![schedule()];
    let mut other = alone.clone();
    other.name = "other".to_owned();
    other.statements = vec![Statement {
        effect: "Allow".to_owned(),
        action: vec!["lambda:GetAccountSettings".to_owned()],
        resource: "*".to_owned(),
        condition: BTreeMap::new(),
    }];
    assert!(other.needs_control_planes() && !alone.needs_control_planes());
    model.functions.insert("alone".to_owned(), alone);
    model.functions.insert("other".to_owned(), other);
    let rig = Rig::start(&model).await;
    until("the one ran", || async {
        rig.bench.functions.figures()[0].invocations == 1
    })
    .await;
    // Both schedules begin at the same moment, so the other function would have been invoked by now.
    assert_eq!(rig.bench.functions.figures()[1].running, 0);
    assert_eq!(rig.bench.functions.figures()[1].invocations, 0);
    rig.bench.functions.stop().await;
}
