//! The import rules of docs/ARCHITECTURE.md, held against every crate's manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every crate of the workspace: its folder and what it imports outside tests.
fn crates() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut crates = BTreeMap::new();
    let mut add = |folder: String| {
        let Ok(text) = std::fs::read_to_string(root.join(&folder).join("Cargo.toml")) else {
            return;
        };
        let manifest: toml::Value = toml::from_str(&text).unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let imports = manifest.get("dependencies").and_then(|d| d.as_table());
        let imports = imports.map(|d| d.keys().cloned().collect()).unwrap_or_default();
        crates.insert(name, (folder, imports));
    };
    for group in ["shared", "functions", "infra", "loadtest"] {
        for entry in std::fs::read_dir(root.join(group)).unwrap() {
            let entry = entry.unwrap();
            add(format!("{group}/{}", entry.file_name().to_string_lossy()));
        }
    }
    add("loadtest".to_owned());
    crates
}

fn in_folder(folder: &str, group: &str) -> bool {
    folder.starts_with(group)
}

#[test]
fn the_domain_imports_no_runtime_and_no_adapter() {
    let (_, imports) = &crates()["domain"];
    let allowed = ["serde", "sha2", "data-encoding", "thiserror"];
    assert!(
        imports.iter().all(|i| allowed.contains(&i.as_str())),
        "{imports:?}"
    );
}

#[test]
fn ports_know_no_adapter_and_no_runtime() {
    let crates = crates();
    for name in ["ports", "events", "api"] {
        let (_, imports) = &crates[name];
        for import in imports {
            let adapter = [
                "control-plane",
                "dynamodb",
                "queues",
                "ledger",
                "stripe",
                "memory",
                "startup",
                "web",
            ]
            .contains(&import.as_str());
            let runtime = import.starts_with("aws") || import.starts_with("lambda") || import == "tokio";
            assert!(!adapter && !runtime, "{name} imports {import}");
        }
    }
}

#[test]
fn nothing_but_proofs_in_one_process_imports_a_function() {
    let proofs = ["replay", "hostile", "hostile-fuzz"];
    let crates = crates();
    for (name, (folder, imports)) in crates.iter().filter(|(name, _)| !proofs.contains(&name.as_str())) {
        for import in imports {
            let imported = crates.get(import).map_or("", |(folder, _)| folder.as_str());
            assert!(
                !in_folder(imported, "functions/"),
                "{name} ({folder}) imports the function {import}"
            );
        }
    }
}

#[test]
fn only_its_adapter_knows_a_service() {
    let owners: &[(&str, &[&str])] = &[
        (
            "aws-sdk-dynamodb",
            &[
                "dynamodb",
                "control-plane",
                "startup",
                "loadtest",
                "bench",
                "hostile",
            ],
        ),
        (
            "aws-sdk-sqs",
            &["queues", "control-plane", "startup", "stampede-local", "loadtest"],
        ),
        ("aws-sdk-cloudwatch", &["control-plane"]),
        ("aws-sdk-lambda", &["control-plane"]),
        ("aws-sdk-rds", &["control-plane"]),
        ("aws-sdk-ssm", &["control-plane", "loadtest"]),
        ("tokio-postgres", &["ledger", "stampede-local", "loadtest"]),
        ("reqwest", &["stripe", "hostile"]),
        // Its HTTP/2 would be in every function.
        ("aws-smithy-http-client", &[]),
        ("dynoxide", &["stampede-local"]),
        ("rustack-sqs-core", &["stampede-local"]),
    ];
    for (name, (_, imports)) in &crates() {
        for (service, allowed) in owners {
            assert!(
                !imports.contains(*service) || allowed.contains(&name.as_str()),
                "{name} imports {service}"
            );
        }
    }
}

#[test]
fn a_function_that_writes_to_one_system_imports_no_other() {
    let crates = crates();
    let systems = |name: &str| -> BTreeSet<&str> {
        let (_, imports) = &crates[name];
        ["dynamodb", "queues", "ledger", "stripe"]
            .into_iter()
            .filter(|s| imports.contains(*s))
            .collect()
    };
    assert_eq!(systems("checkout"), BTreeSet::from(["dynamodb"]));
    assert_eq!(systems("reserve"), BTreeSet::from(["dynamodb"]));
    assert_eq!(systems("project-ledger"), BTreeSet::from(["ledger"]));
    assert_eq!(systems("process-order"), BTreeSet::from(["dynamodb", "stripe"]));
}

#[test]
fn only_the_edge_reads_the_clock_and_the_environment() {
    // `clippy.toml` at the root forbids it by name; a folder with a clippy.toml of its own is edge by declaration.
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let rules = std::fs::read_to_string(root.join("clippy.toml")).unwrap();
    for method in [
        "SystemTime::now",
        "Instant::now",
        "env::var",
        "thread::sleep",
        "tokio::time::sleep",
    ] {
        assert!(rules.contains(method), "{method}");
    }
    for folder in ["shared", "functions"] {
        assert!(!root.join(folder).join("clippy.toml").exists());
    }
}
