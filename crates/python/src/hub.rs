//! A hub in the process.

use std::collections::HashMap;

use framewire::{Server, Source};
use pyo3::{prelude::*, types::PyTuple};

use crate::{
    errors::{as_python, exception},
    frame::Frame,
    images, log,
    owned::{self, Owned},
    pool::Pool,
    viewer::Viewer,
};

/// A hub on a port of this machine: for cameras and viewers, browsers and programs.
#[pyclass(frozen, weakref, module = "framewire")]
pub(crate) struct Hub {
    server: Owned<Server>,
    address: String,
}

#[pymethods]
impl Hub {
    #[new]
    #[pyo3(signature = (listen="127.0.0.1:0", sources=None, *, insecure=false))]
    fn new(py: Python<'_>, listen: &str, sources: Option<HashMap<String, String>>, insecure: bool) -> PyResult<Self> {
        log::begin(py)?;
        let stop = owned::new_stop();
        let mut builder = Server::builder(listen).insecure(insecure).stop(&stop);
        for (name, source) in sources.unwrap_or_default() {
            let source: Source = source.parse().map_err(|error| exception(&error))?;
            builder = builder.source(&name, source);
        }
        let server = py.detach(|| builder.start()).map_err(|error| exception(&error))?;
        let address = server.address().to_string();
        Ok(Self { server: Owned::new("hub", server, stop), address })
    }

    /// Where senders and viewers find it: `fw://HOST:PORT`.
    #[getter]
    fn url(&self) -> String {
        format!("fw://{}", self.address)
    }

    /// Its page, for a browser.
    #[getter]
    fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The figures of all streams.
    fn streams<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        as_python(py, &self.server.with(py, |server| server.hub().streams())?)
    }

    /// Watches a stream of this hub; waits for it where it does not exist yet.
    #[pyo3(signature = (name, *, timeout=Some(5.0), size=None, max_age=None))]
    fn view(
        &self,
        py: Python<'_>,
        name: &str,
        timeout: Option<f64>,
        size: Option<(i64, i64)>,
        max_age: Option<f64>,
    ) -> PyResult<Viewer> {
        let builder = self.server.with(py, |server| server.hub().viewer(name))?;
        Viewer::open(py, builder, timeout, size, max_age)
    }

    /// The newest frame of a stream; waits for one.
    #[pyo3(signature = (name, timeout=5.0))]
    fn snapshot(&self, py: Python<'_>, name: &str, timeout: f64) -> PyResult<Frame> {
        let viewer = self.view(py, name, Some(timeout), None, None)?;
        viewer.newest(py, crate::viewer::seconds(Some(timeout))?)
    }

    /// Feeds a stream with pictures of this program.
    fn publish(&self, py: Python<'_>, name: &str) -> PyResult<Publisher> {
        let publisher = self.server.with(py, |server| server.hub().publish(name))?;
        let publisher = publisher.map_err(|error| exception(&error))?;
        Ok(Publisher { publisher: Owned::new("publisher", publisher, owned::new_stop()), pool: Pool::default() })
    }

    /// Closes the port and every connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.server.close(py)
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }
}

/// Feeds one stream of a hub in this process.
#[pyclass(frozen, weakref, module = "framewire")]
pub(crate) struct Publisher {
    publisher: Owned<framewire::Publisher>,
    pool: Pool,
}

#[pymethods]
impl Publisher {
    /// Gives a picture to all viewers; never waits.
    #[pyo3(signature = (image, captured_at=None, *, color="bgr"))]
    fn send(
        &self,
        py: Python<'_>,
        image: &Bound<'_, PyAny>,
        captured_at: Option<&Bound<'_, PyAny>>,
        color: &str,
    ) -> PyResult<()> {
        let image = images::taken(image, color, captured_at, &self.pool)?;
        self.publisher.with(py, |publisher| publisher.send(image))?.map_err(|error| exception(&error))
    }

    /// How many watch now.
    #[getter]
    fn viewers(&self, py: Python<'_>) -> PyResult<u32> {
        self.publisher.with(py, |publisher| publisher.viewers())
    }

    /// Ends the stream; nothing happens where it is closed already.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let publisher = self.publisher.take(py)?;
        py.detach(|| publisher.into_iter().for_each(framewire::Publisher::finish));
        Ok(())
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }
}
