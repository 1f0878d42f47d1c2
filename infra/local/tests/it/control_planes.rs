//! Tests control planes beside the stack: at the baseline, with policy checks, and with trial invocations of the
//! stack's own functions.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use crate::support::{get, probe_binary, until};
use serde_json::{Value, json};
use stampede_local::faults::FaultPlan;
use stampede_local::permissions::access_key;
use stampede_local::stack::{Options, Stack, sample_surroundings};
use stampede_local::template::load;
use tempfile::TempDir;

/// Options for the project's template, with the probe as the binary of every function.
fn options(folder: &TempDir) -> Options {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let template = crate_folder.join("../template.yaml");
    let model = load(
        &std::fs::read_to_string(&template).unwrap(),
        &sample_surroundings(),
    );
    let binaries: PathBuf = folder.path().join("functions");
    std::fs::create_dir(&binaries).unwrap();
    for name in model.unwrap().functions.keys() {
        std::os::unix::fs::symlink(probe_binary(), binaries.join(name)).unwrap();
    }
    Options {
        template,
        binaries,
        out: folder.path().join("out"),
        tools: crate_folder.join("../../.tools"),
        control_planes: Some(crate_folder.join("../prescale")),
        concurrency: 2,
        as_aws: None,
        account_concurrency: 8,
        function_log: None,
        seed: 1,
        faults: FaultPlan::default(),
        fault_seed: 1,
        gateway_rate: None,
    }
}

/// A client of the control planes that signs with `key`.
struct Desk<'a> {
    host: &'a str,
    key: String,
}

