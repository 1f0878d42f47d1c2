//! Reads CPU time, memory and parent of other processes from the kernel.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The process id of the parent, from the text of `/proc/PID/stat`. The text has the program's name in parentheses,
/// which may contain any character.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The file name of the program of a process, from its command line; for a script of Node.js, the script's name.
fn started_as(command_line: &[u8]) -> Option<String> {
    let mut words = command_line.split(|b| *b == 0).filter(|w| !w.is_empty());
    let name = |word: &[u8]| {
        let text = String::from_utf8_lossy(word);
        text.rsplit('/').next().map(str::to_owned)
    };
    let first = name(words.next()?)?;
    match words.next() {
        Some(script) if first == "node" => name(script),
        _ => Some(first),
    }
}

/// The children of a process, with the names of their programs.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn children(of: u32) -> anyhow::Result<Vec<(Pid, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        // A process that has ended in the meantime does not count.
        found.extend(child(&entry?.path(), of));
    }
    Ok(found)
}

/// The process of a folder in `/proc` and the name of its program, if it is a child of the process `of`.
fn child(folder: &Path, of: u32) -> Option<(Pid, String)> {
    let pid = folder.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    if parent(&stat)? != of {
        return None;
    }
    let command_line = fs::read(folder.join("cmdline")).ok()?;
    Some((Pid::from_raw(pid), started_as(&command_line)?))
}

/// The only child of this process that runs the program `name`. A new child may not have its name yet, so call this
/// after the child has answered a request.
///
/// # Errors
/// When there is no such child, or more than one.
pub fn only_child(name: &str) -> anyhow::Result<Pid> {
    let all = children(std::process::id())?;
    let mut matching = all.iter().filter(|(_, n)| n == name).map(|(pid, _)| *pid);
    match (matching.next(), matching.next()) {
        (Some(pid), None) => Ok(pid),
        (None, _) => bail!("no process runs {name}"),
        _ => bail!("more than one process runs {name}"),
    }
}

/// The CPU time of all threads of a process, including ended threads.
///
/// # Errors
/// When the process has ended.
pub fn cpu(pid: Pid) -> anyhow::Result<Duration> {
    let clock = clock_getcpuclockid(pid).with_context(|| format!("the CPU clock of process {pid}"))?;
    let time = clock_gettime(clock).with_context(|| format!("the CPU time of process {pid}"))?;
    Ok(time.into())
}

/// The peak resident memory of a process, in bytes.
///
/// # Errors
/// When the process has ended.
pub fn peak_rss_bytes(pid: Pid) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("the memory of process {pid}"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let digits = peak.and_then(|rest| rest.split_whitespace().next());
    let kilobytes: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    Ok(1024 * kilobytes.with_context(|| format!("the memory of process {pid}"))?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_known_by_its_program_or_script() {
        assert_eq!(
            started_as(b"/x/target/release/reserve\0").as_deref(),
            Some("reserve")
        );
        assert_eq!(
            started_as(b"/usr/bin/node\0/x/bench-node\0").as_deref(),
            Some("bench-node")
        );
        assert_eq!(started_as(b""), None);
        assert_eq!(parent("7 (a) b) S 42 7 7"), Some(42));
    }

    #[test]
    fn cpu_time_grows_with_work_and_memory_is_known() {
        let own = Pid::this();
        let before = cpu(own).unwrap();
        let mut sum = 0u64;
        while cpu(own).unwrap() < before + Duration::from_millis(5) {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sum > 0 && peak_rss_bytes(own).unwrap() > 1_000_000);
    }

    #[test]
    fn a_child_is_found_by_its_name() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // A process gets its name a moment after its start, and certainly before it answers.
        let (mut said, mut heard) = (child.stdin.take().unwrap(), [0]);
        said.write_all(b"?").unwrap();
        child.stdout.take().unwrap().read_exact(&mut heard).unwrap();
        let found = only_child("cat");
        drop(said);
        child.wait().unwrap();
        assert_eq!(found.unwrap(), Pid::from_raw(i32::try_from(child.id()).unwrap()));
        assert!(only_child("no-such-program").is_err());
    }
}
