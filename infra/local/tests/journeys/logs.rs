//! Checks the log lines of a purchase, and that the logs contain no personal data.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::Method;
use serde_json::{Value, json};

use super::people::{Plan, shipping};
use super::world::{World, until};

/// The functions of a purchase, in order.
const WAY: [&str; 5] = [
    "checkout",
    "relay-events",
    "process-order",
    "project-ledger",
    "notify-shopper",
];

/// Adds the files below a folder to `found`, without files that only their owner may read and without the mails, which
/// contain an address.
fn files(folder: &Path, mails: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && !path.is_symlink() {
            if path != mails {
                files(&path, mails, found);
            }
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// Reads the log lines of all functions: function name and content. Metric lines are excluded.
pub(crate) fn lines(world: &World) -> Vec<(String, Value)> {
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../functions");
    let logs = std::fs::read_dir(world.logs()).unwrap();
    let mut lines = Vec::new();
    for path in logs.map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !functions.join(&name).is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // A running process may have written a part of its last line, so that line is left out.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{name}: {line}"));
            if line.get("_aws").is_none() {
                lines.push((name.clone(), line));
            }
        }
    }
    lines
}

pub(crate) async fn one_id_follows_a_purchase_and_no_person_is_named(world: &'static World) {
    let drop = "followed";
    world.publish(&Plan::new(drop, &[("ONE", 2)])).await;
    let ada = world.shopper("followedada");
    let held = ada.reserve(drop, "ONE", 1, "k").await.expect(201);
    let planted = ["planted@example.org", "Planted Street 7", "pm_card_mastercard"];
    let mut address = shipping();
    address["email"] = planted[0].into();
    address["line1"] = planted[1].into();
    let body = json!({"reservation_id": held["reservation_id"], "amount": held["amount"],
                      "payment_method": planted[2], "shipping": address});
    let order = ada
        .call(Method::POST, "/orders", Some("k"), Some(body))
        .await
        .expect(202);
    assert_eq!(ada.until_final(&order).await["status"], "paid");
    let id = order["order_id"].as_str().unwrap();
    // An address in place of an order's id in the path is not logged either.
    let odd = format!("/orders/{}", planted[0]);
    ada.call(Method::GET, &odd, None, None)
        .await
        .expect_problem(404, "not_found");

    let in_ledger = until("the ledger has it paid", || async move {
        let rows = world.ledger(drop).await;
        rows.get(id).filter(|row| row.status == "paid").cloned()
    })
    .await;
    let correlation = in_ledger
        .correlation
        .expect("the ledger's row has a correlation id");
    until("all functions on the way have logged the id", || {
        let correlation = correlation.clone();
        async move {
            let named = lines(world)
                .into_iter()
                .filter(|(_, line)| line["correlation_id"] == correlation.as_str() && line["order"] == id);
            let by: BTreeSet<String> = named.map(|(name, _)| name).collect();
            WAY.iter().all(|name| by.contains(*name)).then_some(())
        }
    })
    .await;
    let lines = lines(world);
    for (name, line) in &lines {
        assert!(line["requestId"].is_string(), "{name}: {line}");
        let other = line["order"] == id
            && line["correlation_id"]
                .as_str()
                .is_some_and(|id| id != correlation);
        assert!(!other, "{name}: {line}");
    }
    let checked_out = lines
        .iter()
        .find(|(_, line)| line["message"] == "the order is accepted" && line["order"] == id);
    let (_, checked_out) = checked_out.expect("checkout has logged the order");
    assert_eq!(checked_out["api_request_id"], correlation.clone());
    assert_eq!(&checked_out["reservation"], &held["reservation_id"]);
    assert_eq!(checked_out["drop"], drop);
    // The mail contains the address. No other file of the stack contains it: its logs, the gateway's log, the ledger's
    // database with its write-ahead log, stored failed records, and the streamed orders.
    let mails = &world.file.mails;
    until("the mail was sent", || async move {
        let mut sent = std::fs::read_dir(mails).unwrap().map(|mail| mail.unwrap().path());
        let is_planted =
            |path: PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains(planted[0]));
        sent.any(is_planted).then_some(())
    })
    .await;
    let mut everywhere = Vec::new();
    files(mails.parent().unwrap(), mails, &mut everywhere);
    assert!(everywhere.len() > WAY.len());
    let secret =
        |text: &[u8], planted: &str| text.windows(planted.len()).any(|part| part == planted.as_bytes());
    for path in everywhere {
        // A file that has been removed meanwhile, or that only the database's user may read, is skipped.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for planted in planted.into_iter().take(2) {
            assert!(!secret(&bytes, planted), "{planted} in {}", path.display());
        }
    }
    let image = serde_json::to_string(&world.image(drop).await).unwrap();
    assert!(
        !image.contains(planted[0]) && !image.contains(planted[1]),
        "{image}"
    );
    for log in std::fs::read_dir(world.logs()).unwrap() {
        let path = log.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        for planted in planted.into_iter().chain([ada.token.as_str()]) {
            assert!(!text.contains(planted), "{planted} in {}", path.display());
        }
    }

    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/logs");
    let asked = |order: &str, folder: &Path| {
        Command::new("python3")
            .args([tool, order])
            .arg(folder)
            .output()
            .unwrap()
    };
    let printed = asked(id, Path::new(&world.logs()).parent().unwrap());
    let shown = String::from_utf8(printed.stdout).unwrap();
    // Each line starts with its time and its function. The order of the functions is not fixed, since payment and
    // ledger work at the same time.
    let columns: Vec<(&str, &str)> = shown
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(' '))
        .collect();
    assert!(columns.iter().map(|(at, _)| at).is_sorted(), "{shown}");
    let named = |name: &&str| columns.iter().any(|(_, rest)| rest.starts_with(*name));
    assert!(WAY.iter().all(named) && shown.contains(&correlation), "{shown}");
    assert!(
        shown.contains("payment gateway") && shown.contains("charged"),
        "{shown}"
    );
    // Other journeys check out at the same time. So the last order of a folder with this order's lines is asked for.
    let alone = tempfile::tempdir().unwrap();
    let logs = alone.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    for name in WAY {
        let own = lines
            .iter()
            .filter(|(by, line)| by == name && line["order"] == id);
        let own: Vec<String> = own.map(|(_, line)| line.to_string()).collect();
        std::fs::write(logs.join(format!("{name}.log")), own.join("\n")).unwrap();
    }
    let last = String::from_utf8(asked("last", alone.path()).stdout).unwrap();
    assert_eq!(last.lines().next(), shown.lines().next());
    assert!(WAY.iter().all(|name| last.contains(name)), "{last}");
    // The folder `logs` has no logs.
    for order in ["onone", "last"] {
        assert_eq!(asked(order, &logs).status.code(), Some(1), "{order}");
    }
}
