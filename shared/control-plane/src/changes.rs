//! Carries out the steps of a plan: for each kind of step, one change at one service. A step that first reads the
//! resource sends this read once too, since the caller repeats steps.

use aws_sdk_lambda::types::{
    ProvisionedConcurrencyStatusEnum as Status, ProvisionedPollerConfig, ScalingConfig,
};
use aws_sdk_rds::types::ServerlessV2ScalingConfiguration;
use capacity::amounts::{Polling, WarmThroughput};
use capacity::steps::Step;
use ports::orders::FindDueOrders;
use ports::prescale::{Carried, CarryOut, ControlError};

use crate::database::works;
use crate::error::{Answered as _, NOTHING_PROVISIONED, broken};
use crate::tables::requested;
use crate::{AwsAccount, count};

impl<O: FindDueOrders> CarryOut for AwsAccount<O> {
    async fn carry_out(&self, step: &Step) -> Result<Carried, ControlError> {
        match step {
            Step::Reserve { function, to, .. } => self.reserve(function, *to).await,
            Step::Provision { function, to: 0, .. } => self.provision_nothing(function).await,
            Step::Provision { function, to, .. } => self.provision(function, *to).await,
            Step::SetMinimumAcu { to, .. } => self.set_minimum_acu(*to).await,
            Step::ChangeClass { instance, to, .. } => self.change_class(instance, to).await,
            Step::FailOver { to, .. } => self.fail_over(to).await,
            Step::Warm { table, to, .. } => self.warm(table, *to).await,
            Step::Poll { source, to, .. } => self.poll(source, *to).await,
        }
    }
}

impl<O: FindDueOrders> AwsAccount<O> {
    async fn reserve(&self, function: &str, to: Option<u32>) -> Result<Carried, ControlError> {
        let name = &self.function(function)?.name;
        let lambda = &self.clients.lambda.changes;
        match to {
            Some(to) => {
                let put = lambda.put_function_concurrency().function_name(name);
                let put = put.reserved_concurrent_executions(count(to));
                put.send().await.answered("PutFunctionConcurrency")?;
            }
            None => {
                let delete = lambda.delete_function_concurrency().function_name(name);
                delete.send().await.answered("DeleteFunctionConcurrency")?;
            }
        }
        Ok(Carried::Done)
    }

    async fn provision(&self, function: &str, to: u32) -> Result<Carried, ControlError> {
        let name = &self.function(function)?.name;
        let put = self.clients.lambda.changes.put_provisioned_concurrency_config();
        let put = put.function_name(name).qualifier(&self.names.alias);
        let put = put.provisioned_concurrent_executions(count(to)).send().await;
        let put = put.answered("PutProvisionedConcurrencyConfig")?;
        Ok(match put.status() {
            Some(Status::Ready) => Carried::Done,
            // FAILED counts as started, too: the status may describe the state before this request. The next read shows
            // the real state.
            _ => Carried::Started,
        })
    }

    async fn provision_nothing(&self, function: &str) -> Result<Carried, ControlError> {
        let name = &self.function(function)?.name;
        let lambda = &self.clients.lambda.changes;
        let delete = lambda.delete_provisioned_concurrency_config();
        let delete = delete.function_name(name).qualifier(&self.names.alias);
        let deleted = delete.send().await;
        let deleted = deleted.unless(NOTHING_PROVISIONED, "DeleteProvisionedConcurrencyConfig")?;
        Ok(deleted.map_or(Carried::AlreadySo, |_| Carried::Done))
    }

    /// The API sets minimum and maximum together, so the current maximum is sent unchanged.
    async fn set_minimum_acu(&self, to: f64) -> Result<Carried, ControlError> {
        const OPERATION: &str = "ModifyDBCluster";
        let cluster = self.cluster(&self.clients.rds.changes).await?;
        let there = cluster.serverless_v2_scaling_configuration();
        let there = there.ok_or_else(|| broken(OPERATION, "not a Serverless v2 cluster"))?;
        if there.min_capacity() == Some(to) {
            return Ok(Carried::AlreadySo);
        }
        if !works(cluster.status()) {
            return Err(ControlError::InProgress);
        }
        let scaling = ServerlessV2ScalingConfiguration::builder()
            .min_capacity(to)
            .set_max_capacity(there.max_capacity())
            // RDS refuses this setting beside a minimum above 0: "SecondsUntilAutoPause … only when MinCapacity is 0"
            // (ModifyDBCluster, ServerlessV2ScalingConfiguration).
            .set_seconds_until_auto_pause(there.seconds_until_auto_pause().filter(|_| to <= 0.0));
        let modify = self.clients.rds.changes.modify_db_cluster();
        let modify = modify.db_cluster_identifier(&self.names.cluster);
        let modify = modify.serverless_v2_scaling_configuration(scaling.build());
        modify.apply_immediately(true).send().await.answered(OPERATION)?;
        // RDS has only accepted the setting. A metric shows when the cluster runs with the new minimum.
        Ok(Carried::Started)
    }

