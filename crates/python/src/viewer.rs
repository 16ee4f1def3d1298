//! Watching, and recording.

use std::{
    io::{Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    pin::pin,
    sync::{
        Arc, OnceLock,
        mpsc::{RecvTimeoutError, sync_channel},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use framewire::{Error, Recorder, Source, ViewerBuilder};
use pyo3::{
    exceptions::{PyEOFError, PyTimeoutError},
    prelude::*,
    types::{PyInt, PyString, PyTuple},
};

use crate::{
    errors::{Error as PythonError, as_python, exception, wrong},
    frame::Frame,
    log,
    owned::{self, Owned},
    pool::Pool,
};

/// How long a thread waits before it looks whether Ctrl-C was pressed.
pub(crate) const CHECK_SIGNALS: Duration = Duration::from_millis(50);

/// Watches one stream, and gives its newest frame.
#[pyclass(frozen, weakref, module = "framewire")]
pub(crate) struct Viewer {
    owned: Owned<framewire::Viewer>,
    name: String,
    pool: Pool,
    timeout: Option<Duration>,
    /// Tells an event loop that there may be a frame.
    readable: OnceLock<Readable>,
}

/// A pipe that becomes readable when a task is woken.
struct Readable {
    reader: UnixStream,
    waker: Waker,
}

struct WriteByte(UnixStream);

impl Wake for WriteByte {
    fn wake(self: Arc<Self>) {
        // A pipe that is full is readable.
        let _ = (&self.0).write(&[1]);
    }
}

impl Viewer {
    pub(crate) fn open(
        py: Python<'_>,
        mut builder: ViewerBuilder,
        timeout: Option<f64>,
        size: Option<(i64, i64)>,
        max_age: Option<f64>,
    ) -> PyResult<Self> {
        let timeout = seconds(timeout)?;
        if let Some((width, height)) = pixels(size)? {
            builder = builder.size(width, height);
        }
        if let Some(age) = seconds(max_age)? {
            builder = builder.max_age(age);
        }
        log::begin(py)?;
        let stop = owned::new_stop();
        let viewer = interruptible(py, &stop, || builder.stop(&stop).open())?.map_err(|error| exception(&error))?;
        let name = viewer.name().to_owned();
        Ok(Self {
            owned: Owned::new("viewer", viewer, stop),
            name,
            pool: Pool::default(),
            timeout,
            readable: OnceLock::new(),
        })
    }

    pub(crate) fn newest(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Frame> {
        match self.wait(py, timeout)? {
            Some(frame) => Ok(frame),
            None if self.owned.is_closed() => Err(wrong("the viewer is closed")),
            None => Err(PyEOFError::new_err(format!("'{}' has ended", self.name))),
        }
    }

    /// Waits for a frame; `None` at the stream's end, and where another thread closes the viewer meanwhile.
    fn wait(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<Frame>> {
        let started = Instant::now();
        loop {
            let left = timeout.map_or(CHECK_SIGNALS, |timeout| timeout.saturating_sub(started.elapsed()));
            let next = match self.owned.with(py, |viewer| viewer.next_within(left.min(CHECK_SIGNALS))) {
                Err(_) if self.owned.is_closed() => return Ok(None),
                next => next?,
            };
            match next {
                Ok(frame) => return Ok(frame.map(|frame| Frame::new(frame, &self.pool))),
                Err(Error::Timeout(_)) if timeout.is_none_or(|timeout| started.elapsed() < timeout) => {
                    py.check_signals()?;
                }
                Err(Error::Timeout(_)) => {
                    let waited = timeout.unwrap_or_default();
                    let text = if waited.is_zero() {
                        format!("'{}': no new frame is there", self.name)
                    } else {
                        let why = self.fault(py)?.map_or_else(String::new, |fault| format!(": {fault}"));
                        format!("'{}': no frame came for {waited:?}{why}", self.name)
                    };
                    return Err(PyTimeoutError::new_err(text));
                }
                Err(error) => return Err(exception(&error)),
            }
        }
    }
}

#[pymethods]
impl Viewer {
    #[new]
    #[pyo3(signature = (source, *, timeout=Some(5.0), size=None, max_age=None, codec=None, reconnect=true, wait=false))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn new(
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        size: Option<(i64, i64)>,
        max_age: Option<f64>,
        codec: Option<&str>,
        reconnect: bool,
        wait: bool,
    ) -> PyResult<Self> {
        let mut builder = framewire::Viewer::builder(parsed(source, codec)?).reconnect(reconnect);
        if wait {
            builder = builder.wait();
        }
        Self::open(py, builder, timeout, size, max_age)
    }

    /// The newest frame that was not returned before; waits for one.
    #[pyo3(signature = (timeout=None))]
    fn latest(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Frame> {
        match timeout {
            Some(_) => self.newest(py, seconds(timeout)?),
            None => self.newest(py, self.timeout),
        }
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Frame>> {
        if self.owned.is_closed() {
            return Ok(None);
        }
        self.wait(py, self.timeout)
    }

    /// The stream's name.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// "live", "stalled" (its frames stay away), "idle" (its source sleeps) or "closed".
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        if self.owned.is_closed() {
            return Ok("closed");
        }
        self.owned.with(py, |viewer| viewer.state())
    }

    /// Why there is no picture, in a sentence; None while frames flow.
    #[getter]
    fn fault(&self, py: Python<'_>) -> PyResult<Option<String>> {
        if self.owned.is_closed() {
            return Ok(None);
        }
        self.owned.with(py, |viewer| viewer.fault())
    }

    /// The stream's figures.
    #[getter]
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        as_python(py, &self.owned.with(py, |viewer| viewer.stats())?)
    }

    fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("framewire._async")?.call_method1("next_frame", (slf,))
    }

    /// A frame, if there is one: (True, frame), (True, None) at the end, else (False, None). Then `_fileno` becomes readable
    /// when it is time to ask again.
    fn _poll<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let readable = self.readable()?;
        if self.owned.is_closed() {
            return (true, None::<Frame>).into_pyobject(py);
        }
        // What was written before is of no interest.
        while matches!((&readable.reader).read(&mut [0; 64]), Ok(64)) {}
        let polled = self.owned.with(py, |viewer| {
            pin!(viewer.next_frame()).poll(&mut Context::from_waker(&readable.waker)).map_err(|error| exception(&error))
        })?;
        match polled {
            Poll::Ready(frame) => (true, frame?.map(|frame| Frame::new(frame, &self.pool))).into_pyobject(py),
            Poll::Pending => (false, None::<Frame>).into_pyobject(py),
        }
    }

    fn _fileno(&self) -> PyResult<RawFd> {
        Ok(self.readable()?.reader.as_raw_fd())
    }

    /// The seconds that a frame is waited for; None: for ever.
    #[getter]
    fn timeout(&self) -> Option<f64> {
        self.timeout.map(|timeout| timeout.as_secs_f64())
    }

    /// Ends watching, from any thread.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.owned.close(py)
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }
}

impl Viewer {
    fn readable(&self) -> PyResult<&Readable> {
        if self.readable.get().is_none() {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            let waker = Arc::new(WriteByte(writer)).into();
            // Another thread may have been first.
            let _ = self.readable.set(Readable { reader, waker });
        }
        self.readable.get().ok_or_else(|| wrong("no pipe"))
    }
}

/// Records a stream into a file until it ends or the duration is over; returns the files, and how many frames they hold.
#[pyfunction]
#[pyo3(signature = (source, file, duration=None, overwrite=false))]
#[expect(clippy::needless_pass_by_value, reason = "Python hands it over")]
pub(crate) fn record(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    file: PathBuf,
    duration: Option<f64>,
    overwrite: bool,
) -> PyResult<(Vec<PathBuf>, u64)> {
    log::begin(py)?;
    let stop = owned::new_stop();
    let mut recorder = Recorder::builder(parsed(source, None)?, &file).overwrite(overwrite).stop(&stop);
    if let Some(duration) = seconds(duration)? {
        recorder = recorder.duration(duration);
    }
    let recorder = interruptible(py, &stop, || recorder.start())?.map_err(|error| exception(&error))?;
    let recording = interruptible(py, &stop, || recorder.wait())?.map_err(|error| exception(&error))?;
    Ok((recording.files, recording.frames))
}

/// Runs this without the interpreter's lock; Ctrl-C raises `stop`, and is raised once this has ended.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    stop: &framewire::Stop,
    run: impl FnOnce() -> T + Send,
) -> PyResult<T> {
    py.detach(|| {
        thread::scope(|scope| {
            let (done, outcome) = sync_channel(1);
            scope.spawn(move || done.send(run()));
            loop {
                match outcome.recv_timeout(CHECK_SIGNALS) {
                    Ok(outcome) => return Ok(outcome),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(PythonError::new_err("a thread of framewire panicked; please report this"));
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        // What was opened is closed again when the scope ends.
                        #[expect(
                            clippy::redundant_closure_for_method_calls,
                            reason = "the method is not general enough"
                        )]
                        Python::attach(|py| py.check_signals()).inspect_err(|_| stop.stop())?;
                    }
                }
            }
        })
    })
}

