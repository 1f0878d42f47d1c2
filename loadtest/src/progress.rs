//! Shows the progress of a run: bars on a terminal, a line every few seconds elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

use crate::world::{Tally, World};

/// The interval of the progress lines when standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Writes a line to standard error.
pub fn say(line: &str) {
    // Writing fails if standard error is closed. Then nobody reads it, so the failure is ignored.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Shows the totals until `stop` is true.
pub async fn show(world: Arc<World>, shoppers: u64, stop: watch::Receiver<bool>) {
    if std::io::stderr().is_terminal() {
        bars(world, shoppers, stop).await;
    } else {
        lines(world, shoppers, stop).await;
    }
}

async fn bars(world: Arc<World>, shoppers: u64, mut stop: watch::Receiver<bool>) {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    let style = |template: &str| {
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸ ")
    };
    let bar = |total: u64, name: &'static str| {
        let bar = all.add(ProgressBar::new(total));
        bar.set_style(style("{prefix:>10} {bar:40.cyan/dim} {pos:>7} of {len} {msg}"));
        bar.set_prefix(name);
        bar
    };
    let arrived = bar(shoppers, "arrived");
    let left = bar(shoppers, "left");
    let orders = bar(world.file.allocated(), "paid");
    let mut interval = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        arrived.set_position(Tally::get(&world.tally.arrived));
        arrived.set_message(clock(&world));
        left.set_position(Tally::get(&world.tally.ended));
        left.set_message(format!("{} requests", world.recorder.requests()));
        orders.set_position(Tally::get(&world.tally.paid));
        let (reserved, ordered) = (
            Tally::get(&world.tally.reserved),
            Tally::get(&world.tally.ordered),
        );
        orders.set_message(format!(
            "orders ({reserved} units reserved, {ordered} orders placed)"
        ));
    }
    for bar in [arrived, left, orders] {
        bar.finish();
    }
}

async fn lines(world: Arc<World>, shoppers: u64, mut stop: watch::Receiver<bool>) {
    let mut interval = tokio::time::interval(LINE_EVERY);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let get = Tally::get;
        let t = &world.tally;
        say(&format!(
            "{:>7}  arrived {} of {shoppers}, left {}, reserved {} units, ordered {}, paid {}, {} requests",
            clock(&world),
            get(&t.arrived),
            get(&t.ended),
            get(&t.reserved),
            get(&t.ordered),
            get(&t.paid),
            world.recorder.requests(),
        ));
    }
}

fn clock(world: &World) -> String {
    format!(
        "{:+} s",
        world.opening.since(tokio::time::Instant::now()).div_euclid(1_000)
    )
}
