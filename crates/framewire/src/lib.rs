//! framewire: live video from any camera to any screen or program, over one TCP port.
//!
//! Every program of framewire is the same line, cut at different places: a **source** feeds a **stream** of a **hub**, and
//! **sinks** take from it. `send` ends in a socket where `view` begins with one; `serve` does both for many.
//!
//! ```text
//!   source  camera, file, screen, pattern, URL, stdin, a hub's stream ──┐ frames
//!   hub     named streams; each viewer's mailbox; no I/O, no codec      │
//!   sink    a hub, a window, a file, stdout, a browser  <───────────────┘
//!   media   FFmpeg and libjpeg-turbo behind small safe types
//!   net     accept, recognise, deadlines, limits; drives the wires of framewire-proto
//!   doctor  what is slow, in words: figures in, findings out
//!   cli     flags, one file a command
//! ```
//!
//! What may import what: cli → {source, sink} → {hub, media, net} → framewire-proto. Sources never name sinks; the hub
//! names neither. The doctor names the hub.

mod bad_frames;
pub mod clock;
pub mod doctor;
mod error;
pub mod hub;
pub mod latency;
pub mod media;
pub mod net;
pub mod pace;
#[cfg(feature = "server")]
pub mod serve;
pub mod sink;
pub mod source;
pub mod stop;
pub mod transcode;

pub use error::{Error, Fault, Report};
pub use framewire_proto as proto;
