//! What a sink that sends frames over the network is: a new one is a file and its row in [`SINKS`](super::SINKS).

use framewire_proto::{Name, wire::tutorial::Tutorial};

use super::Outlet;
use crate::{error::Result, stop::Stop};

/// A kind of sink.
pub struct Kind {
    /// What the user writes: `fw://HOST:PORT/NAME`, …
    pub usage: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Whether this address is of this kind; the first row that says so opens it.
    pub matches: fn(&str) -> bool,
    /// Reads the address. Nothing is connected yet.
    pub open: fn(&str) -> Result<Box<dyn Sink>>,
}

/// A sink that is ready to run.
pub trait Sink: Send {
    /// The stream's name, where the address has one.
    fn name(&self) -> Option<Name> {
        None
    }

    /// The tutorial whose size, quality and codec frames shall have; `None`: any that the link carries.
    fn tutorial(&self) -> Option<&Tutorial> {
        None
    }

    /// Whether viewers connect here: a file then starts with its first viewer.
    fn listens(&self) -> bool {
        false
    }

    /// Sends the outlet's frames until its stream ends or `stop` is raised. Reconnects by itself.
    ///
    /// # Errors
    /// The first attempt fails, unless `way.wait` is set.
    fn run(self: Box<Self>, outlet: Outlet, way: Way, stop: &Stop) -> Result<()>;
}

/// How a sink is run.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Keep trying where the first attempt fails.
    pub wait: bool,
    /// Frames may pass through as others encoded them.
    pub passthrough: bool,
}
