//! Collects the audit's facts directly from the stores: DynamoDB, SQS, PostgreSQL and the gateway's log, never from the
//! API.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::Context as _;
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use domain::claim::Claim;
use domain::ids::{ShardKey, ShopperId};
use domain::order::Order;
use domain::shard::Shard;
use ledger::{Database, SignIn};
use stack_api::StackFile;
use stack_api::faults::Fault;
use stack_api::gateway_log::{Event, Line};
use tokio_postgres::Row;

use crate::audit::overdue_after_ms;
use crate::facts::{DropFacts, Entry, Facts, LedgerFact, MoneyFact, OrderFact, QueueFact, ShardFact};
use crate::files::read as read_file;

type Item = HashMap<String, AttributeValue>;

#[derive(Debug, Clone)]
pub struct Stores {
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    stack: StackFile,
}

/// The items of a drop in one table, parsed as far as possible.
#[derive(Debug, Clone)]
pub struct Read<T> {
    pub found: Vec<T>,
    /// Descriptions of items that could not be parsed.
    pub unreadable: Vec<String>,
}

impl Stores {
    #[must_use]
    pub fn new(stack: &StackFile) -> Self {
        let http = connector::plain(std::time::Duration::from_secs(1));
        let credentials = Credentials::new("audit", "audit", None, None, "audit");
        let dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_dynamodb::config::Region::new("eu-central-1"))
            .endpoint_url(&stack.dynamodb_url)
            .credentials_provider(credentials.clone())
            .http_client(http.clone())
            .build();
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_sqs::config::Region::new("eu-central-1"))
            .endpoint_url(&stack.sqs_url)
            .credentials_provider(credentials)
            .http_client(http)
            .build();
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb),
            sqs: aws_sdk_sqs::Client::from_conf(sqs),
            stack: stack.clone(),
        }
    }

    async fn scan(&self, variable: &str) -> anyhow::Result<Vec<Item>> {
        let table = self.stack.table(variable)?;
        let scan = self.dynamodb.scan().table_name(table).consistent_read(true);
        let mut pages = scan.into_paginator().items().send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            items.push(item.with_context(|| format!("reading the table {table}"))?);
        }
        Ok(items)
    }

    /// The shards of a drop.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn shards(&self, drop_id: &str) -> anyhow::Result<Read<ShardFact>> {
        let prefix = format!("{drop_id}#");
        Ok(read(self.scan("STOCK_TABLE").await?, |item| {
            let key = text(item, "pk").filter(|key| key.starts_with(&prefix))?;
            let shard = shard(key, item);
            Some(shard.ok_or_else(|| format!("the stock item {key} is not a shard: {item:?}")))
        }))
    }

    /// The purchase counters of a drop.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn purchases(&self, drop_id: &str) -> anyhow::Result<Read<(String, i64)>> {
        let prefix = format!("{drop_id}#");
        Ok(read(self.scan("PURCHASES_TABLE").await?, |item| {
            let shopper = text(item, "pk")?.strip_prefix(&prefix)?;
            let counted = purchased(item).map(|units| (shopper.to_owned(), units));
            Some(counted.ok_or_else(|| format!("the purchase counter of {shopper} is not a number")))
        }))
    }

    /// The orders of a drop.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn orders(&self, drop_id: &str) -> anyhow::Result<Read<OrderFact>> {
        let mut orders = self.orders_of_all().await?;
        orders.found.retain(|fact| is_of(fact, drop_id));
        Ok(orders)
    }

    async fn orders_of_all(&self) -> anyhow::Result<Read<OrderFact>> {
        Ok(read(self.scan("ORDERS_TABLE").await?, |item| {
            let key = text(item, "pk").unwrap_or("?");
            Some(order(item).ok_or_else(|| format!("the item {key} of the orders is not an order")))
        }))
    }

    async fn queues(&self) -> anyhow::Result<Vec<QueueFact>> {
        let mut facts = Vec::new();
        for (name, url) in &self.stack.queues {
            let query = self.sqs.get_queue_attributes().queue_url(url);
            let answer = query.attribute_names(QueueAttributeName::All).send().await;
            let answer = answer.with_context(|| format!("reading the queue {name}"))?;
            let attributes = answer.attributes.unwrap_or_default();
            let mut messages = 0;
            for attribute in [
                QueueAttributeName::ApproximateNumberOfMessages,
                QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
                QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            ] {
                let text = attributes.get(&attribute);
                let text = text.with_context(|| format!("{name} has no {attribute}"))?;
                messages += text.parse::<u64>()?;
            }
            facts.push(QueueFact {
                queue: name.clone(),
                messages,
                dead_letters: name.contains("dlq") || name.contains("parked"),
            });
        }
        Ok(facts)
    }

    async fn ledger(&self, drop_id: &str) -> anyhow::Result<Vec<LedgerFact>> {
        let query = "SELECT order_id::text, version::bigint, status::text, quantity::bigint, amount_minor::bigint \
                     FROM ledger_orders WHERE drop_id::text = $1";
        let rows = of_ledger(&self.stack, query, drop_id).await?;
        let facts = rows.iter().map(|row| -> anyhow::Result<LedgerFact> {
            Ok(LedgerFact {
                order_id: row.try_get(0)?,
                version: u32::try_from(row.try_get::<_, i64>(1)?)?,
                status: row.try_get(2)?,
                quantity: u32::try_from(row.try_get::<_, i64>(3)?)?,
                amount_minor: row.try_get(4)?,
            })
        });
        facts.collect()
    }

    /// Reads all facts of a drop from the stores, after the drain. `at_ms` is the time of the audit.
    ///
    /// # Errors
    /// When a store cannot be read. Then there is no audit, and the run counts as failed.
    pub async fn facts(&self, drop: &DropFacts, journal: Vec<Entry>, at_ms: i64) -> anyhow::Result<Facts> {
        let shards = self.shards(&drop.drop_id).await?;
        let purchases = self.purchases(&drop.drop_id).await?;
        let all_orders = self.orders_of_all().await?;
        let of_drop = |fact: &OrderFact| is_of(fact, &drop.drop_id);
        let (orders, others): (Vec<_>, Vec<_>) = all_orders.found.into_iter().partition(of_drop);
        let foreign: BTreeSet<&str> = others.iter().map(|fact| fact.order.id.as_str()).collect();
        let ledger = self.ledger(&drop.drop_id).await?;
        let mut money = money(&self.stack.gateway_log)?;
        money.retain(|fact| !foreign.contains(fact.order_id.as_str()));
        Ok(Facts {
            drop: drop.clone(),
            at_ms,
            journal,
            shards: shards.found,
            purchases: purchases.found,
            orders,
            ledger,
            money,
            queues: self.queues().await?,
            unreadable: [shards.unreadable, purchases.unreadable, all_orders.unreadable].concat(),
            trouble: !self.stack.faults.is_empty(),
            gateway_failed_ms: crate::gateway::calls(&self.stack).await?.refused_ms(),
            overdue_after_ms: overdue_after_ms(self.stack.faults.has(Fault::KillFunctions)),
            every_change_sampled: false,
        })
    }
}

