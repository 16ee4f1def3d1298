//! How many pictures lie unread in a viewer's kernel, by the room that it says it has left.
//!
//! A TCP receiver's window (RFC 9293, section 3.8.6) is what its buffer still takes: it narrows by what comes and widens by what
//! the program reads. That is told with each acknowledgement, which may be from before the program read what it acknowledges;
//! so about one picture unread means nothing, and two mean that the program is behind.

use std::mem;

use framewire_proto::Micros;

/// More than so many hundredths of the last picture, and so many bytes, unread are too many: windows are rounded.
const MOST: u64 = 125;
const GRAIN: u64 = 4 << 10;
/// Buffers change: a window that stands still for so long, in µs, is taken for the widest; at least, and at most. That is longer
/// each time, and three times what the program took before it read last.
const PATIENCE: [Micros; 2] = [1_000_000, 8_000_000];

/// What is known of one receiver.
#[derive(Debug)]
pub(super) struct ReaderBacklog {
    widest: u64,
    /// Bytes of the last picture.
    picture: u64,
    /// The window when it was looked at last, and when it was last seen that the program reads; zero before.
    window: u64,
    read: Micros,
    /// Since when the window stands still and too much is unread, and how long that may last.
    stands: Option<Micros>,
    patience: Micros,
}

impl Default for ReaderBacklog {
    fn default() -> Self {
        Self { widest: 0, picture: 0, window: 0, read: 0, stands: None, patience: PATIENCE[0] }
    }
}

impl ReaderBacklog {
    /// A picture of so many bytes is sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.picture = bytes as u64;
    }

    /// Whether it may have another, when its kernel said last that it takes so many bytes, of which so many are under way.
    pub(super) fn few(&mut self, window: u64, under_way: u64, now: Micros) -> bool {
        self.widest = self.widest.max(window);
        let (few, wider) = (!self.many(window, under_way), window > self.window);
        self.window = window;
        if few || wider || self.read == 0 {
            let before = mem::replace(&mut self.read, now);
            if self.stands.take().is_some() {
                self.patience = (3 * now.saturating_sub(before)).clamp(PATIENCE[0], PATIENCE[1]);
            }
        }
        if few {
            return true;
        }
        if now.saturating_sub(*self.stands.get_or_insert(now)) < self.patience {
            return false;
        }
        self.widest = window + self.picture;
        self.patience = (2 * self.patience).min(PATIENCE[1]);
        self.stands = None;
        true
    }

    /// Whether more than about one picture is unread or under way, by what it said at most that it takes.
    pub(super) fn many(&self, window: u64, under_way: u64) -> bool {
        self.widest.saturating_sub(window) + under_way > self.picture * MOST / 100 + GRAIN
    }

    /// When it was last seen that its program reads, or it was begun to be looked at.
    pub(super) fn read(&self) -> Micros {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: usize = 100_000;
    const MS: Micros = 1000;

    /// A receiver's buffer, whose window narrows by what comes and widens by what is read.
    struct Buffer {
        room: u64,
        pictures: u64,
    }

    impl Buffer {
        fn window(&self) -> u64 {
            self.room.saturating_sub(self.pictures * PICTURE as u64)
        }
    }

    /// Sends to a program that takes a picture every so often, in ms, for so many; the most that it had unread, and what it took.
    fn feed(unread: &mut ReaderBacklog, buffer: &mut Buffer, every: Option<u64>, ms: u64, from: Micros) -> (u64, u64) {
        let (mut most, mut taken) = (0, 0);
        for at in 0..ms {
            if at % 33 == 0 && unread.few(buffer.window(), 0, from + at * MS) {
                unread.sent(PICTURE);
                buffer.pictures += 1;
                most = most.max(buffer.pictures);
            }
            if every.is_some_and(|every| at % every == every - 1) && buffer.pictures > 0 {
                buffer.pictures -= 1;
                taken += 1;
            }
        }
        (most, taken)
    }

    #[test]
    fn a_program_that_reads_in_time_gets_every_picture() {
        let (mut unread, mut buffer) = (ReaderBacklog::default(), Buffer { room: 3_000_000, pictures: 0 });
        assert_eq!(feed(&mut unread, &mut buffer, Some(30), 10_000, MS), (1, 303));
    }

    #[test]
    fn a_slow_program_has_two_unread_and_is_kept_busy() {
        let (mut unread, mut buffer) = (ReaderBacklog::default(), Buffer { room: 3_000_000, pictures: 0 });
        feed(&mut unread, &mut buffer, Some(30), 5_000, MS);
        let (most, taken) = feed(&mut unread, &mut buffer, Some(200), 20_000, 5_000 * MS);
        assert_eq!((most, taken), (2, 100));
    }

    #[test]
    fn a_program_that_takes_seconds_is_not_thought_to_have_another_buffer() {
        let (mut unread, mut buffer) = (ReaderBacklog::default(), Buffer { room: 3_000_000, pictures: 0 });
        feed(&mut unread, &mut buffer, Some(30), 5_000, MS);
        feed(&mut unread, &mut buffer, Some(1_500), 15_000, 5_000 * MS);
        let (most, taken) = feed(&mut unread, &mut buffer, Some(1_500), 30_000, 20_000 * MS);
        assert_eq!((most, taken), (3, 20));
    }

    #[test]
    fn a_program_that_stopped_gets_few_pictures_and_all_of_them_once_it_goes_on() {
        let (mut unread, mut buffer) = (ReaderBacklog::default(), Buffer { room: 3_000_000, pictures: 0 });
        feed(&mut unread, &mut buffer, Some(30), 3_000, MS);
        let (most, _) = feed(&mut unread, &mut buffer, None, 5_000, 3_000 * MS);
        assert!(most <= 4, "{most}");
        assert!(unread.read() < 3_200 * MS, "{}", unread.read());
        let (_, taken) = feed(&mut unread, &mut buffer, Some(30), 3_000, 8_000 * MS);
        assert!(taken >= 90, "{taken}");
    }

    #[test]
    fn who_has_much_under_way_at_first_is_given_time() {
        let mut unread = ReaderBacklog::default();
        assert!(!unread.few(60_000, 50_000, 70_000 * MS));
        assert_eq!(unread.read(), 70_000 * MS);
    }

    #[test]
    fn a_buffer_that_shrinks_does_not_stop_the_pictures_for_long() {
        let (mut unread, mut buffer) = (ReaderBacklog::default(), Buffer { room: 3_000_000, pictures: 0 });
        feed(&mut unread, &mut buffer, Some(30), 3_000, MS);
        buffer.room = 400_000;
        let (_, taken) = feed(&mut unread, &mut buffer, Some(30), 10_000, 3_000 * MS);
        assert!(taken >= 260, "{taken}");
    }
}
