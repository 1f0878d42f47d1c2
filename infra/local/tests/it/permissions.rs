//! Tests the policies of the real template against calls as functions send them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::support::{Bench, empty, probe};
use serde_json::{Value, json};
use stampede_local::dynamodb::{self, Dynamo};
use stampede_local::meter::Meter;
use stampede_local::permissions::{Permissions, Times, access_key};
use stampede_local::runtime::Waiting;
use stampede_local::secrets::{self, Secrets};
use stampede_local::sqs::{self, Sqs};
use stampede_local::stack::sample_surroundings;
use stampede_local::template::{Model, Statement, load, parameter_arn, queue_arn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn model() -> Model {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    load(
        &std::fs::read_to_string(template).unwrap(),
        &sample_surroundings(),
    )
    .unwrap()
}

/// The template's tables and queues, served as the stack serves them.
struct Desk {
    dynamodb: String,
    sqs_at: String,
    sqs: Sqs,
    permissions: Arc<Permissions>,
}

impl Desk {
    async fn open() -> Self {
        let model = model();
        let meter = Arc::new(Meter::default());
        let permissions = Arc::new(Permissions::of(&model).unwrap());
        let (for_tables, for_queues) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let dynamodb = for_tables.local_addr().unwrap().to_string();
        let sqs_at = for_queues.local_addr().unwrap().to_string();
        let dynamo = Dynamo::create(&model.tables, Arc::clone(&meter)).unwrap();
        tokio::spawn(dynamodb::serve(
            for_tables,
            dynamo.guarded(Arc::clone(&permissions)),
        ));
        let sqs = Sqs::new(
            &format!("http://{sqs_at}"),
            sqs::port(&for_queues).unwrap(),
            meter,
        )
        .guarded(Arc::clone(&permissions));
        sqs.create(&model.queues).await.unwrap();
        tokio::spawn(sqs::serve(for_queues, sqs.clone()));
        Self {
            dynamodb,
            sqs_at,
            sqs,
            permissions,
        }
    }

    /// Sends a DynamoDB request that `function` has signed; without a function, the request is from outside.
    async fn call(&self, function: Option<&str>, operation: &str, body: &Value) -> (u16, Value) {
        let target = format!("DynamoDB_20120810.{operation}");
        let (status, _, body) = call(&self.dynamodb, function, &target, body).await;
        (status, body)
    }

    /// Whether the item exists.
    async fn has(&self, table: &str, key: &str) -> bool {
        let get = json!({"TableName": table, "Key": {"pk": {"S": key}}});
        let (status, body) = self.call(None, "GetItem", &get).await;
        assert_eq!(status, 200, "{body}");
        body.get("Item").is_some()
    }

    fn used(&self, function: &str) -> Vec<Times> {
        self.permissions.report()[function].used.clone()
    }
}

async fn call(at: &str, function: Option<&str>, target: &str, body: &Value) -> (u16, String, Value) {
    call_of(at, "any", function, target, body).await
}

async fn call_of(
    at: &str,
    service: &str,
    function: Option<&str>,
    target: &str,
    body: &Value,
) -> (u16, String, Value) {
    let key = function.map_or_else(|| "local".to_owned(), access_key);
    let body = body.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\nx-amz-target: {target}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap())
}

fn put(table: &str, key: &str) -> Value {
    json!({"TableName": table, "Item": {"pk": {"S": key}}})
}

fn update(table: &str, key: &str) -> Value {
    json!({
        "TableName": table,
        "Key": {"pk": {"S": key}},
        "UpdateExpression": "SET n = :n",
        "ExpressionAttributeValues": {":n": {"N": "1"}},
    })
}

fn is_denied(function: &str, action: &str, resource: &str, (status, body): &(u16, Value)) {
    assert_eq!(*status, 400, "{body}");
    let message = format!(
        "User: arn:aws:sts::000000000000:assumed-role/{function}/{function} is not authorized to perform: \
         dynamodb:{action} on resource: arn:aws:dynamodb:us-east-1:000000000000:table/{resource} because no \
         identity-based policy allows the dynamodb:{action} action"
    );
    assert_eq!(
        *body,
        json!({"__type": "com.amazon.coral.service#AccessDeniedException", "Message": message})
    );
}

