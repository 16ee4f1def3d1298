//! JPEG headers (ITU-T T.81, annex B), the step that every JPEG takes where it enters, and splitting a byte stream into JPEGs.

mod admit;
pub(crate) mod end;
mod exif;
mod huffman;
pub mod strips;

pub use admit::{Admitted, admit, set_upright};
pub use huffman::STANDARD_TABLES;

use std::mem;

use bytes::{Buf, Bytes, BytesMut};

use self::end::{EndFinder, Found};
use crate::{Limits, WireError, error::ErrorKind, limits};

/// The first bytes of every JPEG: start of image, and the first byte of the next marker.
pub const MAGIC: [u8; 3] = [0xFF, 0xD8, 0xFF];

/// The last bytes of every JPEG: end of image.
pub const EOI: [u8; 2] = [0xFF, 0xD9];

/// What is wrong with a JPEG's header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The first bytes are not those of a JPEG.
    #[error("this is not a JPEG: it does not begin with FF D8 FF")]
    NotJpeg,
    /// The bytes end inside the header.
    #[error("the JPEG ends after {0} bytes, inside its header")]
    Short(usize),
    /// The header contains something that is not allowed.
    #[error("the JPEG is damaged at byte {at}: {why}")]
    Broken {
        /// Counted from the JPEG's first byte.
        at: usize,
        /// What is wrong there.
        why: &'static str,
    },
    /// A kind of JPEG that framewire does not decode.
    #[error(
        "the JPEG is {0}, which is not supported; supported are baseline and progressive, 8 bits, 1 or 3 components"
    )]
    Unsupported(&'static str),
    /// The size is not allowed, see [`limits::check_size`].
    #[error("{0}")]
    Size(String),
}

/// Reads the width and height of a JPEG and checks them with [`limits::check_size`]. Reads no further than the frame header, so
/// the rest may still be damaged.
///
/// # Errors
/// The bytes are not a JPEG, the JPEG is damaged, its kind is not supported, or it is too large.
pub fn size(jpeg: &[u8]) -> Result<(u16, u16), HeaderError> {
    let mut header =
        jpeg.strip_prefix(&MAGIC[..2]).filter(|rest| rest.first() == Some(&0xFF)).ok_or(HeaderError::NotJpeg)?;
    loop {
        let at = jpeg.len() - header.len();
        match marker(header) {
            Marker::More => return Err(HeaderError::Short(jpeg.len())),
            Marker::None => return Err(HeaderError::Broken { at, why: "a marker is missing" }),
            Marker::Alone { length, code } if code == START || code == END => {
                return Err(HeaderError::Broken { at: at + length - 2, why: "the picture's size is missing" });
            }
            Marker::Alone { length, .. } => header = &header[length..],
            Marker::Segment { code: SCAN, .. } => {
                return Err(HeaderError::Broken { at, why: "a scan begins before the picture's size" });
            }
            Marker::Segment { code, body, length } if is_frame_header(code) => {
                let body = header.get(body..length).ok_or(HeaderError::Short(jpeg.len()))?;
                return frame_size(code, body, at);
            }
            Marker::Segment { length, .. } => header = header.get(length..).ok_or(HeaderError::Short(jpeg.len()))?,
        }
    }
}

/// Splits a byte stream into JPEGs: push bytes, then pull pictures until there are none. Skips bytes between pictures,
/// pictures that end before their first scan, and pictures over the limit, which are never held. One that has had a scan may lack its
/// end marker: see [`admit`].
///
/// Follows the segment lengths, so a thumbnail inside a segment is not mistaken for a picture.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    buffer: BytesMut,
    /// Finds the end of the picture that `buffer` begins with; `None` between pictures.
    picture: Option<EndFinder>,
    /// Position of `buffer` in the stream, in bytes.
    offset: u64,
    skipped: u64,
    /// The picture is over the limit: its bytes are dropped once they are parsed.
    passing: bool,
}

