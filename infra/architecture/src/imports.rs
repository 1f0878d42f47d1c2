//! Tests the import rules: compares the tables of docs/ARCHITECTURE.md with every crate's manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::Table;

/// A crate: its folder, its package's name, and the packages it imports.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) folder: String,
    package: String,
    imports: BTreeSet<String>,
    /// The packages that only the crate's tests import.
    tests: BTreeSet<String>,
}

impl Manifest {
    /// Reads a manifest; `shared` has the workspace's dependencies, which may give a package another name.
    fn read(folder: &str, text: &str, shared: &Table) -> Self {
        let manifest: Table = text.parse().unwrap();
        let targets = manifest.get("target").and_then(|t| t.as_table());
        let everywhere: Vec<&Table> = std::iter::once(&manifest)
            .chain(
                targets
                    .into_iter()
                    .flat_map(|t| t.values().filter_map(|t| t.as_table())),
            )
            .collect();
        let packages = |kinds: &[&str]| -> BTreeSet<String> {
            let tables = everywhere
                .iter()
                .flat_map(|t| kinds.iter().filter_map(|k| t.get(*k)?.as_table()));
            tables
                .flatten()
                .map(|(key, value)| {
                    let renamed = value.get("package").or_else(|| shared.get(key)?.get("package"));
                    renamed.and_then(|p| p.as_str()).unwrap_or(key).to_owned()
                })
                .collect()
        };
        Self {
            folder: folder.to_owned(),
            package: manifest["package"]["name"].as_str().unwrap().to_owned(),
            imports: packages(&["dependencies", "build-dependencies"]),
            tests: packages(&["dev-dependencies"]),
        }
    }
}

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Every crate that the workspace's manifest names, as a member or as excluded.
pub(crate) fn crates() -> Vec<Manifest> {
    let root = root();
    let read = |folder: &str| std::fs::read_to_string(root.join(folder).join("Cargo.toml"));
    let workspace: Table = read("").unwrap().parse().unwrap();
    let shared = workspace["workspace"]["dependencies"].as_table().unwrap();
    let mut folders = BTreeSet::new();
    for list in ["members", "exclude"] {
        for named in workspace["workspace"][list].as_array().unwrap() {
            let named = named.as_str().unwrap();
            let Some(parent) = named.strip_suffix("/*") else {
                folders.insert(named.to_owned());
                continue;
            };
            for entry in std::fs::read_dir(root.join(parent)).unwrap() {
                folders.insert(format!(
                    "{parent}/{}",
                    entry.unwrap().file_name().to_string_lossy()
                ));
            }
        }
    }
    folders
        .iter()
        .filter_map(|folder| Some(Manifest::read(folder, &read(folder).ok()?, shared)))
        .collect()
}

/// The packages that a cell allows; `None` means anything.
type Allowed = Option<Vec<String>>;

/// A row of the first table, for the crates or for their tests.
struct Row {
    folder: String,
    tests: bool,
    ours: Allowed,
    outside: Allowed,
}

/// The rows of the table whose first heading is `heading`, cell by cell.
fn table<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let begin = format!("| {heading} |");
    page.lines()
        .skip_while(|line| !line.starts_with(&begin))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// The names in a cell: each text between backticks.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn allowed(cell: &str) -> Allowed {
    assert!(
        ["anything", "–"].contains(&cell) || cell.starts_with('`'),
        "neither names nor anything nor –: {cell:?}"
    );
    (cell != "anything").then(|| names(cell))
}

fn rows(page: &str) -> Vec<Row> {
    let row = |cells: Vec<&str>| -> Vec<Row> {
        let [folders, _, ours, outside] = cells[..] else {
            panic!("not four cells: {cells:?}");
        };
        let one = |folder| Row {
            folder,
            tests: folders.starts_with("tests of "),
            ours: allowed(ours),
            outside: allowed(outside),
        };
        names(folders).into_iter().map(one).collect()
    };
    table(page, "folder").into_iter().flat_map(row).collect()
}

