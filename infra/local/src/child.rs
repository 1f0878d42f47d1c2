//! Starts child processes, which never outlive this process.
//!
//! A child registers a signal with the kernel for the death of its parent, so that even SIGKILL of the stack
//! leaves no process behind. The kernel sends this signal when the *thread* that started the child ends. So
//! one dedicated thread starts all children and lives as long as the process.
//!
//! `setpriv` of util-linux registers the signal and then executes the program in the same process. Code of our own
//! between fork and exec would make the standard library copy the stack's page tables for each child, which takes
//! longer than a function's start.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

type Order = (Command, oneshot::Sender<io::Result<Child>>);

/// A handle to the thread that starts child processes.
#[derive(Debug, Clone)]
pub struct Spawner {
    orders: mpsc::Sender<Order>,
    setpriv: PathBuf,
}

impl Spawner {
    /// Starts the spawner's thread. The current Tokio runtime waits for the exit of its children.
    ///
    /// # Errors
    /// When the thread cannot be started, or setpriv is not installed.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start() -> Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                let _runtime = runtime.enter();
                while let Ok((mut command, reply)) = inbox.recv() {
                    let _ = reply.send(command.spawn());
                }
            })
            .context("the spawner's thread")?;
        Ok(Self {
            orders,
            setpriv: setpriv()?,
        })
    }

    /// A command that runs `program`. The child gets the signal `farewell` when this process dies. `niceness` is added
    /// to its nice value.
    #[must_use]
    pub fn command(&self, program: &Path, farewell: Signal, niceness: i32) -> Command {
        let mut command = Command::new(&self.setpriv);
        command.args(["--pdeathsig", farewell.as_str().trim_start_matches("SIG")]);
        if niceness != 0 {
            command.args(["nice", "-n", &niceness.to_string()]);
        }
        command.arg(program);
        command
    }

    /// Starts a command of [`Self::command`].
    ///
    /// # Errors
    /// When the program cannot be started.
    pub async fn spawn(&self, mut command: Command) -> Result<Child> {
        // Ctrl-C in a terminal signals the stack's whole process group. A child in a group of its own does not get that
        // signal, so the stack can stop its children in order.
        command.process_group(0);
        let (reply, answer) = oneshot::channel();
        self.orders
            .send((command, reply))
            .map_err(|_| anyhow!("the spawner has ended"))?;
        answer
            .await
            .context("the spawner has ended")?
            .context("setpriv could not be started")
    }
}

/// The path of util-linux's `setpriv`. For a path with a directory, the standard library starts a program without a
/// copy of this process's page tables.
fn setpriv() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("setpriv"))
        .find(|file| file.is_file())
        .context("setpriv is not installed: it is in util-linux")
}

/// Sends `farewell` to a child, and kills the child if it still runs after `limit`. Returns whether the child ended
/// without the kill.
pub async fn end(child: &mut Child, farewell: Signal, limit: Duration) -> bool {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // An error means that the child has already ended.
        let _ = kill(Pid::from_raw(pid), farewell);
    }
    let ended = tokio::time::timeout(limit, child.wait()).await.is_ok();
    if !ended {
        let _ = child.kill().await;
    }
    ended
}

/// A free port of 127.0.0.1, for a program that needs a port number. Another process may take the port before the
/// program does; then the program fails with an error.
///
/// # Errors
/// When no port is free.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("a free port")?;
    Ok(listener.local_addr()?.port())
}
