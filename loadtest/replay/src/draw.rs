//! Draws a plan from a seed. Drops are small (few units, few shoppers, little time), so that many events
//! coincide.

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::chance::Dice;
use crate::faults::{Fault, drawn, lasts, most_per_10_000};
use crate::plan::{
    Act, ActKind, Card, CheckOut, DropPlan, FaultPlan, Outage, Plan, Sends, ShopperPlan, SystemPlan, Then,
    WebhookPlan, Wish,
};

/// The kind of plan that a seed gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Subject {
    /// Whole drops.
    #[default]
    Drops,
    /// Orders: enough units for every shopper, few plain cards, and faults where orders are processed.
    Orders,
}

impl Subject {
    /// Draws the plan of a seed.
    #[must_use]
    pub fn plan(self, seed: u64) -> Plan {
        match self {
            Self::Drops => plan(seed),
            Self::Orders => orders(seed),
        }
    }
}

/// Draws the plan of a seed for a whole drop.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    let mut dice = Dice::new(seed);
    let drop = drop_plan(&mut dice);
    let acts = acts(&mut dice, &drop);
    let shoppers = shoppers(&mut dice, &drop, &acts);
    let system = system(&mut dice, &drop, &shoppers);
    let faults = faults(&mut dice, system.calm_ms);
    Plan {
        seed,
        drop,
        shoppers,
        acts,
        system,
        faults,
    }
}

/// The longest outage of the gateway in an order's history, in milliseconds.
const GATEWAY_OUTAGE_MS: u32 = 3_600_000;
/// The time from the end of all other work until dead letters are moved back, in milliseconds: two days.
const REDRIVE_MS: u32 = 172_800_000;

/// Draws the plan of a seed for orders.
fn orders(seed: u64) -> Plan {
    let mut dice = Dice::new(seed ^ 0x0de5);
    let dice = &mut dice;
    let drop = DropPlan {
        units: vec![dice.within(8, 30)],
        per_shopper_limit: dice.pick(&[1, 2, 3]).unwrap_or(1),
        lasts_ms: dice.within(6_000, 12_000),
        ..drop_plan(dice)
    };
    let mut acts = Vec::new();
    if dice.percent(8) {
        let at_ms = drop.opens_ms + dice.within(1_000, drop.lasts_ms);
        acts.push(Act::new(at_ms, ActKind::Cancel));
    }
    let shoppers: Vec<ShopperPlan> = (0..dice.within(4, 9))
        .map(|name| ShopperPlan {
            name,
            arrives_ms: drop.opens_ms + dice.within(0, 2_000),
            wishes: vec![Wish {
                then: check_out(dice, &drop),
                ..wish(dice, &drop)
            }],
        })
        .collect();
    let mut system = system(dice, &drop, &shoppers);
    let mut faults = faults(dice, system.calm_ms);
    for fault in [
        Fault::GatewayTimeoutBeforeCharge,
        Fault::GatewayTimeoutAfterCharge,
        Fault::KillFunctions,
        Fault::QueueDuplicates,
        Fault::QueueReorder,
    ] {
        if dice.percent(40) {
            faults.rates.insert(fault, rate(dice, fault));
        }
    }
    if dice.percent(4) {
        let from_ms = drop.opens_ms + dice.within(0, drop.lasts_ms);
        let to_ms = from_ms + dice.within(60_000, GATEWAY_OUTAGE_MS);
        let fault = Fault::GatewayOutage;
        faults.rates.insert(fault, rate(dice, fault));
        faults.outages.push(Outage {
            fault,
            from_ms,
            to_ms,
        });
        system.calm_ms = system.calm_ms.max(to_ms);
        // If processes died every few calls during so long an outage, every message would use up its
        // receives.
        faults.rates.remove(&Fault::KillFunctions);
        // From this time on an alarm asks the operator to decide.
        let late_ms = from_ms + 1_000 * drop.gateway_wait_seconds;
        for _ in 0..dice.within(0, 2) {
            let at_ms = late_ms + dice.within(0, 120_000);
            if at_ms < to_ms {
                let ends = dice.percent(50);
                acts.push(Act::new(at_ms, ActKind::Decide { ends }));
            }
        }
        acts.sort_by_key(|act| act.at_ms);
        // All queues of the replay have one visibility timeout. During the outage it is at least the
        // template's for `process-order`, so that no message uses up its receives.
        system.visibility_ms = system
            .visibility_ms
            .max(1_000 * process_order::LIMITS.visibility_seconds());
    } else if dice.percent(20) {
        system.max_receives = Some(dice.within(1, 2));
        system.redrive_ms = Some(REDRIVE_MS);
    }
    Plan {
        seed,
        drop,
        shoppers,
        acts,
        system,
        faults,
    }
}

