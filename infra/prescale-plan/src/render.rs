//! Renders a plan as text, with a table for each part.

use std::fmt::Write as _;

use api::moment::Moment;
use capacity::amounts::{Polling, WarmThroughput};
use capacity::cost::Cost;
use capacity::fit::{Effect, Limit, LimitMet};
use capacity::plan::{Plan, PlannedStep};
use capacity::quotas::Quotas;
use capacity::steps::Step;
use capacity::target::Warning;
use domain::time::Timestamp;

use crate::table::table;

#[must_use]
pub fn plan(plan: &Plan, source: &str, quotas: &Quotas) -> String {
    let window = &plan.window;
    let mut text = format!("Plan for drop {}\n\n", plan.drop.as_str());
    let _ = writeln!(text, "  profile    {source}");
    for (name, at) in [
        ("begin", window.begins_at),
        ("ready by", window.ready_by),
        ("opens", window.starts_at),
        ("ends", window.ends_at),
        ("given back", window.released_at),
    ] {
        let _ = writeln!(text, "  {name:<10} {}", moment(at));
    }
    let parts = window.parts.iter();
    let parts: Vec<String> = parts.map(|p| format!("{} {} s", p.part, p.seconds)).collect();
    let (lead, parts) = (window.lead_seconds(), parts.join(", "));
    let _ = writeln!(text, "  lead time  {lead} s: {parts}\n");

    text.push_str("Before\n");
    text.push_str(&steps(&plan.up));
    text.push_str("\nAfter, when no other drop wants more and two runs agree\n");
    text.push_str(&steps(&plan.down));
    text.push_str("\nLimits\n");
    text.push_str(&limits(&plan.limits, quotas));
    let admission = plan.admission;
    let _ = writeln!(
        text,
        "\n  Admission at the opening: {:.1} of {:.1} shoppers a second ({:.2} %)",
        admission.served_shoppers_per_second,
        admission.expected_shoppers_per_second,
        admission.share.factor() * 100.0
    );
    text.push_str("\nWarnings\n");
    text.push_str(&warnings(plan));
    text.push_str("\nCost\n");
    text.push_str(&cost(&plan.cost));
    text
}

/// A moment in the API's format.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    let text = serde_json::to_value(Moment(at)).ok();
    text.and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_else(|| format!("{} ms", at.as_millis()))
}

fn steps(rows: &[PlannedStep]) -> String {
    if rows.is_empty() {
        return "  nothing to change\n".to_owned();
    }
    let mut waits = false;
    let mut lines = Vec::new();
    for row in rows {
        let (what, from, to) = describe(&row.step);
        let at = if waits { "then".to_owned() } else { moment(row.at) };
        waits = row.waited_for;
        let cost = match (row.usd_per_hour, row.usd_once) {
            (_, None) => "not listed".to_owned(),
            (0.0, Some(0.0)) => "-".to_owned(),
            (hourly, Some(0.0)) => format!("{hourly:+.2} an hour"),
            (_, Some(once)) => format!("{once:+.2} once"),
        };
        let one_way = if row.one_way { "one way" } else { "" };
        lines.push(vec![what, from, to, at, cost, one_way.to_owned()]);
    }
    table(&["what", "from", "to", "when", "cost, $", ""], &[1, 2, 4], &lines)
}

fn describe(step: &Step) -> (String, String, String) {
    match step {
        Step::Reserve { function, from, to } => {
            let reserved = |units: &Option<u32>| units.map_or("none".to_owned(), |n| n.to_string());
            let what = format!("reserved concurrency of {function}");
            (what, reserved(from), reserved(to))
        }
        Step::Provision { function, from, to } => {
            let what = format!("provisioned concurrency of {function}");
            (what, from.to_string(), to.to_string())
        }
        Step::SetMinimumAcu { from, to } => {
            let what = "database, minimum ACU".to_owned();
            (what, from.to_string(), to.to_string())
        }
        Step::ChangeClass {
            instance,
            from,
            to,
            interrupts,
        } => {
            let note = if *interrupts { " (interrupts writing)" } else { "" };
            let what = format!("class of database instance {instance}{note}");
            (what, from.clone(), to.clone())
        }
        Step::FailOver { from, to } => ("database, writer".to_owned(), from.clone(), to.clone()),
        Step::Warm { table, from, to } => {
            let units = |w: &WarmThroughput| format!("{} W, {} R", w.write_units, w.read_units);
            (format!("warm throughput of {table}"), units(from), units(to))
        }
        Step::Poll { source, from, to } => {
            let what = match to {
                Polling::MaximumConcurrency(_) => "maximum concurrency",
                Polling::ProvisionedPollers { .. } => "provisioned pollers",
            };
            (format!("{what} of {source}"), polling(*from), polling(*to))
        }
    }
}

fn polling(polling: Polling) -> String {
    match polling {
        Polling::MaximumConcurrency(most) => most.to_string(),
        Polling::ProvisionedPollers { minimum, maximum } => format!("{minimum} to {maximum}"),
    }
}

fn limits(met: &[LimitMet], quotas: &Quotas) -> String {
    if met.is_empty() {
        return "  none is met\n".to_owned();
    }
    let rows: Vec<Vec<String>> = (met.iter())
        .map(|met| {
            let effect = match met.effect {
                Effect::LowersAdmission => "until then, a lower admission rate".to_owned(),
                Effect::DelaysOrders { times } => {
                    format!("with everyone admitted, orders take {times:.1} times as long")
                }
            };
            let needed = format!("raise to {}", number(met.needed));
            vec![limit(&met.limit, quotas), number(met.is), needed, effect]
        })
        .collect();
    table(&["limit", "is", "for all of it", "what it does"], &[1, 2], &rows)
}

