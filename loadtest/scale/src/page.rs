//! Renders `target/scale/report.html`, one page without external files.

use loadtest::report::charts::{self, RGBColor};
use loadtest::report::{STYLE, key};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::{Report, SecondReport, float};
use crate::tables::PlaceReport;

/// The report as an HTML page.
#[must_use]
pub fn render(report: &Report) -> String {
    let settings = &report.settings;
    let found = &report.findings;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Scale model" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "A drop in the scale model" }
                p.soft {
                    (settings.shoppers) " shoppers for " (settings.units) " units, " (format!("{:?}", settings.shape)) " · seed " (settings.seed)
                    @if settings.capacity.planned { " · pre-scaling's plan applied" } @else { " · baseline only" }
                    @if settings.cdn { " · with a CDN" } @else { " · no CDN" }
                    ". Every figure is modelled; docs/SCALE.md says of what."
                }
                table {
                    tr { td { "requests" } td.n { (report.requests) } }
                    tr { td { "in the busiest second" } td.n { (report.peak_rps) } }
                    tr { td { "served_share" } td.n { (share(report.served_share)) } }
                    tr { td { "partition_use_max" } td.n { (format!("{:.2}", report.partition_use_max)) } }
                    tr { td { "units reserved, ordered, paid" } td.n { (found.reserved) ", " (found.ordered) ", " (found.paid) } }
                    tr { td { "sold_share" } td.n { (share(found.sold_share)) } }
                    tr { td { "all held, all paid after" } td.n { (ms(report.all_held_after_ms)) ", " (ms(report.all_paid_after_ms)) } }
                    tr { td { "two steps of the conductor are apart at most" } td.n { (ms(Some(report.conductor_period_max_ms))) } }
                    tr { td { "cost of what was used" } td.n { (format!("{:.2} US dollars", report.cost_usd.total)) } }
                }
                h2 { "Promises" }
                table { @for (promise, figure, counts) in found.figures() {
                    tr { td { (promise.to_string()) } td.n { (figure) } td.soft { (counts) } }
                } }
                h2 { "What refused first" }
                table { @for first in &report.first_refusals {
                    tr { td.n { (first.at_ms) " ms" } td { (first.limit) } }
                } }
                h2 { "Over time" }
                (plot(report, "Requests", "requests per second", &[
                    (charts::SOLD, "answered", |s| float(s.counts.answered)),
                    (charts::HELD, "refused (4xx)", |s| float(s.counts.refused)),
                    (charts::ORDERED, "429", |s| float(s.counts.too_many)),
                    (charts::P99, "5xx", |s| float(s.counts.errors)),
                ]))
                (plot(report, "Throttles", "per second", &[
                    (charts::P99, "items that DynamoDB refused", |s| float(s.counts.throttled_items)),
                    (charts::ORDERED, "requests without an environment", |s| float(s.counts.no_environment)),
                ]))
                (plot(report, "Busiest partition over its ceiling", "share of the ceiling", &[
                    (charts::SOLD, "", |s| s.partition_use),
                ]))
                (plot(report, "Messages that wait", "messages", &[
                    (charts::SOLD, "payments", |s| float(s.counts.payments_waiting)),
                    (charts::ORDERED, "ledger", |s| float(s.counts.ledger_waiting)),
                    (charts::HELD, "mail", |s| float(s.counts.mail_waiting)),
                ]))
                div.plot {
                    h3 { "Units by state" }
                    p { (key(charts::SOLD, "sold")) (key(charts::ORDERED, "in open orders")) (key(charts::HELD, "held")) (key(charts::FREE, "free")) }
                    (PreEscaped(charts::units(&units(report))))
                }
                h2 { "Tables" }
                (tables(report))
                h2 { "Functions" }
                table {
                    tr { th { "function" } th { "provisioned" } th { "environments" } th { "most in use" } th { "invocations" } th { "cold starts" } th { "refused" } }
                    @for function in &report.functions { tr {
                        td { (function.function) } td.n { (function.provisioned) } td.n { (function.environments) } td.n { (function.most_taken) }
                        td.n { (function.invocations) } td.n { (function.cold_starts) } td.n { (function.refused.values().sum::<u64>()) }
                    } }
                }
                h2 { "Answers" }
                table { @for (endpoint, counts) in &report.status_counts { @for (outcome, count) in counts {
                    tr { td { (endpoint) } td { (outcome) } td.n { (count) } }
                } } }
            }
        }
    };
    page.into_string()
}

fn tables(report: &Report) -> Markup {
    let used = |table: &&PlaceReport| table.units > 0.0 || table.throttled > 0;
    html! {
        table {
            tr { th { "table or index" } th { "access" } th { "partitions" } th { "units" } th { "partition_use_max" } th { "in second" } th { "refused" } th { "busiest key" } th { "its peak" } }
            @for table in report.tables.iter().filter(used) { tr {
                td { (format!("{:?}", table.place)) } td { (format!("{:?}", table.access)) } td.n { (table.partitions) }
                td.n { (format!("{:.0}", table.units)) } td.n { (format!("{:.2}", table.partition_use_max)) } td.n { (table.busiest_second) } td.n { (table.throttled) }
                @if let Some(key) = table.busiest_keys.first() { td { code { (key.key) } } td.n { (format!("{:.0}", key.peak)) } }
            } }
        }
    }
}

/// A line's colour, its name in the key, and its value in each second.
type Line = (RGBColor, &'static str, fn(&SecondReport) -> f64);

/// A chart over time. A chart of a single line has no key.
fn plot(report: &Report, title: &str, y: &str, of: &[Line]) -> Markup {
    let line = |(colour, _, value): &Line| {
        let points = report.seconds.iter().filter(|second| second.second >= -10);
        let points = points.map(|second| (seconds(1_000 * second.second), value(second)));
        (*colour, points.collect())
    };
    let lines: Vec<(RGBColor, Vec<(f64, f64)>)> = of.iter().map(line).collect();
    html! {
        div.plot {
            h3 { (title) }
            @if of.len() > 1 {
                p { @for (colour, name, _) in of { (key(*colour, name)) } }
            }
            (PreEscaped(charts::lines(y, &lines)))
        }
    }
}

fn units(report: &Report) -> Vec<(f64, loadtest::facts::UnitCounts)> {
    let looks = report.units.iter().filter(|look| look.at_ms >= -10_000);
    looks.map(|look| (seconds(look.at_ms), look.units)).collect()
}

#[allow(clippy::cast_precision_loss, reason = "ms of a drop")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1e3
}

fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.3} %", 100.0 * share))
}

fn ms(ms: Option<i64>) -> String {
    ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms"))
}
