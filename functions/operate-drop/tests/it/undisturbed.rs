//! Tests faults, process deaths and races: in every case, a repeat leads to the result of a single
//! undisturbed request.

use crate::support::{Scene, body, killed_after};
use domain::drops::{Drop, DropState};
use domain::ids::DropId;
use domain::shard::Shard;
use futures_util::future::{join, join_all};
use http::StatusCode;
use memory::{Fault, MemoryStore, Op};
use operate_drop::NotDone;
use operate_drop::change::{Asked, change};
use ports::drops::{ReadDrop, StoreDrop};
use ports::{Conditional, StoreError};
use serde_json::json;
use tokens::Scope;

/// Publishes without faults, and returns the drop and the shards, with which the tests compare.
async fn undisturbed_publication() -> (Option<Drop>, String) {
    Scene::new().published().await.all().await
}

/// Makes the `nth` call of `op` from now on fail, until the plan is cleared.
fn fail_once(scene: &Scene, op: Op, nth: u64, fault: Fault) {
    let call = scene.store.calls(op) + nth;
    scene
        .store
        .set_plan(move |which, n| (which == op && n == call).then_some(fault));
}

const TRANSIENT: [Fault; 3] = [Fault::Busy, Fault::UnknownBefore, Fault::UnknownAfter];