impl Desk<'_> {
    fn call(&self, service: &str, method: &str, path: &str, head: &str, body: &str) -> (u16, String) {
        let (host, key) = (self.host, &self.key);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{head}authorization: AWS4-HMAC-SHA256 \
             Credential={key}/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn lambda(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (status, body) = self.call(
            "lambda",
            method,
            path,
            "content-type: application/json\r\n",
            &body,
        );
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    fn parameter_store(&self, operation: &str, body: &Value) -> (u16, Value) {
        let head =
            format!("content-type: application/x-amz-json-1.1\r\nx-amz-target: AmazonSSM.{operation}\r\n");
        let (status, body) = self.call("ssm", "POST", "/", &head, &body.to_string());
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    fn form(&self, service: &str, body: &str) -> (u16, String) {
        let head = "content-type: application/x-www-form-urlencoded\r\n";
        self.call(service, "POST", "/", head, body)
    }
}

const PROVISIONED: &str = "/2019-09-30/functions/reserve/provisioned-concurrency?Qualifier=live";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_is_at_its_baseline_and_policies_hold() {
    let folder = tempfile::tempdir().unwrap();
    let stack = Stack::start(&options(&folder)).await.unwrap();
    let url = stack.file.control_planes_url.clone().unwrap();
    let desk = |key: String| Desk {
        host: url.strip_prefix("http://").unwrap(),
        key,
    };
    let prescale = desk(access_key("prescale"));
    let nothing = Value::Null;

    // The account is at the baseline.
    let (status, none) = prescale.lambda("GET", PROVISIONED, &nothing);
    assert_eq!(status, 404);
    assert_eq!(
        &none["__type"],
        &json!("ProvisionedConcurrencyConfigNotFoundException")
    );
    let (status, settings) = prescale.lambda("GET", "/2016-08-19/account-settings", &nothing);
    assert_eq!(status, 200);
    assert_eq!(&settings["AccountLimit"]["ConcurrentExecutions"], &json!(1_000));
    let names: Value = serde_json::from_str(&stack.file.environment["NAMES"]).unwrap();
    for (source, most) in [("PaymentsQueue", 6), ("LedgerQueue", 10)] {
        let mapping = names["sources"][source]["mapping"].as_str().unwrap();
        let path = format!("/2015-03-31/event-source-mappings/{mapping}");
        let (status, there) = prescale.lambda("GET", &path, &nothing);
        assert_eq!(status, 200);
        assert_eq!(&there["ScalingConfig"]["MaximumConcurrency"], &json!(most));
    }
    let under = json!({"Path": "/stampede/prescale", "Recursive": true});
    let (status, documents) = prescale.parameter_store("GetParametersByPath", &under);
    assert_eq!(status, 200);
    assert_eq!(documents["Parameters"].as_array().unwrap().len(), 7);
    // The documents are those that an operator would store.
    let put = as_an_operator_puts_them(folder.path());
    for parameter in documents["Parameters"].as_array().unwrap() {
        let name = parameter["Name"].as_str().unwrap();
        let there: Value = serde_json::from_str(parameter["Value"].as_str().unwrap()).unwrap();
        assert_eq!(put.get(name), Some(&there), "{name}");
    }
    let describe = "Action=DescribeDBClusters&Version=2014-10-31&DBClusterIdentifier=stampede-ledger";
    let (status, cluster) = prescale.form("rds", describe);
    assert!(
        status == 200 && cluster.contains("<MinCapacity>2.0</MinCapacity><MaxCapacity>64.0</MaxCapacity>"),
        "{cluster}"
    );

    // The policy decides: an allowed call is carried out, and a denied call is not.
    let units = json!({"ProvisionedConcurrentExecutions": 7});
    let (status, refusal) = desk(access_key("reserve")).lambda("PUT", PROVISIONED, &units);
    assert_eq!(status, 403, "{refusal}");
    assert!(
        refusal["Message"]
            .as_str()
            .unwrap()
            .contains("lambda:PutProvisionedConcurrencyConfig")
    );
    let of_operate = PROVISIONED.replace("reserve", "operate-drop");
    assert_eq!(prescale.lambda("PUT", &of_operate, &units).0, 403);
    let other = json!({"Name": "/stampede/operator-keys"});
    assert_eq!(prescale.parameter_store("GetParameter", &other).0, 403);
    // Instances are identified by their tag, since another cluster's instance may have this cluster's name as a prefix.
    let modify = |name: &str| {
        let body =
            format!("Action=ModifyDBInstance&Version=2014-10-31&PromotionTier=1&DBInstanceIdentifier={name}");
        prescale.form("rds", &body).0
    };
    let names = ["stampede-ledger-1", "stampede-ledger-other-1", "other-1"];
    assert_eq!(names.map(modify), [200, 403, 403]);
    // A failover needs the permission on the cluster alone.
    let failover = "Action=FailoverDBCluster&Version=2014-10-31&DBClusterIdentifier=other&TargetDBInstanceIdentifier=stampede-ledger-1";
    assert_eq!(prescale.form("rds", failover).0, 403);
    assert_eq!(
        prescale.lambda("GET", PROVISIONED, &nothing).0,
        404,
        "still nothing"
    );
    assert_eq!(prescale.lambda("PUT", PROVISIONED, &units).0, 202);

    // The units are ready once as many processes as this machine allows are running.
    until("all is allocated", || {
        let (status, there) = prescale.lambda("GET", PROVISIONED, &nothing);
        let allocated = there["AllocatedProvisionedConcurrentExecutions"]
            .as_u64()
            .unwrap();
        assert_eq!(status, 200);
        assert_eq!(there["Status"] == json!("READY"), allocated == 7);
        std::future::ready(allocated == 7)
    })
    .await;
    let list = "/2019-09-30/functions/reserve/provisioned-concurrency?List=ALL";
    let (status, all) = prescale.lambda("GET", list, &nothing);
    let configs = all["ProvisionedConcurrencyConfigs"].as_array().unwrap();
    assert_eq!(status, 200);
    assert_eq!(configs.len(), 1);
    assert_eq!(configs[0]["RequestedProvisionedConcurrentExecutions"], json!(7));
    assert!(
        configs[0]["FunctionArn"]
            .as_str()
            .unwrap()
            .ends_with(":reserve:live")
    );
    let nobody = list.replace("reserve", "nobody");
    assert_eq!(prescale.lambda("GET", &nobody, &nothing).0, 404);
    let ahead = |function: &str| -> u64 {
        let all: Value = serde_json::from_str(&call_control(&stack.file.control_url, "/functions")).unwrap();
        let all = all.as_array().unwrap();
        all.iter().find(|f| f["function"] == function).unwrap()["ahead"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(ahead("reserve"), 2);
    assert_eq!(ahead("get-drop"), 0);
    assert_eq!(prescale.lambda("DELETE", PROVISIONED, &nothing).0, 204);
    until("they are gone", || std::future::ready(ahead("reserve") == 0)).await;

    // A trial invocation reaches the function of this stack.
    let path = "/2015-03-31/functions/reserve/invocations?Qualifier=live";
    let (status, answer) = prescale.lambda("POST", path, &json!({"rawPath": "/trial"}));
    assert_eq!(status, 200);
    assert_eq!(&answer["statusCode"], &json!(200));
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["access_key"], json!(access_key("reserve")));
    let (status, error) = prescale.lambda("POST", path, &json!({"rawPath": "/error"}));
    assert_eq!(status, 200);
    assert_eq!(&error["errorType"], &json!("Probe"));

    // The cluster's current capacity is available as a metric.
    let question = "Action=GetMetricStatistics&Version=2010-08-01&Namespace=AWS%2FRDS&Period=60&\
                    MetricName=ServerlessDatabaseCapacity&Statistics.member.1=Minimum&\
                    Dimensions.member.1.Name=DBInstanceIdentifier&Dimensions.member.1.Value=stampede-ledger-1&\
                    StartTime=2026-01-01T00%3A00%3A00Z&EndTime=2099-01-01T00%3A00%3A00Z";
    let outside = desk("local".to_owned());
    until("there is a figure of the cluster", || {
        let (status, figures) = outside.form("monitoring", question);
        std::future::ready(status == 200 && figures.contains("<Minimum>2.0</Minimum>"))
    })
    .await;

    // The schedule runs the function `prescale` in this stack.
    until("the schedule has run it", || async {
        let figures = call_control(&stack.file.control_url, "/functions");
        let all: Value = serde_json::from_str(&figures).unwrap();
        let all = all.as_array().unwrap();
        let prescale = all.iter().find(|f| f["function"] == "prescale").unwrap();
        prescale["invocations"].as_u64().unwrap() > 0
    })
    .await;
    stack.stop().await;
}

/// Parameters by their names, as `infra/tools/prescale_parameters.py` writes them.
fn as_an_operator_puts_them(folder: &Path) -> BTreeMap<String, Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = folder.join("parameters");
    let written = std::process::Command::new("python3")
        .current_dir(root)
        .arg("infra/tools/prescale_parameters.py")
        .arg(&out)
        .output()
        .unwrap();
    assert!(written.status.success(), "{written:?}");
    let files = std::fs::read_dir(out).unwrap();
    files
        .map(|file| {
            let input: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
            let value = serde_json::from_str(input["Value"].as_str().unwrap()).unwrap();
            (input["Name"].as_str().unwrap().to_owned(), value)
        })
        .collect()
}

fn call_control(url: &str, path: &str) -> String {
    get(url, path).split_once("\r\n\r\n").unwrap().1.to_owned()
}
