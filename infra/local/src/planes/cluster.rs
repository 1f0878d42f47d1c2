//! The ledger's cluster as the control planes hold it: its size, and what follows from it here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use domain::prescale::capacity::DatabaseSize;
use domain::prescale::database::DatabaseBaseline;
use tokio::sync::Notify;

use super::caller::Caller;
use super::seed::{form, rds};
use crate::postgres::{Doors, Stature};

/// Between two figures; CloudWatch has one for each minute.
const PERIOD: Duration = Duration::from_secs(15);
/// How many write at a time, as the ledger's event source has invocations: what of the declared rows a second is left to each
/// follows from it.
const WRITERS: u32 = 10;

/// Somebody who knows the cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) planes: Caller,
    pub(super) name: String,
    /// What each size takes.
    pub(super) declared: DatabaseBaseline,
    /// The local server, if it is to be of the cluster's size.
    pub(super) server: Option<Doors>,
    /// Told when the cluster may be another.
    pub(super) changed: Arc<Notify>,
}

impl Cluster {
    /// Writes what CloudWatch would measure, and sizes the local server, now and then and whenever the cluster may be
    /// another, until dropped.
    pub(super) async fn beat(self) {
        let mut clock = tokio::time::interval(PERIOD);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = self.changed.notified() => {}
            }
            if let Err(error) = self.follow().await {
                tracing::debug!("the cluster's size is not known: {error:#}");
            }
        }
    }

    async fn follow(&self) -> Result<()> {
        let size = self.size().await?;
        if let Some(server) = &self.server {
            server
                .grow_to(self.stature(&size))
                .await
                .context("the local server's size")?;
        }
        match size {
            // Without a load it runs with its minimum.
            DatabaseSize::MinimumAcu(acu) => self.figure(acu).await,
            DatabaseSize::Class(_) => Ok(()),
        }
    }

    /// What a server of this size takes.
    fn stature(&self, size: &DatabaseSize) -> Stature {
        let connections = self.declared.connections(size);
        let writers = f64::from(connections.clamp(1, WRITERS));
        let rows = self.declared.rows_per_second(size).max(0.1);
        Stature {
            connections,
            row: Duration::from_secs_f64(writers / rows),
        }
    }

    /// The control plane's description of the cluster.
    async fn described(&self) -> Result<String> {
        let describe = [
            ("Action", "DescribeDBClusters".to_owned()),
            ("DBClusterIdentifier", self.name.clone()),
        ];
        rds(&self.planes, &describe).await
    }

    /// Its minimum ACU, or the class of the instance that writes.
    async fn size(&self) -> Result<DatabaseSize> {
        let cluster = self.described().await?;
        if let DatabaseBaseline::Serverless { .. } = self.declared {
            let minimum = within(&cluster, "MinCapacity").context("no minimum")?;
            return Ok(DatabaseSize::MinimumAcu(minimum.parse().context("the minimum")?));
        }
        let writer = writer(&cluster).context("no instance writes")?;
        let describe = [
            ("Action", "DescribeDBInstances".to_owned()),
            ("DBInstanceIdentifier", writer.to_owned()),
        ];
        let instance = rds(&self.planes, &describe).await?;
        let class = within(&instance, "DBInstanceClass").context("no class")?;
        Ok(DatabaseSize::Class(class.to_owned()))
    }

    /// Measures what the instance that writes runs with.
    async fn figure(&self, acu: f64) -> Result<()> {
        let cluster = self.described().await?;
        let writer = writer(&cluster).context("no instance writes")?;
        let put = [
            ("Action", "PutMetricData".to_owned()),
            ("Namespace", "AWS/RDS".to_owned()),
            (
                "MetricData.member.1.MetricName",
                "ServerlessDatabaseCapacity".to_owned(),
            ),
            (
                "MetricData.member.1.Dimensions.member.1.Name",
                "DBInstanceIdentifier".to_owned(),
            ),
            ("MetricData.member.1.Dimensions.member.1.Value", writer.to_owned()),
            ("MetricData.member.1.Value", acu.to_string()),
        ];
        form(&self.planes, "monitoring", "2010-08-01", &put).await?;
        Ok(())
    }
}

/// What the first element of this name holds.
fn within<'a>(text: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{element}>"))?;
    Some(rest.split_once('<')?.0)
}

/// The instance that writes.
fn writer(cluster: &str) -> Option<&str> {
    let members = cluster.split("<DBClusterMember>").skip(1);
    let mut writers = members.filter(|member| within(member, "IsClusterWriter") == Some("true"));
    within(writers.next()?, "DBInstanceIdentifier")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::prescale::database::ClassSize;

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
            planes: Caller::new("http://127.0.0.1:9"),
            name: "ledger".to_owned(),
            declared: DatabaseBaseline::Provisioned {
                class: "small".to_owned(),
                instances: vec!["ledger-1".to_owned()],
                ladder: vec![of("small", 100.0, 5), of("large", 1_000.0, 40)],
            },
            server: None,
            changed: Arc::default(),
        };
        let stature = |class: &str| cluster.stature(&DatabaseSize::Class(class.to_owned()));
        // Five write at a time, 50 ms a row: 100 rows a second.
        assert_eq!(
            stature("small"),
            Stature {
                connections: 5,
                row: Duration::from_millis(50)
            }
        );
        // As many as ten at a time, 10 ms a row: 1,000 rows a second.
        assert_eq!(
            stature("large"),
            Stature {
                connections: 40,
                row: Duration::from_millis(10)
            }
        );
    }
}
