//! Tests that every injection point applies its faults to functions and not to other callers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{Bench, empty, probe, until};
use ledger::{Database, SignIn};
use serde_json::{Value, json};
use stampede_local::child::Spawner;
use stampede_local::dynamodb::{self, Dynamo};
use stampede_local::faults::{Faults, Keys};
use stampede_local::meter::{Meter, trace_header};
use stampede_local::permissions::{Permissions, access_key};
use stampede_local::postgres::Postgres;
use stampede_local::runtime::{Failure, Waiting};
use stampede_local::sqs::{self, Sqs};
use stampede_local::stack::sample_surroundings;
use stampede_local::template::{Model, load};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The time that a function's call waits for an answer that may never arrive.
const PATIENCE: Duration = Duration::from_millis(150);

fn model() -> Model {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let text = std::fs::read_to_string(template).unwrap();
    load(&text, &sample_surroundings()).unwrap()
}

/// The template's tables and queues with injected faults for functions.
struct Desk {
    tables_at: String,
    queues_at: String,
    sqs: Sqs,
    faults: Arc<Faults>,
    _folder: TempDir,
}

impl Desk {
    async fn open(plan: &str) -> Self {
        let model = model();
        let folder = tempfile::tempdir().unwrap();
        let meter = Arc::new(Meter::default());
        let permissions = Arc::new(Permissions::of(&model).unwrap());
        let keys = Keys::of(&model.tables);
        let faults = Faults::new(plan.parse().unwrap(), 1, keys, folder.path()).unwrap();
        let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (for_tables, for_queues) = (bind().await, bind().await);
        let tables_at = for_tables.local_addr().unwrap().to_string();
        let queues_at = for_queues.local_addr().unwrap().to_string();
        let dynamo = Dynamo::create(&model.tables, Arc::clone(&meter)).unwrap();
        let dynamo = dynamo
            .guarded(Arc::clone(&permissions))
            .faulty(Arc::clone(&faults));
        tokio::spawn(dynamodb::serve(for_tables, dynamo));
        let port = sqs::port(&for_queues).unwrap();
        let sqs = Sqs::new(&format!("http://{queues_at}"), port, meter)
            .guarded(permissions)
            .faulty(Arc::clone(&faults));
        sqs.create(&model.queues).await.unwrap();
        tokio::spawn(sqs::serve(for_queues, sqs.clone()));
        Self {
            tables_at,
            queues_at,
            sqs,
            faults,
            _folder: folder,
        }
    }

    /// Sends a request to DynamoDB as a function, and returns the answer; `None` if there is no answer.
    async fn ask(&self, function: Option<&str>, operation: &str, body: &Value) -> Option<(u16, Value)> {
        let target = format!("DynamoDB_20120810.{operation}");
        call(&self.tables_at, function, 1, &target, body).await
    }

    async fn put(&self, function: Option<&str>, key: &str) -> Option<(u16, Value)> {
        let body = json!({"TableName": "orders", "Item": {"pk": {"S": key}}});
        self.ask(function, "PutItem", &body).await
    }

    async fn has(&self, key: &str) -> bool {
        let get = json!({"TableName": "orders", "Key": {"pk": {"S": key}}});
        let (status, body) = self.ask(None, "GetItem", &get).await.unwrap();
        assert_eq!(status, 200, "{body}");
        body.get("Item").is_some()
    }

    async fn transact(&self, key: &str) -> Option<(u16, Value)> {
        let put = |key: &str| json!({"Put": {"TableName": "orders", "Item": {"pk": {"S": key}}}});
        let body = json!({"TransactItems": [put(key), put(&format!("{key}-too"))]});
        self.ask(Some("checkout"), "TransactWriteItems", &body).await
    }

    fn strikes(&self, fault: &str) -> u64 {
        self.faults.report()[fault].strikes
    }
}

/// Sends one request on its own connection. Returns `None` when no answer arrives in time or the connection closes.
async fn call(
    host: &str,
    function: Option<&str>,
    invocation: u64,
    target: &str,
    body: &Value,
) -> Option<(u16, Value)> {
    let exchange = async {
        let body = body.to_string();
        let key = function.map_or_else(|| "outside".to_owned(), access_key);
        let trace = trace_header(1_800_000_000, 1, invocation);
        let mut stream = TcpStream::connect(host).await.ok()?;
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nx-amz-target: {target}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={key}/20261121/eu-central-1/x/aws4_request, Signature=0\r\n\
             x-amzn-trace-id: {trace}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    };
    let patience = if function.is_some() {
        PATIENCE
    } else {
        Duration::from_secs(20)
    };
    tokio::time::timeout(patience, exchange).await.ok().flatten()
}

