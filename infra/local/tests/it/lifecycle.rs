//! Tests the whole stack as a program: a start, a second start in the same folder, a kill, another start, a stop; and a
//! start without a binary.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{get, probe_binary, until};
use serde_json::Value;
use stampede_local::stack::sample_surroundings;
use stampede_local::template::load;
use tempfile::TempDir;

struct Project {
    folder: TempDir,
    template: String,
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
        let model = load(
            &std::fs::read_to_string(&template).unwrap(),
            &sample_surroundings(),
        )
        .unwrap();
        std::fs::create_dir(folder.path().join("functions")).unwrap();
        for name in model.functions.keys() {
            std::os::unix::fs::symlink(probe_binary(), folder.path().join("functions").join(name)).unwrap();
        }
        Self {
            folder,
            template: template.to_str().unwrap().to_owned(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn up(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_stampede-local"))
            .args([
                "up",
                "--template",
                &self.template,
                "--functions-dir",
                &self.path("functions"),
            ])
            .args(["--out", &self.path("out")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    async fn ready(&self, stack: &mut Child) -> Value {
        let file = self.path("out/stack.json");
        let stack_id = stack.id();
        until("the stack is ready", || {
            if let Some(status) = stack.try_wait().unwrap() {
                let mut log = String::new();
                stack.stderr.take().unwrap().read_to_string(&mut log).unwrap();
                panic!("it ended ({status}): {log}");
            }
            // A killed stack leaves its file behind, so the file counts only with this stack's process id.
            std::future::ready(read(&file).is_some_and(|stack| stack["pid"] == stack_id))
        })
        .await;
        read(&file).unwrap()
    }
}

fn read(file: &str) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()
}

/// The state and the parent of a process, from /proc; `None` if the process does not exist.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    Some((rest.next()?.chars().next()?, rest.next()?.parse().ok()?))
}

fn descendants(of: u32) -> Vec<u32> {
    let all: Vec<u32> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            all.iter()
                .filter(|pid| stat(**pid).is_some_and(|(_, p)| p == parent)),
        );
        next += 1;
    }
    found.split_off(1)
}

/// Sends SIGTERM to the stack and waits for its exit. Returns whether it exited with success.
fn terminate(mut stack: Child) -> bool {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(stack.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    stack.wait().unwrap().success()
}

fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

#[tokio::test]
async fn nothing_is_left_whatever_ends_the_stack() {
    let project = Project::new();
    let mut first = project.up();
    let stack = project.ready(&mut first).await;
    let answer = get(stack["api_url"].as_str().unwrap(), "/drops");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let second = project.up().wait_with_output().unwrap();
    let refusal = String::from_utf8(second.stderr).unwrap();
    assert!(
        !second.status.success() && refusal.contains("already runs"),
        "{refusal}"
    );

    let children = descendants(first.id());
    // The children are PostgreSQL, its own children, and at least the function that was called.
    assert!(children.len() >= 4, "{children:?}");
    first.kill().unwrap();
    first.wait().unwrap();
    until("all children are gone", || {
        std::future::ready(!children.iter().any(|pid| runs(*pid)))
    })
    .await;

    let mut third = project.up();
    let stack = project.ready(&mut third).await;
    assert!(get(stack["api_url"].as_str().unwrap(), "/drops").starts_with("HTTP/1.1 200"));
    let children = descendants(third.id());
    assert!(terminate(third));
    assert!(
        !children.iter().any(|pid| runs(*pid)),
        "children outlived a tidy stop"
    );
    for left in ["out/stack.json", "out/pg"] {
        assert!(!Path::new(&project.path(left)).exists(), "{left}");
    }
}

#[test]
fn what_was_not_built_is_named() {
    let project = Project::new();
    std::fs::remove_file(project.path("functions/reserve")).unwrap();
    let refused = project.up().wait_with_output().unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && message.contains("cargo build --release -p reserve"),
        "{message}"
    );
}

#[tokio::test]
async fn tokens_are_signed_with_the_stacks_keys() {
    let project = Project::new();
    let mut stack = project.up();
    project.ready(&mut stack).await;
    let token = |shopper: &str| {
        Command::new(env!("CARGO_BIN_EXE_stampede-local"))
            .args(["token", "--shopper", shopper, "--out", &project.path("out")])
            .output()
            .unwrap()
    };
    for subject in [
        "alice1",
        "3f2b8c1e-9a4d-4e6f-8b7a-5c1d2e3f4a5b",
        "auth0|507f1f77bcf86cd799439011",
        "Ada@example.org",
    ] {
        let good = token(subject);
        assert!(good.status.success(), "{subject}");
        let text = String::from_utf8(good.stdout).unwrap();
        assert_eq!(text.trim().split('.').count(), 3);
    }
    assert!(!token("").status.success());
    assert!(terminate(stack));
}
