//! How many frames lie unread in a viewer's kernel, estimated by its TCP receive window.
//!
//! The receive window (RFC 9293, section 3.8.6) is what the receiver's buffer still takes. It narrows by what arrives and widens by
//! what the program reads. Each acknowledgement carries it, and one may be from before the program read what it acknowledges.
//! So one unread frame means nothing, and two mean that the program is behind.
//!
//! Buffers change size. A window that stands still may be that of an empty buffer that has shrunk, or that of a program that has
//! stopped. A test tells them apart: some bytes without meaning. The window's end (what is acknowledged, and the window) moves on by
//! what is read, and by nothing else.

use framewire_proto::Micros;

/// A program is behind when more than so many hundredths of the last frame, and so many bytes, are unread: windows are rounded.
const UNREAD_PERCENT: u64 = 125;
const UNREAD_BYTES: u64 = 4 << 10;
/// It may be behind when so many hundredths of the last frame, and a window's rounding, more are unread than when that was sent: most
/// kernels announce less than they have room for, so that the first unread frame does not narrow the window.
const GROWN_PERCENT: u64 = 50;
/// Where that was wrong so often, the kernel has no such reserve. A frame that came without a wait counts against.
const FALSE_ALARMS: u32 = 8;
/// A window that is wider than it was by fewer bytes is rounded otherwise.
const ROUNDING: u64 = 512;
/// How long the window stands still, in µs, before a test; at least, and at most. The time grows with each test, and to three times
/// what the program took for its last read.
const STANDSTILL: [Micros; 2] = [1_000_000, 8_000_000];
/// Tests of a program that reads nothing: more would fill its buffer.
const TESTS: u32 = 3;
/// The fewest bytes of a test. It is a multiple of what windows are rounded to, since these are rounded up.
const TEST: u64 = 1 << 10;

/// What is known of a program's kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Bytes that it has acknowledged.
    pub(super) acknowledged: u64,
    /// Its receive window after those, and what that is a multiple of.
    pub(super) window: u64,
    pub(super) window_unit: u64,
    /// Bytes that are under way to it.
    pub(super) under_way: u64,
    /// The time.
    pub(super) now: Micros,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Send the next frame.
    Frame,
    /// Ask again in a moment.
    Wait,
    /// Send so many bytes without meaning, and ask again in a moment.
    Test(u64),
}

/// A test under way.
#[derive(Debug, Clone, Copy)]
struct Test {
    bytes: u64,
    /// What was acknowledged before it, and where the window ended.
    acknowledged: u64,
    window_end: u64,
}

/// The estimate for one receiver.
#[derive(Debug)]
pub(super) struct ReaderBacklog {
    /// The window while nothing is unread: the widest that was seen.
    empty_window: u64,
    /// Bytes of the last frame, and how many were unread when it was sent.
    frame: u64,
    unread: u64,
    /// The program has read since the last frame only once it was waited for, and how often that was so without need.
    waited: bool,
    false_alarms: u32,
    /// The narrowest window since the program was last seen to read.
    window: u64,
    /// When the program was last seen to read; zero before the first look.
    last_read: Micros,
    /// Since when the window stands still while too much is unread, and how long that may last.
    still_since: Option<Micros>,
    standstill: Micros,
    test: Option<Test>,
    tests: u32,
}

impl Default for ReaderBacklog {
    fn default() -> Self {
        Self {
            empty_window: 0,
            frame: 0,
            unread: 0,
            waited: false,
            false_alarms: 0,
            window: 0,
            last_read: 0,
            still_since: None,
            standstill: STANDSTILL[0],
            test: None,
            tests: 0,
        }
    }
}

impl ReaderBacklog {
    /// A frame of so many bytes is sent.
    pub(super) fn frame_sent(&mut self, bytes: usize) {
        self.frame = bytes as u64;
    }

