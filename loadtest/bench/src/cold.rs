//! Measures cold starts: the time from just before a process is started to its first request for work.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use stampede_local::runtime::standard_variables;

/// The time limit for a start.
const LIMIT: Duration = Duration::from_secs(10);

/// The request of a process that is ready for work.
const NEXT: &str = "GET /2018-06-01/runtime/invocation/next ";

/// The variables that Lambda sets for every function.
#[must_use]
pub fn standard(name: &str) -> BTreeMap<String, String> {
    let credentials = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "session"),
    ];
    let mut variables = standard_variables(name, 256, "on-demand");
    variables.extend(credentials.map(|(name, value)| (name.to_owned(), value.to_owned())));
    variables
}

/// Starts `program` once and ends it. Returns the time to the program's first request for work, in milliseconds.
///
/// # Errors
/// When the program cannot be started or does not ask for work in time.
pub fn first_next_ms(program: &Path, environment: &BTreeMap<String, String>) -> anyhow::Result<f64> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("a port for the Runtime API")?;
    let address = listener.local_addr()?;
    let (send, asked) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let _ = send.send(first_request(&listener));
    });
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(environment)
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let began = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("{} could not be started", program.display()))?;
    let answer = asked.recv_timeout(LIMIT);
    child.kill().context("ending what was started")?;
    child.wait().context("ending what was started")?;
    if answer.is_err() {
        // The server's thread still waits for a connection, and this connection unblocks it.
        let _ = TcpStream::connect(address);
    }
    let _ = server.join();
    let (at, line) =
        answer.with_context(|| format!("{} asked for no work within {LIMIT:?}", program.display()))??;
    ensure!(line.starts_with(NEXT), "{} asked for {line}", program.display());
    Ok(at.duration_since(began).as_secs_f64() * 1e3)
}

/// The time at which the first request line had arrived, and the text of the line.
fn first_request(listener: &TcpListener) -> std::io::Result<(Instant, String)> {
    let (mut stream, _) = listener.accept()?;
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let n = stream.read(&mut buffer)?;
        let at = Instant::now();
        seen.extend_from_slice(buffer.get(..n).unwrap_or_default());
        if n == 0 || seen.contains(&b'\n') {
            return Ok((at, String::from_utf8_lossy(&seen).into_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_asks_for_work_is_an_error() {
        let error = first_next_ms(Path::new("/no/such/program"), &standard("x")).unwrap_err();
        assert!(error.to_string().contains("could not be started"));
    }

    #[test]
    fn the_first_request_is_read() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::thread::spawn(move || {
            use std::io::Write as _;
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(NEXT.as_bytes()).unwrap();
            stream.write_all(b"HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        });
        let (_, line) = first_request(&listener).unwrap();
        client.join().unwrap();
        assert!(line.starts_with(NEXT));
    }
}
