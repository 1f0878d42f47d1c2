//! Tests journeys: whole purchases over HTTP against a running stack, with real functions, tables, queues, gateway and
//! ledger.
//!
//! All journeys run concurrently on one stack, each with its own drops. A final audit checks all data that they wrote.
//! Arguments select journeys by name. The functions' binaries must have been built.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

mod journeys {
    pub(super) mod audit;
    pub(super) mod deployer;
    pub(super) mod edges;
    pub(super) mod limit;
    pub(super) mod logs;
    pub(super) mod mails;
    pub(super) mod operator;
    pub(super) mod people;
    pub(super) mod purchase;
    pub(super) mod races;
    pub(super) mod refusals;
    pub(super) mod refused_operators;
    pub(super) mod refused_shoppers;
    pub(super) mod repeats;
    pub(super) mod scene;
    pub(super) mod state;
    pub(super) mod webhooks;
    pub(super) mod world;
}

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use journeys::world::World;
use journeys::{
    audit, deployer, edges, limit, logs, mails, operator, purchase, races, refusals, repeats, webhooks,
};
use tokio::task::JoinSet;

type Journey = Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! journeys {
    ($world:expr, $($module:ident :: $name:ident),* $(,)?) => {
        vec![$((concat!(stringify!($module), "::", stringify!($name)), Box::pin($module::$name($world)) as Journey)),*]
    };
}

fn all(world: &'static World) -> Vec<(&'static str, Journey)> {
    journeys![
        world,
        purchase::from_draft_to_ledger,
        purchase::whoever_a_token_names_buys,
        purchase::after_a_decline_another_card_pays,
        purchase::without_another_card_the_unit_goes_back,
        purchase::an_action_is_completed_or_failed,
        purchase::an_abandoned_hold_comes_back,
        purchase::a_released_hold_comes_back,
        purchase::a_rotated_key_of_the_gateway_is_used_without_a_restart,
        webhooks::a_visit_to_the_bank_is_settled_by_its_webhook,
        webhooks::forged_and_old_webhooks_are_refused_and_repeats_do_nothing,
        mails::a_shopper_is_told_how_an_order_stands,
        logs::one_id_follows_a_purchase_and_no_person_is_named,
        repeats::one_key_is_one_reservation,
        repeats::one_key_is_one_order,
        repeats::one_key_is_one_restock,
        repeats::acts_of_the_operator_may_be_repeated,
        races::the_last_unit_goes_to_one,
        races::checkout_against_expiry,
        races::cancel_against_capture,
        limit::nobody_buys_more_than_the_limit,
        refusals::bad_input_changes_nothing,
        edges::after_a_restock_every_repeat_finds_its_own,
        edges::a_key_makes_a_new_reservation_once_its_own_has_ended,
        edges::repeats_are_answered_while_paused_and_others_are_not,
        edges::a_start_moves_with_its_end_and_the_waiting_learn_it,
        edges::a_draft_with_impossible_money_or_a_past_start_is_refused,
        edges::addresses_of_several_countries_are_shipped_to,
        operator::restock_while_open,
        operator::pause_resume_extend,
        operator::a_cancelled_drop_is_undone,
        operator::an_order_that_waits_for_the_gateway_is_kept_and_ended,
        deployer::an_unlisted_drop_is_bought_and_no_other,
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--list") {
        println!("journeys: test");
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<String> = arguments.into_iter().filter(|a| !a.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&chosen))
}

async fn run(chosen: &[String]) -> ExitCode {
    let began = Instant::now();
    let (stack, world) = match World::start().await {
        Ok(started) => started,
        Err(error) => {
            println!("the stack does not start: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    println!("stack ready after {:.1} s", began.elapsed().as_secs_f32());
    let mut running = JoinSet::new();
    let mut names = std::collections::HashMap::new();
    for (name, journey) in all(world) {
        if chosen.is_empty() || chosen.iter().any(|part| name.contains(part.as_str())) {
            names.insert(running.spawn(journey).id(), name);
        }
    }
    let mut failed = Vec::new();
    let mut note = |name: &'static str, good: bool| {
        let outcome = if good { "ok" } else { "FAILED" };
        println!("{name} … {outcome} ({:.1} s)", began.elapsed().as_secs_f32());
        if !good {
            failed.push(name);
        }
    };
    while let Some(ended) = running.join_next_with_id().await {
        match ended {
            Ok((id, ())) => note(names[&id], true),
            Err(error) => note(names[&error.id()], false),
        }
    }
    let audited = tokio::spawn(audit::everything_agrees(world)).await;
    note("audit::everything_agrees", audited.is_ok());
    stack.stop().await;
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!(
        "failed: {}; the functions' logs: {}",
        failed.join(", "),
        world.logs()
    );
    ExitCode::FAILURE
}
