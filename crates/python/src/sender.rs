//! Sending.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use pyo3::{prelude::*, types::PyTuple};

use crate::{
    errors::{as_python, exception, wrong},
    images, log,
    owned::{self, Owned},
    pool::Pool,
    viewer::{CHECK_SIGNALS, interruptible, pixels, seconds},
};

/// Sends pictures of this program to a hub, or to a tutorial's script.
#[pyclass(frozen, weakref, module = "framewire")]
pub(crate) struct Sender {
    owned: Owned<framewire::Sender>,
    pool: Pool,
    /// Whether a picture was sent before.
    begun: Mutex<bool>,
}

#[pymethods]
impl Sender {
    #[new]
    #[pyo3(signature = (to, *, codec="auto", quality=80, fps=None, size=None, bitrate=None, max_age=None, wait=false))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn new(
        py: Python<'_>,
        to: &str,
        codec: &str,
        quality: i64,
        fps: Option<f64>,
        size: Option<(i64, i64)>,
        bitrate: Option<u64>,
        max_age: Option<f64>,
        wait: bool,
    ) -> PyResult<Self> {
        let Some(quality) = u8::try_from(quality).ok().filter(|quality| (1..=100).contains(quality)) else {
            return Err(wrong(format!("{quality} is no quality: 1 to 100")));
        };
        let codec = codec.parse().map_err(|error| exception(&error))?;
        let stop = owned::new_stop();
        let mut builder = framewire::Sender::builder(to).codec(codec).quality(quality).stop(&stop);
        if let Some((width, height)) = pixels(size)? {
            builder = builder.size(width, height);
        }
        if let Some(fps) = fps {
            builder = builder.fps(fps);
        }
        if let Some(bitrate) = bitrate {
            builder = builder.bitrate(bitrate);
        }
        if let Some(age) = seconds(max_age)? {
            builder = builder.max_age(age);
        }
        if wait {
            builder = builder.wait();
        }
        log::begin(py)?;
        let sender = builder.open().map_err(|error| exception(&error))?;
        Ok(Self { owned: Owned::new("sender", sender, stop), pool: Pool::default(), begun: Mutex::new(false) })
    }

    /// Hands over a picture; returns what became of the one before.
    #[pyo3(signature = (image, captured_at=None, *, color="bgr", timeout=0.0))]
    fn send(
        &self,
        py: Python<'_>,
        image: &Bound<'_, PyAny>,
        captured_at: Option<&Bound<'_, PyAny>>,
        color: &str,
        timeout: f64,
    ) -> PyResult<Option<&'static str>> {
        let timeout = seconds(Some(timeout))?;
        let image = images::taken(image, color, captured_at, &self.pool)?;
        let room = self.wait(py, timeout, framewire::Sender::wait_for_room)?;
        let before = self.owned.with(py, |sender| {
            let before = match sender.viewers() {
                0 => "unwatched",
                _ if room => "sent",
                _ => "replaced",
            };
            sender.send(image).map(|()| before)
        })?;
        let before = before.map_err(|error| exception(&error))?;
        let begun = std::mem::replace(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner), true);
        Ok(begun.then_some(before))
    }

    /// How many watch now.
    #[getter]
    fn viewers(&self, py: Python<'_>) -> PyResult<u32> {
        self.owned.with(py, |sender| sender.viewers())
    }

    /// Waits until somebody watches; False where nobody came in time.
    #[pyo3(signature = (timeout=None))]
    fn wait_for_viewers(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.wait(py, seconds(timeout)?, framewire::Sender::wait_for_viewers)
    }

    /// Waits until there is room for another picture; False where there was none in time.
    #[pyo3(signature = (timeout=None))]
    fn wait_for_room(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.wait(py, seconds(timeout)?, framewire::Sender::wait_for_room)
    }

    /// The figures of what is sent, and of the link.
    #[getter]
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (streams, uplink) = self.owned.with(py, |sender| sender.stats())?;
        as_python(py, &serde_json::json!({ "stream": streams.first(), "link": uplink }))
    }

    /// Sends the last picture and says goodbye; nothing happens where it is closed already.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Some(sender) = self.owned.take(py)? else { return Ok(()) };
        let stop = sender.stop_flag();
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if !begun {
            py.detach(|| drop(sender));
            return Ok(());
        }
        interruptible(py, &stop, || sender.finish())?.map_err(|error| exception(&error))
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }
}

impl Sender {
    /// Waits in slices, so that Ctrl-C is noticed, and another thread may send or close. Raises why the sender has ended.
    fn wait(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        step: fn(&framewire::Sender, Duration) -> bool,
    ) -> PyResult<bool> {
        let started = Instant::now();
        loop {
            let left = timeout.map_or(CHECK_SIGNALS, |timeout| timeout.saturating_sub(started.elapsed()));
            let done = self.owned.with(py, |sender| {
                let done = step(sender, left.min(CHECK_SIGNALS));
                if done { Ok(true) } else { sender.check().map(|()| false) }
            })?;
            let done = done.map_err(|error| exception(&error))?;
            if done || left.is_zero() {
                return Ok(done);
            }
            py.check_signals()?;
        }
    }
}
