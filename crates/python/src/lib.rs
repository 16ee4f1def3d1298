//! The Python module `framewire._framewire`: the library's types for Python. What Python itself says better (`VideoCapture`,
//! `async for`, `record`) stands in the Python files beside it.
//!
//! Where pixels are copied: [`images::taken`] copies an array that is sent, once; a frame is decoded straight into its array.

mod errors;
mod frame;
mod hub;
mod images;
mod log;
mod memory;
mod owned;
mod pool;
mod sender;
mod viewer;

use std::ffi::OsString;

use pyo3::prelude::*;

#[pymodule]
mod _framewire {
    use super::{Bound, OsString, PyModule, PyModuleMethods as _, PyResult, Python, log, owned, pyfunction};

    #[pymodule_export]
    use super::{
        errors::Error,
        frame::Frame,
        hub::{Hub, Publisher},
        sender::Sender,
        viewer::{Viewer, record},
    };

    /// Runs the program `framewire` with these arguments, of which the first is its name; returns its exit status.
    #[pyfunction]
    fn main(py: Python<'_>, args: Vec<OsString>) -> u8 {
        py.detach(|| framewire_cli::run(args))
    }

    /// Waits for a line of the log: its level, and what happened. `None` once the interpreter ends.
    #[pyfunction]
    fn next_log(py: Python<'_>) -> Option<(u8, String)> {
        py.detach(log::next)
    }

    /// Ends every viewer, sender and hub of this process, so that no thread waits for them at the interpreter's end.
    #[pyfunction]
    fn end(py: Python<'_>) {
        py.detach(owned::end);
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