#[tokio::test(flavor = "current_thread")]
async fn publishing_survives_one_fault_anywhere() {
    let expected = undisturbed_publication().await;
    for op in [Op::Drop, Op::Store, Op::Survey, Op::Allocate] {
        for nth in 1..=4 {
            for fault in TRANSIENT {
                let scene = Scene::new();
                scene.put(&body()).await;
                fail_once(&scene, op, nth, fault);
                let (status, answer) = scene.post("publish").await;
                scene.store.clear_plan();
                assert_eq!(status, StatusCode::OK, "{op:?} {nth} {fault:?}: {answer}");
                assert_eq!(scene.all().await, expected, "{op:?} {nth} {fault:?}");
            }
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_silent_database_puts_publishing_off_and_a_repeat_finishes_it() {
    let expected = undisturbed_publication().await;
    for op in [Op::Drop, Op::Store, Op::Survey, Op::Allocate] {
        for fault in TRANSIENT {
            let scene = Scene::new();
            scene.put(&body()).await;
            let calls = scene.store.calls(op);
            scene
                .store
                .set_plan(move |which, n| (which == op && n > calls + 1).then_some(fault));
            let (status, problem) = scene.post("publish").await;
            scene.store.clear_plan();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{op:?} {fault:?}");
            assert_eq!(problem["code"].as_str(), Some("throttled"), "{op:?} {fault:?}");
            assert_eq!(scene.post("publish").await.0, StatusCode::OK);
            assert_eq!(scene.all().await, expected, "{op:?} {fault:?}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn publishing_that_died_anywhere_is_finished_by_repeating_it() {
    let expected = undisturbed_publication().await;
    let mut deaths = 0;
    for polls in 0.. {
        let scene = Scene::new();
        scene.put(&body()).await;
        let finished = killed_after(polls, scene.post("publish")).await.is_some();
        let scheduled = scene.drop().await.unwrap().state == DropState::Scheduled;
        assert!(
            !scheduled || scene.store.shards().len() == 4,
            "on the calendar without its shards after {polls} polls"
        );
        assert_eq!(
            scene.post("publish").await.0,
            StatusCode::OK,
            "after {polls} polls"
        );
        assert_eq!(scene.all().await, expected, "after {polls} polls");
        scene.store.audit().unwrap();
        if finished {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 6, "{deaths}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_restock_that_died_or_failed_anywhere_is_finished_by_repeating_it() {
    let expected = {
        let scene = Scene::new().published().await;
        assert_eq!(scene.restock("k", "TEE-L", 50).await.0, StatusCode::OK);
        scene.all().await
    };
    for polls in 0.. {
        let scene = Scene::new().published().await;
        let finished = killed_after(polls, scene.restock("k", "TEE-L", 50))
            .await
            .is_some();
        assert_eq!(scene.restock("k", "TEE-L", 50).await.0, StatusCode::OK);
        assert_eq!(scene.all().await, expected, "after {polls} polls");
        if finished {
            assert!(polls >= 6, "{polls}");
            break;
        }
    }
    for op in [Op::Drop, Op::Store, Op::Survey, Op::Allocate] {
        for nth in 1..=3 {
            for fault in TRANSIENT {
                let scene = Scene::new().published().await;
                fail_once(&scene, op, nth, fault);
                assert_eq!(scene.restock("k", "TEE-L", 50).await.0, StatusCode::OK);
                scene.store.clear_plan();
                assert_eq!(scene.all().await, expected, "{op:?} {nth} {fault:?}");
            }
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_creation_whose_answer_was_lost_is_still_a_creation() {
    for fault in TRANSIENT {
        let scene = Scene::new();
        scene.store.fail_next(Op::Store, fault);
        assert_eq!(scene.put(&body()).await.0, StatusCode::CREATED, "{fault:?}");
        assert_eq!(scene.drop().await.unwrap().version, 1);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_act_survives_one_fault_of_each_kind() {
    for op in [Op::Drop, Op::Store] {
        for fault in TRANSIENT {
            let scene = Scene::new().published().await;
            scene.store.fail_next(op, fault);
            assert_eq!(scene.post("pause").await.1["paused"], true, "{op:?} {fault:?}");
            scene.store.fail_next(op, fault);
            assert_eq!(scene.extend(300).await.0, StatusCode::OK, "{op:?} {fault:?}");
            scene.store.fail_next(op, fault);
            assert_eq!(
                scene.post("cancel").await.1["state"],
                "cancelling",
                "{op:?} {fault:?}"
            );
            let drop = scene.drop().await.unwrap();
            assert_eq!(
                drop.version, 6,
                "three versions to publish it, one for each act: {op:?} {fault:?}"
            );
        }
    }
    let scene = Scene::new().published().await;
    scene.store.fail_next(Op::Drop, Fault::Broken);
    let (status, problem) = scene.post("pause").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(problem["code"].as_str(), Some("internal"));
}

#[tokio::test(flavor = "current_thread")]
async fn many_who_publish_at_once_publish_once() {
    let expected = undisturbed_publication().await;
    let scene = Scene::new();
    scene.put(&body()).await;
    let answers = join_all((0..8).map(|_| scene.post("publish"))).await;
    assert!(
        answers.iter().all(|(status, _)| *status == StatusCode::OK),
        "{answers:?}"
    );
    assert_eq!(scene.all().await, expected);
}

#[tokio::test(flavor = "current_thread")]
async fn many_who_create_at_once_create_once() {
    let scene = Scene::new();
    let contents = body();
    let answers = join_all((0..8).map(|_| scene.put(&contents))).await;
    let created = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::CREATED);
    // A request whose write comes second finds its own contents stored, and may also answer 201. Nothing is
    // stored twice.
    assert!(created.count() >= 1 && answers.iter().all(|(status, _)| status.is_success()));
    assert_eq!(scene.drop().await.unwrap().version, 1);
}

#[tokio::test(flavor = "current_thread")]
async fn the_same_restock_at_once_is_one_and_different_ones_are_all_done() {
    let scene = Scene::new().published().await;
    let same = join_all((0..16).map(|_| scene.restock("k", "TEE-L", 10))).await;
    assert!(
        same.iter().all(|(status, _)| *status == StatusCode::OK),
        "{same:?}"
    );
    let drop = scene.drop().await.unwrap();
    assert_eq!(drop.skus[1].plan.units(), 15);
    let keys = ["a", "b", "c", "d"];
    let different = join_all(keys.iter().map(|key| scene.restock(key, "TEE-L", 10))).await;
    assert!(
        different.iter().all(|(status, _)| *status == StatusCode::OK),
        "{different:?}"
    );
    let drop = scene.drop().await.unwrap();
    assert_eq!(drop.skus[1].plan.units(), 55);
    let shards: u32 = scene.store.shards().values().map(|shard| shard.allocated).sum();
    assert_eq!(shards, 70 + 55);
}

#[tokio::test(flavor = "current_thread")]
async fn two_acts_at_once_are_both_done() {
    let scene = Scene::new().published().await;
    let (paused, extended) = join(scene.post("pause"), scene.extend(300)).await;
    assert_eq!(paused.0, StatusCode::OK);
    assert_eq!(extended.0, StatusCode::OK);
    let drop = scene.drop().await.unwrap();
    assert!(drop.paused && drop.version == 5, "{drop:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn cancelling_against_publishing_ends_without_a_half_published_drop() {
    for polls in 0..12 {
        let scene = Scene::new();
        scene.put(&body()).await;
        let publishing = async {
            killed_after(polls, scene.post("publish")).await;
        };
        let ((), cancelled) = join(publishing, scene.post("cancel")).await;
        assert_eq!(cancelled.0, StatusCode::OK);
        let state = scene.drop().await.unwrap().state;
        assert!(
            matches!(state, DropState::Cancelled | DropState::Cancelling),
            "{state:?}"
        );
        let (status, problem) = scene.post("publish").await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(problem["code"].as_str(), Some("wrong_state"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_shard_that_is_not_as_planned_stops_publishing() {
    let scene = Scene::new();
    scene.put(&body()).await;
    let key = "d#TEE-M#1".parse().unwrap();
    for shard in [
        Shard::allocated(23),
        Shard {
            free: 7,
            ..Shard::allocated(24)
        },
    ] {
        scene.store.put_shard(&key, shard);
        let (status, problem) = scene.post("publish").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(problem["code"].as_str(), Some("internal"));
        assert_eq!(scene.drop().await.unwrap().state, DropState::Publishing);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn publishing_that_takes_too_long_goes_on_when_repeated() {
    let scene = Scene::new();
    let mut large = body();
    large["skus"][0]["units"] = json!(24 * 1_400);
    large["starts_at"] = json!(crate::support::moment(10_000));
    large["ends_at"] = json!(crate::support::moment(20_000));
    scene.put(&large).await;
    let clock = scene.runtime.clone();
    scene.store.set_plan(move |op, _| {
        // The database is slow: each read of shards takes six seconds.
        if op == Op::Survey {
            clock.advance(6_000);
        }
        None
    });
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(scene.post("publish").await);
        if answers.last().unwrap().0 == StatusCode::OK {
            break;
        }
    }
    let (last, before) = answers.split_last().unwrap();
    assert_eq!(last.0, StatusCode::OK, "{answers:?}");
    assert!(!before.is_empty());
    for (status, problem) in before {
        assert_eq!(*status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(problem["code"].as_str(), Some("throttled"));
        assert_eq!(problem["retry_after_seconds"], 1);
    }
    assert_eq!(scene.store.shards().len(), 1_401);
    assert_eq!(
        scene.store.calls(Op::Allocate),
        1_401,
        "what was made once is not made again"
    );
}

/// Refuses every write of a drop, as if another change always came first.
struct AlwaysSecond(MemoryStore);

impl ReadDrop for AlwaysSecond {
    async fn drop(&self, id: &DropId) -> Result<Option<Drop>, StoreError> {
        self.0.drop(id).await
    }

    async fn copy(&self, id: &DropId, copy: u8) -> Result<Option<Drop>, StoreError> {
        self.0.copy(id, copy).await
    }
}

impl StoreDrop for AlwaysSecond {
    async fn store(&self, _drop: &Drop) -> Result<Conditional<()>, StoreError> {
        Ok(Conditional::Refused(()))
    }
}

#[tokio::test(flavor = "current_thread")]
async fn who_always_comes_second_is_told_so_in_the_end() {
    let scene = Scene::new().published().await;
    let before = scene.all().await;
    let drops = AlwaysSecond(scene.store.clone());
    let asked = Asked {
        id: "d".parse().unwrap(),
        scope: Scope::Any,
    };
    let outcome = change(&drops, &scene.runtime, &asked, |drop, _| drop.cancel()).await;
    assert_eq!(outcome, Err(NotDone::Conflict));
    assert_eq!(
        web::Failure::from(NotDone::Conflict).problem().code,
        web::Code::Conflict
    );
    assert_eq!(scene.all().await, before);
}
