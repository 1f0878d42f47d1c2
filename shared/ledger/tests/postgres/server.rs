//! A PostgreSQL server of a test's own, on a Unix socket, gone with the test however that ends.
//!
//! A shell stands between: it starts the server and waits for the end of its own input, which the test holds open. So the
//! server stops and its folder is removed when the test drops it, panics, or is killed.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use ledger::{Limits, PostgresLedger};
use nix::unistd::{User, geteuid};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

/// How long the server may take to be ready, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs in the folder `$1` with the binaries of `$2`.
const WATCHED: &str = r#"
    cd "$1" || exit 1
    "$2/initdb" -D data -U postgres --auth=trust --no-sync --encoding=UTF8 --no-locale >initdb.log 2>&1 \
        || { cat initdb.log >&2; exit 1; }
    "$2/postgres" -D data -k "$1" -c listen_addresses= -c fsync=off -c shared_buffers=16MB -c max_connections=40 \
        -c log_statement=all -c log_line_prefix='%a|' &
    server=$!
    read -r _
    kill -QUIT "$server"
    wait "$server"
    rm -rf "$1/"*
"#;

/// A running server with an empty database.
pub(crate) struct Postgres {
    shell: Child,
    /// Closing it stops the server.
    leash: Option<ChildStdin>,
    folder: tempfile::TempDir,
    /// What the server says, line by line.
    log: Mutex<Receiver<String>>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.leash.take();
        // A server that does not stop would hold the test up; the shell has told it to stop at once.
        let _ = self.shell.wait();
    }
}

/// The folder with `initdb` and `postgres`: of the path, or the newest of Debian's packages.
fn binaries() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut packaged: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            Some((folder.file_name()?.to_str()?.parse().ok()?, folder.join("bin")))
        })
        .collect();
    packaged.sort();
    let found = std::env::split_paths(&path)
        .chain(packaged.into_iter().rev().map(|(_, folder)| folder))
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .expect("PostgreSQL's server is needed for this test: install the package `postgresql`");
    // The server looks for its own files beside itself, not beside a link.
    let server = found.join("postgres").canonicalize().unwrap();
    server.parent().unwrap().to_owned()
}

/// Who the server runs as where the tests run as root, which it refuses.
fn account() -> Option<User> {
    let known = |name| User::from_name(name).ok().flatten();
    geteuid().is_root().then(|| {
        ["postgres", "nobody"]
            .into_iter()
            .find_map(known)
            .expect("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")
    })
}

impl Postgres {
    /// Starts a server; ready when this returns.
    pub(crate) fn start() -> Self {
        let binaries = binaries();
        let folder = tempfile::Builder::new().prefix("ledger-").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", WATCHED, "sh"])
            .arg(folder.path())
            .arg(&binaries);
        shell.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        shell
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // In a group of its own: a Ctrl-C at the terminal reaches the tests, and these end the server.
        shell.process_group(0);
        if let Some(account) = account() {
            let (user, group) = (account.uid.as_raw(), account.gid.as_raw());
            chown(folder.path(), Some(user), Some(group)).unwrap();
            shell.uid(user).gid(group);
        }
        let mut shell = shell.spawn().unwrap();
        let (leash, log) = (shell.stdin.take(), shell.stderr.take().unwrap());
        // The server writes to this pipe as long as it lives: someone must read it.
        let (lines, heard) = mpsc::channel();
        let started = Self {
            shell,
            leash,
            folder,
            log: Mutex::new(heard),
        };
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let mut said = Vec::new();
        loop {
            match started.heard() {
                Ok(line) if line.contains("database system is ready to accept connections") => {
                    return started;
                }
                Ok(line) => said.push(line),
                Err(error) => panic!("PostgreSQL does not start ({error}):\n{}", said.join("\n")),
            }
        }
    }

    /// The next line that the server says.
    fn heard(&self) -> Result<String, RecvTimeoutError> {
        self.log.lock().unwrap().recv_timeout(PATIENCE)
    }

    fn url_of(folder: &Path) -> String {
        format!("host={} user=postgres dbname=postgres", folder.display())
    }

    /// How to connect.
    pub(crate) fn url(&self) -> String {
        Self::url_of(self.folder.path())
    }

    /// The statements that a client of this name has sent so far: how, and the first line of each.
    pub(crate) async fn statements_of(&self, application: &str) -> Vec<String> {
        let mark = "SELECT 'so far'";
        self.connect().await.batch_execute(mark).await.unwrap();
        let prefix = format!("{application}|LOG:  ");
        let mut statements = Vec::new();
        loop {
            let line = self.heard().expect("the server logs every statement");
            if line.ends_with(mark) {
                return statements;
            }
            statements.extend(line.strip_prefix(&prefix).map(str::to_owned));
        }
    }

    /// A connection past the adapter.
    pub(crate) async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        // Ends by itself when the client or the server does.
        let _running: JoinHandle<()> = tokio::spawn(async move {
            let _ = connection.await;
        });
        client
    }
}

/// A server with the ledger's tables.
pub(crate) struct Ledger {
    pub(crate) server: Postgres,
    pub(crate) ledger: PostgresLedger,
}

impl Ledger {
    pub(crate) async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        let server = Postgres::start();
        ledger::migrate(&server.url()).await.unwrap();
        let ledger = PostgresLedger::with_limits(&server.url(), limits).unwrap();
        Self { server, ledger }
    }
}
