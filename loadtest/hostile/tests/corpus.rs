//! Runs every target over its corpus, over inputs that once failed, and over mutations of both. Checks that the corpora
//! reach the code that they are for.
#![cfg(test)]
#![allow(clippy::print_stderr)]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use hostile::{TARGETS, Target};

/// The number of mutations of each target's inputs in `make test`; fuzzing makes millions.
const MUTATIONS: usize = 300;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

/// The files of a folder by name; empty if the folder does not exist.
fn files(kind: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder(kind, target)) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = files("corpus", target);
    assert!(!files.is_empty(), "no corpus for {target}");
    files
}

#[test]
fn the_corpora_are_those_of_the_targets() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let kept: BTreeSet<String> = std::fs::read_dir(folder("corpus", ""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(kept, names);
    for name in &names {
        let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fuzz/fuzz_targets/{name}.rs"));
        assert!(binary.exists(), "{}", binary.display());
    }
}

#[test]
fn nothing_in_the_corpora_and_nothing_that_once_failed_fails() {
    for (name, target) in TARGETS {
        for kind in ["corpus", "regressions"] {
            for (file, input) in files(kind, name) {
                let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
                assert!(outcome.is_ok(), "{kind}/{name}/{file}");
            }
        }
    }
}

#[test]
fn mutations_of_the_corpora_do_not_fail() {
    for (name, target) in TARGETS {
        mutate(name, target);
    }
}

fn mutate(name: &str, target: Target) {
    let inputs = corpus(name);
    for seed in 0..MUTATIONS {
        let mut dice = fastrand::Rng::with_seed(seed as u64);
        let mut input = inputs[dice.usize(..inputs.len())].1.clone();
        for _ in 0..dice.usize(1..6) {
            change(&mut input, &inputs, &mut dice);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
        if outcome.is_err() {
            eprintln!("{name}, mutation {seed}: {:?}", String::from_utf8_lossy(&input));
            panic!("{name}, mutation {seed}: keep its input in regressions/{name}/");
        }
    }
}

fn change(input: &mut Vec<u8>, inputs: &[(String, Vec<u8>)], dice: &mut fastrand::Rng) {
    let at = dice.usize(..=input.len());
    match dice.u8(..6) {
        0 if at < input.len() => input[at] = dice.u8(..),
        1 if at < input.len() => input[at] ^= 1 << dice.u8(..8),
        2 => input.insert(at, dice.u8(..)),
        3 => {
            let end = (at + dice.usize(..9)).min(input.len());
            input.drain(at..end);
        }
        4 => {
            let other = &inputs[dice.usize(..inputs.len())].1;
            let from = dice.usize(..=other.len());
            let until = (from + dice.usize(..64)).min(other.len());
            input.splice(at..at, other[from..until].iter().copied());
        }
        _ => {
            let odd: [&[u8]; 8] = [
                b"\0",
                b"\xff",
                b"\"",
                b"9223372036854775807",
                b"-1",
                b"[[[[",
                b"%00",
                b"\\u0000",
            ];
            let odd = odd[dice.usize(..odd.len())];
            input.splice(at..at, odd.iter().copied());
        }
    }
}

#[test]
fn the_requests_reach_every_route_with_success_and_with_refusal() {
    let mut good = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for (_, input) in corpus("requests") {
        for (method, path, status) in hostile::requests::answers(&input) {
            let route = answer_default::ROUTES.iter().find(|(of, template)| {
                let (ours, theirs) = (path.split('/'), template.split('/'));
                of.as_str() == method
                    && ours.clone().count() == theirs.clone().count()
                    && ours.zip(theirs).all(|(a, b)| a == b || b.starts_with('{'))
            });
            if let Some((method, template)) = route {
                let set = if status < 400 { &mut good } else { &mut refused };
                set.insert(format!("{method} {template}"));
            }
        }
    }
    let all: BTreeSet<String> = answer_default::ROUTES
        .iter()
        .map(|(m, t)| format!("{m} {t}"))
        .collect();
    assert_eq!(good, all, "no success");
    // The OpenAPI document is never refused.
    assert_eq!(
        &refused | &BTreeSet::from(["GET /openapi.json".to_owned()]),
        all,
        "no refusal"
    );
}

#[test]
fn the_other_corpora_are_read_as_what_they_are() {
    let events = corpus("events");
    let answered = events
        .iter()
        .filter_map(|(_, e)| hostile::gateway_events::answer(e));
    assert_eq!(answered.count(), events.len());
    assert!(
        corpus("tokens")
            .iter()
            .any(|(_, text)| hostile::bearer::taken(text))
    );
    let failures: Vec<usize> = corpus("messages")
        .iter()
        .map(|(_, m)| hostile::messages::failures(m))
        .collect();
    assert!(
        failures.contains(&0) && failures.iter().any(|n| *n > 0),
        "{failures:?}"
    );
    let relayed: Vec<_> = corpus("stream")
        .iter()
        .map(|(_, r)| hostile::stream::relayed(r))
        .collect();
    assert!(relayed.iter().any(|(changes, _)| *changes > 0) && relayed.iter().any(|(_, parked)| *parked > 0));
    let told = corpus("payments")
        .iter()
        .filter(|(_, a)| hostile::payments::understood(a))
        .count();
    assert!(told >= 4, "{told}");
    let found: BTreeSet<&str> = corpus("stored")
        .iter()
        .flat_map(|(_, a)| hostile::stored::read(a))
        .collect();
    let all = [
        "claim",
        "counts",
        "drop",
        "drops",
        "due orders",
        "lease",
        "order",
        "orders",
        "peek",
        "refused claim",
        "status",
        "survey",
    ];
    assert_eq!(found, BTreeSet::from(all));
}
