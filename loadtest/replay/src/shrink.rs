//! Reduces a plan that breaks a promise to a small plan that still breaks it.
//!
//! First, every random stroke is replaced by a stroke at a named place, so that removing one stroke does not move
//! another. Then parts of the plan are removed, first many parts together and then single parts. The remaining values
//! are made smaller and simpler. A change is kept when the run still breaks the same promise.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use loadtest::audit::Promise;

use crate::plan::{Card, Plan, Sends, SystemPlan, Then, WebhookPlan, Wish};
use crate::run::{Options, run};
use crate::tokens::Keys;

struct Shrinker<'a> {
    keys: &'a Arc<Keys>,
    options: Options,
    promise: Promise,
    runs: u32,
    most_runs: u32,
}

/// The plan that shrinking found, and the number of runs that it took.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The smallest plan found.
    pub plan: Plan,
    /// The number of runs that shrinking took.
    pub runs: u32,
}

/// Shrinks `plan`, which breaks `promise`, with at most `most_runs` runs.
#[must_use]
pub fn shrink(plan: &Plan, keys: &Arc<Keys>, options: Options, promise: Promise, most_runs: u32) -> Shrunk {
    let options = Options {
        telling: false,
        ..options
    };
    let mut shrinker = Shrinker {
        keys,
        options,
        promise,
        runs: 0,
        most_runs,
    };
    let mut plan = plan.clone();
    shrinker.name_strokes(&mut plan);
    let mut size = usize::MAX;
    while size_of(&plan) < size && shrinker.runs < most_runs {
        size = size_of(&plan);
        shrinker.leave_out(&mut plan);
        shrinker.make_plain(&mut plan);
    }
    Shrunk {
        plan,
        runs: shrinker.runs,
    }
}

/// The size of the plan for a reader: the length of its JSON.
fn size_of(plan: &Plan) -> usize {
    serde_json::to_string(plan).map_or(0, |text| text.len())
}

impl Shrinker<'_> {
    fn still_fails(&mut self, plan: &Plan) -> bool {
        if self.runs >= self.most_runs {
            return false;
        }
        self.runs += 1;
        let outcome = run(plan, self.keys, self.options);
        outcome.violations.iter().any(|v| v.promise == self.promise)
    }

    /// Keeps `change` if the plan still fails with it.
    fn attempt(&mut self, plan: &mut Plan, change: impl FnOnce(&mut Plan)) -> bool {
        let mut changed = plan.clone();
        change(&mut changed);
        let taken = changed != *plan && self.still_fails(&changed);
        if taken {
            *plan = changed;
        }
        taken
    }

    fn name_strokes(&mut self, plan: &mut Plan) {
        if plan.faults.strokes.is_some() {
            return;
        }
        let outcome = run(plan, self.keys, self.options);
        self.attempt(plan, |plan| plan.faults.strokes = Some(outcome.strokes));
    }

    fn leave_out(&mut self, plan: &mut Plan) {
        self.fewer(plan, |plan| Some(&mut plan.shoppers));
        self.fewer(plan, |plan| Some(&mut plan.acts));
        self.fewer(plan, |plan| Some(&mut plan.faults.outages));
        self.cut(
            plan,
            |plan| plan.faults.strokes.as_ref().map_or(0, BTreeMap::len),
            |plan, range| {
                let mut places = 0..;
                if let Some(strokes) = &mut plan.faults.strokes {
                    strokes.retain(|_, _| places.next().is_some_and(|place| !range.contains(&place)));
                }
            },
        );
        for shopper in 0..plan.shoppers.len() {
            self.fewer(plan, |plan| Some(&mut plan.shoppers.get_mut(shopper)?.wishes));
        }
        self.attempt(plan, |plan| plan.faults.rates.clear());
    }

    /// Removes ranges of a list of the plan.
    fn fewer<T>(&mut self, plan: &mut Plan, list: impl Fn(&mut Plan) -> Option<&mut Vec<T>>) {
        self.cut(
            plan,
            |plan| list(plan).map_or(0, |list| list.len()),
            |plan, range| {
                if let Some(list) = list(plan) {
                    list.drain(range);
                }
            },
        );
    }

    /// Removes ranges of something with a length: first the whole, then shorter and shorter ranges.
    fn cut(
        &mut self,
        plan: &mut Plan,
        len: impl Fn(&mut Plan) -> usize,
        cut: impl Fn(&mut Plan, Range<usize>),
    ) {
        let mut stretch = len(plan);
        while stretch > 0 {
            let mut from = 0;
            while from < len(plan) {
                let to = (from + stretch).min(len(plan));
                if !self.attempt(plan, |plan| cut(plan, from..to)) {
                    from = to;
                }
            }
            stretch /= 2;
        }
    }

    fn make_plain(&mut self, plan: &mut Plan) {
        let changes: [fn(&mut SystemPlan); 6] = [
            |system| system.latency_ms = 1,
            |system| system.order = 0,
            |system| system.webhooks = WebhookPlan::Never,
            |system| (system.max_receives, system.redrive_ms) = (None, None),
            |system| (system.lanes, system.workers) = (1, 1),
            |system| (system.stream_batch, system.queue_batch) = (1, 1),
        ];
        for change in changes {
            self.attempt(plan, |plan| change(&mut plan.system));
        }
        for sku in 0..plan.drop.units.len() {
            for units in [1, 2, 3, 5] {
                let smaller = |plan: &mut Plan| {
                    if let Some(there) = plan.drop.units.get_mut(sku) {
                        *there = units.min(*there);
                    }
                };
                if self.attempt(plan, smaller) {
                    break;
                }
            }
        }
        for shopper in 0..plan.shoppers.len() {
            let wishes = plan.shoppers.get(shopper).map_or(0, |s| s.wishes.len());
            for wish in 0..wishes {
                self.plain_wish(plan, shopper, wish);
            }
        }
    }

    fn plain_wish(&mut self, plan: &mut Plan, shopper: usize, wish: usize) {
        const CALM: Sends = Sends::once(12_000);
        let changes: [fn(&mut Wish); 6] = [
            |wish| wish.sends = CALM,
            |wish| wish.browses = false,
            |wish| wish.looks = 0,
            |wish| wish.quantity = 1,
            |wish| wish.then = Then::Abandon,
            |wish| {
                if let Then::CheckOut(plan) = &mut wish.then {
                    (plan.sends, plan.card) = (CALM, Card::Works);
                    (plan.further, plan.cancel_after_ms) = ([None; 2], None);
                }
            },
        ];
        for change in changes {
            self.attempt(plan, |plan| {
                let shopper = plan.shoppers.get_mut(shopper);
                if let Some(wish) = shopper.and_then(|shopper| shopper.wishes.get_mut(wish)) {
                    change(wish);
                }
            });
        }
    }
}
