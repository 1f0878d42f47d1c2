//! Reads the size of the ledger's cluster from the control planes, and applies it to the local server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use capacity::amounts::DatabaseSize;
use capacity::database::DatabaseBaseline;
use tokio::sync::Notify;

use super::caller::Caller;
use super::seed::{form, rds};
use crate::postgres::{CapacityControl, ServerCapacity};

/// The time between two metric values. CloudWatch has one value for each minute.
const PERIOD: Duration = Duration::from_secs(15);
/// The number of concurrent writers, equal to the concurrency of the ledger's event source. The declared rows a second
/// are divided among them.
const WRITERS: u32 = 10;

/// Reads the size of the cluster repeatedly, and gives the local server and CloudWatch the values that follow from it.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) control_planes: Caller,
    pub(super) name: String,
    /// The declared capacity of each size.
    pub(super) declared: DatabaseBaseline,
    /// The local server, if it follows the cluster's size.
    pub(super) server: Option<CapacityControl>,
    /// Notified when the cluster may have changed.
    pub(super) changed: Arc<Notify>,
}

impl Cluster {
    /// Runs until the returned future is dropped. Periodically, and whenever the cluster may have changed, sizes the
    /// local server and writes the metric that CloudWatch would have.
    pub(super) async fn beat(self) {
        let mut clock = tokio::time::interval(PERIOD);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = self.changed.notified() => {}
            }
            if let Err(error) = self.follow().await {
                tracing::debug!("the cluster's size is not applied; the next check tries again: {error:#}");
            }
        }
    }

    async fn follow(&self) -> Result<()> {
        let size = self.size().await?;
        if let Some(server) = &self.server {
            let grown = server.grow_to(self.server_capacity(&size)).await;
            grown.context("the local server's size")?;
        }
        match size {
            // A cluster without load has its minimum capacity, and the emulated cluster has no load.
            DatabaseSize::MinimumAcu(acu) => self.figure(acu).await,
            DatabaseSize::Class(_) => Ok(()),
        }
    }

    /// The connections and the commit delay of a server of this size.
    fn server_capacity(&self, size: &DatabaseSize) -> ServerCapacity {
        let connections = self.declared.connections(size);
        let writers = f64::from(connections.clamp(1, WRITERS));
        let rows = self.declared.rows_per_second(size).max(0.1);
        ServerCapacity {
            connections,
            row: Duration::from_secs_f64(writers / rows),
        }
    }

    async fn described(&self) -> Result<String> {
        let describe = [
            ("Action", "DescribeDBClusters"),
            ("DBClusterIdentifier", &self.name),
        ];
        rds(&self.control_planes, &describe).await
    }

    /// The cluster's minimum ACU, or the class of its writer instance.
    async fn size(&self) -> Result<DatabaseSize> {
        let cluster = self.described().await?;
        if let DatabaseBaseline::Serverless { .. } = self.declared {
            let minimum = within(&cluster, "MinCapacity").context("no minimum")?;
            return Ok(DatabaseSize::MinimumAcu(minimum.parse().context("the minimum")?));
        }
        let writer = writer(&cluster).context("no instance writes")?;
        let describe = [
            ("Action", "DescribeDBInstances"),
            ("DBInstanceIdentifier", writer),
        ];
        let instance = rds(&self.control_planes, &describe).await?;
        let class = within(&instance, "DBInstanceClass").context("no class")?;
        Ok(DatabaseSize::Class(class.to_owned()))
    }

    /// Writes the capacity metric of the writer instance.
    async fn figure(&self, acu: f64) -> Result<()> {
        let cluster = self.described().await?;
        let writer = writer(&cluster).context("no instance writes")?;
        let acu = acu.to_string();
        let put = [
            ("Action", "PutMetricData"),
            ("Namespace", "AWS/RDS"),
            ("MetricData.member.1.MetricName", "ServerlessDatabaseCapacity"),
            (
                "MetricData.member.1.Dimensions.member.1.Name",
                "DBInstanceIdentifier",
            ),
            ("MetricData.member.1.Dimensions.member.1.Value", writer),
            ("MetricData.member.1.Value", &acu),
        ];
        form(&self.control_planes, "monitoring", "2010-08-01", &put).await?;
        Ok(())
    }
}

/// The text of the first XML element with this name.
fn within<'a>(text: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{element}>"))?;
    Some(rest.split_once('<')?.0)
}

/// The name of the cluster's writer instance.
fn writer(cluster: &str) -> Option<&str> {
    let members = cluster.split("<DBClusterMember>").skip(1);
    let mut writers = members.filter(|member| within(member, "IsClusterWriter") == Some("true"));
    within(writers.next()?, "DBInstanceIdentifier")
}

#[cfg(test)]
mod tests {
    use super::*;
    use capacity::database::ClassSize;

    #[test]
    fn the_minimum_and_the_writer_are_found() {
        let described =
            "<ServerlessV2ScalingConfiguration><MinCapacity>2.5</MinCapacity><MaxCapacity>64.0</MaxCapacity>";
        assert_eq!(within(described, "MinCapacity"), Some("2.5"));
        assert_eq!(within("<DBCluster></DBCluster>", "MinCapacity"), None);
        let described = "<DBClusterMembers>\
            <DBClusterMember><DBInstanceIdentifier>a</DBInstanceIdentifier><IsClusterWriter>false</IsClusterWriter>\
            </DBClusterMember>\
            <DBClusterMember><DBInstanceIdentifier>b</DBInstanceIdentifier><IsClusterWriter>true</IsClusterWriter>\
            </DBClusterMember></DBClusterMembers>";
        assert_eq!(writer(described), Some("b"));
        assert_eq!(writer("<DBClusterMembers></DBClusterMembers>"), None);
    }

    #[test]
    fn a_size_is_connections_and_time_for_a_row() {
        let of = |class: &str, rows_per_second, connections| ClassSize {
            class: class.to_owned(),
            rows_per_second,
            connections,
            usd_per_hour: 1.0,
        };
        let cluster = Cluster {
            control_planes: Caller::new("http://127.0.0.1:9"),
            name: "ledger".to_owned(),
            declared: DatabaseBaseline::Provisioned {
                class: "small".to_owned(),
                instances: vec!["ledger-1".to_owned()],
                ladder: vec![of("small", 100.0, 5), of("large", 1_000.0, 40)],
            },
            server: None,
            changed: Arc::default(),
        };
        let server_capacity = |class: &str| cluster.server_capacity(&DatabaseSize::Class(class.to_owned()));
        // Five concurrent writers, each with 50 ms for a row, write 100 rows a second.
        assert_eq!(
            server_capacity("small"),
            ServerCapacity {
                connections: 5,
                row: Duration::from_millis(50)
            }
        );
        // At most ten writers are concurrent; with 10 ms for a row they write 1,000 rows a second.
        assert_eq!(
            server_capacity("large"),
            ServerCapacity {
                connections: 40,
                row: Duration::from_millis(10)
            }
        );
    }
}
