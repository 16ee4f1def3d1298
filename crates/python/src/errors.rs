//! The library's errors as Python's exceptions.

use std::fmt;

use framewire::Error as Kind;
use pyo3::{
    create_exception,
    exceptions::{PyConnectionError, PyException, PyFileNotFoundError, PyTimeoutError, PyValueError},
    prelude::*,
};

create_exception!(framewire, Error, PyException, "What is no fault of a connection, a file, a time or a value.");

/// What to try is told for the command line; in Python it is written otherwise.
const HINTS: &[(&str, &str)] = &[
    ("--wait waits", "wait=True waits"),
    ("--wait tries", "wait=True tries"),
    ("add --overwrite", "pass overwrite=True"),
    ("add --insecure, in a program `insecure(true)`, if", "pass insecure=True if"),
];

/// The exception for this error, with its sentence.
pub(crate) fn exception(error: &Kind) -> PyErr {
    let mut text = error.to_string();
    for (program, python) in HINTS {
        text = text.replace(program, python);
    }
    match error {
        Kind::Timeout(_) => PyTimeoutError::new_err(text),
        Kind::ConnectionLost(_) | Kind::Refused(_) => PyConnectionError::new_err(text),
        Kind::InvalidInput(_) => PyValueError::new_err(text),
        Kind::NotFound(_) => PyFileNotFoundError::new_err(text),
        _ => Error::new_err(text),
    }
}

/// A wrong argument.
pub(crate) fn wrong(text: impl fmt::Display) -> PyErr {
    PyValueError::new_err(text.to_string())
}

/// The figures of something, as Python's own dicts, lists and numbers.
pub(crate) fn as_python<'py>(py: Python<'py>, figures: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    let json = serde_json::to_string(figures).map_err(wrong)?;
    py.import("json")?.call_method1("loads", (json,))
}
