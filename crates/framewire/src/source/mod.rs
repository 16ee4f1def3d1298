//! Where frames are born.
//!
//! A source is opened from a [`Spec`], then asked for one [`Item`] after another by a thread of its own; it blocks until
//! there is one, its end has come, or its [`Stop`](crate::stop::Stop) is raised. A new kind of source is one file and its
//! row in [`SOURCES`].

mod background_runtime;
pub mod camera;
pub mod feed;
pub mod file;
pub mod honours;
pub mod http_camera;
pub mod location;
pub mod native;
pub mod pace;
pub mod pattern;
pub mod pickle;
pub mod reopen;
pub mod screen;
pub mod spec;
pub mod stdin;
mod turned;
pub mod tutorial;

use framewire_proto::{
    Config, Frame, Orientation,
    wire::native::{Service, State},
};

use crate::error::{Error, OrError as _, Result};
use crate::{hub::Feedback, stop::Stop};
pub use location::Location;
pub use spec::{Options, Spec, check_size};
use turned::Turned;

/// What a source gives.
#[derive(Debug)]
pub enum Item {
    /// How the frames that follow are coded: before the first frame and whenever that changes.
    Config(Config),
    /// How the source is, when that changes for longer: it has again what it had lost.
    State(State),
    /// It has lost what it feeds from, and why. It tries by itself to have it again.
    Fault(Error),
    /// Why the hub that it comes from has no picture of it; empty once it has one again.
    NoPicture(String),
    /// How the hub that it comes from serves it.
    Service(Service),
    /// A frame, numbered by the source from 0 (a frame that it had to drop leaves a gap), with its time of capture.
    Frame(Frame),
}

/// An open source.
pub trait Source: Send {
    /// The next item; `None` at the end, or soon (within 100 ms) after the stop was raised.
    ///
    /// # Errors
    /// The source is broken for good: what, where and what to try. What is only one bad frame is counted and passed over.
    fn next(&mut self) -> Result<Option<Item>>;

    /// Where what viewers tell of its frames goes, when it wants that.
    fn listener(&self) -> Option<Listener> {
        None
    }

    /// Whether its end is the end of a film. What is live does not just end.
    fn is_finite(&self) -> bool {
        false
    }

    /// What was really given, for a person: `/dev/video0: 1280x720 mjpeg at 30 fps`.
    fn describe(&self) -> String;
}

/// Takes what viewers tell of a source's frames.
pub type Listener = Box<dyn Fn(Feedback) + Send + Sync>;

/// A kind of source.
pub struct Kind {
    /// What the user writes: `camera`, `PATH`, …
    pub usage: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Whether nothing is lost when it is closed while nobody watches and opened again: a camera, not a film.
    pub live: bool,
    /// Whether it gives pictures in the size that it is asked for, or the nearest it has.
    pub sized: bool,
    /// The options that it honours whatever its frames are for, by their names: fps, format, loop, wait, once, every, codec=copy.
    pub honours: &'static [&'static str],
    /// Whether this spec is of this kind; the first row that says so opens it.
    pub matches: fn(&str) -> bool,
    /// Opens it.
    pub open: fn(&Spec, &Stop) -> Result<Box<dyn Source>>,
}

/// Every kind of source, the most particular first.
pub const SOURCES: &[Kind] = &[
    native::KIND,
    pickle::KIND,
    camera::KIND,
    screen::KIND,
    pattern::KIND,
    stdin::KIND,
    http_camera::KIND,
    file::URL,
    file::PATH,
];

/// Opens a source.
///
/// # Errors
/// It is not there, cannot be read or holds no video: what, where and what to try.
pub fn open(spec: &Spec, stop: &Stop) -> Result<Box<dyn Source>> {
    let source = (kind(spec)?.open)(spec, stop)?;
    Ok(match spec.options.orientation() {
        Orientation::UPRIGHT => source,
        turned => Box::new(Turned::new(source, turned)),
    })
}

/// The kind of source that this is.
///
/// # Errors
/// There is none.
pub fn kind(spec: &Spec) -> Result<&'static Kind> {
    let kind = SOURCES.iter().find(|kind| (kind.matches)(spec.source.expose()));
    kind.or_error(Error::InvalidInput, || {
        format!("{}: no kind of source is called this; `framewire send --help` lists them", spec.source)
    })
}

/// Every kind of source, for a command's help.
pub fn help() -> String {
    let rows = SOURCES.iter().map(|kind| format!("  {:22} {}", kind.usage, kind.summary));
    rows.fold("Sources:".into(), |text, row| text + "\n" + &row)
}
