//! Draws the choices of each shopper, once, from the seed.
//!
//! A shopper's plan depends only on the seed and the shopper's number, so the same seed gives the same shoppers for
//! any order of the answers. Random numbers that are needed during the visit (jitter of retries) come from a
//! generator of the plan's own seed.

use domain::ids::ShopperId;
use tokens::ISSUER;

use crate::drop_file::{Behaviour, DropFile};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterReserving {
    CheckOut,
    /// The shopper leaves and lets the hold expire.
    Abandon,
    /// The shopper releases the units.
    Release,
}

/// The kind of a shopper's card, which decides the outcome of the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    /// The gateway charges the card.
    Works,
    /// The gateway declines the card.
    Declined,
    /// The bank requires authentication; the shopper confirms.
    ActionCompleted,
    /// The bank requires authentication; the shopper fails it.
    ActionFailed,
    /// The bank requires authentication; the shopper does not react.
    ActionIgnored,
    TimeoutBeforeCharge,
    TimeoutAfterCharge,
}

impl Card {
    /// The payment method's token at the sandbox gateway.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Works => "pm_card_visa",
            Self::Declined => "pm_card_visa_chargeDeclined",
            Self::ActionCompleted | Self::ActionFailed | Self::ActionIgnored => {
                "pm_card_authenticationRequired"
            }
            Self::TimeoutBeforeCharge => "pm_sandbox_timeout_before_charge",
            Self::TimeoutAfterCharge => "pm_sandbox_timeout_after_charge",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Plan {
    /// The subject of the shopper's tokens.
    pub subject: String,
    /// The shopper's id, as the stores contain it.
    pub shopper: String,
    /// Whether the shopper holds units until the drop ends and never pays.
    pub hoards: bool,
    pub sku: usize,
    /// Index of the SKU that the shopper wants when the first choice is gone; `None` if the shopper wants no other.
    pub second_sku: Option<usize>,
    pub quantity: u32,
    /// Whether the shopper accepts fewer units when fewer are left.
    pub takes_fewer: bool,
    /// Whether the shopper opens the list of drops first.
    pub opens_list: bool,
    /// Whether the shopper opens the drop's page.
    pub opens_page: bool,
    /// The number of times that the shopper asks again while all units are held; [`u32::MAX`] for no limit.
    pub looks: u32,
    /// The behaviour of the shopper after a reservation.
    pub after_reserving: AfterReserving,
    pub cancels: bool,
    pub checkout_after_ms: u64,
    pub card: Card,
    /// Whether the shopper sends the reservation twice at the same time.
    pub double_click_reserving: bool,
    /// Whether the shopper sends the order twice at the same time.
    pub double_click_ordering: bool,
    /// Whether the shopper reloads the page instead of waiting for the reservation's answer.
    pub reloads_reserving: bool,
    /// Whether the shopper reloads the page instead of waiting for the order's answer.
    pub reloads_ordering: bool,
    /// Whether the shopper pays with a working card after a declined card: in the same order, or with another
    /// reservation when the order has ended.
    pub tries_again: bool,
    /// Whether the shopper has no working card and tries again until the drop ends.
    pub declines_always: bool,
    /// Seed for random numbers during the visit.
    pub jitter_seed: u64,
}

impl Plan {
    /// Whether the shopper intends to buy and has a working card, at the second try at the latest.
    #[must_use]
    pub const fn buys(&self) -> bool {
        let pays = match self.card {
            Card::Works | Card::ActionCompleted | Card::TimeoutBeforeCharge | Card::TimeoutAfterCharge => {
                true
            }
            Card::Declined | Card::ActionFailed => self.tries_again,
            Card::ActionIgnored => false,
        };
        pays && !self.declines_always
            && matches!(self.after_reserving, AfterReserving::CheckOut)
            && !self.cancels
    }
}

#[must_use]
pub fn plan(drop: &DropFile, seed: u64, index: u32) -> Plan {
    let mut rng = fastrand::Rng::with_seed(mix(seed, index));
    let b = &drop.behaviour;
    let sku = weighted(&mut rng, drop.skus.iter().map(|s| s.weight));
    let other = weighted(
        &mut rng,
        drop.skus
            .iter()
            .enumerate()
            .map(|(i, s)| if i == sku { 0.0 } else { s.weight }),
    );
    let wants_other = chance(&mut rng, b.second_choice);
    let quantity = weighted(&mut rng, b.quantity_weights.iter().copied()).saturating_add(1);
    let stays = chance(&mut rng, b.stays);
    let looks = rng.u32(1..=b.max_looks.max(1));
    let looks = if chance(&mut rng, b.never_leaves) {
        u32::MAX
    } else if stays {
        looks
    } else {
        0
    };
    let determined = looks == u32::MAX;
    let fate = if determined { 1.0 } else { rng.f64() };
    let [from, to] = b.checkout_after_seconds;
    // If the drop file has no such shoppers, nothing is drawn, so that a seed gives the same shoppers as
    // before these settings existed.
    let hoards = b.hoards > 0.0 && chance(&mut rng, b.hoards);
    let declines_always = b.declines_always > 0.0 && chance(&mut rng, b.declines_always);
    let subject = format!("shop{index:08}");
    Plan {
        shopper: ShopperId::of(ISSUER, &subject).to_string(),
        subject,
        sku,
        second_sku: (wants_other && other != sku).then_some(other),
        quantity: u32::try_from(quantity).unwrap_or(1),
        takes_fewer: chance(&mut rng, b.takes_fewer),
        opens_list: chance(&mut rng, b.opens_list),
        opens_page: chance(&mut rng, b.opens_page),
        looks: if hoards { u32::MAX } else { looks },
        hoards,
        declines_always,
        after_reserving: if fate < b.abandons {
            AfterReserving::Abandon
        } else if fate < b.abandons + b.releases {
            AfterReserving::Release
        } else {
            AfterReserving::CheckOut
        },
        cancels: !determined && chance(&mut rng, b.cancels),
        checkout_after_ms: millis(from + (to - from) * rng.f64()),
        card: if declines_always {
            Card::Declined
        } else if determined {
            Card::Works
        } else {
            card(&mut rng, b)
        },
        double_click_reserving: chance(&mut rng, b.double_clicks),
        double_click_ordering: chance(&mut rng, b.double_clicks),
        reloads_reserving: chance(&mut rng, b.reloads),
        reloads_ordering: chance(&mut rng, b.reloads),
        tries_again: chance(&mut rng, b.tries_again_after_decline),
        jitter_seed: rng.u64(..),
    }
}

fn card(rng: &mut fastrand::Rng, behaviour: &Behaviour) -> Card {
    let c = &behaviour.cards;
    let kinds = [
        (c.works, Card::Works),
        (c.declined, Card::Declined),
        (c.action_completed, Card::ActionCompleted),
        (c.action_failed, Card::ActionFailed),
        (c.action_ignored, Card::ActionIgnored),
        (c.timeout_before_charge, Card::TimeoutBeforeCharge),
        (c.timeout_after_charge, Card::TimeoutAfterCharge),
    ];
    let drawn = weighted(rng, kinds.iter().map(|(weight, _)| *weight));
    kinds.get(drawn).map_or(Card::Works, |(_, card)| *card)
}

fn chance(rng: &mut fastrand::Rng, probability: f64) -> bool {
    rng.f64() < probability
}

fn weighted(rng: &mut fastrand::Rng, weights: impl Iterator<Item = f64> + Clone) -> usize {
    let mut left = rng.f64() * weights.clone().sum::<f64>();
    let mut last = 0;
    for (index, weight) in weights.enumerate() {
        if weight <= 0.0 {
            continue;
        }
        last = index;
        if left < weight {
            break;
        }
        left -= weight;
    }
    last
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds of a drop, never negative"
)]
fn millis(seconds: f64) -> u64 {
    (seconds * 1e3) as u64
}

