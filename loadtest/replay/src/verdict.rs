//! Makes the audit at the end: the audit of a load run, on facts from the stores in memory.

use std::collections::BTreeMap;

use api::problem::Code;
use domain::ids::DropId;
use domain::limits::CLOCK_SKEW_MS;
use domain::order::{Order, OrderStatus};
use events::News;
use loadtest::audit::{Broken, Findings, Promise, audit, overdue_after_ms};
use loadtest::facts::{
    DropFacts, Ending, Entry, Facts, LedgerFact, MoneyFact, OrderFact, QueueFact, ShardFact, SkuFacts,
};
use memory::{MemoryGateway, MemoryLedger, MemoryStore, TestRuntime};

use crate::fleet::Fleet;
use crate::operator::OnSale;
use crate::plan::sku_name;
use crate::ports::Services;
use crate::world::World;

/// The time after a restock in which an answer may be based on counts from before the restock, in milliseconds.
const RESTOCK_MS: i64 = 40_000;

/// Audits a run that has ended.
pub(crate) fn judge(fleet: &Fleet, on_sale: &OnSale) -> Findings {
    let (world, services) = (&fleet.world, &fleet.services);
    let (plan, memory) = (&world.plan, &services.memory);
    for line in memory.audit().err().into_iter().flatten() {
        world.broken(Promise::Inconsistencies, line);
    }
    let skus = units_on_sale(world, memory, on_sale);
    for _ in &plan.shoppers {
        world.note("shoppers");
    }
    let mut free = 0;
    memory.look_at_shards(|_, shard| free += shard.free);
    world.note(if free == 0 { "sold out" } else { "units left" });
    let stored = memory.orders();
    for Order { id, version, .. } in stored.values() {
        let rows = services.ledger.history(id).len();
        if u32::try_from(rows) != Ok(*version) {
            let what = format!("{id} is at version {version} and the ledger has {rows} of them");
            world.broken(Promise::LostRequests, what);
        }
    }
    for order in stored.values() {
        world.note("an order's history");
        let news = match order.status {
            OrderStatus::Paid | OrderStatus::Refunded => News::Confirmed,
            OrderStatus::Declined => News::Declined,
            OrderStatus::Cancelled => News::Cancelled,
            _ => continue,
        };
        let told = services.watch.news_of(&order.id);
        if !told.iter().any(|what| what == news.as_str()) {
            let (id, status) = (&order.id, order.status);
            let what = format!("{id} is {status:?}, and its shopper was told {told:?}");
            world.broken(Promise::Inconsistencies, what);
        }
    }
    let published_at = TestRuntime::START;
    let starts_at = published_at.plus_millis(i64::from(plan.drop.opens_ms));
    let ends_at = starts_at.plus_millis(i64::from(plan.drop.lasts_ms));
    let facts = Facts {
        drop: DropFacts {
            drop_id: crate::plan::DROP.to_owned(),
            published_at_ms: published_at.as_millis(),
            starts_at_ms: starts_at.as_millis(),
            ends_at_ms: ends_at.as_millis(),
            hold_seconds: plan.drop.hold_seconds,
            payment_seconds: plan.drop.payment_seconds,
            per_shopper_limit: plan.drop.per_shopper_limit,
            skus,
        },
        at_ms: world.now().as_millis(),
        journal: entries(fleet, on_sale),
        shards: shards(memory),
        purchases: purchases(memory),
        orders: orders(memory),
        ledger: ledger(&services.ledger),
        money: money(&services.gateway),
        queues: queues(services),
        unreadable: Vec::new(),
        // In virtual time no process is slow by chance, so the limits for a run without faults apply.
        trouble: false,
        gateway_failed_ms: world.gateway_failed_ms(),
        overdue_after_ms: overdue_after_ms(false),
        every_change_sampled: true,
    };
    let findings = audit(&facts);
    for Broken { promise, what } in &findings.explanations {
        world.broken(*promise, what.clone());
    }
    for line in &findings.inconsistencies {
        world.broken(Promise::Inconsistencies, line.clone());
    }
    findings
}

/// The units on sale by the drop's document, which must equal those that the API confirmed to the operator.
fn units_on_sale(world: &World, memory: &MemoryStore, on_sale: &OnSale) -> Vec<SkuFacts> {
    let drop = crate::plan::DROP.parse::<DropId>();
    let planned = drop.map_or_else(|_| BTreeMap::new(), |drop| memory.planned_units(&drop));
    let mut skus = Vec::new();
    for (number, confirmed) in on_sale.units.iter().enumerate() {
        let sku = sku_name(number);
        let found = planned.iter().find(|(id, _)| id.as_str() == sku);
        let units = found.map_or(0, |(_, units)| *units);
        let in_doubt = on_sale.in_doubt.get(number).copied().unwrap_or(0);
        if units != *confirmed && units != confirmed + in_doubt {
            let what = format!("{sku}: {confirmed} units were put on sale, and {units} are planned");
            world.broken(Promise::LostRequests, what);
        }
        skus.push(SkuFacts { sku, units });
    }
    skus
}

