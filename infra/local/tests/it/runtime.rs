//! Tests functions on the Runtime API, with a real process behind each.

use std::time::Duration;

use crate::support::{Bench, empty, probe};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use stack_api::Processes;
use stampede_local::runtime::{Allocation, BUSY_CONCURRENCY, Failure, Waiting};
use stampede_local::template::Model;

fn model(timeout: Duration) -> Model {
    let mut model = empty();
    let mut function = probe("f");
    function.timeout = timeout;
    model.functions.insert("f".to_owned(), function);
    model
}

async fn invoke(bench: &Bench, path: &str) -> Result<Value, Failure> {
    invoke_one_of(bench, "f", path).await
}

async fn invoke_one_of(bench: &Bench, function: &str, path: &str) -> Result<Value, Failure> {
    let event = Bytes::from(json!({"rawPath": path}).to_string());
    let functions = &bench.functions;
    let answer = functions
        .invoke(
            function,
            "GET /x",
            functions.identify(),
            event,
            Waiting::Briefly,
            |r| u16::from(r.is_ok()),
        )
        .await?;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    Ok(serde_json::from_str(answer["body"].as_str().unwrap()).unwrap())
}

fn figures(bench: &Bench) -> Processes {
    bench.functions.figures().remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_serves_request_after_request() {
    let bench = Bench::new(&model(Duration::from_secs(5)), 4);
    let mut processes = Vec::new();
    for _ in 0..20 {
        processes.push(invoke(&bench, "/ok").await.unwrap()["pid"].as_u64().unwrap());
    }
    processes.sort_unstable();
    processes.dedup();
    let figures = figures(&bench);
    assert_eq!(figures.invocations, 20);
    // On a busy machine the process may ask for its next request later than `PATIENCE`; then another process starts.
    assert!(processes.len() <= 2, "{processes:?}");
    assert!(
        figures.cold_starts <= 2 && figures.waited_for_cold_start <= 2,
        "{figures:?}"
    );
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_process_makes_another_one_start_up_to_the_limit() {
    let bench = Bench::new(&model(Duration::from_millis(400)), 2);
    let (first, second, third) = tokio::join!(
        invoke(&bench, "/hang"),
        invoke(&bench, "/hang"),
        invoke(&bench, "/ok")
    );
    // Both processes hang until the time limit, and are killed. The third invocation waits until fewer than two
    // processes run, and gets a new one: three cold starts.
    assert_eq!(first, Err(Failure::TimedOut));
    assert_eq!(second, Err(Failure::TimedOut));
    assert!(third.is_ok(), "{third:?}");
    assert_eq!(figures(&bench).cold_starts, 3);
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_cores_let_a_function_have_more_processes() {
    let most = BUSY_CONCURRENCY + 2;
    let bench = Bench::new(&model(Duration::from_secs(30)), most);
    let requests = (0..2_000).map(|n| {
        let bench = &bench;
        async move {
            tokio::time::sleep(Duration::from_millis(5 * n)).await;
            invoke(bench, "/hang").await
        }
    });
    let all_run = crate::support::until("every process runs", || async {
        figures(&bench).processes == most
    });
    tokio::select! {
        done = join_all(requests) => panic!("{done:?}"),
        () = all_run => {}
    }
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_one_function_delay_no_other_function() {
    let mut model = model(Duration::from_secs(30));
    model.functions.insert("g".to_owned(), probe("g"));
    let bench = Bench::new(&model, 1);
    let crowd = join_all((0..200).map(|_| invoke(&bench, "/hang")));
    let other = async {
        crate::support::until("all requests wait", || async { figures(&bench).running == 200 }).await;
        invoke_one_of(&bench, "g", "/ok").await
    };
    tokio::select! {
        done = crowd => panic!("{done:?}"),
        answer = other => assert!(answer.is_ok(), "{answer:?}"),
    }
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_too_long_for_a_place_is_turned_away() {
    let bench = Bench::new(&model(Duration::from_secs(5)), 1);
    let hanging = invoke(&bench, "/hang");
    let waiting = async {
        crate::support::until("the only process is busy", || async {
            figures(&bench).cold_starts == 1
        })
        .await;
        invoke(&bench, "/ok").await
    };
    tokio::select! {
        done = hanging => panic!("{done:?}"),
        turned_away = waiting => assert_eq!(turned_away, Err(Failure::Throttled)),
    }
    assert_eq!(figures(&bench).throttles, 1);
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_costs_its_own_request_only() {
    let bench = Bench::new(&model(Duration::from_secs(5)), 2);
    invoke(&bench, "/ok").await.unwrap();
    assert_eq!(invoke(&bench, "/crash").await, Err(Failure::Crashed));
    invoke(&bench, "/ok").await.unwrap();
    let figures = figures(&bench);
    assert_eq!(figures.errors, 1);
    assert_eq!(figures.cold_starts, 2);
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reported_error_is_handed_on_and_the_process_stays() {
    let bench = Bench::new(&model(Duration::from_secs(5)), 2);
    let Err(Failure::Reported(error)) = invoke(&bench, "/error").await else {
        panic!("no error")
    };
    assert_eq!(
        serde_json::from_slice::<Value>(&error).unwrap()["errorType"],
        "Probe"
    );
    invoke(&bench, "/ok").await.unwrap();
    assert_eq!(figures(&bench).cold_starts, 1);
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_cannot_start_fails_its_request() {
    let mut model = model(Duration::from_secs(5));
    model
        .functions
        .get_mut("f")
        .unwrap()
        .environment
        .insert("PROBE_START".to_owned(), "fails".to_owned());
    let bench = Bench::new(&model, 2);
    assert_eq!(invoke(&bench, "/ok").await, Err(Failure::Crashed));
    assert_eq!(invoke(&bench, "/ok").await, Err(Failure::Crashed));
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_ends_every_process() {
    let bench = Bench::new(&model(Duration::from_secs(5)), 2);
    let process = invoke(&bench, "/ok").await.unwrap()["pid"].as_u64().unwrap();
    bench.functions.stop().await;
    assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
    assert_eq!(figures(&bench).processes, 0);
    assert_eq!(invoke(&bench, "/ok").await, Err(Failure::Throttled));
}

/// Sets the provisioned concurrency of `f` to `units`, and waits until all units are allocated.
async fn held(bench: &Bench, units: usize) {
    bench.functions.set_provisioned("f", units);
    crate::support::until("what is held is there", || async {
        bench.functions.allocation("f").unwrap().allocated == units
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_finds_a_process_held_ahead_meets_no_cold_start() {
    let bench = Bench::new(&model(Duration::from_secs(5)), 4);
    held(&bench, 2).await;
    assert_eq!(figures(&bench).ahead, 2);
    let (one, other) = tokio::join!(invoke(&bench, "/ok"), invoke(&bench, "/ok"));
    assert!(one.is_ok() && other.is_ok());
    let figures = figures(&bench);
    assert_eq!(figures.cold_starts, 0);
    assert_eq!(figures.waited_for_cold_start, 0);
    assert_eq!(figures.spill_over, 0);
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_ahead_cannot_serve_spills_over() {
    let bench = Bench::new(&model(Duration::from_secs(1)), 4);
    held(&bench, 1).await;
    let (hanging, spilt) = tokio::join!(invoke(&bench, "/hang"), async {
        crate::support::until("the one held is busy", || async { figures(&bench).running == 1 }).await;
        invoke(&bench, "/ok").await
    });
    assert_eq!(hanging, Err(Failure::TimedOut));
    assert!(spilt.is_ok());
    let figures = figures(&bench);
    assert_eq!(figures.cold_starts, 1);
    assert_eq!(figures.spill_over, 1);
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_held_ahead_that_dies_is_replaced_and_what_is_given_back_ends() {
    let bench = Bench::new(&model(Duration::from_secs(5)), 4);
    held(&bench, 3).await;
    assert_eq!(invoke(&bench, "/crash").await, Err(Failure::Crashed));
    crate::support::until("there are three again", || async { figures(&bench).ahead == 3 }).await;
    assert_eq!(figures(&bench).cold_starts, 0);
    // The process limit is 4. Units beyond it count as allocated when all 4 processes run.
    held(&bench, 40).await;
    assert_eq!(figures(&bench).processes, 4);
    bench.functions.set_provisioned("f", 1);
    crate::support::until("only one is left", || async { figures(&bench).processes == 1 }).await;
    bench.functions.set_provisioned("f", 0);
    crate::support::until("none is left", || async { figures(&bench).processes == 0 }).await;
    let nothing = Allocation {
        requested: 0,
        allocated: 0,
        failed: false,
    };
    assert_eq!(bench.functions.allocation("f"), Some(nothing));
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_busy_when_it_is_given_back_answers_first() {
    let bench = Bench::new(&model(Duration::from_secs(20)), 4);
    held(&bench, 1).await;
    let (answer, ()) = tokio::join!(invoke(&bench, "/wait"), async {
        crate::support::until("it is busy", || async { figures(&bench).running == 1 }).await;
        bench.functions.set_provisioned("f", 0);
        std::fs::write(bench.folder.path().join("probe.txt.go"), "").unwrap();
    });
    assert!(answer.is_ok(), "{answer:?}");
    crate::support::until("none is left", || async { figures(&bench).processes == 0 }).await;
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_held_ahead_that_does_not_start_is_told() {
    let mut model = model(Duration::from_secs(5));
    let function = model.functions.get_mut("f").unwrap();
    function
        .environment
        .insert("PROBE_START".to_owned(), "fails".to_owned());
    let bench = Bench::new(&model, 4);
    bench.functions.set_provisioned("f", 2);
    crate::support::until("it is told", || async {
        bench.functions.allocation("f").unwrap().failed
    })
    .await;
    assert_eq!(bench.functions.allocation("f").unwrap().allocated, 0);
    bench.functions.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_on_lambda_each_request_that_finds_none_starts_one_and_the_platform_s_share_is_told() {
    let share = Duration::from_millis(60);
    let bench = Bench::as_lambda(&model(Duration::from_secs(5)), 8, share);
    let one = |path: &'static str| {
        let functions = &bench.functions;
        let event = Bytes::from(json!({"rawPath": path}).to_string());
        functions.invoke_modelled(
            "f",
            "GET /x",
            functions.identify(),
            event,
            Waiting::Briefly,
            |r| u16::from(r.is_ok()),
        )
    };
    let began = std::time::Instant::now();
    let (first, second, third) = tokio::join!(one("/ok"), one("/ok"), one("/ok"));
    assert!(began.elapsed() >= share);
    for (result, modelled) in [first, second, third] {
        assert!(result.is_ok());
        assert!(modelled <= share && modelled > Duration::ZERO, "{modelled:?}");
    }
    assert_eq!(figures(&bench).cold_starts, 3);
    // A request that finds an idle process has no modelled waiting time.
    crate::support::until("one is found idle", || async { one("/ok").await.1.is_zero() }).await;
    bench.functions.stop().await;
}
