//! Frames for another program, one after another: the output of `record FROM -` to standard output.

use std::{
    io::{ErrorKind, Write},
    str::FromStr,
};

use crate::error::{Error, OrError as _, Result, bail, ensure};
use bytes::Bytes;
use framewire_proto::{
    Codec, Config, Frame,
    wire::y4m::{Chroma, FRAME_LINE, Header, Scan},
};

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YUV4MPEG2, full-range 4:2:0.
    Y4m,
    /// JPEGs, with nothing between them.
    Mjpeg,
    /// Rows of blue, green and red, with nothing between pictures, for `numpy.frombuffer` and OpenCV.
    Bgr24,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Y4m, Self::Mjpeg, Self::Bgr24];

    /// The format's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Y4m => "y4m",
            Self::Mjpeg => "mjpeg",
            Self::Bgr24 => "bgr24",
        }
    }

    /// The codec of its pictures.
    pub fn codec(self) -> Codec {
        match self {
            Self::Y4m => Codec::I420,
            Self::Mjpeg => Codec::Jpeg,
            Self::Bgr24 => Codec::Bgr24,
        }
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|format| format.name() == text);
        named.or_error(Error::InvalidInput, || format!("unknown format '{text}': expected y4m, mjpeg or bgr24"))
    }
}

/// The state of the program that reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// It reads.
    Reads,
    /// It has closed the pipe: that is the end, not an error.
    Gone,
}

/// Writes frames in one format and one size.
pub struct Raw<W> {
    out: W,
    format: Format,
    size: Option<(u16, u16)>,
    scan: Scan,
    started: bool,
}

impl<W: Write> Raw<W> {
    /// A writer of pictures of this size; `None`: of the first frame's size.
    pub fn new(out: W, format: Format, size: Option<(u16, u16)>) -> Self {
        Self { out, format, size, scan: Scan::default(), started: false }
    }

    /// Sets how the pictures that follow were captured, for a header that tells it.
    pub fn set_scan(&mut self, scan: Scan) {
        self.scan = scan;
    }

    /// Writes one frame, unchanged where it has the right codec and size. Otherwise `convert` gets the frame with the codec and
    /// size that it must have.
    ///
    /// # Errors
    /// The frame cannot be converted, or writing fails. Nothing was written of a frame that cannot be converted, so the next frame
    /// can be written.
    pub fn write<C>(&mut self, config: &Config, frame: &Frame, convert: C) -> Result<Reader>
    where
        C: FnOnce(&Config, &Frame, Codec, (u16, u16)) -> Result<Bytes>,
    {
        let (codec, given) = (self.format.codec(), (config.width, config.height));
        let size = self.size.unwrap_or(given);
        let data = if (config.codec, given) == (codec, size) {
            frame.data.clone()
        } else {
            convert(config, frame, codec, size)?
        };
        if let Some(length) = codec.raw_length(size.0.into(), size.1.into()) {
            let found = data.len();
            ensure!(
                found == length,
                InvalidData,
                "a picture of {}x{} has {found} bytes instead of {length}",
                size.0,
                size.1
            );
        }
        self.size = Some(size);
        match self.put(config, &data) {
            Ok(()) => Ok(Reader::Reads),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => {
                bail!(System, "writing to standard output failed ({error}): check that the disk behind it is not full")
            }
        }
    }

