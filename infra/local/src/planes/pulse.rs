//! What CloudWatch would measure of the ledger's cluster: without a load it runs with its minimum.

use std::time::Duration;

use anyhow::{Context, Result};

use super::caller::Caller;
use super::seed::{form, rds};

/// Between two figures; CloudWatch has one for each minute.
const PERIOD: Duration = Duration::from_secs(15);

/// Writes a figure now and then, until dropped.
pub(super) async fn beat(caller: Caller, cluster: String) {
    let mut clock = tokio::time::interval(PERIOD);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        clock.tick().await;
        if let Err(error) = figure(&caller, &cluster).await {
            tracing::debug!("no figure of the cluster: {error:#}");
        }
    }
}

async fn figure(caller: &Caller, cluster: &str) -> Result<()> {
    let describe = [
        ("Action", "DescribeDBClusters".to_owned()),
        ("DBClusterIdentifier", cluster.to_owned()),
    ];
    let described = rds(caller, &describe).await?;
    let minimum = minimum(&described).context("no minimum")?;
    let put = [
        ("Action", "PutMetricData".to_owned()),
        ("Namespace", "AWS/RDS".to_owned()),
        (
            "MetricData.member.1.MetricName",
            "ServerlessDatabaseCapacity".to_owned(),
        ),
        (
            "MetricData.member.1.Dimensions.member.1.Name",
            "DBClusterIdentifier".to_owned(),
        ),
        (
            "MetricData.member.1.Dimensions.member.1.Value",
            cluster.to_owned(),
        ),
        ("MetricData.member.1.Value", minimum.to_owned()),
    ];
    form(caller, "monitoring", "2010-08-01", &put).await?;
    Ok(())
}

fn minimum(described: &str) -> Option<&str> {
    let (_, rest) = described.split_once("<MinCapacity>")?;
    Some(rest.split_once('<')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_is_found() {
        let described =
            "<ServerlessV2ScalingConfiguration><MinCapacity>2.5</MinCapacity><MaxCapacity>64.0</MaxCapacity>";
        assert_eq!(minimum(described), Some("2.5"));
        assert_eq!(minimum("<DBCluster></DBCluster>"), None);
    }
}
