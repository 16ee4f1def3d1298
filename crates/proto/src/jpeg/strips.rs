//! Cuts a JPEG into strips for parallel decoding, and joins strips that were encoded in parallel.
//!
//! After a restart marker (ITU-T T.81, sections B.2.4.4 and F.1.1.5.1) decoding needs nothing from before it. So strips that
//! were encoded with the same tables become one JPEG with restart markers between them. Likewise, any JPEG with restart markers
//! at the ends of its MCU rows can be cut.

use super::{END, Marker, SCAN, START, marker};

/// The width and height of an MCU (minimum coded unit) with 4:2:0 chroma, in pixels.
pub const BLOCK: usize = 16;

const RESTART_INTERVAL: u8 = 0xDD;
const FIRST_RESTART: u8 = 0xD0;
const BASELINE: u8 = 0xC0;

/// A horizontal part of a picture, as a JPEG of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    /// Its position in pixels from the top of the picture.
    pub top: usize,
    /// Its height in pixels.
    pub height: usize,
    /// The strip as a complete JPEG.
    pub jpeg: Vec<u8>,
}

/// Joins strips, in order from the top, into one JPEG of this height. All strips must have the picture's width, the same tables
/// and 4:2:0 chroma. All but the last must have the same height, a multiple of [`BLOCK`]. Returns `None` if the strips do not
/// fit together, or are too large for a restart interval.
pub fn join(strips: &[&[u8]], height: u16) -> Option<Vec<u8>> {
    let first = Layout::of(strips.first()?)?;
    let interval = u16::try_from(first.mcus_across() * first.height.div_ceil(BLOCK)).ok()?;
    let mut out = Vec::with_capacity(strips.iter().map(|strip| strip.len()).sum::<usize>() + 8);
    out.extend_from_slice(&strips[0][..first.scan]);
    out[first.height_at..first.height_at + 2].copy_from_slice(&height.to_be_bytes());
    out.extend_from_slice(&[0xFF, RESTART_INTERVAL, 0, 4]);
    out.extend_from_slice(&interval.to_be_bytes());
    out.extend_from_slice(&strips[0][first.scan..first.data]);
    for (index, strip) in strips.iter().enumerate() {
        let layout = Layout::of(strip)?;
        let last = index + 1 == strips.len();
        if layout.width != first.width || (!last && (layout.height != first.height || first.height % BLOCK != 0)) {
            return None;
        }
        if index > 0 {
            out.extend_from_slice(&[0xFF, FIRST_RESTART + (index - 1) as u8 % 8]);
        }
        out.extend_from_slice(strip.get(layout.data..)?.strip_suffix(&[0xFF, END])?);
    }
    out.extend_from_slice(&[0xFF, END]);
    Some(out)
}

/// Cuts a JPEG into at most `parts` strips of about the same height. Returns `None` if the JPEG is not baseline with 4:2:0
/// chroma in one scan, or has no restart markers at the ends of its MCU rows.
pub fn cut(jpeg: &[u8], parts: usize) -> Option<Vec<Strip>> {
    let layout = Layout::of(jpeg)?;
    let across = layout.mcus_across();
    let rows = layout.interval.filter(|interval| *interval > 0 && interval % across == 0)? / across;
    let height = rows * BLOCK;
    let intervals = layout.height.div_ceil(height);
    if intervals < 2 || parts < 2 {
        return None;
    }
    let restarts = restarts(jpeg, layout.data, intervals)?;
    let per_part = intervals.div_ceil(parts.min(intervals));
    let parts = (0..intervals).step_by(per_part).map(|from| {
        let to = (from + per_part).min(intervals);
        let top = from * height;
        let part = Part { from, to, height: (to * height).min(layout.height) - top };
        Strip { top, height: part.height, jpeg: part.jpeg(jpeg, &layout, &restarts) }
    });
    Some(parts.collect())
}

/// A range of restart intervals of a JPEG.
struct Part {
    from: usize,
    to: usize,
    height: usize,
}

impl Part {
    fn jpeg(&self, whole: &[u8], layout: &Layout, restarts: &[usize]) -> Vec<u8> {
        // `restarts` are the positions of the restart markers and the end marker; each interval's data lies between two of
        // them.
        let begin = if self.from == 0 { layout.data } else { restarts[self.from - 1] + 2 };
        let end = restarts[self.to - 1];
        let mut out = Vec::with_capacity(layout.data + end - begin + 2);
        out.extend_from_slice(&whole[..layout.data]);
        out[layout.height_at..layout.height_at + 2].copy_from_slice(&(self.height as u16).to_be_bytes());
        out.extend_from_slice(&whole[begin..end]);
        for (number, at) in restarts[self.from..self.to - 1].iter().enumerate() {
            // Restart markers are numbered from the start of each JPEG.
            out[layout.data + at - begin + 1] = FIRST_RESTART + number as u8 % 8;
        }
        out.extend_from_slice(&[0xFF, END]);
        out
    }
}

/// The positions of the scan's restart markers and of the end marker. `None` if there are too few or too many, or they are out
/// of order.
fn restarts(jpeg: &[u8], data: usize, intervals: usize) -> Option<Vec<usize>> {
    let mut positions = Vec::with_capacity(intervals.min(jpeg.len()));
    let mut at = data;
    loop {
        at += memchr::memchr(0xFF, jpeg.get(at..)?)?;
        match *jpeg.get(at + 1)? {
            0x00 => {}
            0xFF => {
                at += 1;
                continue;
            }
            code if code == FIRST_RESTART + positions.len() as u8 % 8 && positions.len() + 1 < intervals => {
                positions.push(at);
            }
            END if positions.len() + 1 == intervals => {
                positions.push(at);
                return Some(positions);
            }
            _ => return None,
        }
        at += 2;
    }
}