/// Whether a name of the page, perhaps with a `*` at its end, means `folder`.
fn covers(name: &str, folder: &str) -> bool {
    name.strip_suffix('*').map_or(name == folder, |group| {
        folder.strip_prefix(group).is_some_and(|rest| !rest.contains('/'))
    })
}

/// Whether a name of the page means a crate: its package, or its folder where the name has a `*`.
fn means(name: &str, it: &Manifest) -> bool {
    name == it.package || (name.ends_with('*') && covers(name, &it.folder))
}

/// All differences between the crates' imports and the page's tables.
fn disagreements(page: &str, crates: &[Manifest]) -> Vec<String> {
    let rows = rows(page);
    let mut found = Vec::new();
    for it in crates {
        for (tests, imports) in [(false, &it.imports), (true, &it.tests)] {
            let what = if tests { "tests of " } else { "" };
            let here = |r: &&Row| r.tests == tests && covers(&r.folder, &it.folder);
            let covering: Vec<&Row> = rows.iter().filter(here).collect();
            let exact: Vec<&Row> = covering
                .iter()
                .copied()
                .filter(|r| r.folder == it.folder)
                .collect();
            let [row] = (if exact.is_empty() { &covering } else { &exact })[..] else {
                found.push(format!("{what}{}: {} rows", it.folder, covering.len()));
                continue;
            };
            for import in imports {
                let ours = crates.iter().find(|c| c.package == *import);
                let may = match (ours, &row.ours, &row.outside) {
                    (Some(ours), Some(names), _) => names.iter().any(|name| means(name, ours)),
                    (None, _, Some(names)) => names.contains(import),
                    _ => true,
                };
                if !may {
                    found.push(format!("{what}{} may not import {import}", it.folder));
                }
            }
        }
    }
    for row in &rows {
        if !crates.iter().any(|c| covers(&row.folder, &c.folder)) {
            found.push(format!("{}: a row without a crate", row.folder));
        }
        for name in row.ours.iter().flatten() {
            if !crates.iter().any(|c| means(name, c)) {
                found.push(format!("{}: {name} is no crate", row.folder));
            }
        }
    }
    let mut only = BTreeMap::new();
    for cells in table(page, "package") {
        let [packages, folders] = cells[..] else {
            panic!("not two cells: {cells:?}");
        };
        let folders = allowed(folders).unwrap_or_default();
        only.extend(
            names(packages)
                .into_iter()
                .map(|package| (package, folders.clone())),
        );
    }
    for (package, folders) in &only {
        let importing: BTreeSet<&String> = crates
            .iter()
            .filter(|c| c.imports.contains(package))
            .map(|c| &c.folder)
            .collect();
        let listed: BTreeSet<&String> = folders.iter().collect();
        for folder in importing.difference(&listed) {
            found.push(format!("{folder} is not among those that may import {package}"));
        }
        for folder in listed.difference(&importing) {
            found.push(format!("{folder} does not import {package}"));
        }
    }
    if rows.is_empty() || only.is_empty() {
        found.push("a table is missing".to_owned());
    }
    found
}

#[test]
fn every_crate_imports_what_the_page_allows() {
    let page = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let found = disagreements(&page, &crates());
    assert!(found.is_empty(), "{found:#?}");
}

const PAGE: &str = "
| folder | what it is | may import | from outside |
|---|---|---|---|
| `core` | rules | – | `serde` |
| `adapters/*` | stores, [see](that.md) | `core` | anything |
| `adapters/open` | | `core`, `table` | anything |
| `functions/*` | | `core`, `adapters/*` | anything |
| tests of `core` | | – | – |
| tests of `adapters/*`, `functions/*` | | anything | `proptest` |

Words between the tables.

| package | only in |
|---|---|
| `table`, `sdk` | `functions/buy` |
| `http2` | – |
";

