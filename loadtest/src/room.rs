//! Computes the number of function processes for a run with faults.
//!
//! Usually the processes of a stack are busy computing, and more processes than the cores can use bring no benefit. A
//! fault of DynamoDB makes a process wait: for a slow table, for an answer that never arrives, for the pause before a
//! repeat. Then Lambda starts another environment. The stack starts another process, as far as memory and idle cores
//! allow.

use stack_api::faults::{Fault, FaultPlan};

/// The memory planned for one process, in KiB. A process uses 9 MiB, of which it shares 8 with the other processes
/// of its function.
const PROCESS_KIB: u64 = 12 * 1_024;
/// The largest number of processes of one function.
const MOST_EACH: u64 = 256;
/// The largest number of processes of one function in a run that kills processes. Idle processes are killed too, and
/// each new process takes processor time for its start.
const MOST_EACH_KILLED: u64 = 64;
/// The number of functions that shoppers call at the same time.
const CROWD_FUNCTIONS: u64 = 4;

/// The faults that make processes of all functions wait.
const WAITS: [Fault; 5] = [
    Fault::Throttle,
    Fault::TransactionConflict,
    Fault::TimeoutBeforeWrite,
    Fault::TimeoutAfterWrite,
    Fault::SlowDynamodb,
];

/// The stack's arguments for a run with these faults.
#[must_use]
pub fn arguments(faults: &FaultPlan) -> Vec<String> {
    if !WAITS.iter().any(|fault| faults.has(*fault)) {
        return Vec::new();
    }
    let most_each = match faults.has(Fault::KillFunctions) {
        true => MOST_EACH_KILLED,
        false => MOST_EACH,
    };
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    of_memory(&memory, most_each).map_or_else(Vec::new, |(each, all)| {
        vec![
            format!("--concurrency={each}"),
            format!("--account-concurrency={all}"),
        ]
    })
}

/// The largest number of processes of each function and of all functions together, which use three quarters of the
/// available memory, at most `most_each` of a function. `None` if a number is not above the stack's default.
fn of_memory(meminfo: &str, most_each: u64) -> Option<(u64, u64)> {
    let available = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = available.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let all = kib * 3 / 4 / PROCESS_KIB;
    let each = (all / CROWD_FUNCTIONS).min(most_each);
    (each > 8 && all > 64).then_some((each, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_decides_and_the_default_is_the_least() {
        let of = |kib: u64, most_each| {
            let meminfo = format!("MemTotal: 1 kB\nMemAvailable:   {kib} kB\nX: 2 kB\n");
            of_memory(&meminfo, most_each)
        };
        assert_eq!(of(16 << 20, MOST_EACH), Some((256, 1_024)));
        assert_eq!(of(64 << 20, MOST_EACH), Some((256, 4_096)));
        assert_eq!(of(16 << 20, MOST_EACH_KILLED), Some((64, 1_024)));
        assert_eq!(of(1 << 20, MOST_EACH), None);
        assert_eq!(of_memory("nothing", MOST_EACH), None);
        assert!(arguments(&FaultPlan::default()).is_empty());
        let killed: FaultPlan = "kill-functions".parse().unwrap();
        assert!(arguments(&killed).is_empty(), "a killed process does not wait");
    }
}
