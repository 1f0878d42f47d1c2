//! Tests the contract of the stock ports.

pub mod claims;
pub mod history;
pub mod reads;
pub mod take_overs;

/// The contract of the stock ports, as tests; `$setup` makes an empty database.
#[macro_export]
macro_rules! stock_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [stock::claims]:
            a_shard_is_allocated_once,
            a_claim_takes_free_units,
            the_repeat_of_a_claim_is_refused_and_shows_it,
            another_request_of_the_same_shopper_is_refused_and_shows_the_first,
            a_claim_of_more_than_is_free_is_refused_and_shows_what_is,
            a_claim_in_no_shard_is_refused_and_makes_none,
            of_32_claims_of_the_last_unit_one_is_taken,
            of_32_repeats_at_once_one_is_taken,
            a_hold_is_given_back_once_and_exactly,
            an_ordered_claim_is_not_given_back,
            an_unused_hold_is_counted_once,
            a_claim_and_a_return_at_once_lose_no_unit,
        );
        $crate::contract_tests!($setup => [stock::take_overs]:
            a_hold_is_taken_over_by_another_shopper,
            a_hold_is_replaced_by_its_own_shopper,
            a_take_over_settles_the_difference_in_units,
            a_take_over_of_what_was_not_seen_is_refused_and_shows_what_is,
            a_take_over_is_refused_to_whom_has_a_claim,
            an_ordered_claim_is_not_taken_over,
            of_16_take_overs_one_succeeds,
        );
        $crate::contract_tests!($setup => [stock::reads]:
            a_claim_is_read_as_it_is,
            a_peek_shows_what_exists_in_the_order_asked_for,
            a_remembered_shard_belongs_to_a_shopper_and_a_sku,
            a_peek_too_wide_is_a_mistake,
            a_survey_shows_hundreds_of_shards,
        );
        $crate::contract_tests!($setup => [stock::history]:
            a_long_history_is_as_the_domain_says,
        );
    };
}