#[test]
fn policies_are_read_from_the_template() {
    let granted: BTreeMap<String, Vec<String>> = Permissions::of(&model())
        .unwrap()
        .report()
        .into_iter()
        .map(|(function, figures)| (function, figures.granted))
        .collect();
    assert_eq!(
        granted["process-order"],
        [
            "dynamodb:GetItem table/orders",
            "dynamodb:PutItem table/orders",
            "dynamodb:UpdateItem table/purchases",
            "dynamodb:UpdateItem table/stock",
            "logs:CreateLogStream log-group:process-order-log:*",
            "logs:PutLogEvents log-group:process-order-log:*",
            "secretsmanager:GetSecretValue secret:stampede/gateway-??????",
            "sqs:DeleteMessage payments",
            "sqs:GetQueueAttributes payments",
            "sqs:ReceiveMessage payments",
        ]
    );
    assert_eq!(
        granted["relay-events"],
        [
            "dynamodb:DescribeStream table/orders/stream/local",
            "dynamodb:GetRecords table/orders/stream/local",
            "dynamodb:GetShardIterator table/orders/stream/local",
            "dynamodb:ListStreams table/orders/stream/*",
            "logs:CreateLogStream log-group:relay-events-log:*",
            "logs:PutLogEvents log-group:relay-events-log:*",
            "s3:ListBucket relay-failures",
            "s3:PutObject relay-failures/aws/lambda/*",
            "sqs:SendMessage ledger",
            "sqs:SendMessage mail",
            "sqs:SendMessage payments",
            "sqs:SendMessage relay-parked"
        ]
    );
    // Anyone can call this function, so it has its own secret and not the key that can charge cards.
    assert_eq!(
        granted["receive-webhook"],
        [
            "logs:CreateLogStream log-group:receive-webhook-log:*",
            "logs:PutLogEvents log-group:receive-webhook-log:*",
            "secretsmanager:GetSecretValue secret:stampede/gateway-webhook-??????",
            "sqs:SendMessage payments",
        ]
    );
    assert_eq!(
        granted["notify-shopper"],
        [
            "dynamodb:GetItem table/addresses",
            "dynamodb:GetItem table/orders",
            "dynamodb:UpdateItem table/addresses",
            "logs:CreateLogStream log-group:notify-shopper-log:*",
            "logs:PutLogEvents log-group:notify-shopper-log:*",
            "ses:SendEmail identity/shop.example",
            "sqs:DeleteMessage mail",
            "sqs:GetQueueAttributes mail",
            "sqs:ReceiveMessage mail",
        ]
    );
    assert!(granted["sweep-orders"].contains(&"dynamodb:Query table/orders/index/open".to_owned()));
    let log = ["CreateLogStream", "PutLogEvents"].map(|a| format!("logs:{a} log-group:answer-default-log:*"));
    assert_eq!(granted["answer-default"], log);
    let signs_in = "rds-db:connect dbuser:cluster-LOCAL/project_ledger";
    assert!(granted["project-ledger"].contains(&signs_in.to_owned()));
    let about_addresses: Vec<(&str, &str)> = granted
        .iter()
        .flat_map(|(function, all)| all.iter().map(move |one| (function.as_str(), one.as_str())))
        .filter(|(_, one)| one.contains("addresses"))
        .collect();
    assert_eq!(
        about_addresses,
        [
            ("checkout", "dynamodb:PutItem table/addresses"),
            ("notify-shopper", "dynamodb:GetItem table/addresses"),
            ("notify-shopper", "dynamodb:UpdateItem table/addresses"),
            ("prescale", "dynamodb:DescribeTable table/addresses"),
            ("prescale", "dynamodb:UpdateTable table/addresses"),
        ],
        "one function reads addresses, and pre-scaling the table's capacity"
    );
}

/// Whether Lambda, and not the function itself, uses the action with the function's role.
fn by_lambda(action: &str) -> bool {
    let stream = ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"];
    let queue = ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"];
    match action.split_once(':').unwrap() {
        ("logs" | "s3" | "ec2", _) => true,
        ("dynamodb", name) => stream.contains(&name),
        ("sqs", name) => queue.contains(&name),
        _ => false,
    }
}

