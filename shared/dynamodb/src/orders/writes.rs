//! Builds the writes that place and advance orders.

use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use domain::claim::Claim;
use domain::order::{Order, OrderStep, StockEffect};
use ports::StoreError;
use ports::orders::Placing;

use crate::Tables;
use crate::item::{KEY, ms, n, s};
use crate::orders::order_item::order_item;
use crate::stock::{DECLINED, LAPSED_AT, LAPSES, purchases_key};
use crate::transact::{put, update};

/// An update of the order's shard in which `#me` is its shopper and `:seen` the claim the update is conditional on.
fn shard_update(tables: &Tables, order: &Order, seen: &Claim) -> UpdateBuilder {
    Update::builder()
        .table_name(&tables.stock)
        .key(KEY, s(order.reservation.shard.to_string()))
        .condition_expression("c.#me = :seen")
        .expression_attribute_names("#me", order.shopper.as_str())
        .expression_attribute_values(":seen", s(seen.to_string()))
}

fn counter_update(tables: &Tables, order: &Order) -> UpdateBuilder {
    let key = purchases_key(&order.reservation.shard.drop, &order.shopper);
    Update::builder().table_name(&tables.purchases).key(KEY, s(key))
}

/// The writes that place an order: the order, the claim, the counter, the address, in this order.
pub(crate) fn place(tables: &Tables, placing: &Placing) -> Result<Vec<TransactWriteItem>, StoreError> {
    let order = &placing.order;
    let hold = order.replaced(&placing.hold).map_err(StoreError::broken)?;
    let order_put = Put::builder()
        .table_name(&tables.orders)
        .set_item(Some(order_item(order)?))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build();
    let claim = shard_update(tables, order, hold.claim())
        .update_expression("SET c.#me = :ordered")
        .expression_attribute_values(":ordered", s(order.claim.to_string()))
        .build();
    // A missing counter must not admit an order that alone exceeds the limit. A counter stays when its orders are
    // undone, so `n` exists exactly if the shopper has placed an order in the drop.
    let fits = order.units <= placing.per_shopper_limit;
    let counter = counter_update(tables, order)
        .update_expression("ADD n :u")
        .expression_attribute_values(":u", n(order.units))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let counter = if fits && order.terms.cards > 1 {
        counter.condition_expression("attribute_not_exists(n)")
    } else {
        let within = if fits {
            "attribute_not_exists(n) OR n <= :rest"
        } else {
            "n <= :rest"
        };
        let rest = i64::from(placing.per_shopper_limit) - i64::from(order.units);
        counter
            .condition_expression(within)
            .expression_attribute_values(":rest", n(rest))
    };
    let address = Put::builder()
        .table_name(&tables.addresses)
        .item(KEY, s(order.id.as_str()))
        .item("address", s(placing.address.as_str()))
        .build();
    Ok(vec![
        put(order_put)?,
        update(claim)?,
        update(counter.build())?,
        put(address)?,
    ])
}

/// The condition under which a step may be stored, and the placeholder and the name of the condition's attribute.
pub(crate) const AT_VERSION: (&str, &str, &str) = ("#version = :from", "#version", "version");

/// The writes that advance an order together with its effect: the order, the claim and, for [`StockEffect::Undo`], the
/// counter.
pub(crate) fn advance(
    tables: &Tables,
    step: &OrderStep,
    effect: StockEffect,
) -> Result<Vec<TransactWriteItem>, StoreError> {
    let order = &step.order;
    let (condition, placeholder, name) = AT_VERSION;
    let order_put = Put::builder()
        .table_name(&tables.orders)
        .set_item(Some(order_item(order)?))
        .condition_expression(condition)
        .expression_attribute_names(placeholder, name)
        .expression_attribute_values(":from", n(step.from_version))
        .build();
    let units_move = match effect {
        StockEffect::Undo => "SET f = f + :u REMOVE c.#me",
        StockEffect::Settle => "SET s = s + :u REMOVE c.#me",
    };
    let stock = shard_update(tables, order, &order.claim)
        .update_expression(units_move)
        .expression_attribute_values(":u", n(order.claim.units))
        .build();
    let mut writes = vec![put(order_put)?, update(stock)?];
    if effect == StockEffect::Undo {
        let mut counter = counter_update(tables, order)
            .condition_expression("n >= :u")
            .expression_attribute_values(":u", n(order.units));
        let (mut set, mut add) = ("SET n = n - :u".to_owned(), Vec::new());
        if order.counts_as_lapse() {
            set.push_str(", #at = :at");
            add.push("#l :one");
            counter = counter
                .expression_attribute_names("#l", LAPSES)
                .expression_attribute_names("#at", LAPSED_AT)
                .expression_attribute_values(":at", ms(order.updated_at))
                .expression_attribute_values(":one", n(1));
        }
        if order.declines() > 0 {
            add.push("#d :declined");
            counter = counter
                .expression_attribute_names("#d", DECLINED)
                .expression_attribute_values(":declined", n(order.declines()));
        }
        if !add.is_empty() {
            set = format!("{set} ADD {}", add.join(", "));
        }
        writes.push(update(counter.update_expression(set).build())?);
    }
    Ok(writes)
}
