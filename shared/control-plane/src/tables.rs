//! A table's warm throughput, and its indexes'.
//!
//! Every write of a table goes into its indexes as well, and an index that cannot take it holds the table up. So a table
//! is as warm for writes as the coldest of its indexes, and warming it warms them. Reads of an index are its own.

use aws_sdk_dynamodb::types::{
    GlobalSecondaryIndexDescription, GlobalSecondaryIndexUpdate, IndexStatus, TableDescription, TableStatus,
    UpdateGlobalSecondaryIndexAction,
};
use domain::prescale::capacity::WarmThroughput;

/// A table as it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    own: WarmThroughput,
    indexes: Vec<(String, WarmThroughput)>,
    /// Whether table, indexes and their warm throughput are as they shall be, with no change under way.
    pub(crate) active: bool,
}

fn units(count: Option<i64>) -> u32 {
    u32::try_from(count.unwrap_or(0).max(0)).unwrap_or(u32::MAX)
}

impl Table {
    pub(crate) fn of(described: &TableDescription) -> Self {
        let own = described.warm_throughput();
        let throughput = WarmThroughput {
            write_units: units(own.and_then(|warm| warm.write_units_per_second())),
            read_units: units(own.and_then(|warm| warm.read_units_per_second())),
        };
        let warming = own.and_then(|warm| warm.status());
        let mut active = described.table_status() == Some(&TableStatus::Active)
            && warming.is_none_or(|status| *status == TableStatus::Active);
        let mut indexes = Vec::new();
        for index in described.global_secondary_indexes() {
            active &= is_active(index);
            // An index of which nothing is told cannot be compared or raised.
            if let (Some(name), Some(warm)) = (index.index_name(), index.warm_throughput()) {
                let throughput = WarmThroughput {
                    write_units: units(warm.write_units_per_second()),
                    read_units: units(warm.read_units_per_second()),
                };
                indexes.push((name.to_owned(), throughput));
            }
        }
        Self {
            own: throughput,
            indexes,
            active,
        }
    }

    /// What the table serves at once, its indexes considered.
    pub(crate) fn warm(&self) -> WarmThroughput {
        let coldest = self.indexes.iter().map(|(_, warm)| warm.write_units).min();
        WarmThroughput {
            write_units: self.own.write_units.min(coldest.unwrap_or(u32::MAX)),
            read_units: self.own.read_units,
        }
    }

    /// What the table itself must be set to so that it serves `to`, if it is not so.
    pub(crate) fn own_to(&self, to: WarmThroughput) -> Option<WarmThroughput> {
        let all = self.own.max(to);
        (all != self.own).then_some(all)
    }

    /// The indexes that must be raised for the table to serve `to`.
    pub(crate) fn indexes_to(&self, to: WarmThroughput) -> Vec<GlobalSecondaryIndexUpdate> {
        let colder = self
            .indexes
            .iter()
            .filter(|(_, warm)| warm.write_units < to.write_units);
        let updates = colder.filter_map(|(name, warm)| {
            let throughput = aws_sdk_dynamodb::types::WarmThroughput::builder()
                .write_units_per_second(i64::from(to.write_units))
                .read_units_per_second(i64::from(warm.read_units))
                .build();
            let action = UpdateGlobalSecondaryIndexAction::builder().index_name(name);
            let action = action.warm_throughput(throughput).build().ok()?;
            Some(GlobalSecondaryIndexUpdate::builder().update(action).build())
        });
        updates.collect()
    }
}

fn is_active(index: &GlobalSecondaryIndexDescription) -> bool {
    let warming = index.warm_throughput().and_then(|warm| warm.status());
    index.index_status() == Some(&IndexStatus::Active)
        && warming.is_none_or(|status| *status == IndexStatus::Active)
}
