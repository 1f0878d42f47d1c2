//! Renders `report.html`, one page without external files.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotters::style::RGBColor;

use super::{Report, charts, float, samples};
use crate::facts::{Facts, UnitCounts};
use crate::measure::{Endpoint, Measured};

/// The style sheet of reports.
pub const STYLE: &str = include_str!("style.css");

#[must_use]
pub fn render(report: &Report, measured: &Measured, facts: &Facts) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Drop report: " (report.run.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (report.run.title) }
                p.soft {
                    (group(report.run.shoppers)) " shoppers for " (group(report.findings.allocated)) @if report.findings.allocated == 1 { " unit" } @else { " units" } " · drop file "
                    code { (report.run.drop_file) } " · seed " (report.run.seed) " · " (format!("{:.0}", report.run.duration_s))
                    " s from publishing to the end of the drain · " (report.run.machine.cores) " cores"
                    @if let Some(revision) = &report.run.machine.git_revision { " · revision " code { (revision) } }
                }
                (verdict(report))
                (tiles(report))
                h2 { "Promises" }
                (promises(report))
                (faults(report))
                h2 { "The crowd and the stock" }
                div.plot { h3 { "Arrivals" } (PreEscaped(charts::arrivals(&arrivals(measured)))) }
                div.plot {
                    h3 { "Units by state" }
                    p { (key(charts::SOLD, "sold")) (key(charts::ORDERED, "in open orders")) (key(charts::HELD, "held")) (key(charts::FREE, "free")) }
                    (PreEscaped(charts::units(&units(facts))))
                }
                h2 { "Latency from the intended start" }
                p { (key(charts::SOLD, "median")) (key(charts::P99, "99th percentile")) }
                (latency_plots(measured))
                (latency_table(report))
                h2 { "Answers" }
                (answers(report))
                h2 { "How visits ended" }
                (endings(report))
                h2 { "What was used" }
                (usage(report))
                p.soft {
                    "Times are those of this machine, which ran generator, functions and emulators together. Prices are list prices of us-east-1 ("
                    (report.usage.prices_as_of) "), applied to what was metered here."
                }
            }
        }
    };
    page.into_string()
}

fn verdict(report: &Report) -> Markup {
    html! {
        @if report.ok {
            div.verdict.good { @if report.run.faults.any() { "Every promise was kept, whatever went wrong." } @else { "Every promise was kept, and the generator was in time." } }
        } @else {
            div.verdict.bad {
                "This run failed."
                ul { @for failure in &report.failures { li { (failure) } } }
            }
        }
    }
}

fn tiles(report: &Report) -> Markup {
    let f = &report.findings;
    let u = &report.usage;
    let ratio = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.3}"));
    let seconds = |ms: i64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
    let after = |value: Option<i64>| value.map_or("never".to_owned(), seconds);
    let tile = |figure: String, name: &str| html! { div.tile { b { (figure) } span { (name) } } };
    html! {
        div.tiles {
            (tile(format!("{} / {}", group(f.paid), group(f.allocated)), "units paid / on sale"))
            (tile(f.sold_share.map_or("–".to_owned(), |v| format!("{:.1} %", 100.0 * v)), "sold of what could be"))
            (tile(after(report.sold_out_after_ms), "until nothing was free"))
            (tile(after(report.all_paid_after_ms), "until all was paid"))
            (tile(group(report.rates.requests), "API requests"))
            (tile(format!("{:.0} / {:.0}", report.rates.offered_rps, report.rates.achieved_rps), "offered / achieved per s"))
            (tile(group(report.rates.peak_rps), "offered in the busiest second"))
            (tile(ratio(u.wcu_per_reservation), "write units a reservation"))
            (tile(ratio(u.wcu_per_rejection), "write units a refusal"))
            (tile(ratio(u.stock_wcu_per_sold_unit), "stock write units a sold unit"))
            (tile(ratio(u.read_units_per_reservation), "read units a reservation"))
            (tile(u.usd_per_order.map_or("–".to_owned(), |v| format!("${v:.5}")), "list price an order"))
            (tile(format!("{:.1} ms", report.generator_late_ms_p99), "generator late (p99)"))
        }
    }
}

fn promises(report: &Report) -> Markup {
    let f = &report.findings;
    html! {
        div.table { table {
            tr { th { "Figure" } th { "Counts" } th.n { "Found" } th { "Verdict" } }
            @for (promise, figure, counts) in f.figures() {
                tr {
                    td { code { (promise.as_str()) } } td.soft { (counts) } td.n { (group(figure)) }
                    @if figure == 0 { td.good { "kept" } } @else { td.bad { "broken" } }
                }
            }
        } }
        @if !(f.inconsistencies.is_empty() && f.explanations.is_empty()) {
            ul { @for line in f.lines().take(60) { li { code { (line) } } } }
        }
    }
}

fn faults(report: &Report) -> Markup {
    let kinds = |kinds: &BTreeMap<String, u64>| {
        let kinds = kinds
            .iter()
            .map(|(kind, count)| format!("{kind} {}", group(*count)));
        kinds.collect::<Vec<_>>().join(", ")
    };
    html! {
        @if report.run.faults.any() {
            h2 { "What went wrong on purpose" }
            div.table { table {
                tr { th { "Fault" } th { "Of which" } th.n { "Struck" } }
                @for (name, struck) in &report.run.faults.struck {
                    tr {
                        td { code { (name) } } td.soft { (kinds(&struck.kinds)) }
                        @if struck.strikes > 0 { td.n { (group(struck.strikes)) } } @else { td.n.bad { "never" } }
                    }
                }
            } }
            p.soft { "Asked for: " code { (report.run.faults.plan) } ", drawn from seed " (report.run.faults.seed) "." }
        }
    }
}

