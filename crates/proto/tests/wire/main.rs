//! Tests of the wires through the public API: messages arrive however their bytes are split, and wrong bytes are refused with a
//! reason.

mod conversation;
mod decoder;
mod golden;
mod hostile;
mod length;
mod limits;
mod memory;
mod pickle;
mod round_trip;
mod tutorials;
mod util;
