//! How many frames lie unread in a viewer's kernel, estimated by its TCP receive window.
//!
//! The receive window (RFC 9293, section 3.8.6) is what the receiver's buffer still takes. It narrows by what arrives and widens by
//! what the program reads. Each acknowledgement carries it, and one may be from before the program read what it acknowledges.
//! So one unread frame means nothing, and two mean that the program is behind.

use std::mem;

use framewire_proto::Micros;

/// A program is behind when more than so many hundredths of the last frame, and so many bytes, are unread: windows are rounded.
const UNREAD_PERCENT: u64 = 125;
const UNREAD_BYTES: u64 = 4 << 10;
/// Buffers change size. A window that stands still for so long, in µs, is taken for the empty buffer's; at least, and at most. The
/// time grows with each such guess, and to three times what the program took for its last read.
const STANDSTILL: [Micros; 2] = [1_000_000, 8_000_000];

/// The estimate for one receiver.
#[derive(Debug)]
pub(super) struct ReaderBacklog {
    /// The window while nothing is unread: the widest that was seen.
    empty_window: u64,
    /// Bytes of the last frame.
    frame: u64,
    /// The window at the last look.
    window: u64,
    /// When the program was last seen to read; zero before the first look.
    last_read: Micros,
    /// Since when the window stands still while too much is unread, and how long that may last.
    still_since: Option<Micros>,
    standstill: Micros,
}

impl Default for ReaderBacklog {
    fn default() -> Self {
        Self { empty_window: 0, frame: 0, window: 0, last_read: 0, still_since: None, standstill: STANDSTILL[0] }
    }
}

impl ReaderBacklog {
    /// A frame of so many bytes is sent.
    pub(super) fn frame_sent(&mut self, bytes: usize) {
        self.frame = bytes as u64;
    }

    /// Whether the program may get another frame, by its kernel's last window and the bytes under way to it.
    pub(super) fn may_send(&mut self, window: u64, under_way: u64, now: Micros) -> bool {
        self.empty_window = self.empty_window.max(window);
        let (keeps_up, widened) = (!self.behind(window, under_way), window > self.window);
        self.window = window;
        if keeps_up || widened || self.last_read == 0 {
            let before = mem::replace(&mut self.last_read, now);
            if self.still_since.take().is_some() {
                self.standstill = (3 * now.saturating_sub(before)).clamp(STANDSTILL[0], STANDSTILL[1]);
            }
        }
        if keeps_up {
            return true;
        }
        if now.saturating_sub(*self.still_since.get_or_insert(now)) < self.standstill {
            return false;
        }
        self.empty_window = window + self.frame;
        self.standstill = (2 * self.standstill).min(STANDSTILL[1]);
        self.still_since = None;
        true
    }

    /// Whether more than about one frame is unread or under way.
    pub(super) fn behind(&self, window: u64, under_way: u64) -> bool {
        self.empty_window.saturating_sub(window) + under_way > self.frame * UNREAD_PERCENT / 100 + UNREAD_BYTES
    }

    /// When the program was last seen to read, or first looked at.
    pub(super) fn last_read(&self) -> Micros {
        self.last_read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 100_000;
    const MS: Micros = 1000;

    /// A receiver's buffer: its window narrows by what arrives and widens by what is read.
    struct Buffer {
        room: u64,
        frames: u64,
    }

    impl Buffer {
        fn window(&self) -> u64 {
            self.room.saturating_sub(self.frames * FRAME as u64)
        }
    }

    /// Sends for so many ms to a program that reads a frame every so many. Returns the most unread frames, and the frames read.
    fn feed(backlog: &mut ReaderBacklog, buffer: &mut Buffer, every: Option<u64>, ms: u64, from: Micros) -> (u64, u64) {
        let (mut most, mut read) = (0, 0);
        for at in 0..ms {
            if at % 33 == 0 && backlog.may_send(buffer.window(), 0, from + at * MS) {
                backlog.frame_sent(FRAME);
                buffer.frames += 1;
                most = most.max(buffer.frames);
            }
            if every.is_some_and(|every| at % every == every - 1) && buffer.frames > 0 {
                buffer.frames -= 1;
                read += 1;
            }
        }
        (most, read)
    }

    #[test]
    fn a_program_that_reads_in_time_gets_every_frame() {
        let (mut backlog, mut buffer) = (ReaderBacklog::default(), Buffer { room: 3_000_000, frames: 0 });
        assert_eq!(feed(&mut backlog, &mut buffer, Some(30), 10_000, MS), (1, 303));
    }

    #[test]
    fn a_slow_program_has_two_unread_and_is_kept_busy() {
        let (mut backlog, mut buffer) = (ReaderBacklog::default(), Buffer { room: 3_000_000, frames: 0 });
        feed(&mut backlog, &mut buffer, Some(30), 5_000, MS);
        let (unread, read) = feed(&mut backlog, &mut buffer, Some(200), 20_000, 5_000 * MS);
        assert_eq!((unread, read), (2, 100));
    }

    #[test]
    fn a_program_that_takes_seconds_does_not_change_the_empty_window() {
        let (mut backlog, mut buffer) = (ReaderBacklog::default(), Buffer { room: 3_000_000, frames: 0 });
        feed(&mut backlog, &mut buffer, Some(30), 5_000, MS);
        feed(&mut backlog, &mut buffer, Some(1_500), 15_000, 5_000 * MS);
        let (unread, read) = feed(&mut backlog, &mut buffer, Some(1_500), 30_000, 20_000 * MS);
        assert_eq!((unread, read), (3, 20));
    }

    #[test]
    fn a_stopped_program_gets_few_frames_and_all_of_them_once_it_goes_on() {
        let (mut backlog, mut buffer) = (ReaderBacklog::default(), Buffer { room: 3_000_000, frames: 0 });
        feed(&mut backlog, &mut buffer, Some(30), 3_000, MS);
        let (unread, _) = feed(&mut backlog, &mut buffer, None, 5_000, 3_000 * MS);
        assert!(unread <= 4, "{unread}");
        assert!(backlog.last_read() < 3_200 * MS, "{}", backlog.last_read());
        let (_, read) = feed(&mut backlog, &mut buffer, Some(30), 3_000, 8_000 * MS);
        assert!(read >= 90, "{read}");
    }

    #[test]
    fn much_under_way_at_first_is_no_standstill() {
        let mut backlog = ReaderBacklog::default();
        assert!(!backlog.may_send(60_000, 50_000, 70_000 * MS));
        assert_eq!(backlog.last_read(), 70_000 * MS);
    }

    #[test]
    fn a_buffer_that_shrinks_does_not_stop_the_frames_for_long() {
        let (mut backlog, mut buffer) = (ReaderBacklog::default(), Buffer { room: 3_000_000, frames: 0 });
        feed(&mut backlog, &mut buffer, Some(30), 3_000, MS);
        buffer.room = 400_000;
        let (_, read) = feed(&mut backlog, &mut buffer, Some(30), 10_000, 3_000 * MS);
        assert!(read >= 260, "{read}");
    }
}
