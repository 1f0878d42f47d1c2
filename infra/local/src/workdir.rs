//! Manages the stack's own folder: its lock, its keys, and the file with its addresses.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use stack_api::StackFile;
use tokens::{Audience, Issuers, KeySet, SigningKey};

/// A folder that this process has locked, so that no other stack uses it.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
    _lock: File,
}

impl Place {
    /// Creates the folder if it is missing, locks it, and removes the files of an earlier stack.
    ///
    /// # Errors
    /// When another stack runs there, or the folder cannot be written.
    pub fn take(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("the folder {}", root.display()))?;
        let root = root
            .canonicalize()
            .with_context(|| format!("the folder {}", root.display()))?;
        let path = root.join("stack.lock");
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(&path);
        let lock = lock.with_context(|| format!("the lock {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let (root, pid) = (root.display(), fs::read_to_string(&path).unwrap_or_default());
                let pid = pid.trim();
                bail!("a stack already runs in {root} (process {pid}); stop it first or use another --out");
            }
            Err(fs::TryLockError::Error(error)) => return Err(error).context("the lock"),
        }
        lock.set_len(0)?;
        writeln!(&lock, "{}", std::process::id())?;
        let place = Self { root, _lock: lock };
        remove(&place.stack_file())?;
        for folder in ["logs", "gateway", "mails"] {
            let folder = place.root.join(folder);
            if folder.exists() {
                fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
            }
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        Ok(place)
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// A folder for tools that are built for this run.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn tools(&self) -> Result<PathBuf> {
        let folder = self.root.join("tools");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    }

    /// The log of the sandbox gateway.
    #[must_use]
    pub fn gateway_log(&self) -> PathBuf {
        self.root.join("gateway").join("log.jsonl")
    }

    #[must_use]
    pub fn mails(&self) -> PathBuf {
        self.root.join("mails")
    }

    fn stack_file(&self) -> PathBuf {
        self.root.join("stack.json")
    }

    /// Makes a signing key for each [`Signer`] and writes it to the folder for `stampede-local token` and the smoke
    /// test. Returns the operators' key.
    ///
    /// # Errors
    /// When a key cannot be made or written.
    pub fn make_keys(&self) -> Result<SigningKey> {
        let folder = self.root.join("keys");
        if !folder.exists() {
            fs::DirBuilder::new().mode(0o700).create(&folder)?;
        }
        for signer in Signer::ALL {
            let key = SigningKey::generate(&format!("local-{}", signer.name()))?;
            write_privately(&signer.file(&self.root), key.to_jwk()?.as_bytes())?;
        }
        key(&self.root, Signer::Operator)
    }

    /// The documents with public keys, as Parameter Store holds them, by parameter name: token issuers for shoppers and
    /// for operators, a key set for the deployer.
    ///
    /// # Errors
    /// When the keys have not been made.
    pub fn public_keys(&self) -> Result<BTreeMap<String, String>> {
        let public = |signer: Signer| -> Result<_> {
            let keys = KeySet::of(&[&key(&self.root, signer)?])?;
            let document = match signer {
                Signer::Shopper => Issuers::own(Audience::Shopper, keys).to_json(),
                Signer::Operator => Issuers::own(Audience::Operator, keys).to_json(),
                Signer::Deployer => keys.to_json(),
            };
            Ok((signer.parameter(), document))
        };
        Signer::ALL.into_iter().map(public).collect()
    }

    /// Writes `stack.json`. Other programs wait for this file and take it as the sign that the stack is ready.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn announce(&self, stack: &StackFile) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(stack)?;
        json.push(b'\n');
        write_privately(&self.stack_file(), &json)
    }

    /// Removes `stack.json`, so that no program calls a stack that stops.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn withdraw(&self) -> Result<()> {
        remove(&self.stack_file())
    }
}

/// The owner of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The service that signs shoppers in.
    Shopper,
    /// The service that signs operators in.
    Operator,
    /// The deployer's smoke test.
    Deployer,
}

impl Signer {
    pub const ALL: [Self; 3] = [Self::Shopper, Self::Operator, Self::Deployer];

    /// The signer of an audience's tokens.
    #[must_use]
    pub const fn of(audience: Audience) -> Self {
        match audience {
            Audience::Shopper => Self::Shopper,
            Audience::Operator => Self::Operator,
        }
    }

    /// The file of the private JWK in the stack's folder.
    #[must_use]
    pub fn file(self, root: &Path) -> PathBuf {
        root.join("keys").join(format!("{}.jwk", self.name()))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Shopper => "shopper",
            Self::Operator => "operator",
            Self::Deployer => "deployer",
        }
    }

    /// The name of the stored parameter with the public keys, as the template's defaults have it.
    #[must_use]
    pub fn parameter(self) -> String {
        format!("/stampede/{}-keys", self.name())
    }
}

/// Reads the private key of `signer` from the stack's folder.
///
/// # Errors
/// When no stack was started in this folder.
pub fn key(root: &Path, signer: Signer) -> Result<SigningKey> {
    let path = signer.file(root);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("no keys in {}; start the stack first", path.display()))?;
    Ok(SigningKey::from_jwk(&text)?)
}

/// Writes a file that only its owner can read. A temporary file is renamed, so that a reader sees a complete file or
/// none.
fn write_privately(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    remove(&beside)?;
    let mut options = OpenOptions::new();
    let options = options.create_new(true).write(true).mode(0o600);
    options.open(&beside)?.write_all(bytes)?;
    fs::rename(&beside, path).with_context(|| path.display().to_string())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stack_per_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = Place::take(folder.path()).unwrap();
        let refused = Place::take(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        Place::take(folder.path()).unwrap();
    }

    #[test]
    fn a_new_start_removes_what_a_killed_one_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("logs")).unwrap();
        fs::write(folder.path().join("logs/reserve.log"), "old").unwrap();
        fs::write(folder.path().join("stack.json"), "{}").unwrap();
        let place = Place::take(folder.path()).unwrap();
        assert!(!place.stack_file().exists());
        assert!(!place.logs().join("reserve.log").exists());
    }

    #[test]
    fn keys_are_private_and_found_again() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let place = Place::take(folder.path()).unwrap();
        let operator = place.make_keys().unwrap();
        for signer in Signer::ALL {
            let mode = fs::metadata(signer.file(folder.path()))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let found = key(folder.path(), Signer::Operator).unwrap();
        assert_eq!(found.public_key(), operator.public_key());
        for (parameter, document) in place.public_keys().unwrap() {
            let read = KeySet::parse(&document).is_ok() || Issuers::parse(&document).is_ok();
            assert!(read, "{parameter}");
        }
    }
}
