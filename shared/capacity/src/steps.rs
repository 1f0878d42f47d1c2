//! Computes the steps from the current to the target capacity. Only differences become steps, and their order is safe
//! at every point.

use serde::Serialize;

use super::amounts::{DatabaseSize, Polling, Target, WarmThroughput};
use super::database::DatabaseBaseline;
use super::observed::{Allocation, Instance, Observed, ObservedDatabase};

/// One change of one resource, from the current to the new value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Set or remove a function's reserved concurrency.
    Reserve {
        /// The function, by its name in the baseline.
        function: String,
        /// The current reservation; `None` without a reservation.
        from: Option<u32>,
        /// The new reservation; `None` removes the reservation.
        to: Option<u32>,
    },
    /// Set the provisioned concurrency of a function's live alias; 0 removes it.
    Provision {
        /// The function, by its name in the baseline.
        function: String,
        /// The number of units that were requested before.
        from: u32,
        /// The number of units to request.
        to: u32,
    },
    /// Set the cluster's minimum ACU.
    SetMinimumAcu {
        /// The current minimum.
        from: f64,
        /// The new minimum.
        to: f64,
    },
    /// Change the class of an instance, immediately and not in its maintenance window. The instance is a
    /// reader, unless the cluster has only the writer.
    ChangeClass {
        /// The instance's identifier in RDS.
        instance: String,
        /// The current class.
        from: String,
        /// The new class.
        to: String,
        /// Whether the instance is the writer, because the cluster has no other instance. Writes are
        /// then interrupted.
        interrupts: bool,
    },
    /// Make another instance the writer.
    FailOver {
        /// The current writer, by its identifier in RDS.
        from: String,
        /// The new writer, by its identifier in RDS.
        to: String,
    },
    /// Raise a table's warm throughput, which can never be lowered again.
    Warm {
        /// The table, by its name in the baseline.
        table: String,
        /// The current throughput.
        from: WarmThroughput,
        /// The new throughput.
        to: WarmThroughput,
    },
    /// Change the polling setting of a queue's event source.
    Poll {
        /// The event source, by its name in the baseline.
        source: String,
        /// The current polling setting.
        from: Polling,
        /// The new polling setting.
        to: Polling,
    },
}

impl Step {
    /// Whether the step can never be undone.
    #[must_use]
    pub const fn is_one_way(&self) -> bool {
        matches!(self, Self::Warm { .. })
    }

    /// Whether the step reduces something or interrupts writes. A run carries out such a step only after it has
    /// confirmed that it still holds the lease.
    #[must_use]
    pub fn needs_certainty(&self, database: &DatabaseBaseline) -> bool {
        let rank = |class: &String| database.rank(&DatabaseSize::Class(class.clone()));
        match self {
            Self::Reserve { from, to, .. } => to < from,
            Self::Provision { from, to, .. } => to < from,
            Self::SetMinimumAcu { from, to } => to < from,
            Self::ChangeClass {
                from, to, interrupts, ..
            } => *interrupts || rank(to) < rank(from),
            Self::FailOver { .. } => true,
            Self::Warm { .. } => false,
            Self::Poll { from, to, .. } => from.merged(*to, u32::max) != Some(*to),
        }
    }

    /// The kind and the name of the changed resource. Steps on the same resource depend on each other, so
    /// their order matters.
    #[must_use]
    pub fn thing(&self) -> (&'static str, &str) {
        match self {
            Self::Reserve { function, .. } | Self::Provision { function, .. } => ("function", function),
            Self::SetMinimumAcu { .. } | Self::ChangeClass { .. } | Self::FailOver { .. } => ("database", ""),
            Self::Warm { table, .. } => ("table", table),
            Self::Poll { source, .. } => ("source", source),
        }
    }

    /// Whether the next step must wait until this one is complete.
    #[must_use]
    pub const fn is_waited_for(&self) -> bool {
        matches!(self, Self::ChangeClass { .. } | Self::FailOver { .. })
    }
}

