//! Ends FFmpeg's waits at a deadline or on request.
#![allow(unsafe_code, reason = "FFmpeg's interrupt callback behind an owned type")]

use std::{
    ffi::{c_int, c_void},
    io,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use ffmpeg_sys_the_third as ffi;
use framewire_proto::Micros;

use crate::error::{Error, error};
use crate::media::av;
use crate::{clock, stop::Stop};

/// What failed when an input cannot be opened.
pub(super) const OPEN: &str = "cannot be opened";

const STOPPED: u8 = 1;
const TIMED_OUT: u8 = 2;

/// Interrupts FFmpeg, and remembers why: FFmpeg's own error code does not say.
pub(super) struct InterruptWatch {
    stop: Stop,
    deadline: AtomicU64,
    /// In ms.
    timeout: AtomicU64,
    /// 0, [`STOPPED`] or [`TIMED_OUT`].
    reason: AtomicU8,
}

impl InterruptWatch {
    pub(super) fn new(stop: &Stop, timeout: Duration) -> Self {
        let this = Self {
            stop: stop.clone(),
            deadline: AtomicU64::new(0),
            timeout: AtomicU64::new(0),
            reason: AtomicU8::new(0),
        };
        this.extend(timeout);
        this
    }

    /// FFmpeg's callback for this watch, which must live longer than the context that gets it.
    pub(super) fn callback(&self) -> ffi::AVIOInterruptCB {
        ffi::AVIOInterruptCB { callback: Some(interrupt), opaque: (&raw const *self).cast_mut().cast() }
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Moves the deadline to `timeout` from now.
    pub(super) fn extend(&self, timeout: Duration) {
        self.timeout.store(timeout.as_millis() as u64, Ordering::Relaxed);
        let deadline: Micros = clock::now().saturating_add(timeout.as_micros() as u64);
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self) -> bool {
        self.reason.load(Ordering::Relaxed) == STOPPED || self.stop.stopped()
    }

    pub(super) fn interrupted(&self) -> bool {
        self.timed_out() || self.stopped()
    }

    fn timed_out(&self) -> bool {
        self.reason.load(Ordering::Relaxed) == TIMED_OUT
    }

    /// Checks the deadline and the stop. Returns whether to give up.
    pub(super) fn check(&self) -> bool {
        let reason = if self.stop.stopped() {
            STOPPED
        } else if clock::now() > self.deadline.load(Ordering::Relaxed) {
            TIMED_OUT
        } else {
            return false;
        };
        self.reason.store(reason, Ordering::Relaxed);
        true
    }

    /// An error if the deadline has passed.
    pub(super) fn check_deadline(&self) -> Result<(), Error> {
        if self.check() && self.timed_out() { Err(self.explain(0, "")) } else { Ok(()) }
    }

    /// The error for FFmpeg's code, after `what` failed.
    pub(super) fn explain(&self, code: c_int, what: &'static str) -> Error {
        match self.reason.load(Ordering::Relaxed) {
            STOPPED => error!(Stopped, "stopped while it was being opened"),
            TIMED_OUT => {
                error!(Timeout, "timeout: no data for {} s", self.timeout.load(Ordering::Relaxed) as f64 / 1000.0)
            }
            _ if code == ffi::AVERROR_INVALIDDATA && what == OPEN => {
                error!(InvalidData, "holds no video that FFmpeg knows, or is cut short at its start")
            }
            _ if code == ffi::AVERROR_HTTP_UNAUTHORIZED || code == ffi::AVERROR_HTTP_FORBIDDEN => {
                error!(PermissionDenied, "{what}: {}", av::message(code))
            }
            _ if code == ffi::AVERROR_HTTP_NOT_FOUND => error!(NotFound, "{what}: {}", av::message(code)),
            // FFmpeg's own codes are four letters, far beyond the system's error numbers.
            _ if (-4096..0).contains(&code) => Error::from(io::Error::from_raw_os_error(-code)).context(what),
            _ => error!(System, "{what}: {}", av::message(code)),
        }
    }
}

/// FFmpeg's question during its waits: whether to give up.
unsafe extern "C" fn interrupt(watch: *mut c_void) -> c_int {
    // SAFETY: FFmpeg passes the pointer of `InterruptWatch::callback`, and the watch lives longer than the context.
    let watch = unsafe { &*watch.cast::<InterruptWatch>() };
    c_int::from(watch.check())
}
