//! Wiring of the function `answer-default`.

use std::process::ExitCode;

fn main() -> ExitCode {
    startup::serve_api(|_| Some(answer_default::router()))
}