fn limit(limit: &Limit, quotas: &Quotas) -> String {
    match limit {
        Limit::AccountConcurrency => format!(
            "Lambda concurrency of the account ({} for us)",
            quotas.concurrency_for_us()
        ),
        Limit::ApiRate => "API Gateway, requests a second".to_owned(),
        Limit::ApiBurst => "API Gateway, burst".to_owned(),
        Limit::TableWrites(table) => format!("{table}, write units a second in the account"),
        Limit::TableReads(table) => format!("{table}, read units a second in the account"),
        Limit::AllowedWarmWrites(table) => format!("{table}, warm write units allowed"),
        Limit::AllowedWarmReads(table) => format!("{table}, warm read units allowed"),
        Limit::BudgetPerHour => "budget for an hour, $".to_owned(),
        Limit::BudgetPerDrop => "budget for the drop, $".to_owned(),
        Limit::DatabaseSize => "database, rows a second at its largest".to_owned(),
        Limit::GatewayRate(queue) => format!("payment gateway, calls a second from {queue}"),
        Limit::DatabaseConnections(queue) => format!("database, invocations at a time from {queue}"),
    }
}

fn warnings(plan: &Plan) -> String {
    let mut lines = Vec::new();
    if plan.late_seconds > 0 {
        lines.push(format!(
            "too late: preparing should have begun {} s earlier",
            plan.late_seconds
        ));
    }
    if plan.admission.share.factor() < 1.0 {
        lines.push("limits are met: admit no more than the rate above, or raise them".to_owned());
    }
    if plan.cost.warm_usd_once.is_none() {
        lines.push("warm throughput is raised, for which the price list has no price".to_owned());
    }
    if plan.up.iter().any(|row| row.one_way) {
        lines.push("rows marked \"one way\" stay after the drop".to_owned());
    }
    lines.extend(plan.warnings.iter().map(warning));
    lines.push("no deployment from \"begin\" to \"given back\"".to_owned());
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

fn warning(warning: &Warning) -> String {
    match warning {
        Warning::LateConcurrency {
            drop,
            missing,
            in_time,
            warm_share,
        } => format!(
            "{missing} units of provisioned concurrency are missing; {in_time} can be there when {} opens: admit at most \
             {:.1} % of the rate above at first, or requests wait for cold starts",
            drop.as_str(),
            warm_share.factor() * 100.0
        ),
        Warning::LateDatabase { drop, seconds } => format!(
            "the database stays as it is: changing its class takes {seconds} s and would run into {}",
            drop.as_str()
        ),
        Warning::OtherPolling { source } => {
            format!("the event source of {source} is not set as declared and is left alone")
        }
        Warning::ChangedByOthers {
            function, set, found, ..
        } => {
            let set: Vec<String> = set.iter().map(u32::to_string).collect();
            format!(
                "another controller changes the provisioned concurrency of {function}: {found} units where {} were set",
                set.join(" or ")
            )
        }
        Warning::SingleInstance => {
            "the database has one instance: changing its class interrupts it".to_owned()
        }
    }
}

fn cost(cost: &Cost) -> String {
    let row = |name: &str, units: Option<u32>, usd: [Option<f64>; 5]| {
        let units = units.map_or_else(String::new, |units| units.to_string());
        let usd = usd.map(|usd| usd.map_or_else(String::new, |usd| format!("{usd:.2}")));
        [vec![name.to_owned(), units], usd.to_vec()].concat()
    };
    let mut rows: Vec<Vec<String>> = (cost.groups.iter())
        .map(|g| {
            let all = g.held_usd + g.running_usd;
            let usd = [
                g.held_usd_per_hour,
                g.held_usd,
                g.running_usd,
                all,
                g.unscaled_usd,
            ];
            row(&g.group, Some(g.provisioned), usd.map(Some))
        })
        .collect();
    let (hourly, held) = (cost.database_usd_per_hour, cost.database_usd);
    let usd = [hourly, held, 0.0, held, cost.database_unscaled_usd];
    rows.push(row("database", None, usd.map(Some)));
    let (zero, tables) = (Some(0.0), Some(cost.tables_usd));
    let usd = [None, zero, tables, tables, tables];
    rows.push(row("tables' units", None, usd));
    if let Some(once) = cost.warm_usd_once {
        let usd = [None, Some(once), zero, Some(once), zero];
        rows.push(row("warm throughput, once", None, usd));
    }
    let (all, unscaled) = (Some(cost.total_usd), Some(cost.unscaled_usd));
    let usd = [Some(cost.held_usd_per_hour), None, None, all, unscaled];
    rows.push(row("all (per hour: beyond the baseline)", None, usd));
    let heading = [
        "$",
        "units",
        "per hour",
        "held",
        "running",
        "this drop",
        "unscaled",
    ];
    let mut text = table(&heading, &[1, 2, 3, 4, 5, 6], &rows);
    let _ = writeln!(
        text,
        "  Held at most {:.2} h. List prices ({}), applied to expected requests.",
        f64::from(cost.held_seconds) / 3_600.0,
        cost.prices_as_of
    );
    text
}

/// A number with at most two decimal places, and no trailing zeros.
fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