fn read<T>(items: Vec<Item>, mut one: impl FnMut(&Item) -> Option<Result<T, String>>) -> Read<T> {
    let mut read = Read {
        found: Vec::new(),
        unreadable: Vec::new(),
    };
    for item in &items {
        match one(item) {
            Some(Ok(found)) => read.found.push(found),
            Some(Err(line)) => read.unreadable.push(line),
            None => {}
        }
    }
    read
}

fn is_of(fact: &OrderFact, drop_id: &str) -> bool {
    fact.order.reservation.shard.drop.as_str() == drop_id
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn number<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// The units that an item of `purchases` counts; 0 if the item contains only unused holds or remembered shards.
fn purchased(item: &Item) -> Option<i64> {
    match item.get("n") {
        Some(_) => number(item, "n"),
        None => {
            let mut names = item.keys();
            names
                .any(|name| name == "l" || name.starts_with("r#"))
                .then_some(0)
        }
    }
}

fn shard(key: &str, item: &Item) -> Option<ShardFact> {
    let parsed: ShardKey = key.parse().ok()?;
    let mut claims = BTreeMap::new();
    for (shopper, claim) in item.get("c")?.as_m().ok()? {
        let shopper: ShopperId = shopper.parse().ok()?;
        let claim: Claim = claim.as_s().ok()?.parse().ok()?;
        claims.insert(shopper, claim);
    }
    Some(ShardFact {
        sku: parsed.sku.to_string(),
        key: key.to_owned(),
        shard: Shard {
            allocated: number(item, "a")?,
            free: number(item, "f")?,
            sold: number(item, "s")?,
            claims,
        },
    })
}

fn order(item: &Item) -> Option<OrderFact> {
    let order: Order = serde_json::from_str(text(item, "doc")?).ok()?;
    let version: u32 = number(item, "version")?;
    let whole = order.id.as_str() == text(item, "pk")?
        && order.version == version
        && order.status.as_str() == text(item, "status")?
        && order.shopper.as_str() == text(item, "shopper_id")?;
    whole.then(|| OrderFact {
        order,
        indexed_open: item.contains_key("open"),
    })
}

/// The rows of a query whose only parameter is the drop's id.
///
/// # Errors
/// When the ledger cannot be read.
pub(crate) async fn of_ledger(stack: &StackFile, query: &str, drop_id: &str) -> anyhow::Result<Vec<Row>> {
    let (address, roots) = (stack.database_url.parse()?, stack.database_roots.parse()?);
    let database = Database::new(address, roots, SignIn::nothing());
    let (client, connection) = database.connect().await.context("the ledger")?;
    let rows = client.query(query, &[&drop_id]).await;
    drop(client);
    let _ = connection.await;
    rows.context("reading the ledger")
}

/// Sums up the gateway's log by payment.
///
/// # Errors
/// When the log cannot be read or a line is malformed.
pub fn money(log: &Path) -> anyhow::Result<Vec<MoneyFact>> {
    money_of(&read_file(log)?)
}

fn money_of(log: &str) -> anyhow::Result<Vec<MoneyFact>> {
    let mut facts: BTreeMap<String, MoneyFact> = BTreeMap::new();
    let mut charged: BTreeMap<String, i64> = BTreeMap::new();
    for (number, line) in log.lines().enumerate() {
        let line: Line = serde_json::from_str(line)
            .with_context(|| format!("line {} of the gateway's log", number.saturating_add(1)))?;
        let amount = i64::try_from(line.amount)?;
        let fact = facts.entry(line.intent.clone()).or_insert_with(|| MoneyFact {
            order_id: line.order_id,
            ..MoneyFact::default()
        });
        match line.event {
            Event::Charged => {
                fact.charges += 1;
                fact.charged_minor += amount;
                charged.insert(line.intent, amount);
            }
            Event::Refunded => {
                fact.refunded_minor += amount;
                // A charge counts as refunded once the partial refunds add up to the charged amount.
                let whole = charged.get(&line.intent).copied().unwrap_or(i64::MAX).max(1);
                fact.refunded_charges = u32::try_from(fact.refunded_minor / whole).unwrap_or(u32::MAX);
            }
            Event::Declined => fact.declines += 1,
            Event::ActionRequired => fact.actions += 1,
            Event::Cancelled => fact.cancels += 1,
            Event::Created | Event::Confirmed => {}
        }
    }
    Ok(facts.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, intent: &str, order: &str, amount: i64) -> String {
        format!(
            r#"{{"seq":1,"at_ms":1,"event":"{event}","intent":"{intent}","order_id":"{order}","amount":{amount},"currency":"eur"}}"#
        )
    }

    #[test]
    fn money_is_added_up_by_payment() {
        let log = [
            line("created", "pi_1", "o1", 500),
            line("charged", "pi_1", "o1", 500),
            line("charged", "pi_1", "o1", 500),
            line("refunded", "pi_1", "o1", 200),
            line("refunded", "pi_1", "o1", 300),
            line("created", "pi_2", "o2", 900),
            line("action_required", "pi_2", "o2", 900),
            line("declined", "pi_2", "o2", 900),
            line("cancelled", "pi_2", "o2", 900),
        ]
        .join("\n");
        let facts = money_of(&log).unwrap();
        let wanted = MoneyFact {
            order_id: "o1".into(),
            charges: 2,
            charged_minor: 1_000,
            refunded_charges: 1,
            refunded_minor: 500,
            ..MoneyFact::default()
        };
        assert_eq!(facts[0], wanted);
        assert_eq!(facts[1].charges, 0);
        assert_eq!(facts[1].order_id.as_str(), "o2");
        assert_eq!(facts[1].declines, 1);
        assert_eq!(facts[1].actions, 1);
        assert_eq!(facts[1].cancels, 1);
    }

    #[test]
    fn a_log_that_is_not_understood_is_an_error() {
        assert!(money_of(&line("captured_somehow", "pi", "o", 1)).is_err());
        assert!(money_of("nonsense").is_err());
    }

    #[test]
    fn a_purchases_item_may_count_no_units() {
        let item = |names: &[(&str, &str)]| -> Item {
            let number = |(name, n): &(&str, &str)| ((*name).to_owned(), AttributeValue::N((*n).to_owned()));
            names.iter().map(number).collect()
        };
        assert_eq!(purchased(&item(&[("n", "2")])), Some(2));
        assert_eq!(purchased(&item(&[("n", "2"), ("l", "1")])), Some(2));
        assert_eq!(purchased(&item(&[("l", "1")])), Some(0));
        assert_eq!(purchased(&item(&[("r#TEE", "7")])), Some(0));
        assert_eq!(purchased(&item(&[])), None);
        assert_eq!(purchased(&item(&[("n", "x"), ("l", "1")])), None);
    }

    #[test]
    fn a_shard_item_is_read_with_its_claims() {
        let text = |t: &str| AttributeValue::S(t.into());
        let number = |n: u32| AttributeValue::N(n.to_string());
        let nonce = domain::ids::Nonce::of_request(
            &"d".parse().unwrap(),
            &"A".parse().unwrap(),
            &"ada".parse().unwrap(),
            "k",
            domain::time::Timestamp::from_millis(0),
        );
        let claim = Claim::held(2, domain::time::Timestamp::from_millis(1_800_000_000_000), nonce);
        let item = Item::from([
            ("pk".into(), text("d#A#3")),
            ("a".into(), number(24)),
            ("f".into(), number(20)),
            ("s".into(), number(2)),
            (
                "c".into(),
                AttributeValue::M(HashMap::from([("ada".into(), text(&claim.to_string()))])),
            ),
        ]);
        let fact = shard("d#A#3", &item).unwrap();
        assert_eq!(fact.sku.as_str(), "A");
        assert!(fact.shard.adds_up());
        let mut negative = item.clone();
        negative.insert("f".into(), AttributeValue::N("-1".into()));
        assert_eq!(shard("d#A#3", &negative), None, "units below zero are no shard");
        let mut odd = item;
        odd.insert(
            "c".into(),
            AttributeValue::M(HashMap::from([("ada".into(), text("h?"))])),
        );
        assert_eq!(shard("d#A#3", &odd), None);
    }
}
