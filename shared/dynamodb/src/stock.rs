//! Implements the stock ports: every write of a shard is one conditional write of one item, and a refusal returns the
//! shard.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure};
use domain::claim::{Claim, SeenHold};
use domain::ids::{DropId, ShardKey, ShopperId, SkuId};
use domain::lapse::Lapses;
use domain::shard::Shard;
use domain::survey::SeenClaim;
use futures_util::{StreamExt, TryStreamExt, stream};
use ports::stock::{
    AllocateStock, ClaimStock, Consistency, CountLapse, GiveBackStock, Peek, PeekStock, ReadClaim,
    SurveyStock, keys_to_peek,
};
use ports::{Conditional, StoreError};

use crate::Tables;
use crate::batch::{MOST_KEYS, batch_get, keys};
use crate::clients::Clients;
use crate::error::{Written, conditional, store_error, written};
use crate::item::{Item, KEY, moment, ms, n, number, s, unreadable};
use crate::shard::{TABLE, keyed_shard_of, shard_item, shard_of};

/// How many chunks of a survey are read concurrently.
const SURVEY_CHUNKS: usize = 4;

/// The stock, and the purchase counters that a read of a shopper's shards returns too.
#[derive(Debug, Clone)]
pub struct StockStore {
    clients: Clients,
}

impl StockStore {
    /// The stock in the table `stock`, and for peeks the table `purchases`.
    #[must_use]
    pub fn new(client: &Client, tables: &Tables) -> Self {
        Self {
            clients: Clients::new(client, tables),
        }
    }

    /// A conditional write on one shard in which `#me` is `shopper`.
    fn update(&self, key: &ShardKey, shopper: &ShopperId) -> UpdateItemFluentBuilder {
        let update = self.clients.update(&self.clients.tables.stock, key.to_string());
        update.expression_attribute_names("#me", shopper.as_str())
    }
}

pub(crate) const PURCHASES: &str = "purchases";
/// The attribute for the number of units in open or paid orders.
const PURCHASED: &str = "n";
/// The attribute for the number of holds that expired unused.
pub(crate) const LAPSES: &str = "l";
/// The attribute for the number of the shopper's cards that were declined in the drop, in orders that ended unpaid;
/// absent while the number is 0.
pub(crate) const DECLINED: &str = "d";
/// The attribute for the deadline of the last hold that expired unused.
pub(crate) const LAPSED_AT: &str = "la";

/// The attribute for the index of the shard that is remembered for a SKU.
fn remembered_name(sku: &SkuId) -> String {
    format!("r#{sku}")
}

/// The key of a shopper's purchase counter. Neither part can contain `#`.
pub(crate) fn purchases_key(drop: &DropId, shopper: &ShopperId) -> String {
    format!("{drop}#{shopper}")
}

impl PeekStock for StockStore {
    async fn peek(
        &self,
        drop: &DropId,
        shopper: &ShopperId,
        wanted: &[ShardKey],
    ) -> Result<Peek, StoreError> {
        // DynamoDB refuses a batch with a duplicate key as a whole.
        let distinct = keys_to_peek(drop, wanted)?;
        let tables = &self.clients.tables;
        let counter = std::iter::once(purchases_key(drop, shopper));
        let mut request = HashMap::from([(tables.purchases.clone(), built(keys(counter, false))?)]);
        if !wanted.is_empty() {
            let shards = distinct.iter().map(ToString::to_string);
            request.insert(tables.stock.clone(), built(keys(shards, false))?);
        }
        let found = batch_get(&self.clients.client, &tables.stock, request).await?;
        let mut unsorted = shards_of(found.get(&tables.stock))?;
        let mut shards = Vec::with_capacity(unsorted.len());
        for key in distinct {
            if let Some(at) = unsorted.iter().position(|(found, _)| found == key) {
                shards.push(unsorted.swap_remove(at));
            }
        }
        let nothing = Item::new();
        let purchases = found.get(&tables.purchases).and_then(|items| items.first());
        let purchases = purchases.unwrap_or(&nothing);
        let lapses = optional(purchases, LAPSES)?.map(|count| {
            let last = moment(PURCHASES, purchases, LAPSED_AT)?;
            Ok::<_, StoreError>(Lapses { count, last })
        });
        let remembered = wanted
            .first()
            .map(|key| optional(purchases, &remembered_name(&key.sku)));
        Ok(Peek {
            shards,
            purchased: optional(purchases, PURCHASED)?.unwrap_or(0),
            lapses: lapses.transpose()?,
            remembered: remembered.transpose()?.flatten(),
        })
    }
}

/// The number in an attribute of a purchases item. Different writes store these attributes, so each may be absent.
fn optional<T: FromStr>(item: &Item, name: &str) -> Result<Option<T>, StoreError> {
    let stored = item.contains_key(name);
    stored.then(|| number(PURCHASES, item, name)).transpose()
}

/// The shards in the items that were found in the table.
fn shards_of(items: Option<&Vec<Item>>) -> Result<Vec<(ShardKey, Shard)>, StoreError> {
    items.into_iter().flatten().map(keyed_shard_of).collect()
}

fn built<E>(keys: Result<KeysAndAttributes, E>) -> Result<KeysAndAttributes, StoreError> {
    keys.map_err(|_| StoreError::Broken("BatchGetItem: no request could be built".to_owned()))
}

/// Sends a conditional write. If it is refused, the result is the shard in the refusal.
async fn send(
    table: &str,
    update: UpdateItemFluentBuilder,
) -> Result<Conditional<Option<Shard>>, StoreError> {
    let result = update
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await;
    Ok(match written("UpdateItem", table, result)? {
        Written::Done(_) => Conditional::Done,
        Written::Refused(item) => Conditional::Refused(item.as_ref().map(shard_of).transpose()?),
    })
}

