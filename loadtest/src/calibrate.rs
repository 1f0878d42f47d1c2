//! A capacity profile from measured drops, for people: a table of what changes, and the document.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use domain::drops::FieldError;
use domain::prescale::learn::{self, Calibrated, Spread};
use domain::prescale::measured::Measured;
use domain::prescale::profile::CapacityProfile;

/// What to calibrate.
#[derive(Debug, Clone, clap::Args)]
pub struct Calibrate {
    /// Measured drops: `measured.json` of runs, or what was exported from production in the same form.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub from: Vec<PathBuf>,
    /// The profile to start from: what was not measured, and what is people's to decide, comes from it.
    #[arg(long, default_value = "infra/prescale/profile.toml")]
    pub profile: PathBuf,
    /// Where the new profile goes; without it, it is not written.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

impl Calibrate {
    /// Calibrates, writes the profile if asked to, and answers the table.
    ///
    /// # Errors
    /// When a file cannot be read, or with all mistakes of all files; nothing is written then.
    pub fn run(&self) -> anyhow::Result<String> {
        let mut mistakes = Vec::new();
        let mut note = |path: &Path, found: Vec<FieldError>| {
            for mistake in found {
                mistakes.push(format!(
                    "{}: {}: {}",
                    path.display(),
                    mistake.field,
                    mistake.message
                ));
            }
        };
        let text = read(&self.profile)?;
        let profile: CapacityProfile =
            toml::from_str(&text).with_context(|| format!("in {}", self.profile.display()))?;
        note(&self.profile, profile.mistakes());
        let mut runs = Vec::new();
        for path in &self.from {
            let run: Measured =
                serde_json::from_str(&read(path)?).with_context(|| format!("in {}", path.display()))?;
            note(path, run.mistakes());
            runs.push(run);
        }
        ensure!(mistakes.is_empty(), "{}", mistakes.join("\n"));
        let calibrated = learn::calibrate(&profile, &runs);
        if calibrated.spread.is_empty() {
            bail!(
                "the files say nothing about any number of {}",
                self.profile.display()
            );
        }
        if let Some(out) = &self.out {
            std::fs::write(out, document(&calibrated, &runs)?)
                .with_context(|| format!("writing {}", out.display()))?;
        }
        Ok(table(&calibrated))
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// The profile as TOML, its origin at the head.
///
/// # Errors
/// When it cannot be written as TOML.
pub fn document(calibrated: &Calibrated, runs: &[Measured]) -> anyhow::Result<String> {
    let mut text = String::from(
        "# What shoppers and sold units cause, as measured. The median of the runs; for percentiles the largest.\n",
    );
    for run in runs {
        let sold = run.sold.map_or("?".to_owned(), |sold| sold.to_string());
        writeln!(
            text,
            "# - {}: {} shoppers, {sold} of {} units sold",
            one_line(&run.source),
            run.shoppers,
            run.units
        )?;
    }
    if !calibrated.kept.is_empty() {
        text.push_str("# Not measured, as before:\n");
        for number in &calibrated.kept {
            writeln!(text, "# - {}", one_line(number))?;
        }
    }
    text.push('\n');
    text.push_str(&toml::to_string(&calibrated.profile)?);
    Ok(text)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every number with its old and new value and the least and largest of the runs; then those that were not measured.
#[must_use]
pub fn table(calibrated: &Calibrated) -> String {
    let head = ["number", "old", "new", "runs", "least..largest"].map(str::to_owned);
    let row = |spread: &Spread| {
        [
            spread.number.clone(),
            spread.old.map_or("-".to_owned(), figure),
            figure(spread.new),
            spread.runs.to_string(),
            format!("{}..{}", figure(spread.least), figure(spread.largest)),
        ]
    };
    let rows: Vec<[String; 5]> = std::iter::once(head)
        .chain(calibrated.spread.iter().map(row))
        .collect();
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (n, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padded = if n == 0 {
                format!("{cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            };
            line.push_str(&padded);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if !calibrated.kept.is_empty() {
        text.push_str("not measured, as before:\n");
        for number in &calibrated.kept {
            text.push_str("  ");
            text.push_str(number);
            text.push('\n');
        }
    }
    text
}

/// Four significant digits are what a run can tell.
fn figure(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let before_point = value.abs().log10().floor();
    let decimals = (3.0 - before_point).clamp(0.0, 6.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 6")]
    let text = format!("{value:.0$}", decimals as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_four_digits_at_most() {
        for (value, wanted) in [
            (0.0, "0"),
            (20.0, "20"),
            (0.25, "0.25"),
            (1.23456, "1.235"),
            (123_456.0, "123456"),
            (0.000_012_3, "0.000012"),
        ] {
            assert_eq!(figure(value), wanted);
        }
    }
}
