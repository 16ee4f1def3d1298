//! Where a JPEG ends, found in bytes that come piece by piece.

use super::{END, Marker, SCAN, START, marker};

/// Finds a JPEG's last byte. It follows the lengths of the segments, so a thumbnail in one of them is not mistaken for the end.
#[derive(Debug, Clone)]
pub(crate) struct EndFinder {
    /// How many bytes were searched. A segment may end behind the bytes that are there.
    position: usize,
    /// Where the coded pixels of the last scan begin; 0 before the first.
    pixels: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a marker before the first scan.
    Header,
    /// At a marker after a scan.
    AfterScan,
    /// In the coded pixels of a scan.
    Scan,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The JPEG has this many bytes.
    End(usize),
    /// Another JPEG begins at this byte, before the end of this one.
    Start(usize),
    /// At this byte begins the text that was given as one that no pixels hold.
    Delimiter(usize),
    /// There is no marker at this byte, where one must be.
    Damaged(usize),
    /// The end is not among these bytes.
    More,
}

impl Default for EndFinder {
    /// At the byte after a JPEG's first marker, which has two.
    fn default() -> Self {
        Self { position: 2, pixels: 0, state: State::Header }
    }
}

impl EndFinder {
    /// Whether coded pixels were reached, so that only the end is missing.
    pub(crate) fn in_scan(&self) -> bool {
        self.state == State::Scan
    }

    /// How many bytes were searched: of a segment that is not all there, as many as it has.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Where the coded pixels of the last scan begin; `None` before the first.
    pub(crate) fn pixels(&self) -> Option<usize> {
        (self.state != State::Header).then_some(self.pixels)
    }

    /// Forgets bytes that were searched, of this many in all, which the caller drops. Returns how many.
    pub(crate) fn forget(&mut self, all: usize) -> usize {
        let searched = self.position.min(all);
        self.position -= searched;
        self.pixels = self.pixels.saturating_sub(searched);
        searched
    }

    /// Goes on in a JPEG's bytes from its first one: at least those of the call before. `delimiter`, which may be empty, is a text
    /// that ends the JPEG too, for it does not occur in coded pixels.
    pub(crate) fn find(&mut self, jpeg: &[u8], delimiter: &[u8]) -> Found {
        loop {
            let Some(rest) = jpeg.get(self.position..) else { return Found::More };
            let found = match self.state {
                State::Scan => self.in_pixels(rest, delimiter),
                State::Header | State::AfterScan => self.at_marker(rest),
            };
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// In coded pixels FF is followed only by 00 (the pair is a data byte FF), a restart marker, or FF (a fill byte).
    fn in_pixels(&mut self, rest: &[u8], delimiter: &[u8]) -> Option<Found> {
        let run = rest.iter().position(|byte| *byte == 0xFF);
        if !delimiter.is_empty() {
            let pixels = &rest[..run.unwrap_or(rest.len())];
            if let Some(at) = pixels.windows(delimiter.len()).position(|window| window == delimiter) {
                return Some(Found::Delimiter(self.position + at));
            }
        }
        let Some(at) = run else {
            // The last bytes may be the first of the delimiter.
            self.position += rest.len().saturating_sub(delimiter.len().saturating_sub(1));
            return Some(Found::More);
        };
        self.position += at;
        match rest.get(at + 1) {
            None => return Some(Found::More),
            Some(0x00 | 0xD0..=0xD7) => self.position += 2,
            Some(0xFF) => self.position += 1,
            Some(_) => self.state = State::AfterScan,
        }
        None
    }

    fn at_marker(&mut self, mut rest: &[u8]) -> Option<Found> {
        // Any number of fill bytes FF may precede a marker. They are searched once.
        let fill = rest.iter().take_while(|byte| **byte == 0xFF).count().saturating_sub(1);
        self.position += fill;
        rest = &rest[fill..];
        match marker(rest) {
            Marker::More => return Some(Found::More),
            Marker::Alone { code: END, length } if self.state == State::AfterScan => {
                return Some(Found::End(self.position + length));
            }
            Marker::Alone { code: START, length } => return Some(Found::Start(self.position + length - 2)),
            Marker::None | Marker::Alone { code: END, .. } => return Some(Found::Damaged(self.position)),
            Marker::Alone { length, .. } => self.position += length,
            Marker::Segment { code, length, .. } => {
                self.position += length;
                if code == SCAN {
                    self.state = State::Scan;
                    self.pixels = self.position;
                }
            }
        }
        None
    }
}
