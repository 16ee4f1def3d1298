//! The library's log on its way to Python's `logging`. A Python thread takes the lines, so that none of the library's threads ever
//! waits for the interpreter's lock.

use std::{
    fmt::{self, Write as _},
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
};

use framewire::mask_secrets;
use pyo3::prelude::*;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

/// Lines that may wait for Python; more are dropped, and how many is told.
const WAITING: usize = 1_000;

/// A line: Python's number of its level, and its text. `None` is the end.
type Line = Option<(u8, String)>;

struct Queue {
    lines: SyncSender<Line>,
    taken: Mutex<Receiver<Line>>,
    dropped: AtomicU64,
}

/// Whether Python's logger took debug lines when the first object was opened.
static DEBUG: AtomicBool = AtomicBool::new(false);

static QUEUE: LazyLock<Queue> = LazyLock::new(|| {
    let (lines, taken) = sync_channel(WAITING);
    Queue { lines, taken: Mutex::new(taken), dropped: AtomicU64::new(0) }
});

/// Takes the library's log from now on, and starts the Python thread that passes it on.
pub(crate) fn begin(py: Python<'_>) -> PyResult<()> {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    if BEGUN.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let logger = py.import("logging")?.call_method1("getLogger", ("framewire",))?;
    DEBUG.store(logger.call_method1("isEnabledFor", (10,))?.extract()?, Ordering::Relaxed);
    // The program `framewire` has set its own, if it runs in this process.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(ToPython));
    py.import("framewire._log")?.call_method0("start").map(drop)
}

/// Waits for the next line; `None` at the end.
pub(crate) fn next() -> Option<(u8, String)> {
    let taken = QUEUE.taken.lock().unwrap_or_else(PoisonError::into_inner);
    let line = taken.recv().ok().flatten();
    let dropped = QUEUE.dropped.swap(0, Ordering::Relaxed);
    if let (Some((level, text)), 1..) = (&line, dropped) {
        return Some((*level, format!("{text} ({dropped} lines before were lost)")));
    }
    line
}

/// Wakes the thread that waits for lines.
pub(crate) fn end() {
    // Where the queue is full, the thread is awake and finds the interpreter ending.
    let _ = QUEUE.lines.try_send(None);
}

struct ToPython;

impl<S: Subscriber> Layer<S> for ToPython {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        let most = if DEBUG.load(Ordering::Relaxed) { Level::DEBUG } else { Level::INFO };
        metadata.target().starts_with("framewire") && *metadata.level() <= most
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // The numbers of Python's `logging`.
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            Level::INFO => 20,
            _ => 10,
        };
        let mut text = Text::default();
        event.record(&mut text);
        if let Err(TrySendError::Full(_)) = QUEUE.lines.try_send(Some((level, mask_secrets(&text.0).into_owned()))) {
            QUEUE.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An event's message, with its fields behind.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
