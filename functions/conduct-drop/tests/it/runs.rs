//! Tests leases and runs: one run conducts a drop, the other runs wait, and one of them takes over within seconds when
//! the process of the first run dies.

use std::pin::pin;

use crate::support::{Scene, killed_after};
use conduct_drop::Settings;
use conduct_drop::bounds::{LEASE_MS, LINGER_MS, MARGIN_MS, PROGRESS_MS};
use conduct_drop::progress::Progress;
use domain::drops::Drop;
use domain::limits::CONDUCTOR_PERIOD_MS;
use domain::plan::ShardPlan;
use futures_util::future::join;
use memory::{MemoryStore, Op, TestRuntime, fixtures};
use ports::runtime::Clock as _;

#[tokio::test(flavor = "current_thread")]
async fn one_conducts_and_a_death_is_noticed_within_seconds() {
    let scene = Scene::new();
    let (first, second) = (scene.process(), scene.process());
    let (mut first, mut second) = (first.begin("one"), second.begin("two"));
    for _ in 0..10 {
        for run in [&mut first, &mut second] {
            run.look().await;
            run.round().await;
        }
        scene.runtime.advance(CONDUCTOR_PERIOD_MS);
    }
    let (one, two) = (first.take_progress(), second.take_progress());
    assert_eq!(one.steps, 10);
    assert_eq!(one.standby, 0);
    assert_eq!(two.steps, 0);
    assert_eq!(two.standby, 10);

    let died = scene.runtime.now();
    while second.take_progress().steps == 0 {
        scene.runtime.advance(CONDUCTOR_PERIOD_MS);
        second.round().await;
    }
    let without = scene.runtime.now().millis_since(died);
    assert!(without <= LEASE_MS + CONDUCTOR_PERIOD_MS, "{without}");
    assert_eq!(scene.status().await.unwrap().fencing, 2);

    first.round().await;
    assert_eq!(
        first.take_progress().standby,
        1,
        "who comes back finds another in its place"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_conductor_that_slept_too_long_overwrites_nothing() {
    // With fewer than two polls, the slow run would not take the lease.
    for polls in 2.. {
        let scene = Scene::new();
        scene.hold("A", 0, "ada", 1).await;
        let (slow, quick) = (scene.process(), scene.process());
        let mut slow = slow.begin("slow");
        slow.look().await;
        let finished = {
            let mut round = pin!(slow.round());
            let finished = killed_after(polls, &mut round).await.is_some();
            scene.runtime.advance(LEASE_MS);
            scene.hold("A", 0, "bob", 2).await;
            let mut quick = quick.begin("quick");
            quick.look().await;
            quick.round().await;
            if !finished {
                round.await;
            }
            finished
        };
        let status = scene.status().await.unwrap();
        assert_eq!(status.fencing, 2, "after {polls} polls");
        assert_eq!(status.skus[0].free, 27, "after {polls} polls");
        assert_eq!(scene.counts("A").await.unwrap().free, [21, 6]);
        scene.store.audit().unwrap();
        if finished {
            assert!(polls > 5, "{polls}");
            break;
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_run_that_ends_hands_over_at_once() {
    let scene = Scene::new();
    let (first, second) = (scene.process(), scene.process());
    let began = scene.runtime.now();
    let deadline = began.plus_millis(MARGIN_MS + 60_000);
    let mut told: Vec<Progress> = Vec::new();
    let all = first
        .run("one", deadline, |progress, _| told.push(*progress))
        .await;
    let ended = scene.runtime.now();
    assert!(ended < deadline, "never past its deadline");
    assert!(
        ended.plus_millis(MARGIN_MS + CONDUCTOR_PERIOD_MS) >= deadline,
        "and not much before"
    );
    let most = u64::try_from(60_000 / CONDUCTOR_PERIOD_MS + 1).unwrap();
    assert!((most - 3..=most).contains(&all.steps), "{all:?}");
    assert_eq!(told.iter().map(|progress| progress.steps).sum::<u64>(), all.steps);
    assert!(i64::try_from(told.len()).unwrap() >= 60_000 / (PROGRESS_MS + CONDUCTOR_PERIOD_MS));

    let mut second = second.begin("two");
    second.look().await;
    second.round().await;
    assert_eq!(second.take_progress().steps, 1, "without waiting for the lease");
    assert_eq!(scene.status().await.unwrap().fencing, 2);
}

#[tokio::test(flavor = "current_thread")]
async fn overlapping_runs_share_the_work_without_doing_it_twice() {
    let scene = Scene::new();
    scene.hold("A", 0, "ada", 2).await;
    let (first, second) = (scene.process(), scene.process());
    let deadline = scene.runtime.now().plus_millis(MARGIN_MS + 90_000);
    let (one, two) = join(
        first.run("one", deadline, |_, _| ()),
        second.run("two", deadline, |_, _| ()),
    )
    .await;
    assert_eq!(one.returned_holds + two.returned_holds, 1);
    assert!(
        one.steps + two.steps > 10 && one.failed_steps + two.failed_steps == 0,
        "{one:?} {two:?}"
    );
    assert_eq!(scene.held(), 0);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_run_without_a_drop_waits_for_the_next_one_and_ends() {
    let (store, runtime) = (MemoryStore::new(), TestRuntime::new(5));
    let scene = Scene { store, runtime };
    let began = scene.runtime.now();
    let deadline = began.plus_millis(180_000);
    let all = scene.process().run("one", deadline, |_, _| ()).await;
    let lasted = scene.runtime.now().millis_since(began);
    assert!(
        (LINGER_MS..LINGER_MS + 2 * CONDUCTOR_PERIOD_MS).contains(&lasted),
        "{lasted}"
    );
    assert_eq!(all, Progress::default());
    assert!(
        scene.store.calls(Op::Published) <= 26,
        "the calendar is not read every period"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_drop_published_just_before_its_start_is_found() {
    let (store, runtime) = (MemoryStore::new(), TestRuntime::new(5));
    let scene = Scene { store, runtime };
    let (clock, publish) = (scene.runtime.clone(), scene.store.clone());
    let began = scene.runtime.now();
    // Half a minute into the run, an operator publishes a drop that opens immediately.
    scene.store.set_plan(move |op, n| {
        if op == Op::Published && n == 13 {
            let draft = fixtures::draft(&clock, &[("A", 10)], 1);
            let drop = Drop::draft("d".parse().unwrap(), draft);
            let drop = drop
                .start_publishing(clock.now())
                .unwrap()
                .finish_publishing()
                .unwrap();
            assert_ne!(drop.skus[0].plan, ShardPlan::default());
            publish.put_drop(&drop);
        }
        None
    });
    let process = scene.process();
    let all = process.run("one", began.plus_millis(180_000), |_, _| ()).await;
    assert!(all.steps > 80, "{all:?}");
    assert!(scene.runtime.now().millis_since(began) > 160_000);
}

#[tokio::test(flavor = "current_thread")]
async fn a_run_goes_on_with_what_it_knows_while_the_calendar_is_silent() {
    let scene = Scene::new();
    let process = scene.process();
    let mut run = process.begin("one");
    run.look().await;
    scene
        .store
        .set_plan(|op, _| (op == Op::Published).then_some(memory::Fault::Busy));
    for _ in 0..6 {
        scene.runtime.advance(CONDUCTOR_PERIOD_MS);
        run.look().await;
        run.round().await;
    }
    assert_eq!(run.take_progress().steps, 6);
}

#[test]
fn a_run_lingers_no_longer_than_allowed() {
    let of = |seconds| Settings::new("dev".to_owned(), seconds).map(|settings| settings.linger_ms);
    assert_eq!(of("0"), Ok(0));
    assert_eq!(of("60"), Ok(LINGER_MS));
    for bad in ["61", "-1", "", "x", "9223372036854775807"] {
        assert!(of(bad).is_err(), "{bad}");
    }
}
