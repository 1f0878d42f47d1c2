//! Tests repeats: their number, their waits, and which calls are repeated.

use std::cell::{Cell, RefCell};

use memory::TestRuntime;
use ports::Conditional;
use ports::retry::{
    Attempt, IN_REQUEST, IN_WORKER, Policy, SENDING, Transient, retry, retry_each, retry_if,
    retry_on_conflict,
};
use ports::runtime::Clock as _;
use proptest::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Passes { wait_ms: u64 },
    Stays,
}

impl Transient for Fault {
    fn is_transient(&self) -> bool {
        *self != Self::Stays
    }

    fn wait_at_least_ms(&self) -> u64 {
        match self {
            Self::Passes { wait_ms } => *wait_ms,
            Self::Stays => 0,
        }
    }
}

const PASSES: Fault = Fault::Passes { wait_ms: 0 };

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

/// Runs a call that always fails, `call_ms` after its beginning. Returns the time at which each call began,
/// in ms after the start.
fn failing(policy: Policy, fault: Fault, call_ms: i64, runtime: &TestRuntime) -> Vec<i64> {
    let calls = RefCell::new(Vec::new());
    let outcome = run(retry(runtime, policy, || async {
        calls
            .borrow_mut()
            .push(runtime.now().millis_since(TestRuntime::START));
        runtime.advance(call_ms);
        Err::<(), _>(fault)
    }));
    assert_eq!(outcome, Err(fault));
    calls.into_inner()
}

#[test]
fn what_passes_is_repeated_as_often_as_the_policy_says_and_what_stays_is_not() {
    for policy in [IN_REQUEST, IN_WORKER, SENDING, Policy::at_once(3)] {
        let runtime = TestRuntime::default();
        assert_eq!(failing(policy, Fault::Stays, 0, &runtime), [0]);
        failing(policy, PASSES, 0, &runtime);
        assert!(runtime.slept_ms() <= policy.budget_ms(), "{policy:?}");
    }
    assert_eq!(
        failing(Policy::at_once(3), PASSES, 1, &TestRuntime::default()),
        [0, 1, 2, 3]
    );
    assert_eq!(failing(IN_REQUEST, PASSES, 0, &TestRuntime::default()).len(), 5);
}

#[test]
fn a_call_that_succeeds_later_ends_the_repeats() {
    let (runtime, calls) = (TestRuntime::default(), Cell::new(0));
    let outcome = run(retry(&runtime, IN_WORKER, || async {
        calls.set(calls.get() + 1);
        if calls.get() < 3 {
            Err(PASSES)
        } else {
            Ok(calls.get())
        }
    }));
    assert_eq!(outcome, Ok(3));
    assert_eq!(calls.get(), 3);
    assert!(runtime.slept_ms() >= 25 + 50);
}

#[test]
fn only_errors_that_the_caller_names_are_repeated() {
    let (runtime, calls) = (TestRuntime::default(), Cell::new(0));
    let asks = |fault: &Fault| fault.wait_at_least_ms() > 0;
    let outcome = run(retry_if(&runtime, IN_WORKER, asks, || async {
        calls.set(calls.get() + 1);
        let wait_ms = if calls.get() < 3 { 10 } else { 0 };
        Err::<(), _>(Fault::Passes { wait_ms })
    }));
    assert_eq!(outcome, Err(PASSES));
    assert_eq!(calls.get(), 3);
}

#[test]
fn processes_that_fail_together_do_not_come_again_together() {
    let first_wait = |seed| failing(Policy::new(1, 1_000, 1_000), PASSES, 0, &TestRuntime::new(seed))[1];
    let waits: std::collections::BTreeSet<i64> = (0..20).map(first_wait).collect();
    assert!(waits.len() > 15, "{waits:?}");
    assert!(
        waits.iter().all(|wait| (1_000..=2_000).contains(wait)),
        "{waits:?}"
    );
}

/// The answers to one item, call by call. After the last entry, the last answer is repeated.
fn answers() -> impl Strategy<Value = Vec<Option<Result<(), Fault>>>> {
    let answer = prop_oneof![
        2 => Just(Some(Ok(()))),
        3 => Just(Some(Err(PASSES))),
        1 => Just(Some(Err(Fault::Stays))),
    ];
    prop::collection::vec(answer, 1..7)
}

