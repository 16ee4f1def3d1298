//! YUV4MPEG2, a format for raw video in pipes (yuv4mpeg(5) of mjpegtools).
//!
//! The stream is a line `YUV4MPEG2` with tags, then for each picture a line `FRAME` and its planes without padding.

use bytes::{Buf, Bytes, BytesMut};

use crate::{PixelAspect, WireError, error::ErrorKind, limits};

/// This format's name in errors.
pub const NAME: &str = "y4m";
/// The first bytes of a stream.
pub const MAGIC: &[u8] = b"YUV4MPEG2";
/// The most bytes of a header line or frame line.
pub const LINE: usize = 1 << 10;

/// The size of the chroma planes relative to the Y plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chroma {
    /// No chroma planes.
    Mono,
    /// Half the width and height, rounded up.
    C420,
    /// Half the width, rounded up.
    C422,
    /// The same size.
    C444,
}

impl Chroma {
    /// Width and height of a chroma plane; 0 if there is none.
    pub fn size(self, width: u32, height: u32) -> (u32, u32) {
        match self {
            Self::Mono => (0, 0),
            Self::C420 => (width.div_ceil(2), height.div_ceil(2)),
            Self::C422 => (width.div_ceil(2), height),
            Self::C444 => (width, height),
        }
    }
}

/// How the rows of a picture were captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scan {
    /// All at once.
    #[default]
    Progressive,
    /// Interlaced: the first, third, fifth row earlier than the others.
    TopFirst,
    /// Interlaced: the second, fourth, sixth row earlier than the others.
    BottomFirst,
}

/// A stream's first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels. Width and height have passed [`limits::check_size`].
    pub height: u32,
    /// Frames per 1000 seconds; 0 if unknown.
    pub millifps: u32,
    /// The size of the chroma planes.
    pub chroma: Chroma,
    /// Whether values are 0 to 255 (full range). Otherwise Y is 16 to 235, and U and V are 16 to 240 (limited range).
    pub full_range: bool,
}

impl Header {
    /// Bytes of one picture's planes.
    pub fn frame_length(&self) -> usize {
        let (width, height) = self.chroma.size(self.width, self.height);
        self.width as usize * self.height as usize + 2 * width as usize * height as usize
    }

    /// The header line for [`Codec::I420`](crate::Codec::I420) pictures: full range, chroma sited as in JPEG, square pixels.
    /// An unknown frame rate is written as one.
    pub fn to_line(&self, scan: Scan) -> String {
        let Self { width, height, millifps, .. } = self;
        let (rate, scale) = match millifps {
            0 => (0, 0),
            whole if whole % 1000 == 0 => (whole / 1000, 1),
            // Television's rates are fractions of 1001.
            23_976 => (24_000, 1001),
            29_970 => (30_000, 1001),
            59_940 => (60_000, 1001),
            other => (*other, 1000),
        };
        let scan = match scan {
            Scan::Progressive => 'p',
            Scan::TopFirst => 't',
            Scan::BottomFirst => 'b',
        };
        format!("YUV4MPEG2 W{width} H{height} F{rate}:{scale} I{scan} A1:1 C420jpeg XCOLORRANGE=FULL\n")
    }
}

/// What the first line states of how pictures are shown. It does not change how their planes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    /// The shape of pixels; square if unknown.
    pub pixel_aspect: PixelAspect,
    /// Whether a picture consists of two fields.
    pub interlaced: bool,
}

/// The line before each picture.
pub const FRAME_LINE: &str = "FRAME\n";

/// A part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The first part, once.
    Header(Header),
    /// One picture: the plane of Y, then those of U and V as [`Header::chroma`] says.
    Frame(Bytes),
}

/// Reads a stream: push bytes, then pull parts until there are none.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    /// Position of `buffer` in the stream, in bytes.
    offset: u64,
    header: Option<Header>,
    shown: Shown,
    /// Whether a frame line was read and its planes follow.
    in_frame: bool,
}