#[test]
fn without_a_statement_that_lambda_needs_the_stack_does_not_start() {
    let model = model();
    Permissions::of(&model).unwrap().check_lambda(&model).unwrap();
    let mut tried = 0;
    for (name, function) in &model.functions {
        // Pre-scaling itself reads queue attributes, and no queue invokes it. So its `sqs:` actions are not Lambda's.
        let of_source =
            |action: &str| by_lambda(action) && !(name == "prescale" && action.starts_with("sqs:"));
        for (place, statement) in function.statements.iter().enumerate() {
            for action in statement.action.iter().filter(|action| of_source(action)) {
                let mut less = model.clone();
                let statements = &mut less.functions.get_mut(name).unwrap().statements;
                statements[place].action.retain(|kept| kept != action);
                let refused = Permissions::of(&less).unwrap().check_lambda(&less).unwrap_err();
                let expected = format!("{name}: its role does not let Lambda {action} on ");
                assert!(refused.to_string().starts_with(&expected), "{refused}");
                tried += 1;
            }
        }
    }
    // Lambda needs two permissions for each log, three for each of three queues, four for the stream, two for the
    // bucket and six for the network.
    assert_eq!(tried, 2 * model.functions.len() + 3 * 3 + 4 + 2 + 6);
}

#[test]
fn only_lambda_itself_makes_network_interfaces() {
    let model = model();
    let permissions = Permissions::of(&model).unwrap();
    let need = stampede_local::permissions::Need {
        action: "ec2:CreateNetworkInterface".into(),
        resource: "*".to_owned(),
    };
    assert!(permissions.check("project-ledger", &[need]).is_err());
}

#[tokio::test]
async fn a_call_that_no_statement_allows_is_denied_and_changes_nothing() {
    let desk = Desk::open().await;
    let answer = desk.call(Some("reserve"), "PutItem", &put("stock", "a")).await;
    is_denied("reserve", "PutItem", "stock", &answer);
    assert!(!desk.has("stock", "a").await);
    let query = json!({
        "TableName": "orders",
        "IndexName": "open",
        "KeyConditionExpression": "#open = :open",
        "ExpressionAttributeNames": {"#open": "open"},
        "ExpressionAttributeValues": {":open": {"S": "0"}},
    });
    let answer = desk.call(Some("get-order"), "Query", &query).await;
    is_denied("get-order", "Query", "orders/index/open", &answer);
    let batch = json!({"RequestItems": {
        "stock": {"Keys": [{"pk": {"S": "a"}}]},
        "orders": {"Keys": [{"pk": {"S": "a"}}]},
    }});
    let answer = desk.call(Some("reserve"), "BatchGetItem", &batch).await;
    is_denied("reserve", "BatchGetItem", "orders", &answer);
    let scan = json!({"TableName": "stock"});
    let answer = desk.call(Some("conduct-drop"), "Scan", &scan).await;
    is_denied("conduct-drop", "Scan", "stock", &answer);
    let unknown = desk
        .call(Some("no-such-function"), "GetItem", &update("stock", "a"))
        .await;
    is_denied("no-such-function", "GetItem", "stock", &unknown);
    assert!(desk.used("reserve").is_empty() && desk.used("get-order").is_empty());
    assert_eq!(desk.permissions.report()["reserve"].denied.len(), 2);
}

#[tokio::test]
async fn a_call_that_is_allowed_passes_and_counts() {
    let desk = Desk::open().await;
    for _ in 0..2 {
        let (status, body) = desk
            .call(Some("operate-drop"), "PutItem", &put("stock", "a"))
            .await;
        assert_eq!(status, 200, "{body}");
    }
    assert!(desk.has("stock", "a").await);
    let times = Times {
        permission: "dynamodb:PutItem table/stock".to_owned(),
        times: 2,
    };
    assert_eq!(desk.used("operate-drop"), [times]);
    let unused = &desk.permissions.report()["operate-drop"].unused;
    assert!(unused.contains(&"dynamodb:BatchGetItem table/stock".to_owned()) && unused.len() < 12);
    // No function signed this call, so no policy applies, and the call is allowed.
    let (status, _) = desk.call(None, "PutItem", &put("addresses", "a")).await;
    assert_eq!(status, 200);
    // A malformed request must not bypass the policy.
    let bad = json!({"TableName": 7});
    let (status, body) = desk.call(Some("reserve"), "PutItem", &bad).await;
    assert_eq!(status, 400, "{body}");
    assert!(
        body["__type"]
            .as_str()
            .unwrap()
            .ends_with("SerializationException")
    );
}

