//! The public face: a few types that put the rooms together.

mod diagnose;
mod frame;
mod hub;
mod image;
mod local;
mod recorder;
mod remote;
mod sender;
#[cfg(feature = "server")]
mod server;
pub mod stats;
mod viewer;
#[cfg(feature = "window")]
mod window;
#[cfg(feature = "server")]
mod wire;

#[cfg(feature = "window")]
pub use self::window::{Window, WindowBuilder};
pub use self::{
    diagnose::{Diagnosis, Finding, Side, diagnose, diagnose_until},
    frame::Frame,
    hub::{Hub, Publisher},
    image::{Image, PixelFormat},
    recorder::{Format, Recorder, RecorderBuilder, Recording},
    remote::{RemoteStream, streams_json, streams_json_until, streams_of, streams_of_until},
    sender::{Sender, SenderBuilder, SenderMonitor},
    viewer::{Viewer, ViewerBuilder},
};
#[cfg(feature = "server")]
pub use self::{
    server::{PicklePort, Server, ServerBuilder},
    wire::{Connection, Serving, Verdict, Wire},
};
