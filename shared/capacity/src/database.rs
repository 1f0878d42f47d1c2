//! Defines the ledger's database: its declared kind and size, the sizes that runs may give it, and the
//! capacity of each size.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use domain::drops::FieldError;

use super::amounts::DatabaseSize;
use super::mistakes::Mistakes;
use super::numbers::units_up;
use super::read::{self, Read};
use crate::members;

/// An instance class that runs may give the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSize {
    /// The name of the class, for example `db.r6g.large`.
    pub class: String,
    /// The measured rate at which the ledger writes rows on an instance of the class, in rows a second.
    pub rows_per_second: f64,
    /// The largest number of connections to one instance of the class.
    pub connections: u32,
    /// The list price of one instance of the class for an hour, in US dollars.
    pub usd_per_hour: f64,
}

members!(ClassSize: class, rows_per_second, connections, usd_per_hour);

/// The declared kind and size of the ledger's database between drops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DatabaseBaseline {
    /// An Aurora Serverless v2 cluster.
    Serverless {
        /// The cluster's minimum, in ACU: 1 or more, in steps of 0.5. RDS Proxy prevents auto-pause, so the
        /// cluster never pauses.
        minimum_acu: f64,
        /// The cluster's maximum, in ACU. Runs never change it, since the number of connections depends on it
        /// and changes only with a restart.
        maximum_acu: f64,
        /// The measured rate at which the ledger writes rows, in rows a second for each ACU.
        rows_per_second_per_acu: f64,
        /// The largest number of connections at this maximum.
        connections: u32,
    },
    /// A cluster of instances, all of one class.
    Provisioned {
        /// The class of each instance between drops.
        class: String,
        /// The names of the instances. The first is the declared writer. If there is only one instance, a
        /// change of its class interrupts the database.
        instances: Vec<String>,
        /// The classes that runs may give the instances, the smallest first.
        ladder: Vec<ClassSize>,
    },
}

impl Read for DatabaseBaseline {
    fn read(part: &Value, at: &str, mistakes: &mut Vec<FieldError>) -> Option<Self> {
        let mut content = read::object(part, at, mistakes)?.clone();
        let kind = content.remove("kind");
        let content = &content.into();
        match kind.as_ref().and_then(Value::as_str) {
            Some("serverless") => members!(content, at, mistakes => Self::Serverless {
                minimum_acu,
                maximum_acu,
                rows_per_second_per_acu,
                connections,
            }),
            Some("provisioned") => {
                members!(content, at, mistakes => Self::Provisioned { class, instances, ladder })
            }
            _ => {
                let message = "expected `serverless` or `provisioned`";
                read::wrong(&format!("{at}.kind"), message, mistakes)
            }
        }
    }
}

impl DatabaseBaseline {
    /// The declared size between drops.
    #[must_use]
    pub fn size(&self) -> DatabaseSize {
        match self {
            Self::Serverless { minimum_acu, .. } => DatabaseSize::MinimumAcu(*minimum_acu),
            Self::Provisioned { class, .. } => DatabaseSize::Class(class.clone()),
        }
    }

    /// The smallest size that writes `rows_per_second`, but never below the declared size; the largest size
    /// if none writes so many.
    #[must_use]
    pub fn size_for(&self, rows_per_second: f64) -> DatabaseSize {
        match self {
            Self::Serverless {
                minimum_acu,
                maximum_acu,
                rows_per_second_per_acu,
                ..
            } => {
                let halves = units_up(rows_per_second / rows_per_second_per_acu * 2.0);
                let acu = f64::from(halves) / 2.0;
                DatabaseSize::MinimumAcu(acu.max(*minimum_acu).min(*maximum_acu))
            }
            Self::Provisioned { class, ladder, .. } => {
                let enough = |size: &&ClassSize| size.rows_per_second >= rows_per_second;
                let at_least = ladder.iter().skip(self.rung(class));
                let size = at_least.clone().find(enough).or(at_least.last());
                DatabaseSize::Class(size.map_or(class, |s| &s.class).clone())
            }
        }
    }

    /// The rate at which the ledger writes rows at `size`, in rows a second; 0 for a size of the other kind.
    #[must_use]
    pub fn rows_per_second(&self, size: &DatabaseSize) -> f64 {
        match (self, size) {
            (
                Self::Serverless {
                    rows_per_second_per_acu,
                    ..
                },
                DatabaseSize::MinimumAcu(acu),
            ) => acu * rows_per_second_per_acu,
            (Self::Provisioned { .. }, DatabaseSize::Class(class)) => {
                self.class(class).map_or(0.0, |size| size.rows_per_second)
            }
            _ => 0.0,
        }
    }

