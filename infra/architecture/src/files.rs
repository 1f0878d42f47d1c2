//! Tests the rule about the files of one crate: no two have the same name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::imports::{crates, root};

/// Names that the language or a convention gives to a file.
const GIVEN: [&str; 4] = ["lib.rs", "main.rs", "mod.rs", "tests.rs"];

/// The crate without a folder `src`: all its targets are those of cargo-fuzz.
const NO_SRC: &str = "loadtest/fuzz";

/// The Rust files of the crate in `folder`, by their paths relative to its `src`.
pub(crate) fn rust_files(folder: &str) -> Vec<PathBuf> {
    let src = root().join(folder).join("src");
    let (mut folders, mut files) = (vec![src.clone()], Vec::new());
    if folder == NO_SRC {
        return files;
    }
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(&src).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// The files that have the same name as another file of the crate.
fn same_names(files: &[PathBuf]) -> Vec<&Path> {
    let mut by_name: BTreeMap<_, Vec<&Path>> = BTreeMap::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        if !GIVEN.contains(&name) {
            by_name.entry(name).or_default().push(file);
        }
    }
    by_name
        .into_values()
        .filter(|same| same.len() > 1)
        .flatten()
        .collect()
}

#[test]
fn no_two_files_of_a_crate_have_the_same_name() {
    for it in crates() {
        let files = rust_files(&it.folder);
        assert_eq!(same_names(&files), [""; 0].map(Path::new), "{}", it.folder);
    }
}

#[test]
fn two_files_of_the_same_name_are_found() {
    let files = [
        "lib.rs",
        "a.rs",
        "a/mod.rs",
        "b/mod.rs",
        "b/tests.rs",
        "tests.rs",
        "b/a.rs",
    ];
    assert_eq!(
        same_names(&files.map(PathBuf::from)),
        ["a.rs", "b/a.rs"].map(Path::new)
    );
    assert!(same_names(&files[..6].iter().map(PathBuf::from).collect::<Vec<_>>()).is_empty());
}
