//! Writes the gateway's own record of money movements: append-only, one JSON object in each line.
//!
//! A line is written with one `write` call, before the change takes effect and before any answer is sent. So
//! an event that is not in the log did not happen. Only the order id and the amounts come from the shop.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use stack_api::gateway_log::{Event, Line};

/// The open log file, to which each change of an intent is appended.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
    written: u64,
}

impl Log {
    /// Opens `path` for appending, and creates the file if it does not exist.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            written: 0,
        })
    }

    /// Appends one line and sets its `seq`.
    ///
    /// # Errors
    ///
    /// When the line cannot be written; the caller must then not make the change.
    pub fn append(&mut self, mut line: Line) -> io::Result<()> {
        line.seq = self.written + 1;
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        self.file.write_all(&bytes)?;
        self.written = line.seq;
        Ok(())
    }

    /// The path of the log file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
