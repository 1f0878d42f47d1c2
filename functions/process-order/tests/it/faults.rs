//! Tests every fault at every call, concurrent duplicates, and random histories. Charges and orders must stay
//! consistent.

use crate::support::{DECLINED, POOR, SOFT, Scene, TO_SIGN, VISA};
use domain::ids::OrderId;
use domain::order::OrderStatus;
use futures_util::future::{join, join_all};
use memory::{Fault, GatewayFault, GatewayOp, Op};
use process_order::advance_payment::Advanced;
use proptest::prelude::*;

/// A scenario of one order: what happens before the tested message, and how the order ends unless the gateway refuses
/// a call.
#[derive(Debug, Clone, Copy)]
enum Story {
    Pays,
    PaysByTheSecondCard,
    Declined,
    Signs,
    CancelsWhileSigning,
    TooLate,
}

const STORIES: [Story; 6] = [
    Story::Pays,
    Story::PaysByTheSecondCard,
    Story::Declined,
    Story::Signs,
    Story::CancelsWhileSigning,
    Story::TooLate,
];

impl Story {
    async fn begin(self, scene: &Scene) -> OrderId {
        let method = match self {
            Self::Pays => VISA,
            Self::PaysByTheSecondCard | Self::Declined => DECLINED,
            _ => TO_SIGN,
        };
        let id = scene.order("ada", method).await;
        match self {
            Self::Pays => {}
            Self::PaysByTheSecondCard => {
                scene.deliver(&id).await;
                assert!(scene.bring(&id, VISA).await);
            }
            Self::Declined => {
                scene.deliver(&id).await;
                assert!(scene.bring(&id, POOR).await);
                scene.deliver(&id).await;
                assert!(scene.bring(&id, DECLINED).await);
            }
            Self::Signs => {
                scene.deliver(&id).await;
                scene.act(&id, true);
            }
            Self::CancelsWhileSigning => {
                scene.deliver(&id).await;
                assert!(scene.ask_to_cancel(&id).await);
            }
            Self::TooLate => {
                scene.deliver(&id).await;
                scene.past_the_deadline();
            }
        }
        id
    }

    fn end(self) -> OrderStatus {
        match self {
            Self::Pays | Self::PaysByTheSecondCard | Self::Signs => OrderStatus::Paid,
            Self::Declined => OrderStatus::Declined,
            Self::CancelsWhileSigning | Self::TooLate => OrderStatus::Cancelled,
        }
    }
}

#[tokio::test]
async fn any_database_fault_at_any_call_changes_no_ending() {
    for story in STORIES {
        for op in [Op::Order, Op::Advance] {
            for nth in 1..=3 {
                for fault in [
                    Fault::Busy,
                    Fault::UnknownBefore,
                    Fault::UnknownAfter,
                    Fault::Broken,
                ] {
                    let scene = Scene::new(nth).await;
                    let id = story.begin(&scene).await;
                    scene.store.fail_nth(op, nth, fault);
                    let advanced = scene.deliver(&id).await;
                    assert_eq!(
                        advanced,
                        Advanced::Ended(story.end()),
                        "{story:?} {op:?} {nth} {fault:?}"
                    );
                    scene.audit();
                }
            }
        }
    }
}

