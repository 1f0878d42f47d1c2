//! Collects the measurements of all benchmarks, and writes them as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::figure::{Figure, ratios};
use crate::stage::Load;

/// All measurements, by name.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Medians, and values without rounds.
    #[serde(flatten)]
    values: BTreeMap<String, f64>,
    /// Median, lowest, highest and number of rounds of each figure with rounds.
    spread: BTreeMap<String, Figure>,
    /// Remarks on the measurements, by name.
    notes: BTreeMap<String, String>,
    #[serde(skip)]
    lines: Vec<(String, f64)>,
}

/// The limits of some measurements; the table marks a measurement that misses its limit.
const TARGETS: [(&str, Target); 8] = [
    ("requests_per_second", Target::AtLeast(2_000.0)),
    ("p99_ms_at_half_load", Target::AtMost(50.0)),
    ("reserve_cpu_over_baseline", Target::AtMost(1.3)),
    ("reserve_cpu_over_node", Target::AtMost(0.25)),
    ("cold_start_over_hello_world", Target::AtMost(2.5)),
    ("cold_start_over_node", Target::AtMost(0.25)),
    ("binary_mb_max", Target::AtMost(10.0)),
    ("function_rss_mb_max", Target::AtMost(20.0)),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    /// The limit in words, and a mark if `value` misses it.
    fn judge(self, value: f64) -> String {
        let (limit, met) = match self {
            Self::AtLeast(bound) => (format!(">= {bound}"), value >= bound),
            Self::AtMost(bound) => (format!("<= {bound}"), value <= bound),
        };
        if met { limit } else { limit + "  MISSED" }
    }
}

impl Summary {
    /// Adds a figure with rounds.
    pub fn rounds(&mut self, name: &str, rounds: &[f64]) {
        if let Some(figure) = Figure::of(rounds) {
            self.spread.insert(name.to_owned(), figure);
            self.value(name, figure.median);
        }
    }

    /// Adds the ratio of two figures, round by round.
    pub fn ratio(&mut self, name: &str, rounds: &[f64], over: &[f64]) {
        self.rounds(name, &ratios(rounds, over));
    }

    /// Adds a figure without rounds.
    pub fn value(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
        self.lines.push((name.to_owned(), value));
    }

    /// Adds a remark on the measurement.
    pub fn note(&mut self, name: &str, text: impl Into<String>) {
        self.notes.insert(name.to_owned(), text.into());
    }

    pub fn load(&mut self, load: &Load) {
        self.rounds("requests_per_second", &load.requests_per_second);
        self.rounds("p99_ms_at_half_load", &load.p99_ms);
        self.rounds("p50_ms_at_half_load", &load.p50_ms);
        self.rounds("half_load_per_second", &load.half_load);
        let most = load.rss_bytes.iter().max_by_key(|(_, bytes)| **bytes);
        if let Some((name, bytes)) = most {
            self.value("function_rss_mb_max", mb(*bytes));
            self.note("function_rss_mb_max", name);
        }
        for (name, rounds) in &load.cpu_us_per_request {
            self.rounds(&format!("cpu_us_per_request.{name}"), rounds);
        }
    }

    /// All measurements as a table for the terminal, with their limits.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<38} {:>9} {:>9} {:>9} {:>3}  {}\n",
            "figure", "median", "min", "max", "n", "target"
        );
        for (name, value) in &self.lines {
            let target = TARGETS.iter().find(|(of, _)| of == name);
            let said = target.map_or_else(String::new, |(_, target)| target.judge(*value));
            let (min, max, n) = match self.spread.get(name) {
                Some(figure) => (short(figure.min), short(figure.max), figure.n),
                None => (String::new(), String::new(), 1),
            };
            let value = short(*value);
            let line = format!("{name:<38} {value:>9} {min:>9} {max:>9} {n:>3}  {said}");
            // Writing to a `String` does not fail.
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for (name, note) in &self.notes {
            let _ = writeln!(text, "{name}: {note}");
        }
        text
    }

    /// Writes all measurements to `path` as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }
}

/// Converts bytes to megabytes of 10^6 bytes.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_median_and_spread_and_what_was_missed() {
        let mut summary = Summary::default();
        summary.rounds("requests_per_second", &[1_900.0, 1_990.0, 2_100.0]);
        summary.ratio("reserve_cpu_over_baseline", &[1.0, 1.2], &[1.0, 1.0]);
        summary.note("node", "v20");
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["requests_per_second"], 1_990.0);
        assert_eq!(json["spread"]["requests_per_second"]["n"], 3);
        assert_eq!(json["reserve_cpu_over_baseline"], 1.1);
        let table = summary.table();
        assert!(table.contains("MISSED") && table.contains("<= 1.3\n"), "{table}");
    }
}
