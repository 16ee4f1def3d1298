//! Live video from any camera to any screen or program, over one TCP port, in the time it takes to encode and decode it.
//!
//! A [`Source`] feeds a named stream of a [`Hub`]; any number of viewers watch it. Each viewer gets the newest frame instead
//! of a growing queue of old ones, in a size that its link carries, and every frame knows when it was captured.
//!
//! **Serve a hub** (feature `server`): one port for publishers, viewers, browsers and metrics.
//! ```no_run
//! # #[cfg(feature = "server")] fn main() -> Result<(), framewire::Error> {
//! let server = framewire::Server::builder("127.0.0.1:7070").source("door", "camera".parse()?).start()?;
//! println!("open http://{}/ in a browser", server.address());
//! server.wait()
//! # }
//! # #[cfg(not(feature = "server"))] fn main() {}
//! ```
//!
//! **Send frames that your program makes.** The newest one goes out when the link has room for it.
//! ```no_run
//! use framewire::{Image, PixelFormat, Sender};
//!
//! # fn pixels() -> Vec<u8> { vec![0; 3 * 640 * 480] }
//! let mut sender = Sender::open("fw://127.0.0.1:7070/door")?;
//! loop {
//!     sender.send(Image::new(PixelFormat::Bgr, 640, 480, pixels())?)?;
//! }
//! # #[allow(unreachable_code)] Ok::<(), framewire::Error>(())
//! ```
//!
//! **Watch a stream as decoded frames**, always the newest, with its age and a timeout. Any source will do: a hub's stream,
//! a camera, a file, a URL.
//! ```
//! use std::time::Duration;
//!
//! let mut viewer = framewire::Viewer::builder("pattern".parse()?).timeout(Duration::from_secs(5)).open()?;
//! for frame in viewer.frames().take(3) {
//!     let (frame, now) = (frame?, std::time::SystemTime::now());
//!     let image = frame.bgr()?;
//!     println!("{} bytes of BGR, captured {:?} ago", image.data().len(), frame.age());
//!     assert!(frame.captured_at() <= now);
//! }
//! # Ok::<(), framewire::Error>(())
//! ```
//!
//! **Record.** What is encoded already is not encoded again.
//! ```no_run
//! use std::{path::Path, time::Duration};
//!
//! let from = "fw://127.0.0.1:7070/door".parse()?;
//! let recorder = framewire::Recorder::builder(from, Path::new("door.mkv")).duration(Duration::from_secs(60)).start()?;
//! println!("{} frames", recorder.wait()?.frames);
//! # Ok::<(), framewire::Error>(())
//! ```
//!
//! Calls that wait have a deadline; those named `wait` wait for an end, however long that takes. What runs in the background ends when its handle is dropped, or when the [`Stop`] that
//! its builder was given is raised. An [`Error`] says by its kind what went wrong, and in one line what to try.
//!
//! # Features
//! Without any, the library sends, views and records. `server` adds [`Server`](crate::Server) (HTTP and the page);
//! `window` adds [`Window`](crate::Window) (SDL).

#![cfg_attr(
    not(all(feature = "server", feature = "window")),
    allow(
        dead_code,
        unused_imports,
        reason = "much of the hub is only used by its port, and some of the drawing only by windows"
    )
)]
#![allow(unreachable_pub, reason = "`pub` marks a room's interface; what the library offers is re-exported below")]

mod api;
mod bad_frames;
mod clock;
mod doctor;
mod error;
mod hub;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod latency;
mod media;
mod net;
mod pace;
mod secret;
#[cfg(feature = "server")]
mod serve;
#[cfg(all(test, feature = "server"))]
mod simulation;
mod sink;
mod source;
mod stop;
mod transcode;

pub use api::*;
pub use error::{Error, Fault, Report};
pub use framewire_proto::Name;
pub use media::v4l2::Device;
pub use secret::mask as mask_secrets;
pub use sink::help as sinks_help;
pub use source::{Location, Options, Spec as Source, camera::devices, help as sources_help};
pub use stop::Stop;
pub use transcode::encode::CodecChoice;