proptest! {
    #[test]
    fn no_repeat_begins_after_the_deadline_nor_sooner_than_was_asked(
        (retries, first_ms, more_ms) in (0..8_usize, 0..200_u64, 0..800_u64),
        (until_ms, call_ms, wait_ms) in (0..4_000_i64, 0..600_i64, 0..300_u64),
        seed in any::<u64>(),
    ) {
        let runtime = TestRuntime::new(seed);
        let policy = Policy::new(retries, first_ms, first_ms + more_ms).until(TestRuntime::START.plus_millis(until_ms));
        let calls = failing(policy, Fault::Passes { wait_ms }, call_ms, &runtime);
        prop_assert!(calls.len() <= 1 + retries && calls[0] == 0);
        for (before, after) in calls.iter().zip(&calls[1..]) {
            prop_assert!(*after <= until_ms);
            prop_assert!(after - before >= call_ms + wait_ms.cast_signed());
        }
        let asked = wait_ms * u64::try_from(calls.len() - 1).unwrap();
        prop_assert!(runtime.slept_ms() <= policy.budget_ms() + asked);
        let ended = runtime.now().millis_since(TestRuntime::START);
        prop_assert_eq!(ended, calls[calls.len() - 1] + call_ms, "no wait without a call after it");
    }

    /// Each item is sent until its answer is final, and not again afterwards. Each answer belongs to its
    /// item, even if a call answers only for its first items.
    #[test]
    fn of_many_items_only_those_without_a_final_answer_are_sent_again(
        scripts in prop::collection::vec(answers(), 0..6),
        silent in prop::collection::vec(0..7_usize, 0..5),
        retries in 0..5_usize,
    ) {
        let runtime = TestRuntime::default();
        let items: Vec<usize> = (0..scripts.len()).collect();
        let mut sent = vec![0; items.len()];
        let mut expected = vec![None; items.len()];
        let mut calls = 0;
        let got = run(retry_each(&runtime, Policy::new(retries, 1, 4), &items, |left: Vec<usize>| {
            assert!(left.is_sorted() && !left.is_empty());
            let answered = left.len() - silent.get(calls).copied().unwrap_or(0).min(left.len());
            calls += 1;
            let answer = |item: &usize| {
                let script = &scripts[*item];
                let answer = script[sent[*item].min(script.len() - 1)].unwrap();
                assert!(!matches!(expected[*item], Some(Ok(()) | Err(Fault::Stays))), "sent again");
                sent[*item] += 1;
                expected[*item] = Some(answer);
                answer
            };
            let answers: Vec<_> = left[..answered].iter().map(answer).collect();
            async move { answers }
        }));
        prop_assert_eq!(&got, &expected);
        let left = |answer: &Option<Result<(), Fault>>| matches!(answer, None | Some(Err(Fault::Passes { .. })));
        prop_assert!(calls <= 1 + retries);
        prop_assert!(calls == 1 + retries || !got.iter().any(left));
    }
}

/// A value with a version, like an item in a store with conditional writes.
#[derive(Default)]
struct Versioned(Cell<u32>);

impl Versioned {
    async fn read(&self) -> u32 {
        tokio::task::yield_now().await;
        self.0.get()
    }

    async fn write(&self, next: u32) -> Conditional<()> {
        tokio::task::yield_now().await;
        if self.0.get() + 1 != next {
            return Conditional::Refused(());
        }
        self.0.set(next);
        Conditional::Done
    }
}

#[test]
fn of_writers_that_meet_each_one_succeeds_on_what_it_read_last() {
    let (runtime, value) = (TestRuntime::default(), Versioned::default());
    let count = |_| async {
        let next = value.read().await + 1;
        Ok::<_, ()>(Attempt::of(value.write(next).await, next))
    };
    // In each conflict one writer succeeds, so the last of six writers needs six attempts.
    let policy = Policy::at_once(5);
    let all = run(futures_util::future::join_all(
        (0..6).map(|_| retry_on_conflict(&runtime, policy, count)),
    ));
    let mut counted: Vec<u32> = all.into_iter().map(|done| done.unwrap().unwrap()).collect();
    counted.sort_unstable();
    assert_eq!(counted, vec![1, 2, 3, 4, 5, 6]);
    assert_eq!(value.0.get(), 6);
}

#[test]
fn looks_are_bounded_and_an_error_ends_them() {
    let runtime = TestRuntime::default();
    let attempts = Cell::new(0);
    let again = |_| async {
        attempts.set(attempts.get() + 1);
        if attempts.get() == 10 {
            Err("fault")
        } else {
            Ok(Attempt::<()>::Again)
        }
    };
    assert_eq!(
        run(retry_on_conflict(&runtime, Policy::at_once(3), &again)),
        Ok(None)
    );
    assert_eq!(attempts.get(), 4);
    assert_eq!(runtime.slept_ms(), 0);
    let late = Policy::new(9, 10, 10).until(runtime.now().plus_millis(9));
    assert_eq!(run(retry_on_conflict(&runtime, late, &again)), Ok(None));
    assert_eq!(attempts.get(), 5, "no wait beyond the deadline");
    assert_eq!(runtime.slept_ms(), 0, "no wait beyond the deadline");
    assert_eq!(
        run(retry_on_conflict(&runtime, Policy::at_once(9), &again)),
        Err("fault")
    );
    assert_eq!(attempts.get(), 10);
}
