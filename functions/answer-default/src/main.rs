//! The `$default` route: serves the router.

use std::process::ExitCode;

fn main() -> ExitCode {
    startup::run(|| startup::serve_api(answer_default::router()))
}