fn drop_plan(dice: &mut Dice) -> DropPlan {
    let skus = if dice.percent(70) { 1 } else { 2 };
    // Most drops have few units; some have several shards.
    let most = dice.pick(&[2, 4, 8, 30]).unwrap_or(4);
    DropPlan {
        units: (0..skus).map(|_| dice.within(1, most)).collect(),
        per_shopper_limit: dice.pick(&[1, 1, 2, 3, 12]).unwrap_or(1),
        hold_seconds: dice.within(15, 25),
        payment_seconds: dice.within(15, 40),
        retry_seconds: dice.within(15, 40),
        gateway_wait_seconds: dice.pick(&[60, 120, 600]).unwrap_or(120),
        opens_ms: dice.within(1_500, 6_000),
        lasts_ms: dice.within(8_000, 45_000),
    }
}

fn acts(dice: &mut Dice, drop: &DropPlan) -> Vec<Act> {
    let during = |dice: &mut Dice| drop.opens_ms + dice.within(0, drop.lasts_ms);
    let mut acts = Vec::new();
    if dice.percent(15) {
        let at_ms = during(dice);
        let for_ms = dice.within(1_000, 6_000);
        acts.push(Act::new(at_ms, ActKind::Pause));
        acts.push(Act::new(at_ms + for_ms, ActKind::Resume));
    }
    if dice.percent(20) {
        let sku = usize::try_from(dice.below(drop.units.len() as u64)).unwrap_or(0);
        let units = dice.within(1, 5);
        acts.push(Act::new(during(dice), ActKind::Restock { sku, units }));
    }
    if dice.percent(10) {
        let by_ms = dice.within(1_000, 15_000);
        acts.push(Act::new(during(dice), ActKind::Extend(by_ms)));
    }
    if dice.percent(12) {
        acts.push(Act::new(during(dice), ActKind::Cancel));
    }
    acts.sort_by_key(|act| act.at_ms);
    acts
}

fn sends(dice: &mut Dice) -> Sends {
    Sends {
        clicks: if dice.percent(15) { 2 } else { 1 },
        patience_ms: dice.pick(&[60, 400, 3_000, 12_000, 12_000]).unwrap_or(12_000),
    }
}

fn shoppers(dice: &mut Dice, drop: &DropPlan, acts: &[Act]) -> Vec<ShopperPlan> {
    let units: u32 = drop.units.iter().sum();
    let count = dice.within(2, 9) + units.min(8) / 2;
    let late = acts
        .iter()
        .any(|act| matches!(act.kind, ActKind::Restock { .. } | ActKind::Extend(_)));
    let mut shoppers = Vec::new();
    for name in 0..count {
        let arrives_ms = match dice.below(10) {
            0 => dice.within(0, drop.opens_ms),
            1..=2 => drop.opens_ms + dice.within(0, drop.lasts_ms),
            3 if late => drop.opens_ms + dice.within(drop.lasts_ms / 2, drop.lasts_ms + 5_000),
            _ => drop.opens_ms + dice.within(0, 1_200),
        };
        shoppers.push(shopper(dice, drop, name, arrives_ms));
        if dice.percent(15) {
            let other = arrives_ms + dice.within(0, 400);
            shoppers.push(shopper(dice, drop, name, other));
        }
    }
    shoppers
}

fn shopper(dice: &mut Dice, drop: &DropPlan, name: u32, arrives_ms: u32) -> ShopperPlan {
    let wishes = match dice.below(10) {
        0..=5 => 1,
        6..=8 => 2,
        _ => 3,
    };
    ShopperPlan {
        name,
        arrives_ms,
        wishes: (0..wishes).map(|_| wish(dice, drop)).collect(),
    }
}

fn wish(dice: &mut Dice, drop: &DropPlan) -> Wish {
    let then = match dice.below(20) {
        0..=2 => Then::Abandon,
        3..=4 => Then::Release {
            after_ms: dice.within(50, 6_000),
        },
        _ => check_out(dice, drop),
    };
    Wish {
        after_ms: dice.within(0, 2_000),
        sku: usize::try_from(dice.below(drop.units.len() as u64)).unwrap_or(0),
        quantity: dice.within(1, drop.per_shopper_limit.min(4)),
        looks: dice.pick(&[0, 2, 6, 10]).unwrap_or(2),
        browses: dice.percent(35),
        takes_fewer: dice.percent(50),
        sends: sends(dice),
        then,
    }
}

