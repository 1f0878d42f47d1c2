//! Tests the rule about the modules of one crate: its top-level modules import each other in no circle.
//!
//! A path that begins with `crate::`, or with a `super::` for each module above it, leads to a top-level module:
//! directly, or by a name that `lib.rs` or `main.rs` imports from such a module. Code that is compiled for tests only
//! does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

use crate::files::rust_files;
use crate::imports::{crates, root};

/// The modules that each module imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute
            .path()
            .is_ident("cfg")
            .then(|| attribute.parse_args::<syn::Path>());
        matches!(condition, Some(Ok(path)) if path.is_ident("test"))
    })
}

/// The paths of an import, each with the name that it gets.
fn imported(tree: &UseTree, before: &[String]) -> Vec<(Vec<String>, String)> {
    let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => imported(&path.tree, &with(&path.ident)),
        UseTree::Group(group) => group
            .items
            .iter()
            .flat_map(|tree| imported(tree, before))
            .collect(),
        UseTree::Name(name) if name.ident == "self" => vec![(before.to_vec(), before.concat())],
        UseTree::Name(name) => vec![(with(&name.ident), name.ident.to_string())],
        UseTree::Rename(rename) => vec![(with(&rename.ident), rename.rename.to_string())],
        UseTree::Glob(_) => vec![(before.to_vec(), "*".to_owned())],
    }
}

/// Collects the first words of the paths from the crate's root.
struct FromRoot {
    /// The path of the module that contains the visited item, from the crate's root.
    module: Vec<String>,
    found: BTreeSet<String>,
}

impl FromRoot {
    fn add(&mut self, path: &[String]) {
        let up = path.iter().take_while(|word| *word == "super").count();
        let begins = match path.first() {
            Some(first) if first == "crate" => 1,
            Some(_) if up == self.module.len() => up,
            _ => return,
        };
        self.found.extend(path.get(begins).cloned());
    }
}

impl<'a> Visit<'a> for FromRoot {
    fn visit_item(&mut self, item: &'a Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        for (path, _) in imported(&item.tree, &[]) {
            self.add(&path);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.add(&words);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        for rest in call.tokens.to_string().split("crate :: ").skip(1) {
            let word = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next();
            self.found.extend(word.map(str::to_owned));
        }
        visit::visit_macro(self, call);
    }
}

/// The imports between a crate's top-level modules. `files` are the texts of its files, by their paths in `src`.
fn graph(files: &BTreeMap<PathBuf, String>) -> Graph {
    let (mut names, mut tests, mut found) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for (path, text) in files {
        let file = syn::parse_file(text).unwrap();
        let mut module: Vec<String> = path
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into())
            .collect();
        module.retain(|part| part != "mod");
        if module == ["lib"] || module == ["main"] {
            for item in &file.items {
                match item {
                    Item::Mod(item) if for_tests(&item.attrs) => {
                        tests.insert(item.ident.to_string());
                    }
                    Item::Use(item) => {
                        names.extend(imported(&item.tree, &[]).into_iter().filter_map(|(path, name)| {
                            let mut path = path
                                .into_iter()
                                .skip_while(|word| word == "crate" || word == "self");
                            Some((name, path.next()?))
                        }))
                    }
                    _ => {}
                }
            }
        } else if module[0] != "bin" && !module.contains(&"tests".to_owned()) {
            let mut paths = FromRoot {
                module,
                found: BTreeSet::new(),
            };
            paths.visit_file(&file);
            found.push((paths.module.swap_remove(0), paths.found));
        }
    }
    let modules: BTreeSet<String> = found
        .iter()
        .map(|(module, _)| module.clone())
        .filter(|m| !tests.contains(m))
        .collect();
    let mut graph = Graph::new();
    for (module, words) in found.into_iter().filter(|(module, _)| modules.contains(module)) {
        let imports = words.into_iter().map(|word| {
            names
                .get(&word)
                .filter(|_| !modules.contains(&word))
                .cloned()
                .unwrap_or(word)
        });
        let imports = imports.filter(|import| modules.contains(import) && *import != module);
        graph.entry(module.clone()).or_default().extend(imports);
    }
    graph
}

/// The modules that [`circle`] has not removed yet, with their imports.
type Left<'a> = BTreeMap<&'a str, &'a BTreeSet<String>>;

/// A remaining module that `module` imports.
fn next<'a>(left: &Left<'a>, module: &str) -> Option<&'a str> {
    let import = |name: &String| left.get_key_value(name.as_str()).map(|(import, _)| *import);
    left[module].iter().find_map(import)
}

/// Modules that import each other in a circle; `None` if there is no circle.
fn circle(graph: &Graph) -> Option<Vec<&str>> {
    let mut left: Left<'_> = graph
        .iter()
        .map(|(module, imports)| (module.as_str(), imports))
        .collect();
    while let Some(end) = left.keys().copied().find(|module| next(&left, module).is_none()) {
        left.remove(end);
    }
    let mut path = vec![*left.keys().next()?];
    loop {
        let import = next(&left, path[path.len() - 1])?;
        if let Some(begin) = path.iter().position(|module| *module == import) {
            return Some(path.split_off(begin));
        }
        path.push(import);
    }
}

fn read(folder: &str) -> BTreeMap<PathBuf, String> {
    let src = root().join(folder).join("src");
    let text = |file: PathBuf| (file.clone(), std::fs::read_to_string(src.join(file)).unwrap());
    rust_files(folder).into_iter().map(text).collect()
}

/// The circle of the modules of the crate in `folder`, if there is one.
fn mistake(folder: &str, graph: &Graph) -> Option<String> {
    circle(graph).map(|circle| format!("{folder}: {} -> {}", circle.join(" -> "), circle[0]))
}

#[test]
fn modules_import_each_other_in_no_circle() {
    let mut found = Vec::new();
    for it in crates() {
        found.extend(mistake(&it.folder, &graph(&read(&it.folder))));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The mistakes of a crate with the modules `a` and `b`, of which `a` imports `b`.
fn planted(root: &str, b: &str) -> Option<String> {
    let files = [("lib.rs", root), ("a.rs", "use crate::b::B;"), ("b/mod.rs", b)];
    let files = files.map(|(path, text)| (path.into(), text.to_owned()));
    mistake("c", &graph(&files.into()))
}

#[test]
fn a_circle_is_found() {
    let circle = Some("c: a -> b -> a".to_owned());
    for b in [
        "use crate::a::A;",
        "use crate::{a::{A, C}, d};",
        "use super::a;",
        "fn f() { crate::a::f() }",
        "fn f() { assert!(crate::a::f()) }",
        "mod d { use super::super::a::A; }",
        "impl crate::a::A for B {}",
        "use crate::A;",
        "use crate::Named;",
    ] {
        assert_eq!(
            planted("mod a; mod b; pub use a::{A, C as Named};", b),
            circle,
            "{b}"
        );
    }
    for b in [
        "use crate::b::c::C;",
        "mod d { use super::a; }",
        "#[cfg(test)] mod tests { use crate::a::A; }",
        "#[cfg(test)] use crate::a::A;",
        "use other::a::A; fn f() { a::f() }",
        "/// [`crate::a::A`]\nfn f() {}",
        "use crate::C;",
    ] {
        assert!(planted("mod a; mod b; fn root() {}", b).is_none(), "{b}");
    }
    assert!(planted("#[cfg(test)] mod a; mod b;", "use crate::a::A;").is_none());
}