    /// What to do now.
    pub(super) fn next(&mut self, look: Look) -> Next {
        let Look { acknowledged, window, window_unit, under_way, now } = look;
        self.empty_window = self.empty_window.max(window);
        let unread = self.empty_window - window + under_way;
        let keeps_up = !self.behind(window, under_way) && !self.has_grown(unread, window_unit);
        if keeps_up || window > self.window + ROUNDING || self.last_read == 0 {
            self.has_read(window, now);
        }
        self.window = self.window.min(window);
        if keeps_up {
            self.count_alarm(unread);
            self.unread = unread;
            return Next::Frame;
        }
        self.waited = true;
        let still_since = *self.still_since.get_or_insert(now);
        let over = now.saturating_sub(still_since) >= self.standstill;
        let Some(test) = self.test else {
            if !over || self.tests == TESTS {
                return Next::Wait;
            }
            let bytes = TEST.max(window_unit);
            self.test = Some(Test { bytes, acknowledged, window_end: acknowledged + window });
            (self.still_since, self.tests) = (Some(now), self.tests + 1);
            return Next::Test(bytes);
        };
        let arrived = acknowledged - test.acknowledged;
        if arrived >= test.bytes && 2 * (acknowledged + window).saturating_sub(test.window_end) >= arrived {
            // It reads: the buffer has shrunk.
            self.empty_window = window;
            self.has_read(window, now);
            self.lengthen_standstill();
            (self.unread, self.waited) = (0, false);
            return Next::Frame;
        }
        if over {
            self.test = None;
            self.lengthen_standstill();
        }
        Next::Wait
    }

    /// Whether more than about one frame is unread or under way.
    pub(super) fn behind(&self, window: u64, under_way: u64) -> bool {
        self.empty_window.saturating_sub(window) + under_way > self.frame * UNREAD_PERCENT / 100 + UNREAD_BYTES
    }

    /// Whether about a frame more is unread than when the last one was sent.
    fn has_grown(&self, unread: u64, rounding: u64) -> bool {
        self.false_alarms < FALSE_ALARMS && unread > self.unread + self.frame * GROWN_PERCENT / 100 + rounding
    }

    /// A frame may be sent, with so much unread. It was a false alarm if the program had nothing to read once it was asked for.
    fn count_alarm(&mut self, unread: u64) {
        if self.false_alarms == FALSE_ALARMS {
            return;
        }
        let waited = std::mem::take(&mut self.waited);
        self.false_alarms =
            if waited && unread < self.frame / 4 { self.false_alarms + 2 } else { self.false_alarms.saturating_sub(1) };
    }

    fn has_read(&mut self, window: u64, now: Micros) {
        if self.still_since.is_some() {
            self.standstill = (3 * now.saturating_sub(self.last_read)).clamp(STANDSTILL[0], STANDSTILL[1]);
        }
        (self.window, self.last_read, self.still_since) = (window, now, None);
        (self.test, self.tests) = (None, 0);
    }

