//! Implements the order ports: an order and its effect on the stock change in one transaction.

mod calls;
mod contacts;
mod order_item;
mod writes;

use aws_sdk_dynamodb::Client;
use domain::ids::{OrderId, ShopperId};
use domain::order::{Order, OrderStep};
use domain::time::Timestamp;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use ports::orders::{
    AdvanceOrder, EffectError, FindDueOrders, ListOpenOrders, ListOrders, NotPlaced, OrderPage, PlaceOrder,
    Placing, PutOff, ReadOrder,
};
use ports::stock::Consistency::Strong;
use ports::{Conditional, StoreError, page};

use crate::Tables;
use crate::clients::Clients;
use crate::error::conditional;
use crate::item::{Item, KEY, moment, ms, n, number, parsed, s};
use crate::paging::query;
use crate::stock::{DECLINED, PURCHASES};
use crate::transact::{Reason, Transacted, not_conditions, transact};

use calls::LinesSeen;
use order_item::{DUE_AT, OPEN_INDEX, SHOPPER_INDEX, TABLE, bucket_key, order_item, order_of};
pub use order_item::{OrderImageError, order_from_stream_json};

/// The number of orders of a page that are read concurrently.
const READS_AT_ONCE: usize = 16;

/// Orders, with the claims, purchase counters and addresses that change with them.
#[derive(Debug, Clone)]
pub struct OrderStore {
    pub(crate) clients: Clients,
    pub(crate) lines: LinesSeen,
}

impl OrderStore {
    /// Every method for orders needs the table `orders`. Advancing also needs `stock` and `purchases`, and placing
    /// needs `addresses` in addition. Contacts need only `addresses`; call slots of the gateway and declined cards need
    /// only `purchases`.
    #[must_use]
    pub fn new(client: &Client, tables: &Tables) -> Self {
        Self {
            clients: Clients::new(client, tables),
            lines: LinesSeen::default(),
        }
    }

    async fn read(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        let table = &self.clients.tables.orders;
        let item = self.clients.get(table, id.as_str(), Strong).await?;
        item.as_ref().map(order_of).transpose()
    }
}

impl PlaceOrder for OrderStore {
    async fn place(&self, placing: &Placing) -> Result<Conditional<NotPlaced>, StoreError> {
        let writes = writes::place(&self.clients.tables, placing)?;
        let reasons = match transact(&self.clients.client, &self.clients.tables.orders, writes).await? {
            Transacted::Done => return Ok(Conditional::Done),
            Transacted::Cancelled(reasons) => reasons,
        };
        if let Some(Reason::Condition(Some(existing))) = reasons.first() {
            let existing = Box::new(order_of(existing)?);
            return Ok(Conditional::Refused(NotPlaced::Exists(existing)));
        }
        if let Some(error) = not_conditions(&reasons) {
            return Err(error);
        }
        // The reasons name the conditions that were checked before the transaction was cancelled, and possibly not all
        // conditions. Only a read of the order shows that the order does not exist.
        if let Some(existing) = self.read(&placing.order.id).await? {
            return Ok(Conditional::Refused(NotPlaced::Exists(Box::new(existing))));
        }
        match (reasons.get(1), reasons.get(2)) {
            (Some(Reason::Condition(_)), _) => Ok(Conditional::Refused(NotPlaced::HoldChanged)),
            (_, Some(Reason::Condition(counter))) => {
                not_counted(placing, counter.as_ref()).map(Conditional::Refused)
            }
            // No reason explains the cancellation, so the caller must try again.
            _ => Err(StoreError::Busy),
        }
    }
}

/// Why the current purchase counter does not admit the order.
fn not_counted(placing: &Placing, counter: Option<&Item>) -> Result<NotPlaced, StoreError> {
    let order = &placing.order;
    let count = |name: &str| match counter.filter(|item| item.contains_key(name)) {
        Some(item) => number(PURCHASES, item, name),
        None => Ok(0),
    };
    let purchased: u32 = count("n")?;
    let within = purchased.saturating_add(order.units) <= placing.per_shopper_limit;
    if within && order.terms.cards > 1 && counter.is_some() {
        let declined = count(DECLINED)?;
        Ok(NotPlaced::NotFirst { declined })
    } else {
        Ok(NotPlaced::LimitReached)
    }
}

impl ReadOrder for OrderStore {
    async fn order(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        self.read(id).await
    }
}