/// The journal without entries that the audit of a load run does not support: restocks, cancelled drops, and
/// holds that were rightly returned early.
fn entries(fleet: &Fleet, on_sale: &OnSale) -> Vec<Entry> {
    let (world, watch) = (&fleet.world, &fleet.services.watch);
    let restocked_ms = on_sale.restocked_ms.map_or(i64::MIN, |at| at + RESTOCK_MS);
    let cancelled_ms = on_sale.cancelled_ms.unwrap_or(i64::MAX);
    let journal = world.take_journal().into_iter();
    let mut entries: Vec<Entry> = journal
        .filter(|entry| match entry {
            Entry::CheckoutRefused(refused) if refused.code == Some(Code::Closed) => {
                refused.at_ms + 2 * CLOCK_SKEW_MS < cancelled_ms
            }
            // The replay checks such a refusal when it happens: an order that counted then may have been
            // undone since.
            Entry::CheckoutRefused(refused) => refused.code != Some(Code::LimitReached),
            _ => true,
        })
        .collect();
    for entry in &mut entries {
        if let Entry::Ended(ended) = entry
            && matches!(ended.ending, Ending::Gone | Ending::Impatient)
            && ended.at_ms < restocked_ms
        {
            ended.ending = Ending::Closed;
        }
    }
    entries.extend(on_sale.cancelled_ms.map(|at_ms| Entry::DropCancelAsked { at_ms }));
    entries.extend(watch.take_samples());
    let taken_back = watch.taken_back().into_iter();
    entries.extend(taken_back.map(|reservation_id| Entry::Released {
        at_ms: world.now().as_millis(),
        reservation_id,
    }));
    entries
}

/// Every shard, as a fact of the audit.
#[must_use]
pub fn shards(memory: &MemoryStore) -> Vec<ShardFact> {
    let shards = memory.shards().into_iter();
    shards
        .map(|(key, shard)| ShardFact {
            sku: key.sku.to_string(),
            key: key.to_string(),
            shard,
        })
        .collect()
}

/// The purchase counters, as facts of the audit: shopper and units.
#[must_use]
pub fn purchases(memory: &MemoryStore) -> Vec<(String, i64)> {
    let purchases = memory.purchases().into_iter();
    purchases
        .map(|((_, shopper), units)| (shopper.to_string(), i64::from(units)))
        .collect()
}

/// Every order, as a fact of the audit.
#[must_use]
pub fn orders(memory: &MemoryStore) -> Vec<OrderFact> {
    let orders = memory.orders().into_values();
    orders
        .map(|order| OrderFact {
            indexed_open: order.open_bucket().is_some(),
            order,
        })
        .collect()
}

/// The rows of the ledger, as facts of the audit.
#[must_use]
pub fn ledger(ledger: &MemoryLedger) -> Vec<LedgerFact> {
    let ids = ledger.orders();
    ids.iter()
        .filter_map(|id| ledger.latest(id))
        .map(|event| LedgerFact {
            order_id: event.data.order_id.to_string(),
            version: event.data.version,
            status: event.data.status.as_str().to_owned(),
            quantity: event.data.quantity,
            amount_minor: event.data.amount_minor,
        })
        .collect()
}

/// The gateway's acts for each order, as facts of the audit. The charged amount is net: refunds are subtracted from
/// it and are not listed.
#[must_use]
pub fn money(gateway: &MemoryGateway) -> Vec<MoneyFact> {
    let kept = gateway.captured_minor();
    let events = gateway.events().into_iter();
    events
        .map(|(order, events)| MoneyFact {
            order_id: order.to_string(),
            charges: events.charges,
            charged_minor: kept.get(&order).copied().unwrap_or(0),
            refunded_charges: 0,
            refunded_minor: 0,
            declines: events.declines,
            actions: events.actions,
            cancels: events.cancels,
        })
        .collect()
}

fn queues(services: &Services) -> Vec<QueueFact> {
    let fact = |dead_letters: bool| {
        move |(queue, messages): (&'static str, u64)| QueueFact {
            queue: queue.to_owned(),
            messages,
            dead_letters,
        }
    };
    let parked = services.queues.parked().len() as u64;
    let dead = services.deliveries.dead().into_iter();
    let dead = dead.chain([("relay-parked", parked)]);
    let left = services.deliveries.left().into_iter();
    dead.map(fact(true)).chain(left.map(fact(false))).collect()
}
