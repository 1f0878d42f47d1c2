//! Checks the open model: a stack that answers slowly or never does not slow the generator down, and the latency
//! counts from the intended start.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{bearer, drop_file, serve, shopper, world};
use loadtest::load::{self, Arrival};
use loadtest::measure::Endpoint;
use loadtest::shopper::Shopper;
use tokio::sync::watch;
use tokio::time::Instant;

const CLOSED: &str = r#"{"drop_id":"d","phase":"closed","as_of":"2027-01-15T08:00:00.000Z","server_time":"2027-01-15T08:00:00.000Z","starts_at":"2027-01-15T08:00:00.000Z","ends_at":"2027-01-15T08:00:01.000Z","skus":[],"message":null,"next_poll_seconds":null}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_the_answers_of_others() {
    const SHOPPERS: usize = 300;
    const SPACING_US: i64 = 2_000;
    // The server answers no request before all requests have arrived, so a generator that waited for an answer
    // would never end.
    let (all_here, gate) = watch::channel(false);
    let (url, log) = serve(move |_, number| {
        if number == SHOPPERS {
            all_here.send_replace(true);
        }
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            (200, CLOSED.to_owned())
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let world = world(&url, folder.path(), drop_file());
    let arrivals = (0..SHOPPERS).map(|n| {
        let index = u32::try_from(n).unwrap();
        Arrival {
            at_us: i64::from(index) * SPACING_US,
            plan: shopper(&world, index),
            bearer: bearer(),
        }
    });
    let (_stop, stopping) = watch::channel(false);
    let sent = load::run(&world, arrivals.collect(), stopping);
    let sent = tokio::time::timeout(Duration::from_secs(60), sent)
        .await
        .expect("the generator waits for answers");
    assert_eq!(sent.unfinished, 0);
    assert_eq!(sent.surprises.len(), 0);
    assert_eq!(log.lock().unwrap().len(), SHOPPERS);

    let measured = world.recorder.finish();
    assert_eq!(measured.late_arrivals_us.len(), SHOPPERS);
    let mut statuses: Vec<_> = measured
        .samples
        .iter()
        .filter(|s| s.endpoint == Endpoint::ShowStatus)
        .collect();
    statuses.sort_by_key(|s| s.intended_ms);
    // The first shopper's answer comes after the last request, and its latency contains this wait.
    let span_us = u32::try_from((i64::try_from(SHOPPERS).unwrap() - 1) * SPACING_US).unwrap();
    assert!(
        statuses[0].latency_us >= span_us,
        "{} of {span_us} µs",
        statuses[0].latency_us
    );
}

#[tokio::test]
async fn a_late_start_is_measured_and_part_of_the_latency() {
    let (url, _) = serve(|_, _| async { (200, CLOSED.to_owned()) }).await;
    let folder = tempfile::tempdir().unwrap();
    let world = world(&url, folder.path(), drop_file());
    let late = Duration::from_millis(750);
    let due = Instant::now() - late;
    Shopper::new(Arc::clone(&world), shopper(&world, 1), bearer())
        .visit(due)
        .await;
    let measured = world.recorder.finish();
    let late_us = u32::try_from(late.as_micros()).unwrap();
    assert!(measured.late_arrivals_us[0] >= late_us);
    assert!(
        measured.samples[0].latency_us >= late_us,
        "latency counts from the intended start"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_run_ends_at_once_and_says_whom_it_cut_short() {
    let (url, log) = serve(|_, _| std::future::pending()).await;
    let folder = tempfile::tempdir().unwrap();
    let world = world(&url, folder.path(), drop_file());
    let arrival = |at_us, index| Arrival {
        at_us,
        plan: shopper(&world, index),
        bearer: bearer(),
    };
    let an_hour = 3_600_000_000;
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn({
        let world = Arc::clone(&world);
        let arrivals = vec![arrival(0, 1), arrival(0, 2), arrival(an_hour, 3)];
        async move { load::run(&world, arrivals, stopping).await }
    });
    while log.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    stop.send_replace(true);
    let sent = tokio::time::timeout(Duration::from_secs(30), running)
        .await
        .expect("it stops")
        .unwrap();
    assert_eq!(sent.unfinished, 3);
}
