//! Shows the progress of a run: bars on a terminal, a line every few seconds elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

use crate::world::{Tally, World};

/// The interval of the bars' changes.
const BARS_EVERY: Duration = Duration::from_millis(200);
/// The interval of the progress lines when standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Writes a line to standard error.
pub fn say(line: &str) {
    // Writing fails if standard error is closed. Then nobody reads it, so the failure is ignored.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Shows the totals until `stop` is true.
pub async fn show(world: Arc<World>, shoppers: u64, mut stop: watch::Receiver<bool>) {
    let bars = std::io::stderr().is_terminal().then(|| bars(&world, shoppers));
    let mut interval = tokio::time::interval(if bars.is_some() { BARS_EVERY } else { LINE_EVERY });
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let t = &world.tally;
        let [arrived, ended, paid] = [&t.arrived, &t.ended, &t.paid].map(Tally::get);
        let [reserved, ordered] = [&t.reserved, &t.ordered].map(Tally::get);
        let (clock, requests) = (clock(&world), world.recorder.requests());
        let Some([arrivals, exits, orders]) = &bars else {
            say(&format!(
                "{clock:>7}  arrived {arrived} of {shoppers}, left {ended}, reserved {reserved} units, ordered {ordered}, \
                 paid {paid}, {requests} requests"
            ));
            continue;
        };
        arrivals.set_position(arrived);
        arrivals.set_message(clock);
        exits.set_position(ended);
        exits.set_message(format!("{requests} requests"));
        orders.set_position(paid);
        orders.set_message(format!(
            "orders ({reserved} units reserved, {ordered} orders placed)"
        ));
    }
    for bar in bars.iter().flatten() {
        bar.finish();
    }
}

/// The bars of the shoppers who arrived, of those who left, and of the paid orders.
fn bars(world: &World, shoppers: u64) -> [ProgressBar; 3] {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{prefix:>10} {bar:40.cyan/dim} {pos:>7} of {len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ");
    let bars = [
        (shoppers, "arrived"),
        (shoppers, "left"),
        (world.file.allocated(), "paid"),
    ];
    bars.map(|(total, name)| {
        let bar = all.add(ProgressBar::new(total));
        bar.set_style(style.clone());
        bar.set_prefix(name);
        bar
    })
}

fn clock(world: &World) -> String {
    let now_ms = world.opening.since(tokio::time::Instant::now());
    format!("{:+} s", now_ms.div_euclid(1_000))
}