/// The differences between the current and the target capacity. A reservation is raised before, and lowered
/// after, the provisioned concurrency within it. The database's steps are in order: each begins when the step
/// before is complete.
#[must_use]
pub fn steps(observed: &Observed, target: &Target) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, to) in &target.functions {
        let there = observed.function(name);
        let from = there.asked;
        // After Lambda has stopped with a part allocated, the same units must be requested again.
        let given_up = there.allocation == Allocation::Failed && to.provisioned > 0;
        let reserve = (from.reserved != to.reserved).then(|| Step::Reserve {
            function: name.clone(),
            from: from.reserved,
            to: to.reserved,
        });
        let provision = (from.provisioned != to.provisioned || given_up).then(|| Step::Provision {
            function: name.clone(),
            from: from.provisioned,
            to: to.provisioned,
        });
        // A removed reservation limits nothing. Any other reservation must cover the provisioned concurrency
        // at every point.
        if to.provisioned >= from.provisioned {
            steps.extend(reserve.into_iter().chain(provision));
        } else {
            steps.extend(provision.into_iter().chain(reserve));
        }
    }
    for (name, to) in &target.tables {
        let from = observed.tables.get(name).copied().unwrap_or_default();
        if from != *to {
            steps.push(Step::Warm {
                table: name.clone(),
                from,
                to: *to,
            });
        }
    }
    for (name, to) in &target.queues {
        if let Some(from) = observed.queues.get(name).filter(|from| *from != to) {
            steps.push(Step::Poll {
                source: name.clone(),
                from: *from,
                to: *to,
            });
        }
    }
    if let Some(size) = &target.database {
        steps.extend(database_steps(&observed.database, size));
    }
    steps
}

/// The steps of the database to `size`: first the readers change, then one of them becomes the writer, then
/// the former writer changes. The order is the same in both directions, so that the current writer is never
/// changed while another instance exists.
#[must_use]
pub fn database_steps(observed: &ObservedDatabase, size: &DatabaseSize) -> Vec<Step> {
    match (observed, size) {
        (ObservedDatabase::Serverless { minimum_acu }, DatabaseSize::MinimumAcu(to)) if minimum_acu != to => {
            vec![Step::SetMinimumAcu {
                from: *minimum_acu,
                to: *to,
            }]
        }
        (ObservedDatabase::Provisioned { instances, .. }, DatabaseSize::Class(class)) => {
            let change = |n: &Instance, interrupts| Step::ChangeClass {
                instance: n.name.clone(),
                from: n.class.clone(),
                to: class.clone(),
                interrupts,
            };
            let readers = || instances.iter().filter(|i| !i.writer);
            let mut steps: Vec<Step> = readers()
                .filter(|i| i.class != *class)
                .map(|i| change(i, false))
                .collect();
            if let Some(writer) = instances.iter().find(|i| i.writer && i.class != *class) {
                let next = readers().next();
                steps.extend(next.map(|reader| Step::FailOver {
                    from: writer.name.clone(),
                    to: reader.name.clone(),
                }));
                steps.push(change(writer, next.is_none()));
            }
            steps
        }
        _ => Vec::new(),
    }
}

impl Observed {
    /// The observed state once `step` is complete. A step that does not match the state changes nothing.
    #[must_use]
    pub fn after(mut self, step: &Step) -> Self {
        match step {
            Step::Reserve { function, to, .. } => {
                self.functions.entry(function.clone()).or_default().asked.reserved = *to;
            }
            Step::Provision { function, to, .. } => {
                let there = self.functions.entry(function.clone()).or_default();
                there.asked.provisioned = *to;
                there.allocated = *to;
                there.allocation = Allocation::Ready;
            }
            Step::SetMinimumAcu { to, .. } => {
                if let ObservedDatabase::Serverless { minimum_acu } = &mut self.database {
                    *minimum_acu = *to;
                }
            }
            Step::ChangeClass { instance, to, .. } => {
                if let ObservedDatabase::Provisioned { instances, .. } = &mut self.database {
                    for changed in instances.iter_mut().filter(|i| i.name == *instance) {
                        changed.class.clone_from(to);
                    }
                }
            }
            Step::FailOver { to, .. } => {
                if let ObservedDatabase::Provisioned { instances, .. } = &mut self.database
                    && instances.iter().any(|i| i.name == *to)
                {
                    instances.iter_mut().for_each(|i| i.writer = i.name == *to);
                }
            }
            Step::Warm { table, to, .. } => {
                let there = self.tables.entry(table.clone()).or_default();
                *there = there.max(*to);
            }
            Step::Poll { source, to, .. } => {
                self.queues.insert(source.clone(), *to);
            }
        }
        self
    }
}
