//! Starts the function `answer-default` with its settings and its adapters.

use std::process::ExitCode;

fn main() -> ExitCode {
    startup::serve_api(|_| Some(answer_default::router()))
}
