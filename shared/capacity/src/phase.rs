//! Names the four phases of a drop.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::members;

/// One value for each phase of a drop, from the first arrivals until the orders are complete.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByPhase<T> {
    /// The value for the arrivals before the opening.
    pub before: T,
    /// The value for the surge at the opening.
    pub opening: T,
    /// The value for the time from the end of the surge to the end of the drop.
    pub sale: T,
    /// The value for the time after the end, in which open orders are paid or ended.
    pub tail: T,
}

members!(ByPhase<T>: before, opening, sale, tail);

/// A phase of a drop, from the first arrivals until the orders are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Shoppers arrive before the opening.
    Before,
    /// The surge of requests after the opening.
    Opening,
    /// The time from the end of the surge to the end of the drop.
    Sale,
    /// The time after the end of the drop, in which open orders are paid or ended.
    Tail,
}

impl Phase {
    /// All phases, in chronological order.
    pub const ALL: [Self; 4] = [Self::Before, Self::Opening, Self::Sale, Self::Tail];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::Opening => "opening",
            Self::Sale => "sale",
            Self::Tail => "tail",
        })
    }
}

impl<T> ByPhase<T> {
    /// The value of one phase.
    pub const fn of(&self, phase: Phase) -> &T {
        match phase {
            Phase::Before => &self.before,
            Phase::Opening => &self.opening,
            Phase::Sale => &self.sale,
            Phase::Tail => &self.tail,
        }
    }

    /// A mutable reference to the value of one phase.
    pub const fn of_mut(&mut self, phase: Phase) -> &mut T {
        match phase {
            Phase::Before => &mut self.before,
            Phase::Opening => &mut self.opening,
            Phase::Sale => &mut self.sale,
            Phase::Tail => &mut self.tail,
        }
    }

    /// The values that `value` computes for each phase.
    pub fn each(mut value: impl FnMut(Phase) -> T) -> Self {
        Self {
            before: value(Phase::Before),
            opening: value(Phase::Opening),
            sale: value(Phase::Sale),
            tail: value(Phase::Tail),
        }
    }
}

impl<T: Copy> ByPhase<T> {
    /// The values of the four phases in chronological order.
    pub fn all(self) -> [T; 4] {
        Phase::ALL.map(|phase| *self.of(phase))
    }
}