impl ListOrders for OrderStore {
    async fn orders_of(
        &self,
        shopper: &ShopperId,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> Result<OrderPage, StoreError> {
        let from = after.map(|(placed_at, id)| {
            Item::from([
                (KEY.to_owned(), s(id.as_str())),
                ("shopper_id".to_owned(), s(shopper.as_str())),
                ("placed_at".to_owned(), ms(*placed_at)),
            ])
        });
        let table = &self.clients.tables.orders;
        let request = self
            .clients
            .query(table, SHOPPER_INDEX)
            .key_condition_expression("shopper_id = :shopper")
            .expression_attribute_values(":shopper", s(shopper.as_str()))
            .scan_index_forward(false);
        // One more order than requested shows whether there is a next page.
        let items = query(request, table, from, usize::from(limit) + 1).await?;
        let mut orders = items.iter().map(order_of).collect::<Result<Vec<_>, _>>()?;
        let next = page::cut(&mut orders, limit, |order| (order.placed_at, order.id.clone()));
        Ok(OrderPage { orders, next })
    }
}

impl FindDueOrders for OrderStore {
    async fn due_orders(&self, bucket: u8, now: Timestamp, limit: u16) -> Result<Vec<OrderId>, StoreError> {
        let table = &self.clients.tables.orders;
        let request = self
            .clients
            .query(table, OPEN_INDEX)
            .key_condition_expression("#open = :bucket AND due_at <= :now")
            .expression_attribute_names("#open", "open")
            .expression_attribute_values(":bucket", s(bucket_key(bucket)))
            .expression_attribute_values(":now", ms(now))
            .projection_expression(KEY);
        let items = query(request, table, None, usize::from(limit)).await?;
        items.iter().map(|item| parsed(TABLE, item, KEY)).collect()
    }
}

impl ListOpenOrders for OrderStore {
    async fn open_orders(
        &self,
        bucket: u8,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> Result<OrderPage, StoreError> {
        let table = &self.clients.tables.orders;
        let from = after.map(|(due_at, id)| {
            Item::from([
                (KEY.to_owned(), s(id.as_str())),
                ("open".to_owned(), s(bucket_key(bucket))),
                (DUE_AT.to_owned(), ms(*due_at)),
            ])
        });
        let request = self
            .clients
            .query(table, OPEN_INDEX)
            .key_condition_expression("#open = :bucket")
            .expression_attribute_names("#open", "open")
            .expression_attribute_values(":bucket", s(bucket_key(bucket)));
        let items = query(request, table, from, usize::from(limit) + 1).await?;
        let mut places = items
            .iter()
            .map(|item| Ok((moment(TABLE, item, DUE_AT)?, parsed(TABLE, item, KEY)?)))
            .collect::<Result<Vec<(Timestamp, OrderId)>, StoreError>>()?;
        let next = page::cut(&mut places, limit, Clone::clone);
        // The index contains only keys, so each order is read by its id.
        let read = places
            .into_iter()
            .map(|(_, id)| async move { self.read(&id).await });
        let found: Vec<_> = stream::iter(read).buffered(READS_AT_ONCE).try_collect().await?;
        let orders = found.into_iter().flatten().filter(|order| order.status.is_open());
        Ok(OrderPage {
            orders: orders.collect(),
            next,
        })
    }
}

impl PutOff for OrderStore {
    async fn put_off(&self, seen: &Order, due_at: Timestamp) -> Result<Conditional<()>, StoreError> {
        let table = &self.clients.tables.orders;
        let result = self
            .clients
            .update(table, seen.id.as_str())
            .update_expression("SET due_at = :next")
            .condition_expression("#version = :from AND due_at = :seen AND attribute_exists(#open)")
            .expression_attribute_names("#version", "version")
            .expression_attribute_names("#open", "open")
            .expression_attribute_values(":from", n(seen.version))
            .expression_attribute_values(":seen", ms(seen.due_at))
            .expression_attribute_values(":next", ms(due_at))
            .send()
            .await;
        conditional("UpdateItem", table, result)
    }
}

impl AdvanceOrder for OrderStore {
    async fn advance(&self, step: &OrderStep) -> Result<Conditional<()>, StoreError> {
        let Some(effect) = step.effect else {
            return self.replace(step).await;
        };
        let writes = writes::advance(&self.clients.tables, step, effect)?;
        let reasons = match transact(&self.clients.client, &self.clients.tables.orders, writes).await? {
            Transacted::Done => return Ok(Conditional::Done),
            Transacted::Cancelled(reasons) => reasons,
        };
        if let Some(Reason::Condition(_)) = reasons.first() {
            return Ok(Conditional::Refused(()));
        }
        if let Some(error) = not_conditions(&reasons) {
            return Err(error);
        }
        // As in `place`, the reasons may be incomplete: only a read of the order shows its version.
        let version = self.read(&step.order.id).await?.map(|order| order.version);
        if version != Some(step.from_version) {
            return Ok(Conditional::Refused(()));
        }
        match (reasons.get(1), reasons.get(2)) {
            (Some(Reason::Condition(_)), _) => Err(StoreError::broken(EffectError::NoClaim)),
            (_, Some(Reason::Condition(_))) => Err(StoreError::broken(EffectError::CounterTooSmall)),
            _ => Err(StoreError::Busy),
        }
    }
}

impl OrderStore {
    /// Stores a step that does not change the stock: one write costs half of a transaction.
    async fn replace(&self, step: &OrderStep) -> Result<Conditional<()>, StoreError> {
        let (condition, placeholder, name) = writes::AT_VERSION;
        let table = &self.clients.tables.orders;
        let result = self
            .clients
            .put(table, order_item(&step.order)?)
            .condition_expression(condition)
            .expression_attribute_names(placeholder, name)
            .expression_attribute_values(":from", n(step.from_version))
            .send()
            .await;
        conditional("PutItem", table, result)
    }
}