/// FROM, as the command line takes it; a number is a camera, as with OpenCV.
fn parsed(source: &Bound<'_, PyAny>, codec: Option<&str>) -> PyResult<Source> {
    let text = match source.extract::<u32>() {
        Ok(number) => format!("/dev/video{number}"),
        Err(_) if source.is_instance_of::<PyString>() || source.is_instance_of::<PyInt>() => source.str()?.to_string(),
        Err(_) => source.extract::<PathBuf>()?.to_string_lossy().into_owned(),
    };
    let mut source: Source = text.parse().map_err(|error| exception(&error))?;
    if let Some(codec) = codec {
        source.options.codec = codec.parse().map_err(|error| exception(&error))?;
    }
    Ok(source)
}

/// Seconds as Python has them; `None` stays.
pub(crate) fn seconds(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = seconds.filter(|seconds| *seconds != f64::INFINITY) else { return Ok(None) };
    Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| wrong(format!("{seconds} is no number of seconds")))
}

/// A width and a height as Python has them; what is no number of pixels is an error of the value, as any other wrong size is.
pub(crate) fn pixels(size: Option<(i64, i64)>) -> PyResult<Option<(u32, u32)>> {
    let Some((width, height)) = size else { return Ok(None) };
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(width), Ok(height)) => Ok(Some((width, height))),
        _ => Err(wrong(format!("{width}x{height} is no size of a picture"))),
    }
}
