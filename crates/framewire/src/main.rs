//! The `framewire` command.

fn main() {}