impl Splitter {
    /// Accepts pictures of at most [`Limits::frame`] bytes.
    pub fn new(limits: &Limits) -> Self {
        Self { limit: limits.frame, buffer: BytesMut::new(), picture: None, offset: 0, skipped: 0, passing: false }
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next JPEG, from its start marker to its end marker or to the start of the next one; `None` if more bytes are
    /// needed.
    ///
    /// # Errors
    /// A picture is over the limit, which is said once. Pull again: it is passed over, and the next picture is found.
    pub fn pull(&mut self) -> Result<Option<Bytes>, WireError> {
        loop {
            let Some(end) = &mut self.picture else {
                if self.find_start() {
                    continue;
                }
                return Ok(None);
            };
            let (length, whole) = match end.find(&self.buffer, &[]) {
                Found::End(length) => (length, true),
                // The end marker is missing, or a header without pixels was cut short.
                Found::Start(length) => (length, end.pixels().is_some()),
                Found::Damaged(at) | Found::Delimiter(at) => (at + 1, false),
                Found::More => {
                    let length = end.position();
                    let within = self.check(length);
                    self.pass_over();
                    within?;
                    return Ok(None);
                }
            };
            let within = self.check(length);
            self.picture = None;
            if whole && !mem::take(&mut self.passing) {
                let picture = self.buffer.split_to(length).freeze();
                self.offset += length as u64;
                return Ok(Some(picture));
            }
            self.passing = false;
            self.skip(length);
            within?;
        }
    }

    /// The last picture, where the stream has ended without its end marker.
    pub fn finish(&mut self) -> Option<Bytes> {
        let has_pixels = self.picture.take()?.pixels().is_some();
        (has_pixels && !self.passing).then(|| {
            self.offset += self.buffer.len() as u64;
            self.buffer.split().freeze()
        })
    }

    /// Bytes so far that belong to no picture: those between pictures and of incomplete pictures.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes held until the rest of their picture arrives.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Skips to the start of a picture. Returns whether there is one.
    fn find_start(&mut self) -> bool {
        let start = self.buffer.windows(MAGIC.len()).position(|window| window == MAGIC);
        // The last bytes may be the first bytes of a start marker.
        let keep = (0..MAGIC.len()).rev().find(|&length| self.buffer.ends_with(&MAGIC[..length])).unwrap_or(0);
        self.skip(start.unwrap_or(self.buffer.len() - keep));
        self.picture = start.map(|_| EndFinder::default());
        start.is_some()
    }

    /// Whether a picture of this many bytes is within the limit. That it is not is said once.
    fn check(&mut self, length: usize) -> Result<(), WireError> {
        if self.passing || length <= self.limit {
            return Ok(());
        }
        self.passing = true;
        let (offset, length, limit) = (self.offset, length as u64, self.limit as u64);
        Err(WireError { wire: "jpeg", offset, kind: ErrorKind::TooLong { what: "a JPEG", length, limit } })
    }

    /// Keeps of a picture over the limit only what was not searched yet.
    fn pass_over(&mut self) {
        let Some(end) = self.picture.as_mut().filter(|_| self.passing) else { return };
        let searched = end.forget(self.buffer.len());
        self.skip(searched);
    }

    fn skip(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.offset += bytes as u64;
        self.skipped += bytes as u64;
    }
}

const START: u8 = 0xD8;
const END: u8 = 0xD9;
const SCAN: u8 = 0xDA;

/// What is found where a marker must be.
enum Marker {
    /// Not enough bytes to decide.
    More,
    /// No marker.
    None,
    /// A marker without a segment, and its length.
    Alone { code: u8, length: usize },
    /// A marker with a segment: where the segment's body begins and where the segment ends.
    Segment { code: u8, body: usize, length: usize },
}

fn marker(bytes: &[u8]) -> Marker {
    let Some(fill) = bytes.iter().position(|byte| *byte != 0xFF) else { return Marker::More };
    let code = bytes[fill];
    match code {
        _ if fill == 0 => Marker::None,
        0x00 => Marker::None,
        0x01 | 0xD0..=0xD9 => Marker::Alone { code, length: fill + 1 },
        _ => match bytes.get(fill + 1..fill + 3) {
            None => Marker::More,
            Some(length) => match usize::from(u16::from_be_bytes([length[0], length[1]])) {
                0 | 1 => Marker::None,
                length => Marker::Segment { code, body: fill + 3, length: fill + 1 + length },
            },
        },
    }
}

/// Whether this is a start-of-frame marker: C0 to CF except three (T.81, table B.1).
fn is_frame_header(code: u8) -> bool {
    matches!(code, 0xC0..=0xCF) && !matches!(code, 0xC4 | 0xC8 | 0xCC)
}

/// Reads the size from a frame header (T.81, section B.2.2).
fn frame_size(code: u8, body: &[u8], at: usize) -> Result<(u16, u16), HeaderError> {
    match code {
        0xC0..=0xC2 => {}
        0xC3 => return Err(HeaderError::Unsupported("lossless")),
        0xC5..=0xC7 => return Err(HeaderError::Unsupported("hierarchical")),
        _ => return Err(HeaderError::Unsupported("arithmetic-coded")),
    }
    let wrong = HeaderError::Broken { at, why: "the frame header's length does not fit its components" };
    let Some(&[precision, h1, h0, w1, w0, components]) = body.first_chunk() else { return Err(wrong) };
    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
    if precision != 8 {
        return Err(HeaderError::Unsupported("of more than 8 bits"));
    }
    if !matches!(components, 1 | 3) {
        return Err(HeaderError::Unsupported("CMYK or has another number of components"));
    }
    if body.len() != 6 + 3 * usize::from(components) {
        return Err(wrong);
    }
    limits::check_size(width.into(), height.into()).map_err(HeaderError::Size)?;
    Ok((width, height))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(code: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, code], length.as_slice(), body].concat()
    }

    fn frame(code: u8, width: u16, height: u16) -> Vec<u8> {
        let [h1, h0] = height.to_be_bytes();
        let [w1, w0] = width.to_be_bytes();
        segment(code, &[8, h1, h0, w1, w0, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1])
    }

    /// The markers of a JPEG with a thumbnail, restart markers, data bytes FF and two scans.
    fn jpeg(width: u16, height: u16) -> Vec<u8> {
        let thumbnail = [&[0xFF, 0xD8], frame(0xC0, 8, 8).as_slice(), &[0xFF, SCAN, 0, 2, 7, 0xFF, 0xD9]].concat();
        [
            &[0xFF, 0xD8][..],
            &segment(0xE1, &thumbnail),
            &[0xFF, 0xFF],
            &frame(0xC2, width, height),
            &segment(SCAN, &[1, 1, 0, 0, 63, 0]),
            &[1, 2, 0xFF, 0x00, 3, 0xFF, 0xD0, 4, 0xFF, 0xFF, 0xD1, 5],
            &segment(0xC4, &[0; 20]),
            &segment(SCAN, &[1, 1, 0, 0, 63, 0]),
            &[9, 9, 9, 0xFF, 0xD9],
        ]
        .concat()
    }

    fn split(splitter: &mut Splitter, bytes: &[u8]) -> Vec<Bytes> {
        splitter.push(bytes);
        std::iter::from_fn(|| splitter.pull().unwrap()).collect()
    }

    #[test]
    fn the_size_is_that_of_the_picture_and_not_of_its_thumbnail() {
        assert_eq!(size(&jpeg(1280, 720)), Ok((1280, 720)));
    }

    #[test]
    fn a_truncated_header_is_reported_as_short() {
        let whole = jpeg(1280, 720);
        for cut in 3..whole.len() {
            assert!(matches!(size(&whole[..cut]), Ok((1280, 720)) | Err(HeaderError::Short(_))), "{cut}");
        }
        assert_eq!(size(&whole[..2]), Err(HeaderError::NotJpeg));
        assert_eq!(size(b"GIF89a"), Err(HeaderError::NotJpeg));
    }

    #[test]
    fn unsupported_and_damaged_jpegs_are_refused_with_the_reason() {
        for (code, name) in [(0xC3, "lossless"), (0xC6, "hierarchical"), (0xC9, "arithmetic")] {
            let error = size(&[&MAGIC[..2], &frame(code, 8, 8)].concat()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let bomb = size(&jpeg(9000, 9000)).unwrap_err();
        assert!(matches!(&bomb, HeaderError::Size(why) if why.contains("9000x9000")), "{bomb}");
        assert!(matches!(size(&jpeg(8, 0)), Err(HeaderError::Size(_))));
        let too_short = [&MAGIC[..2], &segment(0xC0, &[8, 0, 8, 0, 8, 3, 1])].concat();
        assert!(matches!(size(&too_short), Err(HeaderError::Broken { at: 2, .. })));
        assert!(matches!(size(&[0xFF, 0xD8, 0xFF, 0xD9]), Err(HeaderError::Broken { at: 2, .. })));
    }

    #[test]
    fn the_pictures_are_the_same_wherever_the_stream_is_split() {
        let (first, second) = (jpeg(64, 48), jpeg(32, 24));
        let row = [b"\r\n--x\xFF", &first[..], b"\xFF\xD8garbage", &second, b"tail\xFF\xD8"].concat();
        for cut in 0..=row.len() {
            let mut splitter = Splitter::new(&Limits::default());
            let mut pictures = split(&mut splitter, &row[..cut]);
            pictures.extend(split(&mut splitter, &row[cut..]));
            assert_eq!(pictures, [&first, &second], "{cut}");
            assert_eq!((splitter.skipped(), splitter.pending()), (6 + 9 + 4, 2));
        }
    }

    #[test]
    fn an_incomplete_picture_is_skipped_and_the_next_one_is_found() {
        let whole = jpeg(64, 48);
        let header = whole.windows(2).position(|pair| pair == [0xFF, 0xC2]).unwrap();
        let row = [&whole[..header], &whole, &MAGIC[..2], &[0xFF, 0xD9], &whole].concat();
        let mut splitter = Splitter::new(&Limits::default());
        assert_eq!(split(&mut splitter, &row), [&whole, &whole]);
        assert_eq!(splitter.skipped(), header as u64 + 4);
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn a_picture_without_an_end_marker_ends_where_the_next_one_starts() {
        let whole = jpeg(64, 48);
        let unended = &whole[..whole.len() - 2];
        let mut splitter = Splitter::new(&Limits::default());
        assert_eq!(split(&mut splitter, &[unended, unended, &whole, unended].concat()), [unended, unended, &whole]);
        assert_eq!(splitter.finish().unwrap(), unended);
        assert_eq!((splitter.skipped(), splitter.pending(), splitter.finish()), (0, 0, None));
    }

    #[test]
    fn a_picture_over_the_limit_is_passed_over_and_the_next_is_found() {
        let whole = jpeg(64, 48);
        let (begin, end) = whole.split_at(whole.len() - 4);
        // One ends, one has a long segment and one never ends: the next picture begins instead.
        let long = [begin, &[1; 5000], end].concat();
        let segment = [&MAGIC[..2], &segment(0xE0, &[7; 4000]), &whole[2..]].concat();
        let row = [&whole, &long[..], &whole, &segment, &whole, &long[..long.len() - 4], &whole].concat();
        for chunk in [1, 7, 900, usize::MAX] {
            let mut splitter = Splitter::new(&Limits { frame: 1000, ..Limits::default() });
            let (mut pictures, mut refused) = (Vec::new(), 0);
            for bytes in row.chunks(chunk) {
                splitter.push(bytes);
                loop {
                    match splitter.pull() {
                        Ok(Some(picture)) => pictures.push(picture),
                        Ok(None) => break,
                        Err(error) => {
                            assert!(matches!(error.kind, ErrorKind::TooLong { limit: 1000, .. }));
                            refused += 1;
                        }
                    }
                }
                assert!(splitter.pending() <= 1100);
            }
            assert_eq!((pictures.len(), refused), (4, 3), "in pieces of {chunk}");
            assert_eq!(splitter.skipped() as usize + pictures.len() * whole.len(), row.len());
        }
    }

    #[test]
    fn a_picture_is_over_the_limit_by_its_end_marker_alone() {
        let whole = jpeg(64, 48);
        let mut splitter = Splitter::new(&Limits { frame: whole.len() - 1, ..Limits::default() });
        splitter.push(&[&whole[..], &whole].concat());
        assert!(splitter.pull().is_err() && splitter.pull().is_err());
        assert_eq!((splitter.pull(), splitter.skipped()), (Ok(None), 2 * whole.len() as u64));
    }

    #[test]
    fn endless_pictures_are_not_held() {
        for endless in [1, 0xFF] {
            let mut splitter = Splitter::new(&Limits { frame: 1000, ..Limits::default() });
            let whole = jpeg(64, 48);
            splitter.push(if endless == 1 { &whole[..whole.len() - 4] } else { &MAGIC });
            let refused = (0..100).filter(|_| {
                splitter.push(&[endless; 100]);
                splitter.pull().is_err()
            });
            assert_eq!(refused.count(), 1);
            assert!(splitter.pending() <= 1100);
        }
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic_and_every_byte_is_counted(
            chunks in prop::collection::vec(prop::collection::vec(
                prop_oneof![Just(0xFF_u8), Just(0xD8), Just(0xD9), Just(0xDA), Just(0xC0), Just(0), any::<u8>()], 0..60), 0..20)
        ) {
            let mut splitter = Splitter::new(&Limits::default());
            let (mut given, mut taken) = (0, 0);
            for chunk in &chunks {
                let _ = size(chunk);
                given += chunk.len();
                taken += split(&mut splitter, chunk).iter().map(Bytes::len).sum::<usize>();
                prop_assert_eq!(given, taken + usize::try_from(splitter.skipped()).unwrap() + splitter.pending());
            }
        }

        #[test]
        fn flipped_bits_do_not_panic(place in 0..100_usize, bit in 0..8) {
            let mut bytes = jpeg(640, 480);
            let place = place % bytes.len();
            bytes[place] ^= 1_u8 << bit;
            let _ = size(&bytes);
            let mut splitter = Splitter::new(&Limits::default());
            split(&mut splitter, &bytes);
            let after = split(&mut splitter, &[vec![0; 70_000], jpeg(64, 48)].concat());
            prop_assert!(after.len() <= 2);
        }
    }
}
