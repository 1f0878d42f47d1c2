//! Reduces a plan that breaks a promise to a small plan that still breaks it.
//!
//! First, every random stroke is replaced by a stroke at a named place, so that removing one stroke does not move
//! another. Then parts of the plan are removed, first many parts together and then single parts. The remaining values
//! are made smaller and simpler. A change is kept when the run still breaks the same promise.

use std::collections::BTreeMap;
use std::sync::Arc;

use loadtest::audit::Promise;

use crate::faults::Struck;
use crate::plan::{Card, Plan, Sends, Then, WebhookPlan};
use crate::run::{Options, run};
use crate::tokens::Keys;

/// Shrinks plans.
pub struct Shrinker<'a> {
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
        self.fewer(
            plan,
            |plan| plan.shoppers.len(),
            |plan, from, to| {
                plan.shoppers.drain(from..to);
            },
        );
        self.fewer(
            plan,
            |plan| plan.acts.len(),
            |plan, from, to| {
                plan.acts.drain(from..to);
            },
        );
        self.fewer(
            plan,
            |plan| plan.faults.outages.len(),
            |plan, from, to| {
                plan.faults.outages.drain(from..to);
            },
        );
        self.fewer(
            plan,
            |plan| plan.faults.strokes.as_ref().map_or(0, BTreeMap::len),
            |plan, from, to| {
                let strokes = plan.faults.strokes.take().unwrap_or_default();
                let kept: BTreeMap<String, Struck> = strokes
                    .into_iter()
                    .enumerate()
                    .filter(|(n, _)| !(from..to).contains(n))
                    .map(|(_, stroke)| stroke)
                    .collect();
                plan.faults.strokes = Some(kept);
            },
        );
        for shopper in 0..plan.shoppers.len() {
            self.fewer(
                plan,
                |plan| plan.shoppers.get(shopper).map_or(0, |s| s.wishes.len()),
                |plan, from, to| {
                    if let Some(shopper) = plan.shoppers.get_mut(shopper) {
                        shopper.wishes.drain(from..to);
                    }
                },
            );
        }
        self.attempt(plan, |plan| plan.faults.rates.clear());
    }

    /// Removes ranges of a list: first the whole list, then shorter and shorter ranges.
    fn fewer(
        &mut self,
        plan: &mut Plan,
        len: impl Fn(&Plan) -> usize,
        cut: impl Fn(&mut Plan, usize, usize),
    ) {
        let mut stretch = len(plan);
        while stretch > 0 {
            let mut from = 0;
            while from < len(plan) {
                let to = (from + stretch).min(len(plan));
                if !self.attempt(plan, |plan| cut(plan, from, to)) {
                    from = to;
                }
            }
            stretch /= 2;
        }
    }

    fn make_plain(&mut self, plan: &mut Plan) {
        self.attempt(plan, |plan| plan.system.latency_ms = 1);
        self.attempt(plan, |plan| plan.system.order = 0);
        self.attempt(plan, |plan| plan.system.webhooks = WebhookPlan::Never);
        self.attempt(plan, |plan| {
            plan.system.max_receives = None;
            plan.system.redrive_ms = None;
        });
        self.attempt(plan, |plan| {
            plan.system.lanes = 1;
            plan.system.workers = 1;
        });
        self.attempt(plan, |plan| {
            plan.system.stream_batch = 1;
            plan.system.queue_batch = 1;
        });
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
        let calm = Sends {
            clicks: 1,
            patience_ms: 12_000,
        };
        let changes: [fn(&mut crate::plan::Wish, Sends); 6] = [
            |wish, calm| wish.sends = calm,
            |wish, _| wish.browses = false,
            |wish, _| wish.looks = 0,
            |wish, _| wish.quantity = 1,
            |wish, _| wish.then = Then::Abandon,
            |wish, calm| {
                if let Then::CheckOut {
                    sends,
                    card,
                    further,
                    cancel_after_ms,
                    ..
                } = &mut wish.then
                {
                    *sends = calm;
                    *card = Card::Works;
                    *further = [None; 2];
                    *cancel_after_ms = None;
                }
            },
        ];
        for change in changes {
            self.attempt(plan, |plan| {
                let shopper = plan.shoppers.get_mut(shopper);
                if let Some(wish) = shopper.and_then(|shopper| shopper.wishes.get_mut(wish)) {
                    change(wish, calm);
                }
            });
        }
    }
}
