//! The runtime of a source that blocks while it waits for a socket.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Context as _, Error, OrError as _, Result};

/// A runtime for one thread. It may be dropped by a task of another one, and does not wait for a host's address to be found.
pub(super) struct BackgroundRuntime(Option<Runtime>);

impl BackgroundRuntime {
    /// # Errors
    /// The system has no descriptors left.
    pub(super) fn new() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot wait for a socket")?;
        Ok(Self(Some(runtime)))
    }

    /// # Errors
    /// As the future.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime = self.0.as_ref().or_error(Error::Stopped, || "stopped")?;
        runtime.block_on(future)
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}