impl Reader {
    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Some(header) = self.header.filter(|_| self.in_frame) {
            // Reserves memory for the whole picture at once. The memory of dropped pictures is reused.
            self.buffer.reserve(header.frame_length().saturating_sub(self.buffer.len()).max(bytes.len()));
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next part, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// The bytes are not YUV4MPEG2, or the pictures' format is not supported. After this error, pull no more.
    pub fn pull(&mut self) -> Result<Option<Part>, WireError> {
        let Some(header) = self.header else {
            let Some(line) = self.line(MAGIC)? else { return Ok(None) };
            let (header, shown) = parse(&line).map_err(|why| self.invalid("the stream's header", why))?;
            self.shown = shown;
            self.advance(line.len() + 1);
            self.header = Some(header);
            return Ok(Some(Part::Header(header)));
        };
        if !self.in_frame {
            let Some(line) = self.line(b"FRAME")? else { return Ok(None) };
            self.advance(line.len() + 1);
            self.in_frame = true;
        }
        let length = header.frame_length();
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.in_frame = false;
        self.offset += length as u64;
        Ok(Some(Part::Frame(self.buffer.split_to(length).freeze())))
    }

    /// How the pictures are shown, as the header states it.
    pub fn shown(&self) -> Shown {
        self.shown
    }

    /// Bytes held until the rest of their part arrives.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The line at the start of the buffer, without the line feed. It must start with this word.
    fn line(&self, word: &'static [u8]) -> Result<Option<Bytes>, WireError> {
        let seen = &self.buffer[..self.buffer.len().min(LINE)];
        let known = seen.len().min(word.len());
        let end = seen.iter().position(|byte| *byte == b'\n');
        let begins = seen[..known] == word[..known] && seen.get(word.len()).is_none_or(|next| b" \n".contains(next));
        if !begins {
            let (word, shown) = (word.escape_ascii(), seen[..known].escape_ascii());
            return Err(self.invalid("a line", format!("the line begins with '{shown}' and not with '{word}'")));
        }
        match end {
            None if seen.len() == LINE => {
                let (length, limit) = (self.buffer.len() as u64, LINE as u64);
                Err(self.error(ErrorKind::TooLong { what: "a line", length, limit }))
            }
            end => Ok(end.map(|end| Bytes::copy_from_slice(&seen[..end]))),
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.offset += bytes as u64;
    }

    fn invalid(&self, what: &'static str, why: String) -> WireError {
        self.error(ErrorKind::Invalid { what, why })
    }

    fn error(&self, kind: ErrorKind) -> WireError {
        WireError { wire: NAME, offset: self.offset, kind }
    }
}

fn parse(line: &[u8]) -> Result<(Header, Shown), String> {
    let line = std::str::from_utf8(line).map_err(|_| "the line is not ASCII".to_string())?;
    let mut header = Header { width: 0, height: 0, millifps: 0, chroma: Chroma::C420, full_range: false };
    let mut shown = Shown::default();
    for tag in line.split_ascii_whitespace().skip(1) {
        let (key, value) = tag.split_at_checked(1).ok_or_else(|| format!("'{tag}' is not a tag"))?;
        let number = || value.parse::<u32>().map_err(|_| format!("the tag '{tag}' has no number"));
        match key {
            "W" => header.width = number()?,
            "H" => header.height = number()?,
            "F" => header.millifps = parse_rate(value).ok_or_else(|| format!("the tag '{tag}' has no frame rate"))?,
            "C" => header.chroma = parse_chroma(value)?,
            "X" if value == "COLORRANGE=FULL" => header.full_range = true,
            "A" => shown.pixel_aspect = parse_aspect(value),
            "I" => shown.interlaced = ["t", "b", "m"].contains(&value),
            // Other tags are extensions.
            _ => {}
        }
    }
    limits::check_size(header.width, header.height)?;
    Ok((header, shown))
}

/// The shape of pixels from `64:45`; square for 0:0, which means unknown.
fn parse_aspect(value: &str) -> PixelAspect {
    let sides = value.split_once(':').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    sides.map_or(PixelAspect::SQUARE, |(width, height)| PixelAspect::new(width, height))
}

/// Converts `25:1` to frames per 1000 seconds; 0:0 means unknown.
fn parse_rate(value: &str) -> Option<u32> {
    let (frames, seconds) = value.split_once(':')?;
    match (frames.parse::<u32>().ok()?, seconds.parse::<u32>().ok()?) {
        (0, _) | (_, 0) => Some(0),
        (frames, seconds) => u32::try_from(u64::from(frames) * 1000 / u64::from(seconds)).ok(),
    }
}

fn parse_chroma(value: &str) -> Result<Chroma, String> {
    match value {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Ok(Chroma::C420),
        "422" => Ok(Chroma::C422),
        "444" => Ok(Chroma::C444),
        "mono" => Ok(Chroma::Mono),
        _ => Err(format!(
            "chroma '{value}' is not supported; supported are C420, C422, C444 and Cmono with 8 bits (ffmpeg: -pix_fmt yuv420p)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(reader: &mut Reader, bytes: &[u8]) -> Vec<Part> {
        reader.push(bytes);
        std::iter::from_fn(|| reader.pull().unwrap()).collect()
    }

    fn header(line: &str) -> Result<Header, String> {
        let mut reader = Reader::default();
        reader.push(line.as_bytes());
        match reader.pull() {
            Ok(Some(Part::Header(header))) => Ok(header),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_header_says_how_pictures_are_shown() {
        let shown = |tags: &str| {
            let mut reader = Reader::default();
            reader.push(format!("YUV4MPEG2 W720 H576 {tags}\n").as_bytes());
            reader.pull().unwrap();
            (reader.shown().pixel_aspect.square_size((720, 576)), reader.shown().interlaced)
        };
        assert_eq!(shown("Ip A64:45"), ((1024, 576), false));
        assert_eq!(shown("It A1:1"), ((720, 576), true));
        for unknown in ["", "I? A0:0", "Ip A", "Ip A1", "Ip A-1:2"] {
            assert_eq!(shown(unknown), ((720, 576), false), "{unknown}");
        }
    }

    #[test]
    fn a_stream_cut_at_every_byte_gives_the_same_parts() {
        let stream =
            b"YUV4MPEG2 W3 H1 F30000:1001 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2\nFRAME\n\x0AbcdefgFRAME Ip\nhijklmn";
        let expected = Header { width: 3, height: 1, millifps: 29_970, chroma: Chroma::C420, full_range: false };
        for cut in 0..=stream.len() {
            let mut reader = Reader::default();
            let mut all = parts(&mut reader, &stream[..cut]);
            all.extend(parts(&mut reader, &stream[cut..]));
            let frames = [&b"\x0Abcdefg"[..], b"hijklmn"].map(|frame| Part::Frame(Bytes::from_static(frame)));
            assert_eq!(all[0], Part::Header(expected), "{cut}");
            assert_eq!(all[1..], frames, "{cut}");
        }
    }

    #[test]
    fn a_written_header_is_read_back() {
        for (millifps, fields) in
            [(30_000, "F30:1 Ip A1:1 "), (29_970, "F30000:1001 Ip "), (12_500, "F12500:1000 "), (0, "F0:0 Ip ")]
        {
            let written = Header { width: 641, height: 3, millifps, chroma: Chroma::C420, full_range: true };
            let line = written.to_line(Scan::Progressive);
            assert!(line.starts_with(&format!("YUV4MPEG2 W641 H3 {fields}")), "{line}");
            assert_eq!(header(&line), Ok(written));
            assert!(written.to_line(Scan::BottomFirst).contains(" Ib "));
        }
    }

    #[test]
    fn chroma_planes_have_the_right_sizes() {
        for (tag, length) in [("mono", 15), ("420jpeg", 15 + 2 * 9), ("422", 15 + 2 * 9), ("444", 45)] {
            let header = header(&format!("YUV4MPEG2 W3 H5 C{tag}\n")).unwrap();
            let expected = if tag.starts_with("420") {
                15 + 2 * 6
            } else if tag == "422" {
                15 + 2 * 10
            } else {
                length
            };
            assert_eq!(header.frame_length(), expected, "{tag}");
        }
    }

    #[test]
    fn unsupported_and_damaged_streams_are_refused_with_the_reason() {
        for (line, fault) in [
            ("YUV4MPEG2 W9000 H9000 C420\n", "9000x9000"),
            ("YUV4MPEG2 H2\n", "0x2"),
            ("YUV4MPEG2 W2 H2 C420p10\n", "'420p10'"),
            ("YUV4MPEG2 W2 H2 C444alpha\n", "'444alpha'"),
            ("YUV4MPEG2 W-2 H2\n", "'W-2'"),
            ("YUV4MPEG2 W2 H2 F5\n", "'F5'"),
            ("YUV4MPEG2 W2 H2 \u{e9}\n", "'\u{e9}'"),
            ("YUV4MPEG3 W2 H2\n", "YUV4MPEG3"),
            ("YUV4MPEG25", "a line"),
            (&["YUV4MPEG2 X", &"x".repeat(LINE)].concat(), "limit of 1024"),
        ] {
            let error = header(line).unwrap_err();
            assert!(error.contains(fault), "{line:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(head in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::default();
            if head {
                reader.push(b"YUV4MPEG2 W2 H2\nFRAME\n123456");
            }
            for chunk in bytes.chunks(7) {
                reader.push(chunk);
                while let Ok(Some(_)) = reader.pull() {}
            }
        }

        #[test]
        fn random_tags_do_not_panic(tags in "[WHFICAX0-9:a-z =]{0,80}") {
            let _ = header(&format!("YUV4MPEG2 {tags}\n"));
        }
    }
}