#[tokio::test]
async fn one_forbidden_item_denies_the_whole_transaction() {
    let desk = Desk::open().await;
    let order = json!({"Put": put("orders", "o1")});
    let shard = json!({"Update": update("stock", "a")});
    let check = json!({"ConditionCheck": {
        "TableName": "stock", "Key": {"pk": {"S": "b"}}, "ConditionExpression": "attribute_not_exists(pk)",
    }});
    let address = json!({"Put": put("addresses", "o1")});
    let send = |items: Vec<&Value>| json!({"TransactItems": items});
    for (bad, action, resource) in [
        (&check, "ConditionCheckItem", "stock"),
        (&address, "PutItem", "addresses"),
    ] {
        let transaction = send(vec![&order, &shard, bad]);
        let answer = desk
            .call(Some("process-order"), "TransactWriteItems", &transaction)
            .await;
        is_denied("process-order", action, resource, &answer);
        assert!(!desk.has("orders", "o1").await && !desk.has("stock", "a").await);
    }
    assert!(desk.used("process-order").is_empty());
    let (status, body) = desk
        .call(
            Some("process-order"),
            "TransactWriteItems",
            &send(vec![&order, &shard]),
        )
        .await;
    assert_eq!(status, 200, "{body}");
    assert!(desk.has("orders", "o1").await && desk.has("stock", "a").await);
    assert_eq!(desk.used("process-order").len(), 2);
}