/// The positions of the parts of a baseline JPEG with one scan and 4:2:0 chroma.
struct Layout {
    width: usize,
    height: usize,
    /// Position of the height in the frame header.
    height_at: usize,
    /// MCUs between restart markers.
    interval: Option<usize>,
    /// Position of the scan's marker.
    scan: usize,
    /// Position of the scan's entropy-coded data.
    data: usize,
}

impl Layout {
    fn of(jpeg: &[u8]) -> Option<Self> {
        let mut at = 2;
        let (mut frame, mut interval) = (None, None);
        if !jpeg.starts_with(&[0xFF, START]) {
            return None;
        }
        loop {
            let Marker::Segment { code, body, length } = marker(jpeg.get(at..)?) else { return None };
            let content = jpeg.get(at + body..at + length)?;
            match code {
                BASELINE if frame.is_none() => {
                    let &[8, h1, h0, w1, w0, 3, _, 0x22, _, _, 0x11, _, _, 0x11, _] = content.first_chunk()? else {
                        return None;
                    };
                    let size = [u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0])].map(usize::from);
                    frame = Some((size, at + body + 1)).filter(|_| size.iter().all(|side| *side > 0));
                }
                0xC0..=0xCF if super::is_frame_header(code) => return None,
                RESTART_INTERVAL => interval = Some(usize::from(u16::from_be_bytes(*content.first_chunk()?))),
                SCAN => {
                    let ([width, height], height_at) = frame?;
                    let all = content.first() == Some(&3);
                    return all.then_some(Self { width, height, height_at, interval, scan: at, data: at + length });
                }
                _ => {}
            }
            at += length;
        }
    }

    fn mcus_across(&self) -> usize {
        self.width.div_ceil(BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(code: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, code], length.as_slice(), body].concat()
    }

    /// The markers of a strip, around this data.
    fn strip(width: u16, height: u16, data: &[u8]) -> Vec<u8> {
        let ([h1, h0], [w1, w0]) = (height.to_be_bytes(), width.to_be_bytes());
        [
            &[0xFF, 0xD8][..],
            &segment(0xDB, &[1; 65]),
            &segment(BASELINE, &[8, h1, h0, w1, w0, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]),
            &segment(SCAN, &[3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]),
            data,
            &[0xFF, END],
        ]
        .concat()
    }

    #[test]
    fn strips_are_joined_into_one_jpeg_and_cut_again() {
        let data: [&[u8]; 3] = [&[1, 0xFF, 0x00, 2], &[3, 4], &[5]];
        let strips = [strip(64, 32, data[0]), strip(64, 32, data[1]), strip(64, 10, data[2])];
        let joined = join(&strips.each_ref().map(Vec::as_slice), 74).unwrap();
        assert_eq!(crate::jpeg::size(&joined), Ok((64, 74)));
        let three = cut(&joined, 3).unwrap();
        let shape: Vec<_> = three.iter().map(|strip| (strip.top, strip.height)).collect();
        assert_eq!(shape, [(0, 32), (32, 32), (64, 10)]);
        for (strip, data) in three.iter().zip(data) {
            assert!(strip.jpeg.ends_with(&[data, &[0xFF, END]].concat()), "{:?}", strip.jpeg);
        }
        let two = cut(&joined, 2).unwrap();
        assert!(two[0].jpeg.ends_with(&[data[0], &[0xFF, 0xD0], data[1], &[0xFF, END]].concat()), "{:?}", two[0].jpeg);
        assert_eq!((two[0].height, two[1].top, two[1].height), (64, 64, 10));
    }

    #[test]
    fn a_jpeg_that_cannot_be_cut_is_refused() {
        let whole = strip(64, 64, &[1, 2, 3]);
        assert_eq!(cut(&whole, 2), None, "no restart markers");
        let strips = [strip(64, 32, &[1]), strip(64, 32, &[2])];
        let joined = join(&strips.each_ref().map(Vec::as_slice), 64).unwrap();
        assert_eq!(cut(&joined, 1), None);
        for cut_off in 0..joined.len() {
            assert_eq!(cut(&joined[..cut_off], 2), None, "cut off at {cut_off}");
        }
        let mut wrong_order = joined.clone();
        let place = wrong_order.windows(2).position(|two| two == [0xFF, 0xD0]).unwrap();
        wrong_order[place + 1] = 0xD3;
        assert_eq!(cut(&wrong_order, 2), None);
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0..200_usize, parts in 0..9_usize) {
            let strips = [strip(64, 32, &[1, 2]), strip(64, 32, &[3])];
            let mut joined = join(&strips.each_ref().map(Vec::as_slice), 64).unwrap();
            let at = at % joined.len();
            let length = bytes.len().min(4).min(joined.len() - at);
            joined[at..at + length].copy_from_slice(&bytes[..length]);
            let _ = cut(&joined, parts);
            bytes.splice(0..0, [0xFF, 0xD8, 0xFF]);
            let _ = (cut(&bytes, parts), join(&[&bytes, &joined], 64));
        }
    }
}