    fn put(&mut self, config: &Config, data: &[u8]) -> std::io::Result<()> {
        if self.format == Format::Y4m {
            if let (false, Some((width, height))) = (self.started, self.size) {
                let (width, height, millifps) = (width.into(), height.into(), config.millifps);
                let header = Header { width, height, millifps, chroma: Chroma::C420, full_range: true };
                self.out.write_all(header.to_line(self.scan).as_bytes())?;
            }
            self.out.write_all(FRAME_LINE.as_bytes())?;
        }
        self.started = true;
        self.out.write_all(data)?;
        // Without a flush the frame would wait in a buffer for the next one.
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use framewire_proto::{
        Limits, Times, jpeg,
        wire::y4m::{Part, Reader as Y4m},
    };

    use super::*;

    fn config(codec: Codec, width: u16, height: u16) -> Config {
        Config::new(codec, width, height, 25_000)
    }

    fn frame(data: &[u8]) -> Frame {
        Frame { sequence: 0, keyframe: true, times: Times::default(), data: Bytes::copy_from_slice(data) }
    }

    /// Replaces decoding and scaling: a picture of the right length, filled with the frame's first byte.
    #[expect(clippy::unnecessary_wraps, reason = "the type of a converter")]
    fn fill(_: &Config, frame: &Frame, codec: Codec, (width, height): (u16, u16)) -> Result<Bytes> {
        let length = codec.raw_length(width.into(), height.into()).unwrap();
        Ok(vec![frame.data[0]; length].into())
    }

    fn never(_: &Config, _: &Frame, _: Codec, _: (u16, u16)) -> Result<Bytes> {
        panic!("a frame of the right codec and size is not converted")
    }

    #[test]
    fn y4m_keeps_the_first_frames_size() {
        let mut out = Vec::new();
        let mut raw = Raw::new(&mut out, Format::Y4m, None);
        assert_eq!(raw.write(&config(Codec::I420, 2, 2), &frame(b"abcdef"), never).unwrap(), Reader::Reads);
        assert_eq!(raw.write(&config(Codec::Jpeg, 9, 9), &frame(b"x"), fill).unwrap(), Reader::Reads);
        let mut reader = Y4m::default();
        reader.push(&out);
        let parts: Vec<_> = std::iter::from_fn(|| reader.pull().unwrap()).collect();
        let header = Header { width: 2, height: 2, millifps: 25_000, chroma: Chroma::C420, full_range: true };
        let frames = [&b"abcdef"[..], b"xxxxxx"].map(|frame| Part::Frame(Bytes::from_static(frame)));
        assert_eq!((&parts[0], &parts[1..]), (&Part::Header(header), &frames[..]));
    }

    #[test]
    fn bgr24_is_pixels_of_the_size_asked_for_and_nothing_else() {
        let mut out = Vec::new();
        let mut raw = Raw::new(&mut out, Format::Bgr24, Some((2, 1)));
        raw.write(&config(Codec::Bgr24, 3, 1), &frame(b"123456789"), fill).unwrap();
        raw.write(&config(Codec::Bgr24, 2, 1), &frame(b"abcdef"), never).unwrap();
        assert_eq!(out, b"111111abcdef");
    }

    #[test]
    fn mjpeg_is_a_sequence_of_unchanged_jpegs() {
        let one = turbojpeg::compress(
            turbojpeg::Image {
                pixels: &[9; 64][..],
                width: 8,
                pitch: 8,
                height: 8,
                format: turbojpeg::PixelFormat::GRAY,
            },
            80,
            turbojpeg::Subsamp::Gray,
        );
        let (one, mut out) = (one.unwrap().to_vec(), Vec::new());
        let mut raw = Raw::new(&mut out, Format::Mjpeg, None);
        for _ in 0..3 {
            raw.write(&config(Codec::Jpeg, 8, 8), &frame(&one), never).unwrap();
        }
        let mut splitter = jpeg::Splitter::new(&Limits::default());
        splitter.push(&out);
        let pictures: Vec<_> = std::iter::from_fn(|| splitter.pull().unwrap()).collect();
        assert_eq!((pictures, splitter.skipped()), (vec![Bytes::from(one); 3], 0));
    }

    #[test]
    fn a_frame_of_the_wrong_length_or_without_a_conversion_writes_nothing() {
        let mut out = Vec::new();
        let mut raw = Raw::new(&mut out, Format::Y4m, None);
        let error = raw.write(&config(Codec::I420, 2, 2), &frame(b"abc"), never).unwrap_err().to_string();
        assert!(error.contains("3 bytes instead of 6"), "{error}");
        let broken = |_: &Config, _: &Frame, _, _| bail!(System, "a broken JPEG");
        raw.write(&config(Codec::Jpeg, 4, 4), &frame(b"x"), broken).unwrap_err();
        raw.write(&config(Codec::I420, 2, 2), &frame(b"abcdef"), never).unwrap();
        assert!(out.starts_with(b"YUV4MPEG2 W2 H2 ") && out.ends_with(b"\nFRAME\nabcdef"));
    }

    /// A pipe whose reader is gone, or a full disk.
    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_the_end_and_a_full_disk_is_an_error() {
        let write = |kind| {
            Raw::new(Broken(kind), Format::Bgr24, None).write(&config(Codec::Bgr24, 1, 1), &frame(b"abc"), never)
        };
        assert_eq!(write(ErrorKind::BrokenPipe).unwrap(), Reader::Gone);
        assert!(write(ErrorKind::StorageFull).unwrap_err().to_string().contains("standard output"));
    }

    #[test]
    fn formats_have_names() {
        for format in Format::ALL {
            assert_eq!(format.name().parse::<Format>().unwrap(), format);
        }
        assert!("gif".parse::<Format>().unwrap_err().to_string().contains("y4m, mjpeg or bgr24"));
    }
}
