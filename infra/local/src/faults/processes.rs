//! Draws faults of function processes: kills and clock offsets.

use std::time::Duration;

use super::chance::Chance;
use stack_api::faults::{Fault, FaultPlan};

/// The mean lifetime of a process before it is killed, in seconds. Lifetimes are exponentially distributed, so a kill
/// is equally likely at any moment and hits long work in progress.
pub const LIFE_SECONDS: f64 = 12.0;
/// The mean lifetime of scheduled functions' processes, in seconds. Such a function starts once a minute and may run
/// for up to three minutes.
pub const SCHEDULED_LIFE_SECONDS: f64 = 40.0;
/// Share of invocations during which the process is killed, in addition to the kills at the end of a lifetime.
/// Scheduled functions are exempt.
pub const KILLED_AT_WORK: f64 = 0.015;
/// The latest time of this kill after the invocation's start, in milliseconds.
pub const KILLED_WITHIN_MS: u64 = 15;
/// The largest clock offset of a process in both directions, in milliseconds.
pub const CLOCK_OFF_MS: i64 = 2_000;

#[derive(Debug)]
pub struct Processes {
    lives: Option<(Chance, Chance)>,
    at_work: Option<Chance>,
    clocks: Option<Chance>,
}

impl Processes {
    pub(super) fn new(plan: &FaultPlan, seed: u64) -> Self {
        let on = |fault, kind| Chance::of(plan, seed, fault, kind);
        Self {
            lives: on(Fault::KillFunctions, 0).zip(on(Fault::KillFunctions, 1)),
            at_work: on(Fault::KillFunctions, 2),
            clocks: on(Fault::ClockSkew, 0),
        }
    }

    /// The lifetime of a process that starts now; `None` if no fault limits it.
    pub(super) fn life(&self, scheduled: bool) -> Option<Duration> {
        let (api, by_schedule) = self.lives.as_ref()?;
        let seconds = match scheduled {
            true => by_schedule.exponential(SCHEDULED_LIFE_SECONDS),
            false => api.exponential(LIFE_SECONDS),
        };
        // A kill before the function's program runs tests nothing, so each process lives for at least 100 ms.
        Some(Duration::from_millis(100) + Duration::from_secs_f64(seconds))
    }

    /// The delay after which a process dies that begins an invocation now. `None` if it does not die.
    pub(super) fn dies_after(&self) -> Option<Duration> {
        let chance = self.at_work.as_ref()?;
        let dies = chance.strikes(KILLED_AT_WORK, 0);
        dies.then(|| chance.pause((0, KILLED_WITHIN_MS)))
    }

    /// The clock offset of a process that starts now, in milliseconds.
    pub(super) fn clock_offset_ms(&self) -> Option<i64> {
        let drawn = self.clocks.as_ref()?.between(0, 2 * CLOCK_OFF_MS.unsigned_abs());
        Some(i64::try_from(drawn).unwrap_or(0) - CLOCK_OFF_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_end_and_clocks_are_off_within_their_bounds() {
        let processes = Processes::new(&"kill-functions,clock-skew".parse().unwrap(), 3);
        let mean = |scheduled| {
            let lives = (0..2_000).filter_map(|_| processes.life(scheduled));
            lives.map(|life| life.as_secs_f64()).sum::<f64>() / 2_000.0
        };
        assert!((11.0..13.5).contains(&mean(false)));
        assert!((37.0..44.0).contains(&mean(true)));
        let offsets: Vec<i64> = (0..500).filter_map(|_| processes.clock_offset_ms()).collect();
        assert!(offsets.iter().all(|ms| ms.abs() <= CLOCK_OFF_MS));
        assert!(offsets.iter().any(|ms| *ms < -1_500) && offsets.iter().any(|ms| *ms > 1_500));
        let none = Processes::new(&FaultPlan::default(), 3);
        assert_eq!(none.life(false), None);
        assert_eq!(none.clock_offset_ms(), None);
        let deaths = (0..2_000).filter(|_| processes.dies_after().is_some()).count();
        assert!((15..=50).contains(&deaths), "{deaths}");
    }
}
