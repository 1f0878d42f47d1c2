//! Child processes that never outlive this process.
//!
//! A child registers a signal with the kernel for the death of its parent, so that even SIGKILL of the stack
//! leaves no process behind. The kernel sends this signal when the *thread* that started the child ends. So
//! one dedicated thread starts all children and lives as long as the process.

use std::io;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

type Order = (Command, oneshot::Sender<io::Result<Child>>);

/// Starts child processes.
#[derive(Debug, Clone)]
pub struct Spawner {
    orders: mpsc::Sender<Order>,
}

impl Spawner {
    /// Starts the spawner. The current runtime waits for its children.
    ///
    /// # Errors
    /// When the thread cannot be started.
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
        Ok(Self { orders })
    }

    /// Starts `command`. The child gets the signal `farewell` when this process dies. `niceness` is added to the
    /// child's nice value.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub async fn spawn(&self, mut command: Command, farewell: Signal, niceness: i32) -> Result<Child> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        // Ctrl-C in a terminal signals the whole process group. The stack stops its children itself, in order.
        command.process_group(0);
        hook::before_exec(&mut command, farewell, niceness);
        let (reply, answer) = oneshot::channel();
        self.orders
            .send((command, reply))
            .map_err(|_| anyhow!("the spawner has ended"))?;
        answer
            .await
            .context("the spawner has ended")?
            .with_context(|| format!("{program} could not be started"))
    }
}

/// Signals a child to end, and kills it if it still runs after `limit`. Returns whether it ended without the kill.
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

/// A free port of 127.0.0.1, for a program that needs a port number. Another process may take it first; then the
/// program fails with an error.
///
/// # Errors
/// When no port is free.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("a free port")?;
    Ok(listener.local_addr()?.port())
}

/// The only module with unsafe code: it runs between fork and exec.
mod hook {
    #![allow(
        unsafe_code,
        reason = "std offers no safe way to run code between fork and exec"
    )]

    use nix::libc;
    use nix::sys::{prctl, signal::Signal};
    use nix::unistd::{Pid, getppid};

    pub(super) fn before_exec(command: &mut tokio::process::Command, farewell: Signal, niceness: i32) {
        let parent = Pid::this();
        let prepare = move || {
            prctl::set_pdeathsig(farewell)?;
            // The parent may have died before the call above.
            if getppid() != parent {
                return Err(nix::errno::Errno::ESRCH.into());
            }
            // SAFETY: a plain system call on the calling process.
            unsafe { libc::nice(niceness) };
            Ok(())
        };
        // SAFETY: the closure makes three system calls, allocates nothing and takes no lock.
        unsafe { command.pre_exec(prepare) };
    }
}
