//! Shifts the clocks of function processes with a preloaded library, which is built here.
//!
//! The functions read the wall clock through the C library, as every Rust program on Linux does. So the functions need
//! no change and no setting.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const SOURCE: &str = include_str!("clock.c");

/// The environment variable that passes the clock's offset to the library, in milliseconds.
pub const OFFSET: &str = "CLOCK_OFFSET_MS";

/// Builds the library in `folder` with the C compiler that building the project needs too.
///
/// # Errors
/// When the library cannot be built; the message contains the compiler's output.
pub fn build(folder: &Path) -> Result<PathBuf> {
    let source = folder.join("clock.c");
    let library = folder.join("clock.so");
    std::fs::write(&source, SOURCE).with_context(|| source.display().to_string())?;
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(&source)
        .output()
        .context("the C compiler `cc`, which clock-skew needs")?;
    if !output.status.success() {
        bail!("clock-skew: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    /// Runs this test's own program again with the library, and reads the time that the second process writes to a
    /// file.
    #[test]
    fn a_rust_program_s_clock_is_shifted() {
        const CHILD: &str = "CLOCK_TEST_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            std::fs::write(std::env::var_os(CHILD).unwrap(), now.as_millis().to_string()).unwrap();
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let library = build(folder.path()).unwrap();
        for offset_ms in [-90_000_i128, 0, 90_000] {
            let told = folder.path().join("now");
            let status = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "faults::clock::tests::a_rust_program_s_clock_is_shifted",
                ])
                .env(CHILD, &told)
                .env("LD_PRELOAD", &library)
                .env(OFFSET, offset_ms.to_string())
                .output()
                .unwrap()
                .status;
            assert!(status.success());
            let theirs: i128 = std::fs::read_to_string(&told).unwrap().parse().unwrap();
            let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let apart = theirs - i128::try_from(ours.as_millis()).unwrap() - offset_ms;
            assert!(
                apart.abs() < i128::try_from(Duration::from_secs(20).as_millis()).unwrap(),
                "{apart}"
            );
        }
    }
}
