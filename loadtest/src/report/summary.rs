//! Writes the report's main figures in a few lines.

use super::{LATE_LIMIT_MS, Report, float};

impl Report {
    #[must_use]
    pub fn summary(&self) -> String {
        let (run, rates) = (&self.run, &self.rates);
        let (f, u) = (&self.findings, &self.usage);
        let ratio = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
        let percent = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{:.1} %", 100.0 * v));
        let seconds = |ms: i64| format!("{:.1} s", float(ms) / 1e3);
        let after = |ms: Option<i64>| ms.map_or("never".to_owned(), seconds);
        let mut lines = vec![
            format!(
                "{} · {} shoppers · seed {} · {:.0} s",
                run.title, run.shoppers, run.seed, run.duration_s
            ),
            format!(
                "  units       {} on sale, {} reserved, {} ordered, {} paid, {} free",
                f.allocated, f.reserved, f.ordered, f.paid, f.free
            ),
            format!(
                "  sold        {} of the {} units that could be sold; {} orders ended by their deadline; {} of {} repeats did not find their reservation, {} of {} double clicks made two",
                percent(f.sold_share),
                f.sellable,
                f.endings_by_deadline,
                f.repeats_elsewhere + f.repeats_refused,
                f.repeats + f.repeats_refused,
                f.double_clicks_elsewhere,
                f.double_clicks
            ),
            format!(
                "  sold out    after {}, all paid after {}",
                after(self.sold_out_after_ms),
                after(self.all_paid_after_ms)
            ),
            format!(
                "  requests    {}, offered {:.0}/s, achieved {:.0}/s, peak {}/s",
                rates.requests, rates.offered_rps, rates.achieved_rps, rates.peak_rps
            ),
        ];
        for name in ["show_status", "reserve", "checkout"] {
            if let Some(p) = self.latency_ms.get(name) {
                lines.push(format!(
                    "  {name:<11} p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms",
                    p.p50, p.p99, p.max
                ));
            }
        }
        lines.push(format!(
            "  write units {} a reservation, {} a refusal, {} a sold unit; {} read units a reservation",
            ratio(u.wcu_per_reservation),
            ratio(u.wcu_per_rejection),
            ratio(u.stock_wcu_per_sold_unit),
            ratio(u.read_units_per_reservation)
        ));
        let g = &self.gateway;
        lines.push(format!(
            "  gateway     {} calls, {} a paid order; {:.1} % more were too many; {:.1} a second at their middle, {} of the limit",
            g.calls,
            ratio(g.calls_per_paid_order),
            100.0 * g.too_many_share,
            g.paced_rps.unwrap_or_default(),
            percent(g.of_limit)
        ));
        lines.push(format!(
            "  price       {} USD an order; {} cold starts",
            u.usd_per_order.map_or("-".to_owned(), |v| format!("{v:.6}")),
            u.cold_starts
        ));
        lines.push(format!(
            "  promises    oversold {}, undersold {}, leaked holds {}, overdue holds {}, over limit {}, duplicate orders {}, duplicate charges {}, lost {}, unjustified endings {}, fold mismatches {}, dead letters {}, inconsistencies {}",
            f.oversold, f.undersold, f.leaked_holds, f.overdue_holds, f.over_limit_shoppers, f.duplicate_orders, f.duplicate_charges, f.lost_requests, f.unjustified_endings, f.fold_mismatches, f.dlq_messages, f.inconsistencies.len()
        ));
        lines.push(format!(
            "  generator   {:.1} ms late at p99 (limit {LATE_LIMIT_MS} ms)",
            self.generator_late_ms_p99
        ));
        if run.faults.any() {
            let struck = run.faults.struck.iter();
            let struck = struck.map(|(name, struck)| format!("{name} {}", struck.strikes));
            let struck: Vec<String> = struck.collect();
            lines.push(format!("  faults      {}", struck.join(", ")));
        }
        for line in f.lines().take(10) {
            lines.push(format!("  ! {line}"));
        }
        for (surprise, count) in run.surprises.iter().take(5) {
            lines.push(format!("  ! {count} × {surprise}"));
        }
        match self.ok {
            true => lines.push("  every promise was kept".to_owned()),
            false => lines.extend(self.failures.iter().map(|failure| format!("  FAILED: {failure}"))),
        }
        lines.join("\n")
    }
}
