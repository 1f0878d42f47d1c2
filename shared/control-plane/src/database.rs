//! Reads the ledger's database from RDS.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbCluster, DbInstance, Filter};
use capacity::database::DatabaseBaseline;
use capacity::observed::{Instance, ObservedDatabase};
use ports::prescale::ControlError;

use crate::error::{Answered as _, broken};
use crate::{AwsAccount, paging};

/// States in which a cluster or instance can be used and changed.
const WORKING: [&str; 3] = ["available", "backing-up", "storage-optimization"];

pub(crate) fn works(status: Option<&str>) -> bool {
    status.is_some_and(|status| WORKING.contains(&status))
}

#[derive(Debug)]
pub(crate) struct Database {
    /// The capacity settings of the database.
    pub(crate) observed: ObservedDatabase,
    /// Whether all parts are available, and no change waits for the maintenance window.
    pub(crate) settled: bool,
}

impl<O> AwsAccount<O> {
    pub(crate) async fn database(&self, declared: &DatabaseBaseline) -> Result<Database, ControlError> {
        let cluster = self.cluster(&self.clients.rds.reads).await?;
        let there = self.instances().await?;
        let available =
            works(cluster.status()) && there.iter().all(|instance| works(instance.db_instance_status()));
        let deferred = |instance: &DbInstance| {
            let pending = instance.pending_modified_values();
            let class = pending.and_then(|pending| pending.db_instance_class());
            class.is_some() && class != instance.db_instance_class()
        };
        let settled = available && !there.iter().any(deferred);
        let observed = match declared {
            DatabaseBaseline::Serverless { .. } => {
                let scaling = cluster.serverless_v2_scaling_configuration();
                let minimum = scaling.and_then(|scaling| scaling.min_capacity());
                let minimum_acu = minimum.ok_or_else(|| {
                    broken("DescribeDBClusters", "the cluster has no Serverless v2 capacity")
                })?;
                ObservedDatabase::Serverless { minimum_acu }
            }
            DatabaseBaseline::Provisioned { instances, .. } => ObservedDatabase::Provisioned {
                instances: declared_instances(&cluster, &there, instances)?,
                // A change that waits for the maintenance window does not count as in progress, so that the next change
                // replaces it.
                available,
            },
        };
        Ok(Database { observed, settled })
    }

    /// The cluster, read with `rds`, the client for reads or the one for changes.
    pub(crate) async fn cluster(&self, rds: &Client) -> Result<DbCluster, ControlError> {
        const OPERATION: &str = "DescribeDBClusters";
        let found = rds.describe_db_clusters();
        let found = found.db_cluster_identifier(&self.names.cluster).send().await;
        let found = found.answered(OPERATION)?;
        let cluster = found.db_clusters.unwrap_or_default().into_iter().next();
        cluster.ok_or_else(|| broken(OPERATION, "no cluster in the answer"))
    }

    async fn instances(&self) -> Result<Vec<DbInstance>, ControlError> {
        const OPERATION: &str = "DescribeDBInstances";
        let filter = Filter::builder().name("db-cluster-id");
        let filter = filter.values(&self.names.cluster).build();
        paging::all(OPERATION, |marker| async {
            let page = self.clients.rds.reads.describe_db_instances();
            let page = page.filters(filter.clone()).set_marker(marker).send().await;
            let page = page.answered(OPERATION)?;
            Ok((page.db_instances.unwrap_or_default(), page.marker))
        })
        .await
    }
}

/// The identifier of the instance that writes.
pub(crate) fn writer(cluster: &DbCluster) -> Option<&str> {
    let mut members = cluster.db_cluster_members().iter();
    members
        .find(|member| member.is_cluster_writer() == Some(true))?
        .db_instance_identifier()
}

/// The instances that the baseline declares, in the baseline's sequence.
fn declared_instances(
    cluster: &DbCluster,
    there: &[DbInstance],
    declared: &[String],
) -> Result<Vec<Instance>, ControlError> {
    let writer = writer(cluster);
    // If the writer is not in the baseline, no change is known to be safe.
    if !declared.iter().any(|name| Some(name.as_str()) == writer) {
        return Err(broken(
            "DescribeDBClusters",
            "no instance of the baseline is the one that writes",
        ));
    }
    let one = |name: &String| {
        let mut there = there.iter();
        let found = there.find(|instance| instance.db_instance_identifier() == Some(name));
        let class = found.and_then(|instance| instance.db_instance_class());
        let class = class.ok_or_else(|| broken("DescribeDBInstances", &format!("no instance {name}")))?;
        Ok(Instance {
            name: name.clone(),
            class: class.to_owned(),
            writer: Some(name.as_str()) == writer,
        })
    };
    declared.iter().map(one).collect()
}
