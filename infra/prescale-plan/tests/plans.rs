//! Tests the declared documents, and the binary as users call it.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use capacity::amounts::Polling;
use prescale_plan::documents::{self, Files};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).to_owned()
}

fn call(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prescale-plan"))
        .current_dir(root())
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

const NOW: [&str; 2] = ["--now", "2030-03-01T12:00:00Z"];
const RAISED: [&str; 2] = ["--quotas", "infra/prescale/quotas-raised.toml"];

#[test]
fn the_profile_for_a_cdn_differs_in_weights_reads_and_the_stocks_headroom_alone() {
    let folder = root().join("infra/prescale");
    let drop = folder.join("drops/small.toml");
    let profile = |profile: Option<PathBuf>| {
        let files = Files {
            folder: folder.clone(),
            profile,
            ..Files::default()
        };
        documents::read(&files, &drop, &[]).unwrap().documents.profile
    };
    let plain = profile(None);
    let mut cdn = profile(Some(folder.join("profile-cdn.toml")));
    assert_ne!(cdn, plain);
    for (of_cdn, of_plain) in cdn.groups.iter_mut().zip(&plain.groups) {
        if ["browse", "buy"].contains(&of_plain.name.as_str()) {
            of_cdn.weight = of_plain.weight;
        }
    }
    for (of_cdn, of_plain) in cdn.tables.iter_mut().zip(&plain.tables) {
        of_cdn.read_units_per_request = of_plain.read_units_per_request.clone();
        if of_plain.table == "StockTable" {
            of_cdn.headroom = of_plain.headroom;
        }
    }
    assert_eq!(cdn, plain);
}

#[test]
fn the_baseline_is_that_of_the_template() {
    let folder = root().join("infra/prescale");
    let drop = folder.join("drops/small.toml");
    let files = Files {
        folder,
        ..Files::default()
    };
    let input = documents::read(&files, &drop, &[]).unwrap();
    let baseline = input.documents.baseline;
    let template = std::fs::read_to_string(root().join("infra/template.yaml")).unwrap();
    let template: yaml_serde::Value = yaml_serde::from_str(&template).unwrap();
    let resources = &template["Resources"];
    let memory = |properties: &yaml_serde::Value| properties["MemorySize"].as_u64();
    let functions: Vec<(&str, &yaml_serde::Value)> = (resources.as_mapping().unwrap().values())
        .filter_map(|r| {
            Some((
                r["Metadata"]["BuildProperties"]["Binary"].as_str()?,
                &r["Properties"],
            ))
        })
        .collect();
    for declared in &baseline.functions {
        let found = functions.iter().find(|(name, _)| *name == declared.function);
        let (_, properties) = found.unwrap_or_else(|| panic!("{} is not in the template", declared.function));
        let set = memory(properties)
            .or(memory(&template["Globals"]["Function"]))
            .unwrap();
        assert_eq!(u64::from(declared.memory_mb), set, "{}", declared.function);
        let reserved = properties["ReservedConcurrentExecutions"].as_u64();
        assert_eq!(
            declared.reserved.map(u64::from),
            reserved,
            "{}",
            declared.function
        );
    }
    for table in &baseline.tables {
        assert_eq!(
            resources[table.table.as_str()]["Type"].as_str(),
            Some("AWS::DynamoDB::Table")
        );
    }
    for queue in &baseline.queues {
        assert_eq!(
            resources[queue.source.as_str()]["Type"].as_str(),
            Some("AWS::SQS::Queue")
        );
        let (_, properties) = functions
            .iter()
            .find(|(name, _)| *name == queue.function)
            .unwrap();
        let mut events = properties["Events"].as_mapping().unwrap().values();
        let event = events.find(|e| e["Type"].as_str() == Some("SQS")).unwrap();
        let most = event["Properties"]["ScalingConfig"]["MaximumConcurrency"]
            .as_u64()
            .unwrap();
        assert_eq!(
            queue.polling,
            Polling::MaximumConcurrency(u32::try_from(most).unwrap())
        );
    }
}

#[test]
fn the_reference_spike_is_planned_in_full_on_a_raised_account() {
    let output = call(&[&RAISED[..], &NOW[..]].concat());
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // `reserve` needs 112,000 ÷ 10 × 1.3 units and a twentieth more reserved, `get-drop` 84,000 ÷ 10 × 1.2. The cost is
    // that of 0.25 GB for an hour, for each unit.
    for line in [
        "provisioned concurrency of reserve 0 14560 2030-03-01T17:32:46.000Z +43.68 an hour",
        "reserved concurrency of reserve none 15288 2030-03-01T17:32:46.000Z -",
        "provisioned concurrency of get-drop 0 10080 2030-03-01T17:32:46.000Z +30.24 an hour",
        "warm throughput of StockTable 4000 W, 12000 R 8400 W, 47040 R 2030-03-01T17:32:46.000Z not listed one way",
        "warm throughput of DropsTable 4000 W, 12000 R 4000 W, 99840 R 2030-03-01T17:32:46.000Z not listed one way",
        "database, minimum ACU 2 7.5 2030-03-01T17:32:46.000Z +0.66 an hour",
        "reserved concurrency of reserve 15288 none 2030-03-01T19:02:00.000Z -",
        "Limits none is met",
        "Admission at the opening: 14000.0 of 14000.0 shoppers a second (100.00 %)",
        "no deployment from",
    ] {
        assert!(words.contains(line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn the_large_baseline_admits_everyone_to_a_hundred_thousand_units() {
    let drop = std::fs::read_to_string(root().join("infra/prescale/drops/reference-spike.toml")).unwrap();
    let large = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large.toml");
    std::fs::write(&large, drop.replace("units = 10_000", "units = 100_000")).unwrap();
    let drop = ["--json", "--drop", large.to_str().unwrap()];
    let share = |baseline: &str| -> Value {
        let output = call(&[&drop[..], &RAISED[..], &NOW[..], &["--baseline", baseline]].concat());
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["admission"]["share"].clone()
    };
    assert_eq!(share("infra/prescale/baseline-large.toml"), 1_000_000);
    assert!(share("infra/prescale/baseline.toml").as_u64().unwrap() < 200_000);
}

#[test]
fn on_an_account_as_it_comes_the_plan_names_every_limit() {
    let output = call(&[&["--json"][..], &NOW[..]].concat());
    assert!(output.status.success());
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let limits: Vec<String> = (plan["limits"].as_array().unwrap().iter())
        .map(|met| {
            met["limit"]
                .as_str()
                .map_or_else(|| met["limit"].to_string(), str::to_owned)
        })
        .collect();
    let of_tables = [
        r#"{"table_reads":"StockTable"}"#,
        r#"{"allowed_warm_reads":"StockTable"}"#,
        r#"{"table_reads":"DropsTable"}"#,
        r#"{"allowed_warm_reads":"DropsTable"}"#,
    ];
    let gateway = r#"{"gateway_rate":"PaymentsQueue"}"#;
    let first = ["account_concurrency", "api_rate", "api_burst"];
    assert_eq!(limits, [&first[..], &of_tables, &[gateway]].concat());
    let needed: Vec<f64> = plan["limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|met| met["needed"].as_f64().unwrap())
        .collect();
    assert_eq!(needed[1..3], [200_000.0, 20_000.0]);
    let share = plan["admission"]["share"].as_u64().unwrap();
    assert!((1..50_000).contains(&share), "{share}");
    assert!(
        plan["up"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["at"].is_i64() && row["step"].is_string())
    );
}

#[test]
fn a_small_drop_fits_an_account_as_it_comes() {
    let output = call(&[&["--drop", "infra/prescale/drops/small.toml"][..], &NOW[..]].concat());
    let text = text(&output);
    assert!(
        text.contains("(100.00 %)") && text.contains("none is met"),
        "{text}"
    );
}

#[test]
fn late_plans_say_so_and_past_ones_are_refused() {
    let late = call(&[&RAISED[..], &["--now", "2030-03-01T17:55:00Z"]].concat());
    let text = text(&late);
    assert!(text.contains("too late: preparing should have begun"), "{text}");
    assert!(
        text.contains("units of provisioned concurrency are missing; 12000 can be there"),
        "{text}"
    );
    let past = call(&["--now", "2031-01-01T00:00:00Z"]);
    assert_eq!(past.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&past.stderr).contains("nothing is held for it any more"));
}

#[test]
fn a_pipeline_is_told_whether_it_may_deploy() {
    let ask = |now: &str| call(&["--deployable", "600", "--now", now]).status.code();
    assert_eq!(ask("2030-03-01T12:00:00Z"), Some(0));
    assert_eq!(ask("2030-03-01T18:30:00Z"), Some(3));
    assert_eq!(ask("2030-03-02T18:30:00Z"), Some(0));
}

#[test]
fn mistakes_are_all_told() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["profile", "baseline", "budget", "prices", "quotas"] {
        let text = std::fs::read_to_string(root().join(format!("infra/prescale/{file}.toml"))).unwrap();
        let text = text
            .replace("minimum_acu = 2", "minimum_acu = 0.5")
            .replace("headroom = 1.2\n", "headroom = 0.5\n");
        std::fs::write(folder.join(format!("{file}.toml")), text).unwrap();
    }
    let output = call(&["--documents", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    for mistake in [
        "profile.group[0].headroom: 1 to 10",
        "profile.group[2].headroom",
        "baseline.database.minimum_acu",
    ] {
        assert!(told.contains(mistake), "{told}");
    }
}
