//! Reads the warm throughput of a table and its indexes, and computes the requests that raise it.
//!
//! Every write to a table also goes to its indexes, and an index without enough throughput throttles the table's
//! writes. So the warm write throughput of a table is the lowest of itself and its indexes, and raising it raises the
//! indexes too. Reads of an index count separately.

use aws_sdk_dynamodb::types::{
    GlobalSecondaryIndexDescription, GlobalSecondaryIndexUpdate, IndexStatus, TableDescription, TableStatus,
    UpdateGlobalSecondaryIndexAction,
};
use capacity::amounts::WarmThroughput;

/// The warm throughput of a table and its indexes, and whether all of them are active.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    own: WarmThroughput,
    indexes: Vec<(String, WarmThroughput)>,
    /// Whether table, indexes and their warm throughput are active, with no change in progress.
    pub(crate) active: bool,
}

fn units(count: Option<i64>) -> u32 {
    u32::try_from(count.unwrap_or(0).max(0)).unwrap_or(u32::MAX)
}

/// The throughput in the form of a request.
pub(crate) fn requested(warm: WarmThroughput) -> aws_sdk_dynamodb::types::WarmThroughput {
    aws_sdk_dynamodb::types::WarmThroughput::builder()
        .write_units_per_second(i64::from(warm.write_units))
        .read_units_per_second(i64::from(warm.read_units))
        .build()
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
            // An index whose name or warm throughput is not in the answer cannot be compared or raised.
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

    /// The throughput that the table serves immediately, together with its indexes.
    pub(crate) fn warm(&self) -> WarmThroughput {
        let coldest = self.indexes.iter().map(|(_, warm)| warm.write_units).min();
        WarmThroughput {
            write_units: self.own.write_units.min(coldest.unwrap_or(u32::MAX)),
            read_units: self.own.read_units,
        }
    }

    /// The value to which the table itself must be set so that it serves `to`; `None` if it already does.
    pub(crate) fn own_to(&self, to: WarmThroughput) -> Option<WarmThroughput> {
        let all = self.own.max(to);
        (all != self.own).then_some(all)
    }

    /// The indexes that must be raised so that the table serves `to`.
    pub(crate) fn indexes_to(&self, to: WarmThroughput) -> Vec<GlobalSecondaryIndexUpdate> {
        let indexes = self.indexes.iter();
        let colder = indexes.filter(|(_, warm)| warm.write_units < to.write_units);
        let updates = colder.filter_map(|(name, warm)| {
            let throughput = WarmThroughput {
                write_units: to.write_units,
                ..*warm
            };
            let action = UpdateGlobalSecondaryIndexAction::builder().index_name(name);
            let action = action.warm_throughput(requested(throughput)).build().ok()?;
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
