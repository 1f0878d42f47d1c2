//! Tests the gateway as a separate process.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox_gateway::log::{Event, Line};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn it_prints_its_address_takes_its_key_and_stops_when_told() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("gateway.jsonl");
    let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox-gateway"))
        .args(["--listen", "127.0.0.1:0", "--key", "sk_test_program", "--log"])
        .arg(&log)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let base = lines.next_line().await.unwrap().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let create = async |key: &str| {
        let request = client.post(format!("{base}/v1/payment_intents")).bearer_auth(key);
        let form = [
            ("amount", "4900"),
            ("currency", "eur"),
            ("metadata[order_id]", "o1"),
        ];
        request.form(&form).send().await.unwrap().status().as_u16()
    };
    assert_eq!(create("sk_test_other").await, 401);
    assert_eq!(create("sk_test_program").await, 200);
    drop(client);
    kill(Pid::from_raw(child.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(child.wait().await.unwrap().success());
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Line> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines.iter().map(|line| line.event).collect::<Vec<_>>(),
        [Event::Created]
    );
}
