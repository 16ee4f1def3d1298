//! The program `framewire`.

use std::process::ExitCode;

fn main() -> ExitCode {
    framewire_cli::run(std::env::args_os()).into()
}
