//! The `framewire` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    framewire::cli::main()
}
