//! What a Python object owns: used by one thread at a time, closed from any, left alone by a forked child.

use std::{
    mem, process,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use framewire::Stop;
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{errors::Error as PythonError, log};

/// Is raised when the interpreter ends.
static END: LazyLock<Stop> = LazyLock::new(Stop::default);

/// Ends all that [`Owned`] holds.
pub(crate) fn end() {
    // That the ends of this process lose each other now is no news.
    log::end();
    END.stop();
}

/// A flag for what is opened now; it is raised at the latest when the interpreter ends.
pub(crate) fn new_stop() -> Stop {
    END.child()
}

/// A value with threads behind it, until it is closed.
pub(crate) struct Owned<T: Send> {
    value: Mutex<Option<T>>,
    stop: Stop,
    process: u32,
    what: &'static str,
}

impl<T: Send> Owned<T> {
    /// Owns a value that ends when `stop` is raised.
    pub(crate) fn new(what: &'static str, value: T, stop: Stop) -> Self {
        Self { value: Mutex::new(Some(value)), stop, process: process::id(), what }
    }

    /// Uses the value without the interpreter's lock, once no other thread does.
    ///
    /// # Errors
    /// It is closed, or this is a forked child.
    pub(crate) fn with<R: Send>(&self, py: Python<'_>, run: impl FnOnce(&mut T) -> R + Send) -> PyResult<R> {
        self.check_process()?;
        let outcome = py.detach(|| self.lock().as_mut().map(run));
        outcome.ok_or_else(|| PyValueError::new_err(format!("the {} is closed", self.what)))
    }

    /// Takes the value out, for good. Who uses it now stops at once.
    ///
    /// # Errors
    /// This is a forked child.
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<Option<T>> {
        self.check_process()?;
        Ok(py.detach(|| self.lock().take()))
    }

    /// Closes it; nothing happens where it is closed already.
    ///
    /// # Errors
    /// This is a forked child.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.check_process()?;
        py.detach(|| {
            self.stop.stop();
            drop(self.lock().take());
        });
        Ok(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.stop.stopped()
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_process(&self) -> PyResult<()> {
        if self.process == process::id() {
            return Ok(());
        }
        Err(PythonError::new_err(format!(
            "a {} does not survive a fork, since its threads stay in the parent: open it in the child, or start processes by multiprocessing's 'spawn'",
            self.what
        )))
    }
}

impl<T: Send> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.process == process::id() {
            self.stop.stop();
        } else if let Ok(value) = self.value.get_mut() {
            // The threads that it would wait for are not in this process.
            mem::forget(value.take());
        }
    }
}
