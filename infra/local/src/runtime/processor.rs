//! Limits starts of processes to what the idle cores can carry.
//!
//! When the cores are busy, another process serves no request earlier: it takes processor time for its start, and its
//! caches are empty.

use std::time::{Duration, Instant};

/// The time over which the idle share of the cores is measured.
const WINDOW: Duration = Duration::from_millis(100);

/// The number of processes that one idle core can start in a [`WINDOW`]: 20 ms for each start and its first request.
const STARTS_PER_CORE: u64 = 5;

/// Processor time of all cores since the machine's start, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// Parses the first line of `/proc/stat`: `cpu`, then the ticks of user, nice, system, idle, iowait, irq, softirq
    /// and steal. Later fields are contained in the earlier ones.
    fn parse(stat: &str) -> Option<Self> {
        let ticks = stat
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .take(8);
        let ticks: Vec<u64> = ticks.map(|field| field.parse().ok()).collect::<Option<_>>()?;
        let [_, _, _, idle, iowait, _, _, _] = ticks.as_slice() else {
            return None;
        };
        Some(Self {
            idle: idle + iowait,
            all: ticks.iter().sum(),
        })
    }

    /// How many processes `cores` cores can start in one [`WINDOW`], if they stay as idle as they were since `before`.
    fn starts(self, before: Self, cores: u64) -> u64 {
        let all = self.all.saturating_sub(before.all);
        let idle = self.idle.saturating_sub(before.idle).min(all);
        (idle * cores * STARTS_PER_CORE).checked_div(all).unwrap_or(0)
    }
}

/// The starts that the idle cores allow at this time, over all functions.
#[derive(Debug)]
pub(super) struct IdleCores {
    cores: u64,
    began: Instant,
    ticks: Option<Ticks>,
    left: u64,
}

impl IdleCores {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from) as u64,
            began: now,
            ticks: Ticks::read(),
            left: 0,
        }
    }

    /// Books the start of one process. Returns false if the cores were too busy in the last complete window, or if its
    /// idle time is used up by starts. Where Linux does not report processor time, every start is allowed.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if now >= self.began + WINDOW {
            let ticks = Ticks::read();
            self.left = match (self.ticks, ticks) {
                (Some(before), Some(ticks)) => ticks.starts(before, self.cores),
                _ => u64::MAX,
            };
            self.ticks = ticks;
            self.began = now;
        }
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_has_the_ticks() {
        let stat = "cpu  4 3 2 100 10 0 1 5 0 0\ncpu0 2 1 1 50 5 0 1 2 0 0\n";
        assert_eq!(Ticks::parse(stat), Some(Ticks { idle: 110, all: 125 }));
        for other in [
            "",
            "cpu0 1 2 3 4 5 6 7 8",
            "cpu  1 2 3 4 5 6 7",
            "cpu  1 2 3 4 5 6 7 x",
        ] {
            assert_eq!(Ticks::parse(other), None, "{other}");
        }
        #[cfg(target_os = "linux")]
        assert!(Ticks::read().is_some());
    }

    #[test]
    fn idle_cores_allow_starts_and_busy_cores_none() {
        let before = Ticks {
            idle: 1_000,
            all: 5_000,
        };
        let starts = |idle: u64| {
            let after = Ticks {
                idle: 1_000 + idle,
                all: 5_020,
            };
            after.starts(before, 2)
        };
        assert_eq!([20, 10, 1, 0].map(starts), [10, 5, 0, 0]);
        // No time has passed, or the counters began again.
        assert_eq!(before.starts(before, 2), 0);
        assert_eq!(Ticks { idle: 0, all: 0 }.starts(before, 2), 0);
    }

    #[test]
    fn idle_time_is_used_up_by_starts() {
        let now = Instant::now();
        let mut cores = IdleCores::new(now);
        cores.left = 2;
        let started = |cores: &mut IdleCores| (0..10).filter(|_| cores.take(now)).count();
        assert_eq!(started(&mut cores), 2);
        assert_eq!(started(&mut cores), 0);
    }
}