    async fn change_class(&self, instance: &str, to: &str) -> Result<Carried, ControlError> {
        let modify = self.clients.rds.changes.modify_db_instance();
        let modify = modify.db_instance_identifier(instance).db_instance_class(to);
        // Without `apply_immediately`, the change would wait for the maintenance window.
        let modified = modify.apply_immediately(true).send().await;
        let modified = modified.answered("ModifyDBInstance")?;
        let there = modified.db_instance();
        let pending = there.and_then(|i| i.pending_modified_values());
        let pending = pending.and_then(|pending| pending.db_instance_class());
        let is_so = pending.is_none() && there.and_then(|i| i.db_instance_class()) == Some(to);
        let done = is_so && works(there.and_then(|i| i.db_instance_status()));
        Ok(if done { Carried::Done } else { Carried::Started })
    }

    async fn fail_over(&self, to: &str) -> Result<Carried, ControlError> {
        const OPERATION: &str = "FailoverDBCluster";
        let cluster = self.cluster(&self.clients.rds.changes).await?;
        let mut members = cluster.db_cluster_members().iter();
        let target = members.find(|member| member.db_instance_identifier() == Some(to));
        let target = target.ok_or_else(|| broken(OPERATION, &format!("no instance {to} in the cluster")))?;
        if target.is_cluster_writer() == Some(true) {
            return Ok(Carried::AlreadySo);
        }
        if !works(cluster.status()) {
            return Err(ControlError::InProgress);
        }
        let failover = self.clients.rds.changes.failover_db_cluster();
        let failover = failover.db_cluster_identifier(&self.names.cluster);
        // Without a target, RDS chooses an instance, perhaps an instance of the smaller class.
        let failover = failover.target_db_instance_identifier(to);
        failover.send().await.answered(OPERATION)?;
        Ok(Carried::Started)
    }

    async fn warm(&self, table: &str, to: WarmThroughput) -> Result<Carried, ControlError> {
        const OPERATION: &str = "UpdateTable";
        let missing = || broken(OPERATION, &format!("no table {table}"));
        let name = self.names.tables.get(table).ok_or_else(missing)?;
        let dynamodb = &self.clients.dynamodb.changes;
        let there = self.table_there(dynamodb, name).await?.ok_or_else(missing)?;
        if there.warm().max(to) != to {
            return Err(broken(OPERATION, "warm throughput is never lowered"));
        }
        let (own, indexes) = (there.own_to(to), there.indexes_to(to));
        if own.is_none() && indexes.is_empty() {
            return Ok(Carried::AlreadySo);
        }
        if !there.active {
            return Err(ControlError::InProgress);
        }
        let update = dynamodb.update_table().table_name(name);
        let update = update.set_warm_throughput(own.map(requested));
        let update = update.set_global_secondary_index_updates((!indexes.is_empty()).then_some(indexes));
        update.send().await.answered(OPERATION)?;
        Ok(Carried::Started)
    }

    async fn poll(&self, source: &str, to: Polling) -> Result<Carried, ControlError> {
        const OPERATION: &str = "UpdateEventSourceMapping";
        let named = self.names.sources.get(source);
        let named = named.ok_or_else(|| broken(OPERATION, &format!("no event source {source}")))?;
        let update = self.clients.lambda.changes.update_event_source_mapping();
        let update = update.uuid(&named.mapping);
        // The request omits the other kind of setting, so that the other setting stays unset.
        let update = match to {
            Polling::MaximumConcurrency(most) => {
                let scaling = ScalingConfig::builder().maximum_concurrency(count(most));
                update.scaling_config(scaling.build())
            }
            Polling::ProvisionedPollers { minimum, maximum } => {
                let pollers = ProvisionedPollerConfig::builder().minimum_pollers(count(minimum));
                let pollers = pollers.maximum_pollers(count(maximum));
                update.provisioned_poller_config(pollers.build())
            }
        };
        let updated = update.send().await.answered(OPERATION)?;
        Ok(match updated.state() {
            Some("Enabled") => Carried::Done,
            _ => Carried::Started,
        })
    }
}
