//! Tests that every drop file is valid and matches its name, and that invalid files are refused.

use std::path::{Path, PathBuf};

use loadtest::behaviour::plan;
use loadtest::drop_file::DropFile;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("drops")
}

fn load(name: &str) -> DropFile {
    DropFile::load(&folder().join(format!("{name}.toml"))).unwrap()
}

#[test]
fn all_files_are_valid_for_the_api_too() {
    let mut files = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let file = DropFile::load(&path).unwrap();
        assert!(
            file.hold_seconds >= domain::limits::MIN_HOLD_SECONDS,
            "{}",
            path.display()
        );
        assert!(
            file.payment_seconds >= domain::limits::MIN_PAYMENT_SECONDS,
            "{}",
            path.display()
        );
        for sku in &file.skus {
            assert!(
                sku.sku.parse::<domain::ids::SkuId>().is_ok(),
                "{}: {}",
                path.display(),
                sku.sku
            );
        }
        files += 1;
    }
    assert!(files >= 6);
}

#[test]
fn the_files_are_what_their_names_say() {
    let default = load("default");
    assert_eq!(default.shoppers, 20_000);
    assert_eq!(default.allocated(), 600);
    assert_eq!(default.skus.len(), 3);
    assert_eq!(load("single").allocated(), 1);
    let plenty = load("plenty");
    for (index, sku) in plenty.skus.iter().enumerate() {
        let demand = (0..plenty.shoppers)
            .map(|i| plan(&plenty, 1, i))
            .filter(|p| p.sku == index || p.second_sku == Some(index));
        assert!(
            u64::try_from(demand.count()).unwrap() < u64::from(sku.units),
            "{} may sell out",
            sku.sku
        );
    }
    let pairs = load("pairs");
    assert_eq!(pairs.per_shopper_limit, 2);
    assert_eq!(pairs.behaviour.quantity_weights.len(), 2);
    let shard = domain::limits::MAX_SHARD_UNITS;
    assert!(load("remainder").skus.iter().all(|s| s.units % shard != 0));
    let several = load("several-skus");
    assert!(several.skus.len() > 4 && several.skus.iter().any(|s| s.units == 1));
}

#[test]
fn contradictions_are_refused() {
    let text = std::fs::read_to_string(folder().join("default.toml")).unwrap();
    DropFile::parse(&text).unwrap();
    for (from, to) in [
        ("share = 0.35", "share = 0.60"),
        ("seconds = 6 }", "seconds = 60 }"),
        ("stays = 0.3", "stays = 1.3"),
        (
            "checkout_after_seconds = [1, 8]",
            "checkout_after_seconds = [8, 1]",
        ),
        (
            "checkout_after_seconds = [1, 8]",
            "checkout_after_seconds = [1, 800]",
        ),
        ("quantity_weights = [1]", "quantity_weights = [1, 1]"),
        ("units = 250", "units = 0"),
        ("units = 250", "unit = 250"),
    ] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text, "{from} is not in the file");
        assert!(DropFile::parse(&broken).is_err(), "{to} was accepted");
    }
}
