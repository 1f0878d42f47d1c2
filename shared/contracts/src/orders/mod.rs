//! Tests the contract of the order ports.

pub mod advancing;
pub mod contacts;
pub mod lists;
pub mod placing;
pub mod races;

use domain::order::Order;
use domain::time::Timestamp;
use ports::orders::PlaceOrder;

use crate::fixtures::{drop_id, held, key, placing_in, shopper};
use crate::{Database, StockPorts, answered, done};

/// The contract of the order ports, as tests; `$setup` makes an empty database.
#[macro_export]
macro_rules! orders_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [orders::placing]:
            an_order_takes_hold_counter_and_address_along,
            the_repeat_of_a_placing_finds_its_order,
            an_order_that_has_moved_on_is_found_as_it_is_now,
            an_existing_order_is_found_before_hold_or_limit_is_blamed,
            a_changed_hold_is_told_and_changes_nothing,
            a_changed_hold_is_told_before_the_limit,
            the_limit_holds_over_all_orders_of_a_shopper,
            only_a_first_order_takes_further_cards,
            the_limit_holds_for_a_first_order,
            an_order_that_is_not_of_its_hold_is_a_mistake,
        );
        $crate::contract_tests!($setup => [orders::advancing]:
            a_step_without_effect_changes_the_order_only,
            a_step_without_effect_neither_sells_nor_returns,
            a_step_from_another_version_is_refused,
            a_step_of_no_order_is_refused,
            settling_sells_the_units_and_keeps_the_counter,
            undoing_frees_the_units_and_lowers_the_counter,
            what_was_undone_can_be_bought_again,
        );
        $crate::contract_tests!($setup => [orders::contacts]:
            what_was_sent_is_kept_beside_the_address_once,
            of_no_order_nothing_is_sent,
        );
        $crate::contract_tests!($setup => [orders::races]:
            of_16_repeats_of_a_placing_one_is_stored,
            of_many_orders_at_once_no_more_than_the_limit_are_placed,
            an_order_and_a_return_at_once_do_not_both_get_the_hold,
            an_order_and_a_take_over_at_once_do_not_both_get_the_hold,
            of_settling_and_undoing_at_once_one_happens,
            of_16_repeats_of_a_step_one_is_stored,
            orders_in_one_shard_at_once_lose_no_unit,
        );
        $crate::contract_tests!($setup => [orders::lists]:
            the_orders_of_a_shopper_come_in_pages_newest_first,
            a_full_last_page_has_no_next,
            due_orders_are_found_in_their_buckets,
            a_closed_order_is_never_due,
            an_order_is_due_when_it_was_put_off_to,
            open_orders_are_listed_bucket_by_bucket,
        );
    };
}

/// Makes a shard with `units`, and a hold in the shard for each named shopper.
async fn holds(stock: &impl StockPorts, index: u16, units: u32, of: &[(&str, &str, u32)]) {
    done(stock.allocate(&key(index), units).await);
    for (name, idempotency_key, units) in of {
        let hold = held(name, idempotency_key, *units);
        let claimed = stock.claim(&key(index), &shopper(name), &hold).await;
        assert!(answered(claimed).is_done(), "{name} {idempotency_key}");
    }
}

/// Makes a shard of 5 units, and in the shard an order of `name` for `units`, placed at `now`.
async fn placed(database: &impl Database, index: u16, name: &str, units: u32, now: Timestamp) -> Order {
    holds(&database.stock(), index, 5, &[(name, "k", units)]).await;
    let placing = placing_in(index, name, "k", units, 100, now);
    done(database.orders().place(&placing).await);
    placing.order
}

async fn purchased(stock: &impl StockPorts, name: &str) -> u32 {
    answered(stock.peek(&drop_id(), &shopper(name), &[]).await).purchased
}

/// Whether the shopper's claim in the shard equals the claim that `order` wrote.
async fn is_ordered(stock: &impl StockPorts, order: &Order) -> bool {
    let claim = stock.read_claim(&order.reservation.shard, &order.shopper).await;
    answered(claim).as_ref() == Some(&order.claim)
}
