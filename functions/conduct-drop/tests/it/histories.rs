//! Tests random histories of shoppers' acts, conductors' runs, process deaths and faults: the promises hold after every
//! step.

use std::collections::BTreeMap;

use crate::support::{Scene, killed_after};
use conduct_drop::bounds::LEASE_MS;
use domain::claim::Claim;
use domain::ids::{ShardKey, ShopperId};
use memory::{Fault, Op, fixtures};
use ports::runtime::Clock as _;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Hold { who: u8, shard: u8, units: u32 },
    Order { who: u8, shard: u8 },
    Settle { nth: usize },
    Decline { nth: usize },
    Wait { ms: i64 },
    Conduct { run: u8 },
    DieConducting { run: u8, polls: usize },
    Fault { op: usize, nth: u64, fault: usize },
}

/// The store's calls that a conductor makes. Faults are injected into them.
const OPS: [Op; 8] = [
    Op::Published,
    Op::Acquire,
    Op::Drop,
    Op::Survey,
    Op::GiveBack,
    Op::WriteCounts,
    Op::WriteStatus,
    Op::Status,
];
const FAULTS: [Fault; 4] = [
    Fault::Busy,
    Fault::UnknownBefore,
    Fault::UnknownAfter,
    Fault::Broken,
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (who, shard, run) = (0u8..5, 0u8..3, 0u8..3);
    let step = prop_oneof![
        4 => (who.clone(), shard.clone(), 1u32..=2).prop_map(|(who, shard, units)| Step::Hold { who, shard, units }),
        2 => (who, shard).prop_map(|(who, shard)| Step::Order { who, shard }),
        1 => (0usize..4).prop_map(|nth| Step::Settle { nth }),
        1 => (0usize..4).prop_map(|nth| Step::Decline { nth }),
        2 => (0i64..20_000).prop_map(|ms| Step::Wait { ms }),
        4 => run.clone().prop_map(|run| Step::Conduct { run }),
        1 => (run, 1usize..25).prop_map(|(run, polls)| Step::DieConducting { run, polls }),
        1 => (0usize..8, 1u64..4, 0usize..4).prop_map(|(op, nth, fault)| Step::Fault { op, nth, fault }),
    ];
    proptest::collection::vec(step, 0..60)
}

fn place(shard: u8) -> (&'static str, u16) {
    [("A", 0), ("A", 1), ("B", 0)][usize::from(shard)]
}

type Claims = BTreeMap<(ShardKey, ShopperId), Claim>;

fn claims(scene: &Scene) -> Claims {
    let shards = scene.store.shards().into_iter();
    shards
        .flat_map(|(key, shard)| {
            let of = move |(who, claim)| ((key.clone(), who), claim);
            shard.claims.into_iter().map(of)
        })
        .collect()
}

/// Selects the holds that must not be returned: those that are live and are the only claim of their shopper.
fn protected(before: &Claims, scene: &Scene) -> Claims {
    let now = scene.runtime.now();
    let mut alone = before.clone();
    alone.retain(|(_, who), claim| {
        claim.is_live(now) && before.keys().filter(|(_, other)| other == who).count() == 1
    });
    alone
}

async fn play(steps: Vec<Step>) {
    let scene = Scene::new();
    let processes = [scene.process(), scene.process(), scene.process()];
    for (n, step) in steps.into_iter().enumerate() {
        let before = claims(&scene);
        let protected = protected(&before, &scene);
        let conducting = matches!(step, Step::Conduct { .. } | Step::DieConducting { .. });
        let open = |nth: usize| {
            let orders = scene.store.orders();
            orders
                .values()
                .filter(|order| order.status.is_open())
                .nth(nth)
                .map(|order| order.id.clone())
        };
        match step {
            Step::Hold { who, shard, units } => {
                let (sku, index) = place(shard);
                scene.hold(sku, index, &format!("s{who}"), units).await;
            }
            Step::Order { who, shard } => {
                let (sku, index) = place(shard);
                scene.order(sku, index, &format!("s{who}")).await;
            }
            Step::Settle { nth } => {
                if let Some(order) = open(nth) {
                    scene.settle(&order).await;
                }
            }
            Step::Decline { nth } => {
                if let Some(order) = open(nth) {
                    scene.decline(&order).await;
                }
            }
            Step::Wait { ms } => scene.runtime.advance(ms),
            Step::Conduct { run } => {
                let mut run = processes[usize::from(run)].begin(format!("run{run}"));
                run.look().await;
                run.round().await;
            }
            Step::DieConducting { run, polls } => {
                let work = async {
                    let mut run = processes[usize::from(run)].begin(format!("dying{n}"));
                    run.look().await;
                    run.round().await;
                };
                killed_after(polls, work).await;
            }
            Step::Fault { op, nth, fault } => scene.store.fail_nth(OPS[op], nth, FAULTS[fault]),
        }
        scene.store.audit().unwrap();
        if conducting {
            let after = claims(&scene);
            for (key, claim) in &protected {
                // The hold may have expired while the conductor waited for an unavailable database.
                let expired = claim.is_returnable(scene.runtime.now());
                assert!(expired || after.get(key) == Some(claim), "{key:?} lost {claim}");
            }
            assert!(
                after.keys().all(|key| before.contains_key(key)),
                "a conductor makes no claim"
            );
        }
    }
    // Without faults, a conductor must return all holds and write the true status.
    scene.runtime.advance_seconds(fixtures::HOLD_SECONDS);
    let process = scene.process();
    let mut last = process.begin("last");
    for _ in 0..20 {
        scene.runtime.advance(LEASE_MS);
        last.look().await;
        last.round().await;
    }
    assert_eq!(scene.held(), 0);
    let told = scene.status().await.unwrap();
    let free: u32 = scene.store.shards().values().map(|shard| shard.free).sum();
    assert_eq!(told.skus.iter().map(|counts| counts.free).sum::<u32>(), free);
    scene.store.audit().unwrap();
}

proptest! {
    #[test]
    fn the_promises_hold_after_every_step(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(play(steps));
    }
}