    /// The largest number of connections at `size`; 0 for an unknown class.
    #[must_use]
    pub fn connections(&self, size: &DatabaseSize) -> u32 {
        match (self, size) {
            (Self::Serverless { connections, .. }, _) => *connections,
            (Self::Provisioned { .. }, DatabaseSize::Class(class)) => {
                self.class(class).map_or(0, |s| s.connections)
            }
            _ => 0,
        }
    }

    /// The hourly cost of `size` for all instances, in US dollars. `acu_hour` is the price of one ACU for
    /// an hour.
    #[must_use]
    pub fn usd_per_hour(&self, size: &DatabaseSize, acu_hour: f64) -> f64 {
        match (self, size) {
            (_, DatabaseSize::MinimumAcu(acu)) => acu * acu_hour,
            (Self::Provisioned { instances, .. }, DatabaseSize::Class(class)) => {
                instances.iter().map(|_| self.class_usd_per_hour(class)).sum()
            }
            _ => 0.0,
        }
    }

    /// The hourly cost of one instance of `class`, in US dollars; 0 for an unknown class.
    #[must_use]
    pub fn class_usd_per_hour(&self, class: &str) -> f64 {
        self.class(class).map_or(0.0, |size| size.usd_per_hour)
    }

    /// The larger of two sizes.
    #[must_use]
    pub fn larger(&self, one: &DatabaseSize, other: &DatabaseSize) -> DatabaseSize {
        if self.rank(one) >= self.rank(other) {
            one.clone()
        } else {
            other.clone()
        }
    }

    /// The value by which sizes are ordered: the ACU, or the index of the class on the ladder.
    #[must_use]
    pub fn rank(&self, size: &DatabaseSize) -> f64 {
        match size {
            DatabaseSize::MinimumAcu(acu) => *acu,
            DatabaseSize::Class(class) => f64::from(u32::try_from(self.rung(class)).unwrap_or(0)),
        }
    }

    /// The index of the class on the ladder; 0 for a class that the ladder does not contain.
    fn rung(&self, class: &str) -> usize {
        let rung = self.ladder().iter().position(|s| s.class == class);
        rung.unwrap_or(0)
    }

    fn class(&self, class: &str) -> Option<&ClassSize> {
        self.ladder().iter().find(|s| s.class == class)
    }

    /// The classes that runs may give the instances; none for a Serverless v2 cluster.
    fn ladder(&self) -> &[ClassSize] {
        match self {
            Self::Serverless { .. } => &[],
            Self::Provisioned { ladder, .. } => ladder,
        }
    }

    pub(super) fn check(&self, m: &mut Mistakes) {
        match self {
            Self::Serverless {
                minimum_acu,
                maximum_acu,
                rows_per_second_per_acu,
                ..
            } => {
                for (field, acu) in [("minimum_acu", *minimum_acu), ("maximum_acu", *maximum_acu)] {
                    let halves = (acu * 2.0).fract() == 0.0;
                    let ok = halves && (1.0..=256.0).contains(&acu);
                    m.check(ok, field, "1 to 256, in halves");
                }
                m.check(minimum_acu <= maximum_acu, "maximum_acu", "not below minimum_acu");
                m.within(*rows_per_second_per_acu, 0.1, 1e6, "rows_per_second_per_acu");
            }
            Self::Provisioned {
                class,
                instances,
                ladder,
            } => {
                let known = self.class(class).is_some();
                m.check(known, "class", "names a class of the ladder");
                m.check((1..=16).contains(&instances.len()), "instances", "1 to 16");
                for (n, instance) in instances.iter().enumerate() {
                    let earlier = instances.iter().take(n).map(String::as_str);
                    m.name(instance, earlier, format!("instances[{n}]"));
                }
                for (n, size) in ladder.iter().enumerate() {
                    let at = format!("ladder[{n}]");
                    let earlier = || ladder.iter().take(n);
                    m.part(&at, |m| {
                        m.name(&size.class, earlier().map(|s| s.class.as_str()), "class");
                        m.within(size.rows_per_second, 0.1, 1e7, "rows_per_second");
                        m.within(size.usd_per_hour, 0.0, 10_000.0, "usd_per_hour");
                    });
                    let larger = earlier().all(|s| {
                        s.rows_per_second < size.rows_per_second
                            && s.connections <= size.connections
                            && s.usd_per_hour <= size.usd_per_hour
                    });
                    m.check(larger, at, "larger than the class before it");
                }
            }
        }
    }
}
