//! Child processes that never outlive this one.
//!
//! A child asks the kernel to be signalled when its parent dies, so that even SIGKILL of the stack leaves nothing. The
//! kernel means the *thread* that started it; hence one thread of its own starts all children and lives as long as the
//! process.

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

/// Starts children.
#[derive(Debug, Clone)]
pub struct Spawner {
    orders: mpsc::Sender<Order>,
}

impl Spawner {
    /// A spawner whose children are waited for by the current runtime.
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

    /// Starts `command`. When this process dies the child gets `farewell`; `niceness` is added to its priority's cost.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub async fn spawn(&self, mut command: Command, farewell: Signal, niceness: i32) -> Result<Child> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        // Ctrl-C in a terminal goes to the whole group; children are stopped by the stack, in its order.
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

/// Asks a child to end, and kills it if it has not within `limit`. Whether it ended by itself.
pub async fn end(child: &mut Child, farewell: Signal, limit: Duration) -> bool {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // An error says that it has ended, which is the aim.
        let _ = kill(Pid::from_raw(pid), farewell);
    }
    let ended = tokio::time::timeout(limit, child.wait()).await.is_ok();
    if !ended {
        let _ = child.kill().await;
    }
    ended
}

/// A port of 127.0.0.1 that nobody listens on, for a program that takes a number only. Another one may take it first; then
/// the program ends and says so.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("a free port")?;
    Ok(listener.local_addr()?.port())
}

/// The one place with unsafe code: what runs between fork and exec.
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
            // The parent may have died before the line above.
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