/// Mixes the seed and the shopper's number with SplitMix64's finaliser, so that neighbouring shoppers get unrelated
/// random numbers.
fn mix(seed: u64, index: u32) -> u64 {
    let nth = u64::from(index).wrapping_add(1);
    domain::choice::mix(seed.wrapping_add(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_drop() -> DropFile {
        DropFile::parse(include_str!("../drops/default.toml")).unwrap()
    }

    #[test]
    fn a_plan_depends_on_seed_and_number_only() {
        let drop = default_drop();
        let text = |seed, index| format!("{:?}", plan(&drop, seed, index));
        assert_eq!(text(1, 42), text(1, 42));
        assert_ne!(text(1, 42), text(2, 42));
        assert_ne!(text(1, 42), text(1, 43));
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let mut drop = default_drop();
        drop.behaviour.abandons = 0.2;
        drop.behaviour.releases = 0.1;
        drop.per_shopper_limit = 2;
        drop.behaviour.quantity_weights = vec![3.0, 1.0];
        let plans: Vec<Plan> = (0..20_000).map(|i| plan(&drop, 9, i)).collect();
        let share = |hit: &dyn Fn(&Plan) -> bool| {
            f64::from(u32::try_from(plans.iter().filter(|p| hit(p)).count()).unwrap()) / 20_000.0
        };
        let near =
            |found: f64, wanted: f64| assert!((found - wanted).abs() < 0.015, "{found} instead of {wanted}");
        near(share(&|p| p.after_reserving == AfterReserving::Abandon), 0.2);
        near(share(&|p| p.after_reserving == AfterReserving::Release), 0.1);
        near(share(&|p| p.quantity == 2), 0.25);
        near(share(&|p| p.double_click_reserving), drop.behaviour.double_clicks);
        near(share(&|p| p.looks == u32::MAX), drop.behaviour.never_leaves);
        near(share(&|p| p.looks > 0), drop.behaviour.stays);
        let weights: f64 = drop.skus.iter().map(|s| s.weight).sum();
        for (index, sku) in drop.skus.iter().enumerate() {
            near(share(&|p| p.sku == index), sku.weight / weights);
        }
        assert!(plans.iter().all(|p| p.second_sku != Some(p.sku)));
    }

    #[test]
    fn who_waits_to_the_end_buys() {
        let mut drop = default_drop();
        drop.behaviour.never_leaves = 1.0;
        drop.behaviour.abandons = 0.5;
        drop.behaviour.releases = 0.5;
        drop.behaviour.cancels = 1.0;
        drop.behaviour.cards.declined = 1e9;
        for plan in (0..200).map(|i| plan(&drop, 1, i)) {
            let buys =
                plan.after_reserving == AfterReserving::CheckOut && !plan.cancels && plan.card == Card::Works;
            assert!(buys && plan.looks == u32::MAX, "{plan:?}");
        }
    }

    #[test]
    fn an_only_sku_leaves_no_second_choice() {
        let mut drop = default_drop();
        drop.skus.truncate(1);
        drop.behaviour.second_choice = 1.0;
        assert!((0..100).all(|i| plan(&drop, 1, i).second_sku.is_none()));
    }

    #[test]
    fn unwanted_skus_are_never_drawn() {
        let mut drop = default_drop();
        for sku in drop.skus.iter_mut().skip(1) {
            sku.weight = 0.0;
        }
        assert!((0..500).all(|i| plan(&drop, 1, i).sku == 0));
    }
}