#[tokio::test]
async fn a_hot_partition_refuses_functions_and_nobody_else() {
    // With this share, each partition admits one write unit a second.
    let desk = Desk::open("throttle=0.001").await;
    let mut refused = None;
    for _ in 0..8 {
        let answer = desk.put(Some("checkout"), "hot").await.unwrap();
        if answer.0 != 200 {
            refused = Some(answer);
            break;
        }
    }
    let (status, body) = refused.unwrap();
    assert_eq!(status, 400);
    assert!(
        body["__type"].as_str().unwrap().ends_with("#ThrottlingException"),
        "{body}"
    );
    assert_eq!(
        body["throttlingReasons"][0]["reason"],
        "TableWriteKeyRangeThroughputExceeded"
    );
    let (status, body) = desk.transact("hot").await.unwrap();
    assert_eq!(status, 400);
    assert!(
        body["__type"]
            .as_str()
            .unwrap()
            .ends_with("#TransactionCanceledException")
    );
    assert_eq!(
        body["CancellationReasons"][0]["Code"], "ThrottlingError",
        "{body}"
    );
    for _ in 0..10 {
        assert_eq!(desk.put(None, "hot").await.unwrap().0, 200);
    }
    assert!(desk.strikes("throttle") >= 2);
}

#[tokio::test]
async fn a_batch_of_reads_is_partly_left_undone() {
    let desk = Desk::open("throttle=0.001").await;
    let keys: Vec<Value> = (0..40).map(|n| json!({"pk": {"S": n.to_string()}})).collect();
    let one = json!({"RequestItems": {"stock": {"Keys": [keys[0]], "ConsistentRead": true}}});
    // Each partition admits three read units a second. The reads of the first key exhaust the partition of this key,
    // and the other partitions still admit reads.
    let unprocessed = async || {
        for _ in 0..12 {
            if desk.ask(Some("checkout"), "BatchGetItem", &one).await.unwrap().0 != 200 {
                break;
            }
        }
        let all = json!({"RequestItems": {"stock": {"Keys": keys}}});
        let (status, body) = desk.ask(Some("checkout"), "BatchGetItem", &all).await.unwrap();
        assert_eq!(status, 200, "{body}");
        body["UnprocessedKeys"]["stock"]["Keys"]
            .as_array()
            .map_or(0, Vec::len)
    };
    let left = unprocessed().await;
    assert!((1..40).contains(&left), "{left}");
}

