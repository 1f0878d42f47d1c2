//! Reads the declared documents and drop files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use api::moment::Moment;
use capacity::calendar::CalendarDrop;
use capacity::documents::Documents;
use capacity::quotas::Quotas;
use domain::ids::DropId;
use serde::de::DeserializeOwned;

/// A drop's file: a drop of the calendar, with moments in readable form.
type DropFile = CalendarDrop<Moment>;

/// The inputs of a plan.
#[derive(Debug)]
pub struct Input {
    /// The declared documents. The calendar holds the planned drop and the drops beside it.
    pub documents: Documents,
    pub quotas: Quotas,
    pub drop: DropId,
}

/// Reads `profile.toml`, `baseline.toml`, `budget.toml` and `prices.toml` from `folder`, the limits from `quotas`, and
/// the drops.
///
/// # Errors
/// When a file cannot be read or is malformed; or with all mistakes of the documents together.
pub fn read(folder: &Path, quotas: &Path, drop: &Path, beside: &[PathBuf]) -> anyhow::Result<Input> {
    let planned: DropFile = document(drop)?;
    let id = planned.id.clone();
    let moment = |moment: Moment| moment.0;
    let mut calendar = vec![planned.with_moments(moment)];
    for other in beside {
        calendar.push(document::<DropFile>(other)?.with_moments(moment));
    }
    let documents = Documents {
        profile: document(&folder.join("profile.toml"))?,
        baseline: document(&folder.join("baseline.toml"))?,
        budget: document(&folder.join("budget.toml"))?,
        prices: document(&folder.join("prices.toml"))?,
        calendar,
    };
    let quotas = document(quotas)?;
    let mistakes = documents.mistakes(&quotas);
    if !mistakes.is_empty() {
        let lines: Vec<String> = mistakes
            .iter()
            .map(|m| format!("  {}: {}", m.field, m.message))
            .collect();
        bail!("mistakes in the documents:\n{}", lines.join("\n"));
    }
    Ok(Input {
        documents,
        quotas,
        drop: id,
    })
}

fn document<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}
