//! Keeps the journal of all promises made to shoppers, in memory for the audit and in a file.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

use crate::facts::{DropFacts, Entry};

#[derive(Debug, Default)]
struct Pages {
    entries: Vec<Entry>,
    /// `None` for a journal that is only in memory.
    file: Option<BufWriter<File>>,
    failed: Option<std::io::Error>,
}

#[derive(Debug, Default)]
pub struct Journal {
    pages: Mutex<Pages>,
}

impl Journal {
    /// Creates the journal at `path`, with the drop as its first line. It replaces an older journal.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path, drop: &DropFacts) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        let journal = Self::in_memory();
        journal.pages().file = Some(BufWriter::new(file));
        journal.write(Entry::Drop(drop.clone()));
        Ok(journal)
    }

    /// A journal without a file.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::default()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry. [`Journal::finish`] reports a failed write of the file.
    pub fn write(&self, entry: Entry) {
        let mut pages = self.pages();
        if let Some(file) = &mut pages.file {
            let written = serde_json::to_writer(&mut *file, &entry)
                .map_err(std::io::Error::from)
                .and_then(|()| file.write_all(b"\n"));
            if let Err(error) = written {
                pages.failed.get_or_insert(error);
            }
        }
        pages.entries.push(entry);
    }

    /// Writes buffered entries to the file.
    pub fn flush(&self) {
        let mut pages = self.pages();
        if let Some(Err(error)) = pages.file.as_mut().map(std::io::Write::flush) {
            pages.failed.get_or_insert(error);
        }
    }

    /// Takes all entries. The file is complete afterwards.
    ///
    /// # Errors
    /// When an entry could not be written to the file.
    pub fn finish(&self) -> anyhow::Result<Vec<Entry>> {
        self.flush();
        let mut pages = self.pages();
        if let Some(error) = pages.failed.take() {
            return Err(error).context("writing the journal");
        }
        Ok(std::mem::take(&mut pages.entries))
    }
}

/// Reads a journal file.
///
/// # Errors
/// When the file cannot be read, a line is malformed, or the first line is not the drop.
pub fn read(path: &Path) -> anyhow::Result<(DropFacts, Vec<Entry>)> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut entries = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let entry = serde_json::from_str(&line?)
            .with_context(|| format!("line {} of {}", number.saturating_add(1), path.display()))?;
        entries.push(entry);
    }
    match entries.first() {
        Some(Entry::Drop(drop)) => Ok((drop.clone(), entries)),
        _ => anyhow::bail!("{} does not begin with a drop", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Ended, Ending, SkuFacts};

    #[test]
    fn a_journal_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let drop = DropFacts {
            drop_id: "d".into(),
            published_at_ms: 1,
            starts_at_ms: 2,
            ends_at_ms: 3,
            hold_seconds: 15,
            payment_seconds: 25,
            per_shopper_limit: 1,
            skus: vec![SkuFacts {
                sku: "A".into(),
                units: 3,
            }],
        };
        let journal = Journal::create(&path, &drop).unwrap();
        let ended = Ended {
            at_ms: 9,
            shopper: "ada".into(),
            sku: "A".into(),
            quantity: 1,
            buys: true,
            ending: Ending::Gone,
        };
        journal.write(Entry::Ended(ended));
        let written = journal.finish().unwrap();
        assert_eq!(read(&path).unwrap(), (drop, written));
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        for text in [
            "",
            "{\"kind\":\"released\",\"at_ms\":1,\"reservation_id\":\"x\"}\n",
            "nonsense\n",
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(read(&path).is_err(), "{text:?}");
        }
    }
}
