//! The one clock of this process, and the calendar where a wire wants it.

use std::time::SystemTime;

use framewire_proto::Micros;
use rustix::time::{ClockId, clock_gettime};

/// Now, on the machine's monotonic clock. Cameras' drivers stamp their buffers with the same clock, and so do all programs
/// of one machine.
pub fn now() -> Micros {
    let time = clock_gettime(ClockId::Monotonic);
    let micros = time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000;
    micros.max(1)
}

/// Now, by the calendar: µs since 1970 (UTC). Set by hand and by NTP, so it may jump; 0 before 1970.
pub fn wall() -> Micros {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

/// A moment of [`now`]'s clock by the calendar; now where it is not known (0).
pub fn calendar(moment: Micros) -> Micros {
    let ago = if moment == 0 { 0 } else { now().saturating_sub(moment) };
    wall().saturating_sub(ago)
}
