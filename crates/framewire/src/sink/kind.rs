//! The table of sinks that frames are sent to over the network: a new one is a file and its row in [`SINKS`].

use framewire_proto::{Name, wire::tutorial::Tutorial};

use super::{Outlet, native, pickle, tutorial};
use crate::{
    error::{Error, OrError as _, Result},
    stop::Stop,
};

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

/// Every kind of sink.
pub const SINKS: &[Kind] = &[native::KIND, tutorial::LHH, tutorial::BASE64, tutorial::STOPWAIT, pickle::KIND];

/// Reads the address of a sink.
///
/// # Errors
/// It is of no kind, or wrong.
pub fn open(to: &str) -> Result<Box<dyn Sink>> {
    let kind = SINKS.iter().find(|kind| (kind.matches)(to));
    let kind = kind.or_error(Error::InvalidInput, || {
        let known: Vec<&str> = SINKS.iter().map(|kind| kind.usage).collect();
        format!("'{to}' is not an address to send to: write one of {}", known.join(", "))
    })?;
    (kind.open)(to)
}

/// Every kind of sink, for a command's help.
pub fn help() -> String {
    let rows = SINKS.iter().map(|kind| format!("  {:22} {}", kind.usage, kind.summary));
    rows.fold("Sinks:".into(), |text, row| text + "\n" + &row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_opens_its_own_addresses() {
        for (to, name, listens) in [
            ("fw://127.0.0.1:7070/door", Some("door"), false),
            ("fw://hub", None, false),
            ("lhh://127.0.0.1:1234?long=8", None, false),
            ("stopwait://camera", None, false),
            ("pickle://0.0.0.0:9999", None, true),
        ] {
            let sink = open(to).unwrap();
            assert_eq!((sink.name().as_ref().map(Name::as_str), sink.listens()), (name, listens), "{to}");
            assert_eq!(sink.tutorial().is_some(), !to.starts_with("fw"), "{to}");
        }
        assert!(matches!(open("door"), Err(Error::InvalidInput(_))));
        assert!(matches!(open("fw://"), Err(Error::InvalidInput(_))));
    }
}