impl ClaimStock for StockStore {
    async fn claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        let update = self
            .update(key, shopper)
            .update_expression("SET f = f - :u, c.#me = :held")
            .condition_expression("f >= :u AND attribute_not_exists(c.#me)")
            .expression_attribute_values(":u", n(claim.units))
            .expression_attribute_values(":held", s(claim.to_string()));
        send(&self.clients.tables.stock, update).await
    }

    async fn take_over(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
        victim: &ShopperId,
        seen: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        let seen = SeenHold::of(seen).map_err(StoreError::broken)?.claim();
        let update = if shopper == victim {
            self.update(key, shopper)
                .update_expression("SET f = f + :change, c.#me = :held")
                .condition_expression("c.#me = :seen AND f >= :need")
        } else {
            self.update(key, shopper)
                .expression_attribute_names("#victim", victim.as_str())
                .update_expression("SET f = f + :change, c.#me = :held REMOVE c.#victim")
                .condition_expression("c.#victim = :seen AND attribute_not_exists(c.#me) AND f >= :need")
        };
        let update = update
            .expression_attribute_values(":held", s(claim.to_string()))
            .expression_attribute_values(":seen", s(seen.to_string()))
            .expression_attribute_values(":change", n(i64::from(seen.units) - i64::from(claim.units)))
            .expression_attribute_values(":need", n(claim.units.saturating_sub(seen.units)));
        send(&self.clients.tables.stock, update).await
    }

    async fn remember(&self, key: &ShardKey, shopper: &ShopperId) -> Result<(), StoreError> {
        let table = &self.clients.tables.purchases;
        self.clients
            .update(table, purchases_key(&key.drop, shopper))
            .update_expression("SET #remembered = :index")
            .expression_attribute_names("#remembered", remembered_name(&key.sku))
            .expression_attribute_values(":index", n(key.index))
            .send()
            .await
            .map_err(|error| store_error("UpdateItem", table, &error))?;
        Ok(())
    }
}

impl GiveBackStock for StockStore {
    async fn give_back(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        let Ok(hold) = SeenHold::of(&seen.claim) else {
            return Ok(Conditional::Refused(()));
        };
        let result = self
            .update(&seen.shard, &seen.shopper)
            .update_expression("SET f = f + :u REMOVE c.#me")
            .condition_expression("c.#me = :seen")
            .expression_attribute_values(":u", n(hold.claim().units))
            .expression_attribute_values(":seen", s(hold.claim().to_string()))
            .send()
            .await;
        conditional("UpdateItem", &self.clients.tables.stock, result)
    }
}

impl CountLapse for StockStore {
    async fn count_lapse(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        let table = &self.clients.tables.purchases;
        let key = purchases_key(&seen.shard.drop, &seen.shopper);
        let result = self
            .clients
            .update(table, key)
            .update_expression("SET #at = :at ADD #l :one")
            .condition_expression("attribute_not_exists(#at) OR #at < :at")
            .expression_attribute_names("#l", LAPSES)
            .expression_attribute_names("#at", LAPSED_AT)
            .expression_attribute_values(":at", ms(seen.claim.deadline))
            .expression_attribute_values(":one", n(1))
            .send()
            .await;
        conditional("UpdateItem", table, result)
    }
}

impl ReadClaim for StockStore {
    async fn read_claim(&self, key: &ShardKey, shopper: &ShopperId) -> Result<Option<Claim>, StoreError> {
        let output = self
            .clients
            .client
            .get_item()
            .table_name(&self.clients.tables.stock)
            .key(KEY, s(key.to_string()))
            .consistent_read(true)
            .projection_expression("c.#me")
            .expression_attribute_names("#me", shopper.as_str())
            .send()
            .await
            .map_err(|error| store_error("GetItem", &self.clients.tables.stock, &error))?;
        let claims = output.item.and_then(|mut item| item.remove("c"));
        let Some(AttributeValue::M(claims)) = claims else {
            return Ok(None);
        };
        let Some(claim) = claims.get(shopper.as_str()) else {
            return Ok(None);
        };
        let text = claim.as_s().map_err(|_| unreadable(TABLE, "c"))?;
        text.parse().map(Some).map_err(|_| unreadable(TABLE, "c"))
    }
}

impl SurveyStock for StockStore {
    async fn survey(
        &self,
        wanted: &[ShardKey],
        consistency: Consistency,
    ) -> Result<Vec<(ShardKey, Shard)>, StoreError> {
        let distinct: Vec<&ShardKey> = wanted.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let chunks: Vec<Vec<String>> = distinct
            .chunks(MOST_KEYS)
            .map(|chunk| chunk.iter().map(ToString::to_string).collect())
            .collect();
        let table = &self.clients.tables.stock;
        let found: Vec<Vec<(ShardKey, Shard)>> = stream::iter(chunks)
            .map(|chunk| async move {
                let wanted = built(keys(chunk.into_iter(), consistency == Consistency::Strong))?;
                let request = HashMap::from([(table.clone(), wanted)]);
                let found = batch_get(&self.clients.client, table, request).await?;
                shards_of(found.get(table))
            })
            .buffer_unordered(SURVEY_CHUNKS)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }
}

impl AllocateStock for StockStore {
    async fn allocate(&self, key: &ShardKey, units: u32) -> Result<Conditional<()>, StoreError> {
        let table = &self.clients.tables.stock;
        let put = self.clients.put(table, shard_item(key, &Shard::allocated(units)));
        let put = put.condition_expression("attribute_not_exists(pk)");
        conditional("PutItem", table, put.send().await)
    }
}
