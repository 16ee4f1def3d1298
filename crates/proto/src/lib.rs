//! framewire's protocol: bytes in, frames out, and the reverse.
//!
//! This crate does no I/O: it opens no socket, reads no clock and starts no thread. The caller passes in bytes and the current
//! time (`now`), then pulls messages until there are none.
//!
//! ```text
//!   frame       Frame, Codec, Config, and a frame's times from camera to screen
//!   orientation turning pictures and making their pixels square
//!   name        the checked name of a stream
//!   limits      every bound on what a peer may announce
//!   error       errors in received bytes: what is wrong, and at which byte
//!   wire        the byte formats, and the table that recognises them by their first bytes
//!   clock       the offset between two monotonic clocks
//!   link        pings and timeouts of a native connection
//!   flow        congestion control: when the next frame may be sent, and how large it may be
//!   hysteresis  waiting before an improvement, and for longer after one that failed
//!   rendition   the renditions of a stream, and which of them a viewer's link carries
//!   stamp       a frame's number and time of capture as squares in its pixels
//!   jpeg        JPEG headers, the step that every JPEG takes where it enters, splitting a byte stream into JPEGs, strips
//!   h264        keyframes, parameter sets and missing pictures of H.264, without decoding
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
pub mod orientation;
pub mod rendition;
pub mod stamp;
pub mod wire;

pub use error::WireError;
pub use frame::{Codec, Config, Frame, Micros, Times};
pub use limits::Limits;
pub use name::Name;
pub use orientation::{Orientation, PixelAspect, Presentation};
pub use rendition::Rendition;