#[tokio::test]
async fn any_gateway_fault_at_any_call_changes_no_ending() {
    for story in STORIES {
        for op in GatewayOp::ALL {
            for nth in 1..=3 {
                for fault in GatewayFault::ALL {
                    let scene = Scene::new(nth).await;
                    let id = story.begin(&scene).await;
                    scene.gateway.fail_nth(op, nth, fault);
                    let advanced = scene.deliver(&id).await;
                    scene.audit();
                    // A permanently refused confirm is a decline, whatever the card's own outcome is.
                    if fault != GatewayFault::Refused || op != GatewayOp::Confirm {
                        let end = Advanced::Ended(story.end());
                        assert_eq!(advanced, end, "{story:?} {op:?} {nth} {fault:?}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_charge_whose_answer_is_lost_is_found_not_repeated() {
    for fault in [GatewayFault::UnknownAfter, GatewayFault::UnavailableAfter] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", VISA).await;
        scene.gateway.fail_next(GatewayOp::Confirm, fault);
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
        assert_eq!(scene.gateway.calls(GatewayOp::Confirm), 1);
        assert_eq!(scene.gateway.calls(GatewayOp::Find), 1);
        scene.audit();
    }
}

#[tokio::test]
async fn what_stays_unknown_is_left_to_the_sweeper_and_the_order_stays_open() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", VISA).await;
    scene
        .gateway
        .set_plan(|op, _| (op == GatewayOp::Confirm).then_some(GatewayFault::UnknownBefore));
    assert_eq!(scene.advance(&id).await, Ok(Advanced::WithoutGateway));
    scene
        .gateway
        .set_plan(|op, _| (op == GatewayOp::Find).then_some(GatewayFault::UnavailableBefore));
    assert_eq!(scene.advance(&id).await, Ok(Advanced::WithoutGateway));
    assert_eq!(scene.read(&id).await.status, OrderStatus::Paying);
    scene.audit();
    scene.gateway.clear_faults();
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
    scene.audit();
}

#[tokio::test]
async fn a_key_that_the_gateway_refuses_is_an_outage_and_never_a_decline() {
    for refused in [GatewayOp::Create, GatewayOp::Confirm, GatewayOp::Find] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", TO_SIGN).await;
        if refused == GatewayOp::Find {
            assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
            scene.act(&id, true);
        }
        let before = scene.read(&id).await.status;
        // Only calls of this kind refuse the key, as after a key rotation between two calls. A look-up with an accepted
        // key must not change the refusal into a decline.
        scene
            .gateway
            .set_plan(move |op, _| (op == refused).then_some(GatewayFault::NoKey));
        assert_eq!(scene.advance(&id).await, Ok(Advanced::WithoutGateway));
        if refused != GatewayOp::Confirm {
            assert_eq!(scene.read(&id).await.status, before);
        }
        assert_eq!(scene.read(&id).await.tries.len(), 1);
        scene.audit();
        scene.gateway.clear_faults();
        let advanced = scene.advance(&id).await.unwrap();
        assert_ne!(advanced, Advanced::Ended(OrderStatus::Declined));
        scene.act(&id, true);
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
        scene.audit();
    }
}

#[tokio::test]
async fn an_order_is_paid_by_the_same_message_with_the_key_as_it_is_after_a_rotation() {
    for op in [GatewayOp::Create, GatewayOp::Confirm] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", VISA).await;
        scene.gateway.fail_next(op, GatewayFault::NoKey);
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
        scene.audit();
    }
}

#[tokio::test]
async fn an_outage_is_waited_for_only_so_long() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", VISA).await;
    for fault in [
        GatewayFault::NotSent,
        GatewayFault::UnavailableBefore,
        GatewayFault::NoKey,
    ] {
        scene.gateway.set_plan(move |_, _| Some(fault));
        let (calls, slept) = (scene.gateway.calls(GatewayOp::Create), scene.runtime.slept_ms());
        assert_eq!(scene.advance(&id).await, Ok(Advanced::WithoutGateway));
        assert!(scene.gateway.calls(GatewayOp::Create) - calls <= 7);
        assert!(scene.runtime.slept_ms() - slept <= process_order::advance_payment::BUDGET_MS);
    }
    scene.gateway.clear_faults();
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
    scene.audit();
}

#[tokio::test]
async fn duplicates_at_once_end_alike() {
    for story in STORIES {
        for seed in 0..8 {
            let scene = Scene::new(seed).await;
            let id = story.begin(&scene).await;
            let advanced = join_all((0..6).map(|_| scene.advance(&id))).await;
            for one in &advanced {
                assert!(
                    matches!(one, Ok(Advanced::Ended(end)) if *end == story.end()),
                    "{story:?} {seed}: {one:?}"
                );
            }
            scene.audit();
        }
    }
}

#[tokio::test]
async fn a_cancellation_against_the_capture_has_one_winner() {
    for seed in 0..40_u64 {
        let scene = Scene::new(seed).await;
        let id = scene.order("ada", VISA).await;
        let wish = async {
            for _ in 0..seed % 10 {
                tokio::task::yield_now().await;
            }
            scene.ask_to_cancel(&id).await
        };
        let (advanced, _) = join(scene.advance(&id), wish).await;
        assert!(advanced.is_ok(), "seed {seed}: {advanced:?}");
        assert!(
            matches!(scene.deliver(&id).await, Advanced::Ended(_)),
            "seed {seed}"
        );
        scene.audit();
    }
}

/// One event in an order's random history: copies of a message, a shopper's request, or time that passes.
#[derive(Debug, Clone, Copy)]
enum Act {
    Drive { copies: usize },
    AskToCancel,
    Bring { method: &'static str },
    Sign { approves: bool },
    Pass { ms: i64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..4_usize).prop_map(|copies| Act::Drive { copies }),
        1 => Just(Act::AskToCancel),
        2 => prop::sample::select(vec![VISA, DECLINED, POOR, TO_SIGN, SOFT]).prop_map(|method| Act::Bring { method }),
        1 => any::<bool>().prop_map(|approves| Act::Sign { approves }),
        1 => (0..90_000_i64).prop_map(|ms| Act::Pass { ms }),
    ]
}

async fn live_through(method: &str, acts: &[Act], seed: u64, share: u64) {
    let scene = Scene::new(seed).await;
    let id = scene.order("ada", method).await;
    let dice = |salt: u64| {
        let dice = memory::TestRuntime::new(seed ^ salt);
        move || ports::runtime::Random::random(&dice)
    };
    let roll = dice(1);
    scene.store.set_plan(move |op, _| {
        let faults = [
            Fault::Busy,
            Fault::UnknownBefore,
            Fault::UnknownAfter,
            Fault::Broken,
        ];
        let hit = matches!(op, Op::Order | Op::Advance) && roll() % 100 < share;
        hit.then(|| faults[usize::try_from(roll() % 4).unwrap()])
    });
    let roll = dice(2);
    scene.gateway.set_plan(move |_, _| {
        (roll() % 100 < share).then(|| GatewayFault::ALL[usize::try_from(roll() % 8).unwrap()])
    });
    for act in acts {
        match act {
            Act::Drive { copies } => {
                join_all((0..*copies).map(|_| scene.advance(&id))).await;
            }
            Act::AskToCancel => {
                scene.ask_to_cancel(&id).await;
            }
            Act::Bring { method } => {
                scene.bring(&id, method).await;
            }
            Act::Sign { approves } => scene.act(&id, *approves),
            Act::Pass { ms } => scene.runtime.advance(*ms),
        }
        scene.audit();
    }
    scene.store.clear_plan();
    scene.gateway.clear_faults();
    let mut advanced = Advanced::Waiting;
    for _ in 0..2 {
        advanced = scene.deliver(&id).await;
        // The time limit of the side that must act now, the shopper or the gateway, passes.
        scene.past_the_wait();
    }
    if matches!(advanced, Advanced::Waiting) {
        advanced = scene.deliver(&id).await;
    }
    assert!(
        matches!(advanced, Advanced::Ended(_)),
        "past the deadline every order ends: {advanced:?}"
    );
    scene.audit();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_money_and_order_agree(
        method in prop::sample::select(vec![VISA, DECLINED, TO_SIGN, SOFT]),
        acts in prop::collection::vec(act(), 1..12),
        seed in any::<u64>(),
        share in prop::sample::select(vec![0_u64, 10, 40]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(live_through(method, &acts, seed, share));
    }
}
