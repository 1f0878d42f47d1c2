//! Tests the contract of the ports to an account's control planes.
//!
//! The tests run on an account with a Serverless v2 cluster and on an account with instances of a class.
//! [`account_fixtures`] has the documents of both.

pub mod account_fixtures;
mod changing;
mod classes;
mod declared;
mod looking;

pub use changing::*;
pub use classes::*;
pub use declared::*;
pub use looking::*;

use std::future::Future;

use capacity::documents::Documents;
use capacity::readiness::Seen;
use capacity::steps::Step;
use ports::prescale::{
    CallFunction, Carried, CarryOut, ControlError, Measure, MeasureDemand, Observe, ReadDocuments,
    ReadQuotas, WriteProfile,
};

use crate::{answered, port_group};

port_group!(
    /// The ports through which pre-scaling reads and changes an account.
    AccountPorts: ReadDocuments, ReadQuotas, Observe, CarryOut, Measure, CallFunction, MeasureDemand,
    WriteProfile,
);

/// An account under test, at the declared baseline.
pub trait ControlPlanes {
    fn account(&self) -> impl AccountPorts;
    fn documents(&self) -> &Documents;
    /// Replaces the declared documents.
    fn declare(&self, documents: &Documents) -> impl Future<Output = ()>;
    /// Completes all changes in progress.
    fn settle(&self) -> impl Future<Output = ()>;
    /// Sends a message to the queue of [`account_fixtures::SOURCE`].
    fn send(&self) -> impl Future<Output = ()>;
    /// Makes [`account_fixtures::API`] fail from now on, with every event.
    fn spoil(&self) -> impl Future<Output = ()>;
}

/// The contract of an account, whatever its database; `$setup` makes an account at the baseline of
/// [`account_fixtures::serverless`] or [`account_fixtures::provisioned`].
#[macro_export]
macro_rules! account_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [account]:
            at_the_baseline_everything_is_as_declared,
            a_function_that_is_not_there_is_broken,
            tables_and_event_sources_that_are_not_there_are_inactive,
            messages_that_wait_are_orders_on_their_way,
            what_is_provisioned_goes_up_and_down_and_away,
            a_reservation_is_set_and_changed_and_removed,
            an_event_source_is_set,
            a_table_is_warmed_and_never_cooled,
            what_is_there_already_is_set_without_harm,
            what_is_not_there_is_not_changed,
            the_way_back_is_exact,
            documents_are_read_as_declared,
            a_drop_that_is_called_off_is_read_at_once,
            a_function_answers_or_not,
            a_drop_of_which_nothing_was_measured_has_no_demand,
            the_profile_is_changed_at_the_version_that_was_read,
        );
    };
}

/// The additional contract of a Serverless v2 cluster.
#[macro_export]
macro_rules! serverless_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [account]:
            the_minimum_is_set_and_set_back,
            a_serverless_cluster_has_no_classes,
        );
    };
}

/// The additional contract of a cluster of instances.
#[macro_export]
macro_rules! classes_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [account]:
            classes_change_reader_by_reader_and_then_the_writer,
            whoever_writes_already_is_not_failed_over_to,
            instances_that_are_not_there_are_broken,
            a_cluster_of_instances_has_no_minimum,
        );
    };
}

/// Asserts that a call failed with an error that a repeat cannot remove.
fn assert_broken<T: std::fmt::Debug>(result: Result<T, ControlError>) {
    assert!(matches!(result, Err(ControlError::Broken(_))), "{result:?}");
}

/// Completes all changes, and returns the observed state.
async fn look(control_planes: &impl ControlPlanes) -> Seen {
    control_planes.settle().await;
    let baseline = &control_planes.documents().baseline;
    answered(control_planes.account().observe(baseline).await)
}

/// Carries out a step whose value is not set yet, and completes it.
async fn change(control_planes: &impl ControlPlanes, step: &Step) {
    let carried = answered(control_planes.account().carry_out(step).await);
    assert_ne!(carried, Carried::AlreadySo, "{step:?}");
    control_planes.settle().await;
}