fn latency_plots(measured: &Measured) -> Markup {
    let all: Vec<_> = Endpoint::ALL.iter().map(|e| (*e, measured.seconds(*e))).collect();
    let seconds = all.iter().flat_map(|(_, seconds)| seconds.keys());
    let range = charts::time_range(seconds.map(|second| f64::from(*second)));
    let shown = all
        .iter()
        .filter(|(e, seconds)| seconds.len() > 1 && *e != Endpoint::Bank);
    html! {
        div.plots {
            @for (endpoint, seconds) in shown {
                div.plot { h3 { code { (endpoint.as_str()) } } (PreEscaped(charts::latency(seconds, range))) }
            }
        }
    }
}

fn latency_table(report: &Report) -> Markup {
    let ms = |value: f64| format!("{value:.1}");
    html! {
        h3 style="margin-top:16px" { "Over the whole run, in ms" }
        div.table { table {
            tr { th { "Endpoint" } th.n { "Requests" } th.n { "p50" } th.n { "p90" } th.n { "p99" } th.n { "p99.9" } th.n { "max" } }
            @for (endpoint, p) in &report.latency_ms {
                tr {
                    td { code { (endpoint) } } td.n { (group(p.count)) } td.n { (ms(p.p50)) } td.n { (ms(p.p90)) }
                    td.n { (ms(p.p99)) } td.n { (ms(p.p999)) } td.n { (ms(p.max)) }
                }
            }
        } }
    }
}

fn answers(report: &Report) -> Markup {
    html! {
        div.table { table {
            tr { th { "Endpoint" } th { "Answer" } th.n { "Requests" } }
            @for (endpoint, counts) in &report.status_counts {
                @for (index, (outcome, count)) in counts.iter().enumerate() {
                    tr { td { @if index == 0 { code { (endpoint) } } } td { (outcome) } td.n { (group(*count)) } }
                }
            }
        } }
        @if !report.run.surprises.is_empty() {
            p.bad { "Not what the API promises:" }
            ul { @for (line, count) in &report.run.surprises { li { (group(*count)) " × " code { (line) } } } }
        }
    }
}

fn endings(report: &Report) -> Markup {
    html! {
        div.table { table {
            tr { th { "Ending" } th.n { "Shoppers" } }
            @for (ending, count) in &report.endings {
                tr { td { (words(&format!("{ending:?}"))) } td.n { (group(*count)) } }
            }
            @if report.run.unfinished > 0 {
                tr { td { "cut short" } td.n { (group(report.run.unfinished)) } }
            }
        } }
    }
}

fn usage(report: &Report) -> Markup {
    let units = |value: f64| format!("{value:.1}");
    html! {
        p.soft {
            (report.usage.cold_starts) " cold starts; " (format!("{:.2}", 100.0 * report.usage.cold_request_share))
            " % of all invocations waited for one; " (group(report.usage.throttles)) " were refused for want of a process."
        }
        div.table { table {
            tr { th { "Function" } th { "Route or source" } th { "Status" } th.n { "Invocations" } th.n { "ms each" } th.n { "Write units" } th.n { "Read units" } }
            @for row in &report.usage.functions {
                tr {
                    td { code { (row.function) } } td { (row.route) } td { (row.status) } td.n { (group(row.invocations)) }
                    td.n { (format!("{:.1}", row.duration_ms / f64::from(u32::try_from(row.invocations.max(1)).unwrap_or(u32::MAX)))) }
                    td.n { (units(row.tables.values().map(|t| t.wcu).sum())) } td.n { (units(row.tables.values().map(|t| t.rcu).sum())) }
                }
            }
        } }
    }
}

fn arrivals(measured: &Measured) -> BTreeMap<i32, u64> {
    let mut by_second: BTreeMap<i32, u64> = BTreeMap::new();
    for at_ms in &measured.arrivals_ms {
        *by_second.entry(at_ms.div_euclid(1_000)).or_default() += 1;
    }
    by_second
}

fn units(facts: &Facts) -> Vec<(f64, UnitCounts)> {
    samples(&facts.journal)
        .map(|sampled| {
            let mut all = UnitCounts::default();
            for units in &sampled.skus {
                all.free += units.free;
                all.held += units.held;
                all.ordered += units.ordered;
                all.sold += units.sold;
            }
            (float(sampled.at_ms - facts.drop.starts_at_ms) / 1e3, all)
        })
        .collect()
}

/// A legend entry: a plot's colour and its meaning.
#[must_use]
pub fn key(colour: RGBColor, name: &str) -> Markup {
    let RGBColor(r, g, b) = colour;
    html! { span.key { i style=(format!("background:#{r:02x}{g:02x}{b:02x}")) {} (name) } }
}

/// Converts `DidNotWantFewer` to `did not want fewer`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// Writes a number with thin spaces between its thousands.
fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{2009}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_readable() {
        assert_eq!(group(0), "0");
        assert_eq!(group(123), "123");
        assert_eq!(group(1_234_567), "1\u{2009}234\u{2009}567");
        assert_eq!(words("DidNotWantFewer"), "did not want fewer");
    }
}