fn planted(folder: &str, imports: &str, tests: &str) -> Manifest {
    let package = folder.rsplit('/').next().unwrap();
    let list = |packages: &str| -> String {
        packages
            .split_whitespace()
            .map(|p| format!("{p}.workspace = true\n"))
            .collect()
    };
    let text = format!(
        "[package]\nname = \"{package}\"\n[dependencies]\n{}[dev-dependencies]\n{}",
        list(imports),
        list(tests)
    );
    Manifest::read(folder, &text, &Table::new())
}

/// The differences when `changed` replaces the planted crate of the same folder, or is added.
fn after(changed: Manifest) -> Vec<String> {
    let mut crates = vec![
        planted("core", "serde", ""),
        planted("adapters/table", "core tokio", "proptest"),
        planted("adapters/open", "core", ""),
        planted("functions/buy", "core table sdk", "sell proptest"),
        planted("functions/sell", "core open", "table"),
    ];
    crates.retain(|c| c.folder != changed.folder);
    crates.push(changed);
    disagreements(PAGE, &crates)
}

#[test]
fn a_crate_that_imports_what_it_may_not_is_found() {
    let none: &[&str] = &[];
    for (folder, imports, tests, expected) in [
        ("core", "serde", "", none),
        ("core", "serde tokio", "", &["core may not import tokio"]),
        ("core", "open", "", &["core may not import open"]),
        ("core", "", "proptest", &["tests of core may not import proptest"]),
        (
            "adapters/table",
            "core open",
            "",
            &["adapters/table may not import open"],
        ),
        ("adapters/table", "", "open sell", none),
        (
            "adapters/table",
            "",
            "other",
            &["tests of adapters/table may not import other"],
        ),
        (
            "adapters/open",
            "core table",
            "",
            &["adapters/open is not among those that may import table"],
        ),
        (
            "functions/sell",
            "core buy",
            "",
            &["functions/sell may not import buy"],
        ),
        (
            "functions/sell",
            "sdk",
            "",
            &["functions/sell is not among those that may import sdk"],
        ),
        (
            "functions/buy",
            "sdk",
            "",
            &["functions/buy does not import table"],
        ),
        (
            "functions/sell",
            "http2",
            "",
            &["functions/sell is not among those that may import http2"],
        ),
        ("tools", "", "", &["tools: 0 rows", "tests of tools: 0 rows"]),
        (
            "adapters/old/deep",
            "",
            "",
            &["adapters/old/deep: 0 rows", "tests of adapters/old/deep: 0 rows"],
        ),
    ] {
        assert_eq!(
            after(planted(folder, imports, tests)),
            expected,
            "{folder}: {imports}; {tests}"
        );
    }
}

#[test]
fn a_page_that_names_no_crate_or_has_no_table_is_found() {
    let crates = [planted("core", "serde", ""), planted("adapters/open", "", "")];
    let found = disagreements(PAGE, &crates);
    assert_eq!(
        found,
        [
            "adapters/open: table is no crate",
            "functions/*: a row without a crate",
            "functions/*: a row without a crate",
            "functions/buy does not import sdk",
            "functions/buy does not import table",
        ]
    );
    assert!(disagreements("", &crates).contains(&"a table is missing".to_owned()));
}

#[test]
fn a_dependency_counts_wherever_it_stands_and_by_its_own_name() {
    let shared: Table = "engine = { package = \"engine-rs\", version = \"1\" }"
        .parse()
        .unwrap();
    let text = "
        [package]
        name = \"p\"
        [dependencies]
        engine.workspace = true
        [build-dependencies]
        b = \"1\"
        [target.'cfg(unix)'.dependencies]
        c = { package = \"d\", version = \"1\" }
        [target.'cfg(unix)'.dev-dependencies]
        e = \"1\"";
    let read = Manifest::read("p", text, &shared);
    assert_eq!(read.imports, ["b", "d", "engine-rs"].map(str::to_owned).into());
    assert_eq!(read.tests, ["e"].map(str::to_owned).into());
}

#[test]
fn only_named_folders_read_the_clock_and_the_environment() {
    // The clippy.toml of the project's folder forbids these methods by name. A folder with a clippy.toml of its own is
    // exempt.
    let root = root();
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
