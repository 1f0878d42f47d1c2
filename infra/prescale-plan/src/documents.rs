//! Reads the declared documents and drop files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use api::moment::Moment;
use capacity::calendar::CalendarDrop;
use capacity::documents::Documents;
use capacity::quotas::Quotas;
use domain::ids::DropId;
use serde::de::DeserializeOwned;

/// The content of a drop's file: a drop of the calendar, with its times as text in the API's format.
type DropFile = CalendarDrop<Moment>;

/// The documents, the account's limits and the drop from which a plan is computed.
#[derive(Debug)]
pub struct Input {
    /// The declared documents. The calendar holds the planned drop and the drops beside it.
    pub documents: Documents,
    pub quotas: Quotas,
    pub drop: DropId,
}

/// The paths of the declared documents. A document without a path of its own is in the folder, under its usual name.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Files {
    /// The folder of profile, baseline, budget and prices.
    #[arg(long = "documents", default_value = "infra/prescale")]
    #[arg(value_name = "DOCUMENTS")]
    pub folder: PathBuf,
    /// The capacity profile [default: profile.toml in that folder].
    #[arg(long)]
    pub profile: Option<PathBuf>,
    /// The baseline [default: baseline.toml in that folder].
    #[arg(long)]
    pub baseline: Option<PathBuf>,
    /// The account's limits [default: quotas.toml in that folder].
    #[arg(long)]
    pub quotas: Option<PathBuf>,
}

impl Files {
    fn read<T: DeserializeOwned>(&self, name: &str, given: Option<&PathBuf>) -> anyhow::Result<T> {
        document(given.unwrap_or(&self.folder.join(name)))
    }
}

/// Reads the documents, the drop to plan, and the drops beside it.
///
/// # Errors
/// When a file cannot be read or is malformed, or when the documents have mistakes. The error lists all mistakes.
pub fn read(files: &Files, drop: &Path, beside: &[PathBuf]) -> anyhow::Result<Input> {
    let planned: DropFile = document(drop)?;
    let id = planned.id.clone();
    let moment = |moment: Moment| moment.0;
    let mut calendar = vec![planned.with_moments(moment)];
    for other in beside {
        calendar.push(document::<DropFile>(other)?.with_moments(moment));
    }
    let documents = Documents {
        profile: files.read("profile.toml", files.profile.as_ref())?,
        baseline: files.read("baseline.toml", files.baseline.as_ref())?,
        budget: files.read("budget.toml", None)?,
        prices: files.read("prices.toml", None)?,
        calendar,
    };
    let quotas = files.read("quotas.toml", files.quotas.as_ref())?;
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
