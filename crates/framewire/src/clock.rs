//! The clock of all times in this process, and the calendar time where a wire needs it.

use std::time::SystemTime;

use framewire_proto::Micros;
use rustix::time::{ClockId, clock_gettime};

/// Now, in µs on the machine's monotonic clock. Camera drivers and all programs of the machine use the same clock.
pub fn now() -> Micros {
    let time = clock_gettime(ClockId::Monotonic);
    let micros = time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000;
    micros.max(1)
}

/// Now, in µs since 1970 (UTC); 0 before 1970. Users and NTP set this clock, so it may jump.
pub fn wall() -> Micros {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

/// A time of [`now`]'s clock in µs since 1970 (UTC). An unknown time (0) counts as now.
pub fn calendar(moment: Micros) -> Micros {
    let ago = if moment == 0 { 0 } else { now().saturating_sub(moment) };
    wall().saturating_sub(ago)
}