fn card(dice: &mut Dice) -> Card {
    match dice.below(20) {
        0..=6 => Card::Works,
        7..=8 => Card::Declined,
        9..=10 => Card::NoFunds,
        11 => Card::Passes,
        12..=13 => Card::Confirmed,
        14 => Card::Unconfirmed,
        15 => Card::Ignored,
        16..=17 => Card::SlowPays,
        _ => Card::SlowDeclines,
    }
}

fn check_out(dice: &mut Dice, drop: &DropPlan) -> Then {
    let card = card(dice);
    let further = [(); 2].map(|()| dice.percent(60).then(|| self::card(dice)));
    // Most races happen when the hold, the drop or the payment's time ends.
    let hold_ms = 1000 * drop.hold_seconds;
    let after_ms = match dice.below(10) {
        0 => dice.within(hold_ms.saturating_sub(3_000), hold_ms + 3_000),
        1 => dice.within(3_000, hold_ms),
        _ => dice.within(30, 3_000),
    };
    let pay_ms = 1000 * drop.payment_seconds;
    let acts_after_ms = if dice.percent(30) {
        dice.within(pay_ms.saturating_sub(4_000), pay_ms + 6_000)
    } else {
        dice.within(200, 8_000)
    };
    Then::CheckOut(CheckOut {
        after_ms,
        sends: sends(dice),
        card,
        further,
        cancel_after_ms: dice.percent(15).then(|| dice.within(0, 4_000)),
        acts_after_ms,
    })
}

fn system(dice: &mut Dice, drop: &DropPlan, shoppers: &[ShopperPlan]) -> SystemPlan {
    let last = shoppers.iter().map(|s| s.arrives_ms).max().unwrap_or(0);
    let ends_ms = (drop.opens_ms + drop.lasts_ms).max(last);
    SystemPlan {
        order: dice.number(),
        latency_ms: dice.pick(&[0, 3, 10, 40, 120]).unwrap_or(10),
        lanes: dice.pick(&[1, 2, 3]).unwrap_or(1),
        stream_batch: dice.pick(&[1, 3, 10]).unwrap_or(3),
        queue_batch: dice.pick(&[1, 3, 10]).unwrap_or(3),
        workers: dice.pick(&[1, 2, 4]).unwrap_or(2),
        visibility_ms: dice.pick(&[35_000, 35_000, 60_000, 180_000]).unwrap_or(35_000),
        calm_ms: ends_ms + dice.within(0, 40_000),
        max_receives: None,
        redrive_ms: None,
        webhooks: dice
            .pick(&[WebhookPlan::Never, WebhookPlan::Prompt, WebhookPlan::Unreliable])
            .unwrap_or(WebhookPlan::Never),
    }
}

fn faults(dice: &mut Dice, calm_ms: u32) -> FaultPlan {
    let mut rates = BTreeMap::new();
    // The run has no fault, one fault, some faults, or most faults.
    let percent = match dice.below(20) {
        0 => 0,
        1..=4 => {
            if let Some(fault) = dice.pick(&drawn()) {
                rates.insert(fault, rate(dice, fault));
            }
            0
        }
        5..=14 => 30,
        _ => 75,
    };
    for fault in drawn() {
        if dice.percent(percent) {
            rates.insert(fault, rate(dice, fault));
        }
    }
    let outages = drawn()
        .into_iter()
        .filter(|fault| lasts(*fault) && rates.contains_key(fault))
        .map(|fault| {
            let from_ms = dice.within(0, calm_ms.saturating_sub(5_000));
            let to_ms = (from_ms + dice.within(500, 25_000)).min(calm_ms);
            Outage {
                fault,
                from_ms,
                to_ms,
            }
        })
        .collect();
    FaultPlan {
        rates,
        outages,
        strokes: None,
    }
}

/// A rate up to the fault's largest rate, mostly at most a quarter of it.
fn rate(dice: &mut Dice, fault: Fault) -> u16 {
    let most = u32::from(most_per_10_000(fault));
    let bound = if dice.percent(30) { most } else { most / 4 };
    u16::try_from(dice.within(bound / 10 + 1, bound.max(1))).unwrap_or(1)
}