    fn lengthen_standstill(&mut self) {
        self.standstill = (2 * self.standstill).min(STANDSTILL[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u64 = 100_000;
    const MS: Micros = 1000;

    /// A receiver's buffer: its window narrows by what arrives and widens by what is read.
    #[derive(Default)]
    struct Buffer {
        room: u64,
        /// So much more it has than it announces.
        reserve: u64,
        received: u64,
        /// Bytes without meaning, which are read with the next frame.
        filler: u64,
        frames: u64,
    }

    impl Buffer {
        fn window(&self) -> u64 {
            self.room.saturating_sub((self.frames * FRAME + self.filler).saturating_sub(self.reserve))
        }
    }

    /// How a program reads.
    #[derive(Clone, Copy)]
    enum Reads {
        /// A frame every so many ms, waiting for the next one.
        Every(u64),
        Nothing,
    }

    /// Sends for so many ms to a program that reads so. Returns the most unread frames, and the frames read.
    fn feed(backlog: &mut ReaderBacklog, buffer: &mut Buffer, reads: Reads, ms: u64, from: Micros) -> (u64, u64) {
        let (mut most, mut read) = (0, 0);
        for at in 0..ms {
            if at % 33 == 0 {
                let look = Look {
                    acknowledged: buffer.received,
                    window: buffer.window(),
                    window_unit: 1,
                    under_way: 0,
                    now: from + at * MS,
                };
                match backlog.next(look) {
                    Next::Frame => {
                        backlog.frame_sent(FRAME as usize);
                        buffer.frames += 1;
                        buffer.received += FRAME;
                        most = most.max(buffer.frames);
                    }
                    Next::Test(bytes) => {
                        buffer.filler += bytes;
                        buffer.received += bytes;
                    }
                    Next::Wait => {}
                }
            }
            let Reads::Every(every) = reads else { continue };
            if at % every == every - 1 {
                read += u64::from(buffer.frames > 0);
                buffer.frames = buffer.frames.saturating_sub(1);
            }
            if buffer.frames == 0 {
                buffer.filler = 0;
            }
        }
        (most, read)
    }

    fn start() -> (ReaderBacklog, Buffer) {
        (ReaderBacklog::default(), Buffer { room: 3_000_000, ..Buffer::default() })
    }

    #[test]
    fn a_program_that_reads_in_time_gets_every_frame() {
        let (mut backlog, mut buffer) = start();
        assert_eq!(feed(&mut backlog, &mut buffer, Reads::Every(30), 10_000, MS), (1, 303));
    }

    #[test]
    fn a_slow_program_has_two_unread_and_is_kept_busy() {
        let (mut backlog, mut buffer) = start();
        feed(&mut backlog, &mut buffer, Reads::Every(30), 5_000, MS);
        let (unread, read) = feed(&mut backlog, &mut buffer, Reads::Every(200), 20_000, 5_000 * MS);
        assert_eq!((unread, read), (2, 100));
    }

    #[test]
    fn a_program_that_takes_seconds_does_not_change_the_empty_window() {
        let (mut backlog, mut buffer) = start();
        feed(&mut backlog, &mut buffer, Reads::Every(30), 5_000, MS);
        feed(&mut backlog, &mut buffer, Reads::Every(1_500), 15_000, 5_000 * MS);
        let (unread, read) = feed(&mut backlog, &mut buffer, Reads::Every(1_500), 30_000, 20_000 * MS);
        assert_eq!((unread, read), (2, 20));
    }

    #[test]
    fn a_stopped_program_gets_two_frames_and_every_one_once_it_goes_on() {
        let pauses = [1_500, 5_000, 15_000, 60_000];
        for (pause, reserve) in pauses.map(|pause| [(pause, 0), (pause, FRAME)]).concat() {
            let (mut backlog, mut buffer) = start();
            buffer.reserve = reserve;
            feed(&mut backlog, &mut buffer, Reads::Every(30), 3_000, MS);
            let (unread, _) = feed(&mut backlog, &mut buffer, Reads::Nothing, pause, 3_000 * MS);
            assert_eq!(unread, if reserve > 0 { 2 } else { 1 }, "{pause} ms");
            assert!(buffer.filler <= 1024 * u64::from(TESTS), "{pause} ms: {}", buffer.filler);
            let (_, read) = feed(&mut backlog, &mut buffer, Reads::Every(30), 3_000, (3_000 + pause) * MS);
            assert!(read >= 90, "{pause} ms: {read}");
        }
    }

    #[test]
    fn much_under_way_at_first_is_no_standstill() {
        let mut backlog = ReaderBacklog::default();
        let look = |now| Look { acknowledged: 0, window: 60_000, window_unit: 1, under_way: 50_000, now };
        assert_eq!(backlog.next(look(70_000 * MS)), Next::Wait);
        assert_eq!(backlog.next(look(70_900 * MS)), Next::Wait);
    }

    #[test]
    fn a_buffer_that_shrinks_does_not_stop_the_frames_for_long() {
        let (mut backlog, mut buffer) = start();
        feed(&mut backlog, &mut buffer, Reads::Every(30), 3_000, MS);
        buffer.room = 400_000;
        let (_, read) = feed(&mut backlog, &mut buffer, Reads::Every(30), 10_000, 3_000 * MS);
        assert!(read >= 260, "{read}");
    }
}
