//! Starts both emulators on free loopback ports, once for all tests of this process. The emulators stop when the
//! process ends, even if it is killed.
//!
//! A shell starts a server and waits for the end of its standard input, which this process holds open.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

/// How long a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The shell script: runs the program `$2` with the remaining arguments in the folder `$1`.
const WATCHED: &str = r#"
    folder=$1
    shift
    cd "$folder" || exit 1
    "$@" 2>&1 &
    server=$!
    read -r _
    kill -KILL "$server"
    wait "$server" 2>/dev/null
    rm -rf "$folder"
"#;

/// The addresses of the two emulators, and the processes that run them.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) ministack: Server,
    pub(crate) moto: Server,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    _shell: Child,
    /// Closed when this process ends, which stops the server.
    _leash: ChildStdin,
}

/// The path of one of the project's Python tools.
pub(crate) fn tool(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/venv/bin");
    let program = PathBuf::from(folder).join(name);
    assert!(
        program.is_file(),
        "{name} is needed for this test: infra/tools/setup test"
    );
    program
}

/// Both emulators. The first call starts them and waits until they are ready.
pub(crate) fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let moto = std::thread::spawn(|| {
            start(|command, port| {
                command
                    .arg(tool("moto_server"))
                    .args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            })
        });
        let ministack = start(|command, port| {
            command
                .arg(tool("ministack"))
                .env("GATEWAY_PORT", port.to_string())
                .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
                .env("BIND_HOST", "127.0.0.1")
                .env("MINISTACK_HOST", "localhost")
                // Without this variable, the account's concurrency depends on the machine.
                .env("LAMBDA_ACCOUNT_CONCURRENCY", "1000")
                .env("IOT_MTLS_ENABLED", "0")
                .env("SFTP_ENABLED", "0");
        });
        let moto = moto.join().unwrap();
        Servers { ministack, moto }
    })
}

fn start(program: impl Fn(&mut Command, u16)) -> Server {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    // The shell removes this folder at its end.
    let folder = tempfile::Builder::new()
        .prefix("control-planes-")
        .tempdir()
        .unwrap()
        .keep();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", WATCHED, "sh"]).arg(&folder);
    shell
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8");
    shell.env("HOME", &folder).env("TMPDIR", &folder);
    program(&mut shell, port);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    // The shell has its own process group, so that Ctrl-C at the terminal reaches only the tests, which then stop the
    // server.
    shell.process_group(0);
    let mut shell = shell.spawn().unwrap();
    let (leash, log) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
    // The server blocks when its log pipe is full, so a thread reads the pipe.
    let (lines, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    let url = format!("http://127.0.0.1:{port}");
    let ready = format!("Running on {url}");
    let mut said = Vec::new();
    loop {
        match heard.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(&ready) => {
                return Server {
                    url,
                    _shell: shell,
                    _leash: leash,
                };
            }
            Ok(line) => said.push(line),
            Err(error) => panic!("the server does not start ({error}):\n{}", said.join("\n")),
        }
    }
}
