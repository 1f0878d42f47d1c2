//! Makes a capacity profile from measured drops: writes the profile, and lists its changes in a table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use capacity::learn::{self, Calibrated, Spread};
use capacity::measured::Measured;
use capacity::profile::CapacityProfile;
use domain::drops::FieldError;

use crate::files::{read, write};

/// The measured drops to calibrate with, and the profiles to read and to write.
#[derive(Debug, Clone, clap::Args)]
pub struct Calibrate {
    /// Measured drops: `measured.json` files of runs, or production data exported in the same form.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub from: Vec<PathBuf>,
    /// The profile to start from. Numbers that were not measured, and numbers that people decide, stay as
    /// they are in it.
    #[arg(long, default_value = "infra/prescale/profile.toml")]
    pub profile: PathBuf,
    /// The file for the new profile. Without it, no profile is written.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

impl Calibrate {
    /// Calibrates, writes the profile if requested, and returns the table.
    ///
    /// # Errors
    /// When a file cannot be read or contains mistakes; the error lists the mistakes of all files. No profile is
    /// written then. Also when the profile cannot be written.
    pub fn run(&self) -> anyhow::Result<String> {
        let mut mistakes = Vec::new();
        let mut note = |path: &Path, found: Vec<FieldError>| {
            let path = path.display();
            mistakes.extend(
                found
                    .iter()
                    .map(|m| format!("{path}: {}: {}", m.field, m.message)),
            );
        };
        let profile = toml::from_str(&read(&self.profile)?);
        let profile: CapacityProfile = profile.with_context(|| format!("in {}", self.profile.display()))?;
        note(&self.profile, profile.mistakes());
        let mut runs = Vec::new();
        for path in &self.from {
            let run = serde_json::from_str(&read(path)?);
            let run: Measured = run.with_context(|| format!("in {}", path.display()))?;
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
            write(out, document(&calibrated, &runs)?)?;
        }
        Ok(table(&calibrated))
    }
}

/// The profile as TOML. A comment at its top names the measured drops.
///
/// # Errors
/// When the profile cannot be written as TOML.
pub fn document(calibrated: &Calibrated, runs: &[Measured]) -> anyhow::Result<String> {
    let mut text = String::from(
        "# What shoppers and sold units cause, as measured. The median of the runs; for percentiles the largest.\n",
    );
    for run in runs {
        let sold = run.sold.map_or("?".to_owned(), |sold| sold.to_string());
        let (source, shoppers, units) = (one_line(&run.source), run.shoppers, run.units);
        writeln!(
            text,
            "# - {source}: {shoppers} shoppers, {sold} of {units} units sold"
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

/// Lists every measured number with its old and new value and the smallest and largest value of the runs, then the
/// numbers that were not measured.
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
    let mut rows = vec![head];
    rows.extend(calibrated.spread.iter().map(row));
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let ([number, figures @ ..], [number_width, widths @ ..]) = (row, widths);
        let mut line = format!("{number:<number_width$}");
        for (figure, width) in figures.iter().zip(widths) {
            line.push_str(&format!("  {figure:>width$}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if !calibrated.kept.is_empty() {
        text.push_str("not measured, as before:\n");
        for number in &calibrated.kept {
            text.push_str(&format!("  {number}\n"));
        }
    }
    text
}

/// Formats a number with four significant digits, which is the precision of a run.
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

    const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/prescale/profile.toml");

    fn run(opening: u64, p95_ms: f64) -> String {
        format!(
            r#"{{"source": "run at {opening}", "drop": "spring", "shoppers": 1000, "units": 20, "sold": 16,
            "seconds": {{"before": 6, "opening": 25, "sale": 60, "tail": 9}},
            "function": [{{"function": "reserve", "p95_ms": {p95_ms},
            "invocations": {{"before": 0, "opening": {opening}, "sale": 500, "tail": 0}}}}]}}"#
        )
    }

    #[test]
    fn runs_become_a_profile_that_can_be_read_and_says_where_it_is_from() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let out = folder.path().join("out.toml");
        let calibrate = Calibrate {
            from: vec![
                file("1.json", &run(6_000, 30.0)),
                file("2.json", &run(8_000, 12.0)),
            ],
            profile: PROFILE.into(),
            out: Some(out.clone()),
        };
        let table = calibrate.run().unwrap();
        let line = |number: &str| {
            table
                .lines()
                .find(|line| line.trim_start().starts_with(number))
                .unwrap()
        };
        let cells = |number: &str| {
            line(number)
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            cells("group.buy.weight.opening"),
            ["group.buy.weight.opening", "8", "7", "2", "6..8"]
        );
        assert_eq!(
            cells("function.reserve.p95_ms"),
            ["function.reserve.p95_ms", "20", "30", "2", "12..30"]
        );
        assert_eq!(
            cells("database.rows_per_unit"),
            ["database.rows_per_unit"],
            "as before"
        );
        let text = std::fs::read_to_string(&out).unwrap();
        assert!(
            text.contains("# - run at 6000: 1000 shoppers, 16 of 20 units sold"),
            "{text}"
        );
        let read: CapacityProfile = toml::from_str(&text).unwrap();
        let before: CapacityProfile = toml::from_str(&std::fs::read_to_string(PROFILE).unwrap()).unwrap();
        assert_eq!(read.groups[1].weight.opening, 7.0);
        assert_eq!(read.groups[1].functions[0].p95_ms, 30.0);
        assert_eq!(read.groups[0], before.groups[0]);
        assert_eq!(read.lead, before.lead);
        assert_eq!(&read.tables, &before.tables);
    }

    #[test]
    fn mistakes_of_all_files_are_told_together_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let out = folder.path().join("out.toml");
        let odd = run(6_000, -1.0);
        let odder = run(6_000, 1.0).replace("\"sold\": 16", "\"sold\": 21");
        let calibrate = Calibrate {
            from: vec![file("odd.json", &odd), file("odder.json", &odder)],
            profile: PROFILE.into(),
            out: Some(out.clone()),
        };
        let told = calibrate.run().unwrap_err().to_string();
        assert!(
            told.contains("odd.json: function[0].p95_ms") && told.contains("odder.json: sold"),
            "{told}"
        );
        assert!(!out.exists());
        let silent = r#"{"source": "s", "drop": "spring", "shoppers": 1, "units": 1,
            "seconds": {"before": 0, "opening": 1, "sale": 0, "tail": 0}}"#;
        let calibrate = Calibrate {
            from: vec![file("silent.json", silent)],
            ..calibrate
        };
        assert!(calibrate.run().is_err());
        assert!(!out.exists());
    }

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
