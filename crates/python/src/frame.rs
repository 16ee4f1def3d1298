//! A frame, with its times.

use std::{sync::OnceLock, time::SystemTime};

use framewire::PixelFormat;
use numpy::PyArrayDyn;
use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{IntoPyDict as _, PyBytes, PyDict},
};

use crate::{errors::exception, memory, pool::Pool};

/// One frame of a stream, with its times. It is decoded when its pixels are asked for, and once only.
#[pyclass(frozen, module = "framewire")]
pub(crate) struct Frame {
    encoded: framewire::Frame,
    pool: Pool,
    bgr: PyOnceLock<Py<PyArrayDyn<u8>>>,
    rgb: PyOnceLock<Py<PyArrayDyn<u8>>>,
    gray: PyOnceLock<Py<PyArrayDyn<u8>>>,
    /// Once asked, the same for ever: the calendar clock runs unevenly beside the one that frames are timed by.
    captured_at: OnceLock<SystemTime>,
}

impl Frame {
    /// A frame whose arrays take their memory out of this pool.
    pub(crate) fn new(frame: framewire::Frame, pool: &Pool) -> Self {
        Self {
            encoded: frame,
            pool: pool.clone(),
            bgr: PyOnceLock::new(),
            rgb: PyOnceLock::new(),
            gray: PyOnceLock::new(),
            captured_at: OnceLock::new(),
        }
    }

    fn array(
        &self,
        py: Python<'_>,
        known: &PyOnceLock<Py<PyArrayDyn<u8>>>,
        format: PixelFormat,
    ) -> PyResult<Py<PyArrayDyn<u8>>> {
        let array =
            known.get_or_try_init(py, || memory::array(py, &self.encoded, format, &self.pool).map(Bound::unbind))?;
        Ok(array.clone_ref(py))
    }
}

#[pymethods]
impl Frame {
    /// The picture as OpenCV has it: uint8, height x width x 3, blue, green, red; C-contiguous and writable.
    #[getter]
    fn image(&self, py: Python<'_>) -> PyResult<Py<PyArrayDyn<u8>>> {
        self.array(py, &self.bgr, PixelFormat::Bgr)
    }

    /// The same in the order red, green, blue.
    #[getter]
    fn rgb(&self, py: Python<'_>) -> PyResult<Py<PyArrayDyn<u8>>> {
        self.array(py, &self.rgb, PixelFormat::Rgb)
    }

    /// The picture in grey: uint8, height x width.
    #[getter]
    fn gray(&self, py: Python<'_>) -> PyResult<Py<PyArrayDyn<u8>>> {
        self.array(py, &self.gray, PixelFormat::Gray)
    }

    /// The picture as a JPEG: the very bytes that were sent, where they are one.
    fn jpeg<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let jpeg = py.detach(|| self.encoded.jpeg()).map_err(|error| exception(&error))?;
        Ok(PyBytes::new(py, jpeg.data()))
    }

    #[getter]
    fn width(&self) -> u32 {
        self.encoded.width()
    }

    #[getter]
    fn height(&self) -> u32 {
        self.encoded.height()
    }

    /// The frame's number in its stream; rises by one for each frame.
    #[getter]
    fn sequence(&self) -> u64 {
        self.encoded.sequence()
    }

    /// How many frames of the stream were passed over since the frame before.
    #[getter]
    fn missed(&self) -> u64 {
        self.encoded.missed()
    }

    /// What it was encoded in on its way: "jpeg", "h264", "i420" or "bgr24".
    #[getter]
    fn codec(&self) -> &'static str {
        self.encoded.codec()
    }

    /// When it was captured, by this machine's calendar clock.
    #[getter]
    fn captured_at(&self) -> SystemTime {
        *self.captured_at.get_or_init(|| self.encoded.captured_at())
    }

    /// How many seconds ago it was captured.
    #[getter]
    fn age(&self) -> f64 {
        self.encoded.age().as_secs_f64()
    }

    /// The stages of its way and how many seconds each took.
    #[getter]
    fn latency<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.encoded.latency().into_iter().map(|(stage, took)| (stage, took.as_secs_f64())).into_py_dict(py)
    }

    fn __repr__(&self) -> String {
        format!(
            "<framewire.Frame {}: {}x{} {}, {:.0} ms old>",
            self.sequence(),
            self.width(),
            self.height(),
            self.codec(),
            1000.0 * self.age()
        )
    }
}