#[tokio::test]
async fn queues_take_messages_only_from_those_who_may_send() {
    let desk = Desk::open().await;
    let message = |queue: &str| json!({"QueueUrl": desk.sqs.queue_url(queue), "MessageBody": "m"});
    let batch = json!({
        "QueueUrl": desk.sqs.queue_url("relay-parked"),
        "Entries": [{"Id": "0", "MessageBody": "m"}],
    });
    for (action, queue, body) in [
        ("SendMessage", "ledger", message("ledger")),
        ("SendMessageBatch", "relay-parked", batch),
    ] {
        let target = format!("AmazonSQS.{action}");
        let (status, head, refusal) = call(&desk.sqs_at, Some("sweep-orders"), &target, &body).await;
        assert_eq!(status, 403, "{refusal}");
        assert!(head.contains("x-amzn-query-error: AccessDenied;Sender"), "{head}");
        let text = refusal["Message"].as_str().unwrap();
        let denied = format!(
            "perform: sqs:sendmessage on resource: {} because no identity-based policy allows the sqs:sendmessage action",
            queue_arn(queue)
        );
        assert!(text.ends_with(&denied), "{text}");
        assert!(desk.sqs.depth(queue).await.unwrap().is_empty());
        let (status, _, answer) = call(&desk.sqs_at, Some("relay-events"), &target, &body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(desk.sqs.depth(queue).await.unwrap().visible, 1);
    }
    let used = desk.used("relay-events");
    let used: Vec<(&str, u64)> = used.iter().map(|u| (u.permission.as_str(), u.times)).collect();
    assert_eq!(
        used,
        [("sqs:SendMessage ledger", 1), ("sqs:SendMessage relay-parked", 1)]
    );
    let target = "AmazonSQS.SendMessage";
    let (status, _, answer) = call(&desk.sqs_at, Some("sweep-orders"), target, &message("payments")).await;
    assert_eq!(status, 200, "{answer}");
}

/// Serves secrets and parameters under these policies, as the stack does.
async fn stores(model: &Model) -> (String, Arc<Secrets>, Arc<Permissions>) {
    let permissions = Arc::new(Permissions::of(model).unwrap());
    let secrets = Arc::new(Secrets::new(&sample_surroundings(), Arc::clone(&permissions)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(secrets::serve(listener, Arc::clone(&secrets)));
    (at, secrets, permissions)
}

#[tokio::test]
async fn a_secret_is_read_by_those_who_may_and_as_it_is_by_then() {
    let (at, secrets, permissions) = stores(&model()).await;
    let target = "secretsmanager.GetSecretValue";
    let read = async |function, id: &str| {
        let body = json!({"SecretId": id});
        let (status, _, body) = call_of(&at, "secretsmanager", function, target, &body).await;
        (status, body)
    };
    let (status, body) = read(Some("process-order"), "stampede/gateway").await;
    assert_eq!(status, 200, "{body}");
    let text = |body: &Value| body["SecretString"].as_str().unwrap().to_owned();
    assert!(text(&body).contains(r#""api_key":"sk_test_local""#));
    secrets.put("stampede/gateway", "next".to_owned());
    let (_, body) = read(Some("process-order"), body["ARN"].as_str().unwrap()).await;
    assert_eq!(text(&body), "next");
    let used = &permissions.report()["process-order"].used;
    assert_eq!(
        used[0].permission,
        "secretsmanager:GetSecretValue secret:stampede/gateway-??????"
    );
    assert_eq!(used[0].times, 2);
    for (function, id) in [
        ("process-order", "stampede/gateway-2"),
        ("process-order", "stampede/ledger"),
        ("reserve", "stampede/gateway"),
    ] {
        let (status, body) = read(Some(function), id).await;
        assert_eq!(status, 400, "{function} {id}: {body}");
        assert!(
            body["__type"]
                .as_str()
                .unwrap()
                .ends_with("AccessDeniedException")
        );
    }
    let (status, body) = read(None, "stampede/none").await;
    assert_eq!(status, 400);
    assert_eq!(&body["__type"], &json!("ResourceNotFoundException"));
}

#[tokio::test]
async fn without_its_statement_a_function_reads_no_secret() {
    let mut model = model();
    let function = model.functions.get_mut("process-order").unwrap();
    let before = function.statements.len();
    function
        .statements
        .retain(|statement| !statement.action[0].starts_with("secretsmanager:"));
    assert_eq!(function.statements.len(), before - 1);
    let (at, _, permissions) = stores(&model).await;
    let body = json!({"SecretId": "stampede/gateway"});
    let target = "secretsmanager.GetSecretValue";
    let (status, _, body) = call_of(&at, "secretsmanager", Some("process-order"), target, &body).await;
    assert_eq!(status, 400, "{body}");
    assert!(
        body["Message"]
            .as_str()
            .unwrap()
            .contains("secretsmanager:GetSecretValue")
    );
    assert!(body.get("SecretString").is_none());
    let denied = Times {
        permission: "secretsmanager:GetSecretValue secret:stampede/gateway-local0".to_owned(),
        times: 1,
    };
    assert_eq!(permissions.report()["process-order"].denied, [denied]);
}

#[tokio::test]
async fn a_stored_parameter_is_read_by_those_who_may() {
    let mut model = model();
    let name = "/stampede/shopper-keys";
    let statement = Statement {
        effect: "Allow".to_owned(),
        action: vec!["ssm:GetParameter".to_owned()],
        resource: parameter_arn(name),
        condition: BTreeMap::new(),
    };
    let function = model.functions.get_mut("get-drop").unwrap();
    function.statements.push(statement);
    assert!(!function.needs_control_planes(), "the stack serves it always");
    let (at, _, permissions) = stores(&model).await;
    let (target, body) = (
        "AmazonSSM.GetParameter",
        json!({"Name": name, "WithDecryption": true}),
    );
    let (status, _, found) = call_of(&at, "ssm", Some("get-drop"), target, &body).await;
    assert_eq!(status, 200, "{found}");
    assert_eq!(&found["Parameter"]["Value"], &json!("x"), "{found}");
    let (status, _, refused) = call_of(&at, "ssm", Some("reserve"), target, &body).await;
    assert_eq!(status, 400, "{refused}");
    assert_eq!(
        permissions.report()["reserve"].denied[0].permission,
        format!("ssm:GetParameter parameter{name}")
    );
    // An unsupported operation must not bypass the policy.
    let body = json!({"Name": name, "Value": "y", "Overwrite": true});
    let (status, _, refused) = call_of(&at, "ssm", Some("get-drop"), "AmazonSSM.PutParameter", &body).await;
    assert_eq!(status, 400, "{refused}");
    assert!(
        refused["__type"]
            .as_str()
            .unwrap()
            .ends_with("AccessDeniedException")
    );
}

#[tokio::test]
async fn a_process_signs_as_its_function() {
    let mut model = empty();
    for name in ["one", "two"] {
        model.functions.insert(name.to_owned(), probe(name));
    }
    let bench = Bench::new(&model, 1);
    for name in ["one", "two"] {
        let answer = bench
            .functions
            .invoke(
                name,
                "GET /",
                bench.functions.identify(),
                json!({"rawPath": "/"}).to_string().into(),
                Waiting::Patiently,
                |_| 200,
            )
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["access_key"], json!(access_key(name)));
    }
    bench.functions.stop().await;
}
