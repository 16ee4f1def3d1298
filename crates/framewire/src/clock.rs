//! The one clock of this process.

use framewire_proto::Micros;
use rustix::time::{ClockId, clock_gettime};

/// Now, on the machine's monotonic clock. Cameras' drivers stamp their buffers with the same clock, and so do all programs
/// of one machine.
pub fn now() -> Micros {
    let time = clock_gettime(ClockId::Monotonic);
    let micros = time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000;
    micros.max(1)
}
