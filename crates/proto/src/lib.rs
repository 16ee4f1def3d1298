//! framewire's wires: bytes in, frames out, and back.
//!
//! This crate is the protocol and nothing else. It opens no socket, reads no clock, starts no thread: whoever drives it
//! hands in bytes and `now`, and pulls out messages until there are none.
//!
//! ```text
//!   frame   Frame, Codec, Config and the times a frame carries from birth to screen
//!   name    the name of a stream, checked
//!   limits  every bound on what a peer may announce
//!   error   what was wrong, at which byte, on which wire
//!   wire    the byte formats and the table that recognises them by their first bytes
//!   clock   two monotonic clocks agree on their offset
//!   link    what both ends do besides their frames: ping, answer, notice silence
//!   flow    how much may be under way to a receiver
//!   rendition  the forms of a stream, and which of them a viewer's link carries
//!   jpeg    a JPEG's header, and where one JPEG ends in a row of them
//!   h264    whether a frame of H.264 is a keyframe, and its parameter sets
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod clock;
pub mod error;
pub mod flow;
pub mod frame;
pub mod h264;
pub mod hysteresis;
pub mod jpeg;
pub mod limits;
pub mod link;
pub mod name;
pub mod rendition;
pub mod wire;

pub use error::WireError;
pub use frame::{Codec, Config, Frame, Micros, Times};
pub use limits::Limits;
pub use name::Name;
pub use rendition::Rendition;
