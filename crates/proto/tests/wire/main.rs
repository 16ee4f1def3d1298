//! The wires from outside: what is said arrives, whatever the chunks; what is wrong is refused in words.

mod conversation;
mod decoder;
mod golden;
mod hostile;
mod limits;
mod memory;
mod pickle;
mod round_trip;
mod tutorials;
mod util;
