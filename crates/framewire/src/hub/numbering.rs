//! One rising row of sequence numbers for a stream, across its publishers.

/// A larger gap in a publisher's numbers is no loss: the publisher has restarted its numbering.
const MAX_GAP: u64 = 100_000;

/// Maps a publisher's sequence numbers to the stream's, so that viewers see one rising row, and counts what is missing.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// Added to the publisher's numbers, wrapping; `None` until its first frame.
    offset: Option<u64>,
    next: u64,
    published: u64,
    missed: u64,
}

impl Numbering {
    /// Another publisher begins: its first frame gets the stream's next number.
    pub(super) fn start_publisher(&mut self) {
        self.offset = None;
    }

    /// The stream's first frame gets this number.
    pub(super) fn start_from(&mut self, number: u64) {
        if self.published == 0 {
            self.next = number;
        }
    }

    /// Whether the next frame is its publisher's first.
    pub(super) fn at_first_frame(&self) -> bool {
        self.offset.is_none()
    }

    /// The stream's number for a publisher's frame. Numbers that were skipped count as missed.
    pub(super) fn assign(&mut self, sequence: u64) -> u64 {
        let mut offset = self.offset.unwrap_or(self.next.wrapping_sub(sequence));
        let mut gap = offset.wrapping_add(sequence).wrapping_sub(self.next);
        if gap > MAX_GAP {
            (offset, gap) = (self.next.wrapping_sub(sequence), 0);
        }
        self.offset = Some(offset);
        self.missed += gap;
        self.published += 1;
        let number = offset.wrapping_add(sequence);
        self.next = number.wrapping_add(1);
        number
    }

    /// The publisher's own number for a frame; `None` before its first one.
    pub(super) fn publishers_number(&self, number: u64) -> Option<u64> {
        Some(number.wrapping_sub(self.offset?))
    }

    /// Frames that were numbered.
    pub(super) fn published(&self) -> u64 {
        self.published
    }

    /// Frames that publishers numbered but that never arrived.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_across_publishers_and_gaps_count_as_missed() {
        let mut numbering = Numbering::default();
        assert!(numbering.at_first_frame());
        assert_eq!([5, 6, 9].map(|sequence| numbering.assign(sequence)), [0, 1, 4]);
        assert_eq!((numbering.published(), numbering.missed()), (3, 2));
        numbering.start_publisher();
        assert!(numbering.at_first_frame());
        assert_eq!([70, 71].map(|sequence| numbering.assign(sequence)), [5, 6]);
        assert_eq!((numbering.published(), numbering.missed()), (5, 2));
    }

    #[test]
    fn a_publisher_that_restarts_its_numbers_misses_nothing() {
        let mut numbering = Numbering::default();
        assert_eq!([7000, 3, u64::MAX, 0].map(|sequence| numbering.assign(sequence)), [0, 1, 2, 3]);
        assert_eq!(numbering.missed(), 0);
        assert_eq!([MAX_GAP, MAX_GAP + 1].map(|sequence| numbering.assign(sequence)), [3 + MAX_GAP, 4 + MAX_GAP]);
        assert_eq!(numbering.missed(), MAX_GAP - 1);
    }

    #[test]
    fn a_number_maps_back_to_the_publishers_own() {
        let mut numbering = Numbering::default();
        assert_eq!(numbering.publishers_number(0), None);
        numbering.assign(1);
        numbering.start_publisher();
        let number = numbering.assign(50);
        assert_eq!(numbering.publishers_number(number), Some(50));
    }
}