#[tokio::test]
async fn transactions_and_writes_meet_conflicts() {
    let desk = Desk::open("transaction-conflict").await;
    let (status, body) = desk.transact("t").await.unwrap();
    let codes: Vec<&str> = body["CancellationReasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["Code"].as_str().unwrap())
        .collect();
    assert_eq!(status, 400);
    assert_eq!(codes.len(), 2);
    assert!(
        codes.contains(&"TransactionConflict") && codes.contains(&"None"),
        "{codes:?}"
    );
    let (status, body) = desk.put(Some("checkout"), "p").await.unwrap();
    assert_eq!(status, 400);
    assert!(
        body["__type"]
            .as_str()
            .unwrap()
            .ends_with("#TransactionConflictException")
    );
    assert!(!desk.has("t").await && !desk.has("p").await);
    assert_eq!(desk.strikes("transaction-conflict"), 2);
}

#[tokio::test]
async fn a_write_is_lost_before_or_its_answer_after() {
    let desk = Desk::open("timeout-before-write").await;
    assert_eq!(desk.put(Some("checkout"), "a").await, None);
    assert!(!desk.has("a").await);
    assert_eq!(desk.put(Some("checkout"), "a").await.unwrap().0, 200);
    assert_eq!(desk.strikes("timeout-before-write"), 1);

    let desk = Desk::open("timeout-after-write").await;
    assert_eq!(desk.put(Some("checkout"), "a").await, None);
    until("the write has arrived", || desk.has("a")).await;
    assert_eq!(desk.strikes("timeout-after-write"), 1);
}

#[tokio::test]
async fn answers_are_slow_and_come() {
    let desk = Desk::open("slow-dynamodb").await;
    assert_eq!(
        desk.put(Some("checkout"), "a").await,
        None,
        "slower than this caller waits"
    );
    until("one is fast and one has come", async || {
        desk.put(Some("checkout"), "b")
            .await
            .is_some_and(|(status, _)| status == 200)
    })
    .await;
    assert!(desk.strikes("slow-dynamodb") >= 1);
}

#[tokio::test]
async fn the_relay_dies_before_or_after_it_has_sent() {
    let desk = Desk::open("relay-crash").await;
    let killed: Arc<Mutex<Vec<u64>>> = Arc::default();
    let noted = Arc::clone(&killed);
    desk.faults.kill_with(move |function, invocation| {
        assert_eq!(function, "relay-events");
        noted.lock().unwrap().push(invocation);
        true
    });
    let body = json!({
        "QueueUrl": desk.sqs.queue_url("ledger"),
        "Entries": [{"Id": "0", "MessageBody": "news"}],
    });
    let send = async |function, invocation| {
        let target = "AmazonSQS.SendMessageBatch";
        call(&desk.queues_at, Some(function), invocation, target, &body).await
    };
    let visible = async || desk.sqs.depth("ledger").await.unwrap().visible;
    assert_eq!(send("relay-events", 7).await, None);
    assert_eq!(send("relay-events", 7).await, None, "the dead send nothing");
    assert_eq!(visible().await, 0);
    assert_eq!(send("relay-events", 8).await, None);
    assert_eq!(visible().await, 1, "sent, and nobody was told");
    assert_eq!(*killed.lock().unwrap(), [7, 8]);
    assert_eq!(desk.faults.report()["relay-crash"].kinds.len(), 2);
    desk.faults.end();
    assert_eq!(send("relay-events", 9).await.unwrap().0, 200);
}

#[tokio::test]
async fn a_message_comes_twice() {
    let desk = Desk::open("queue-duplicates").await;
    desk.sqs.send("ledger", "news").await.unwrap();
    let mut received = Vec::new();
    while received.len() < 2 {
        received.extend(desk.sqs.receive("ledger", 10).await.unwrap());
    }
    assert_eq!(received[0].message_id, received[1].message_id);
    assert_eq!(received[0].receipt_handle, received[1].receipt_handle);
    assert_eq!(desk.strikes("queue-duplicates"), 1);
}

fn http(path: &str) -> bytes::Bytes {
    json!({"rawPath": path}).to_string().into()
}

fn bench(plan: &str) -> (Bench, Arc<Faults>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::new(plan.parse().unwrap(), 1, Keys::default(), folder.path()).unwrap();
    let mut model = empty();
    model.functions = BTreeMap::from([("probe".to_owned(), probe("probe"))]);
    (Bench::with_faults(&model, 2, Arc::clone(&faults)), faults, folder)
}

#[tokio::test]
async fn a_process_is_killed_at_work_and_another_takes_over() {
    let (bench, faults, _folder) = bench("kill-functions");
    let invoke = async |path: &str| {
        let invocation = bench.functions.identify();
        let run = bench.functions.invoke(
            "probe",
            "test",
            invocation,
            http(path),
            Waiting::Patiently,
            |_| 200,
        );
        run.await
    };
    assert_eq!(invoke("/hang").await, Err(Failure::Crashed));
    assert_eq!(faults.report()["kill-functions"].kinds["at work"], 1);
    faults.end();
    assert!(invoke("/").await.is_ok());
    bench.functions.stop().await;
}

#[tokio::test]
async fn a_function_s_clock_is_off_by_two_seconds_at_most() {
    let (bench, faults, _folder) = bench("clock-skew");
    let now_ms = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    // A call that takes longer than the clock's offset shows nothing. The first call waits for the start of the
    // process, and the further calls are short enough.
    let mut is_off = false;
    for _ in 0..50 {
        let invocation = bench.functions.identify();
        let before = now_ms();
        let run = bench
            .functions
            .invoke("probe", "test", invocation, http("/"), Waiting::Patiently, |_| {
                200
            });
        let answer: Value = serde_json::from_slice(&run.await.unwrap()).unwrap();
        let after = now_ms();
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        let theirs = body["clock_ms"].as_i64().unwrap();
        assert!((before - 2_000..=after + 2_000).contains(&theirs));
        is_off = !(before..=after).contains(&theirs);
        if is_off {
            break;
        }
    }
    assert!(is_off, "this seed's first clock is off");
    assert_eq!(faults.report()["clock-skew"].strikes, 1);
    bench.functions.stop().await;
}

#[tokio::test]
async fn postgresql_crashes_and_comes_back_with_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    let spawner = Spawner::start().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let mut postgres = Postgres::start(&root, &root, &tools, &spawner).await.unwrap();
    let address = postgres.superuser_url().parse().unwrap();
    let roots = postgres.authority().parse().unwrap();
    let database = Database::new(address, roots, SignIn::nothing());
    let connect = async || database.connect().await.unwrap().0;
    let client = connect().await;
    client
        .batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        .await
        .unwrap();
    postgres.crash_and_restart(std::future::ready(())).await.unwrap();
    assert!(
        client.batch_execute("SELECT 1").await.is_err(),
        "the old connection is gone"
    );
    let row = connect()
        .await
        .query_one("SELECT n FROM kept", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    postgres.stop().await;
}

#[tokio::test]
async fn the_gateway_is_struck_from_the_start_until_the_faults_end() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::new(
        "gateway-outage,gateway-timeout-after-charge,webhook-disorder"
            .parse()
            .unwrap(),
        1,
        Keys::default(),
        folder.path(),
    )
    .unwrap();
    let now = faults.gateway().faults();
    assert!(now.outage && now.timeout_after_charge > 0.0);
    assert_eq!(faults.report()["webhook-disorder"].strikes, 0);
    faults.end();
    assert_eq!(
        faults.gateway().faults(),
        sandbox_gateway::faults::Faults::default()
    );
    assert_eq!(faults.report()["gateway-outage"].strikes, 0);
}
