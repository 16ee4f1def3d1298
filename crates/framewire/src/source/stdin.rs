//! Standard input as a source: YUV4MPEG2, or JPEGs one after another, recognised by the first bytes.

use std::{
    io::Read,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use bytes::Bytes;
use framewire_proto::{
    Codec, Config, Frame, Limits, Times, jpeg,
    wire::y4m::{self, Header, Part, Shown},
};

use super::{Item, Kind, Options, Source, Spec};
use crate::error::{Context as _, Error, Result, bail};
use crate::{
    clock,
    media::{
        Picture,
        jpeg::{Jpeg, JpegEntry},
        planes::Converter,
        scale::Scaler,
    },
    source::pace::Pace,
    stop::Stop,
};

/// Standard input's row in the table of sources.
pub const KIND: Kind = Kind {
    usage: "-",
    summary: "standard input: YUV4MPEG2, or JPEGs one after another",
    live: false,
    sized: false,
    honours: &["fps", "codec=copy", "max-frame"],
    matches: |source| source == "-",
    open: |Spec { options, .. }, stop| Ok(Box::new(Stdin::new(std::io::stdin(), options, stop)?)),
};

/// The most items between the reading thread and the source: one is used while the next is read. Then the writer to the pipe
/// must wait.
const QUEUE: usize = 2;
/// How often a wait for an item checks the stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Bytes per read: the capacity of a pipe.
const CHUNK: usize = 64 << 10;
const ADVICE: &str = "pipe YUV4MPEG2 or JPEGs into it, as 'ffmpeg -i FILE -f yuv4mpegpipe -pix_fmt yuv420p -' writes";

/// Video from standard input, or from any other reader.
pub struct Stdin {
    items: Receiver<Result<Item>>,
    stop: Stop,
    pace: Option<Pace>,
    description: String,
}

impl Stdin {
    /// Starts a thread that reads. Nothing can interrupt the read of a pipe, so the thread outlives a closed source, and ends when
    /// the next bytes arrive.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn new(input: impl Read + Send + 'static, options: &Options, stop: &Stop) -> Result<Self> {
        let (sender, items) = sync_channel(QUEUE);
        let limits = options.limits();
        let read = move || {
            if let Err(error) = StdinReader::new(&sender, limits).run(input) {
                // The send fails when the source is closed, and then the error does not matter.
                let _ = sender.send(Err(error));
            }
        };
        let spawned = thread::Builder::new().name("stdin".into()).spawn(read);
        spawned.context("standard input: the reading thread cannot start")?;
        let pace = options.fps.and_then(Pace::new);
        Ok(Self { items, stop: stop.clone(), pace, description: "stdin".into() })
    }
}

impl Source for Stdin {
    fn next(&mut self) -> Result<Option<Item>> {
        let mut item = loop {
            if self.stop.stopped() {
                return Ok(None);
            }
            match self.items.recv_timeout(CHECK_INTERVAL) {
                Ok(item) => break item?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        };
        match &mut item {
            Item::Config(config) => {
                let format = if config.codec == Codec::Jpeg { "JPEGs" } else { "YUV4MPEG2" };
                self.description = format!("stdin: {}x{} {format}", config.width, config.height);
            }
            Item::Frame(frame) => {
                if let Some(pace) = &mut self.pace {
                    if pace.wait(&self.stop) {
                        return Ok(None);
                    }
                    // A picture that was delayed counts as captured when it is due.
                    frame.times.captured = clock::now();
                }
            }
            Item::State(_) | Item::Fault(_) | Item::NoPicture(_) | Item::Service(_) => {}
        }
        Ok(Some(item))
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

/// The reading thread: bytes to items.
struct StdinReader<'a> {
    items: &'a SyncSender<Result<Item>>,
    limits: Limits,
    /// The next frame's number.
    sequence: u64,
    config: Option<Config>,
    bytes: u64,
    entry: JpegEntry,
    scaler: Scaler,
    /// JPEGs that are broken or over the limit, and what is wrong with the last one.
    broken: u64,
    fault: Option<Error>,
}

/// The source was closed.
struct Closed;

impl<'a> StdinReader<'a> {
    fn new(items: &'a SyncSender<Result<Item>>, limits: Limits) -> Self {
        Self {
            items,
            limits,
            sequence: 0,
            config: None,
            bytes: 0,
            entry: JpegEntry::default(),
            scaler: Scaler::new(),
            broken: 0,
            fault: None,
        }
    }

    fn run(&mut self, mut input: impl Read) -> Result<()> {
        let mut first = Vec::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = self.read(&mut input, &mut chunk)?;
            first.extend_from_slice(&chunk[..count]);
            if first.starts_with(&jpeg::MAGIC) {
                return self.jpegs(&first, input, chunk);
            }
            if first.starts_with(y4m::MAGIC) {
                return self.y4m(&first, input, chunk);
            }
            if count == 0 && first.is_empty() {
                bail!(InvalidData, "standard input is empty: {ADVICE}");
            }
            if count == 0 || !(jpeg::MAGIC.starts_with(&first) || y4m::MAGIC.starts_with(&first)) {
                let shown = first[..first.len().min(16)].escape_ascii();
                bail!(
                    InvalidData,
                    "standard input starts with '{shown}', which is neither YUV4MPEG2 nor a JPEG: {ADVICE}"
                );
            }
        }
    }

    fn jpegs(&mut self, first: &[u8], mut input: impl Read, mut chunk: Vec<u8>) -> Result<()> {
        let mut splitter = jpeg::Splitter::new(&self.limits);
        splitter.push(first);
        loop {
            loop {
                match splitter.pull() {
                    Ok(Some(picture)) => {
                        let Ok(()) = self.jpeg(&picture) else { return Ok(()) };
                    }
                    Ok(None) => break,
                    Err(fault) => self.drop_frame(fault.into()),
                }
            }
            let count = self.read(&mut input, &mut chunk)?;
            if count == 0 {
                if let Some(last) = splitter.finish() {
                    let Ok(()) = self.jpeg(&last) else { return Ok(()) };
                }
                let (broken, lost) = (self.broken, splitter.skipped() + splitter.pending() as u64);
                if broken > 0 || lost > 0 {
                    tracing::warn!(
                        "standard input: {broken} broken or too large frames were dropped, and {lost} bytes in them or between frames"
                    );
                }
                return self.end();
            }
            splitter.push(&chunk[..count]);
        }
    }

    /// Passes a JPEG on; a broken one is counted.
    fn jpeg(&mut self, picture: &Bytes) -> Result<(), Closed> {
        match self.entry.admit(picture) {
            Ok(Jpeg { data, width, height }) => {
                let config = Config::new(Codec::Jpeg, width, height, 0);
                self.send(config, data)
            }
            Err(fault) => {
                self.drop_frame(fault);
                Ok(())
            }
        }
    }

    /// Counts a frame that is broken or over the limit. The first is said, the others at the end.
    fn drop_frame(&mut self, fault: Error) {
        if self.broken == 0 {
            tracing::warn!("standard input: frame {} dropped: {fault}", self.sequence);
        }
        self.broken += 1;
        self.fault = Some(fault);
        self.sequence += 1;
    }

    fn y4m(&mut self, first: &[u8], mut input: impl Read, mut chunk: Vec<u8>) -> Result<()> {
        let mut reader = y4m::Reader::default();
        let mut stream = None;
        reader.push(first);
        loop {
            while let Some(part) = reader.pull().context("standard input")? {
                match (part, &stream) {
                    (Part::Header(header), _) => {
                        stream = Some((i420(&header, reader.shown())?, Converter::new(header)));
                    }
                    (Part::Frame(planes), Some((config, converter))) => {
                        let picture = self.squared(config, converter.size(), converter.convert(planes))?;
                        let Ok(()) = self.send(config.clone(), picture) else { return Ok(()) };
                    }
                    (Part::Frame(_), None) => unreachable!("the header comes first"),
                }
            }
            let count = self.read(&mut input, &mut chunk)?;
            if count == 0 {
                if reader.pending() > 0 {
                    tracing::warn!("standard input: the last frame is cut short after {} bytes", reader.pending());
                }
                return self.end();
            }
            reader.push(&chunk[..count]);
        }
    }

    /// A picture in the size that its configuration has: with square pixels.
    fn squared(&mut self, config: &Config, (width, height): (u32, u32), data: Bytes) -> Result<Bytes> {
        let square = (config.width.into(), config.height.into());
        if square == (width, height) {
            return Ok(data);
        }
        let picture = Picture::new(Codec::I420, width, height, data)?;
        Ok(self.scaler.scale(&picture, square, Codec::I420)?.into_data())
    }

    fn send(&mut self, config: Config, data: Bytes) -> Result<(), Closed> {
        let captured = clock::now();
        if self.config.as_ref() != Some(&config) {
            self.config = Some(config.clone());
            self.items.send(Ok(Item::Config(config))).map_err(|_| Closed)?;
        }
        let times = Times { captured, ..Times::default() };
        let frame = Frame { sequence: self.sequence, keyframe: true, times, data };
        self.sequence += 1;
        self.items.send(Ok(Item::Frame(frame))).map_err(|_| Closed)
    }

    fn read(&mut self, input: &mut impl Read, chunk: &mut [u8]) -> Result<usize> {
        loop {
            match input.read(chunk) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("standard input cannot be read"),
                Ok(count) => {
                    self.bytes += count as u64;
                    return Ok(count);
                }
            }
        }
    }

    fn end(&self) -> Result<()> {
        if let (None, Some(fault)) = (&self.config, &self.fault) {
            return Err(fault
                .clone()
                .context(format!("standard input: none of its {} frames can be decoded", self.broken)));
        }
        if self.config.is_none() {
            bail!(
                InvalidData,
                "standard input ended after {} bytes, before the first whole frame: {ADVICE}",
                self.bytes
            );
        }
        Ok(())
    }
}

/// The configuration of I420 with square pixels.
fn i420(header: &Header, shown: Shown) -> Result<Config> {
    if shown.interlaced {
        tracing::warn!("standard input: its pictures are interlaced and stay so: ffmpeg's -vf bwdif deinterlaces them");
    }
    let (width, height) = shown.pixel_aspect.square_size((header.width, header.height));
    let side = |pixels: u32| u16::try_from(pixels).context("standard input: the pictures are too large");
    let (width, height) = (side(width)?, side(height)?);
    Ok(Config::new(Codec::I420, width, height, header.millifps))
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        process::{Command, Stdio},
        time::Instant,
    };

    use super::*;

    fn source(input: impl Read + Send + 'static, fps: Option<f64>) -> Stdin {
        Stdin::new(input, &Options { fps, ..Options::default() }, &Stop::default()).unwrap()
    }

    fn items(input: impl Read + Send + 'static) -> Vec<Item> {
        let mut source = source(input, None);
        std::iter::from_fn(|| source.next().unwrap()).collect()
    }

    fn error(input: &'static [u8]) -> String {
        let mut source = source(input, None);
        loop {
            match source.next() {
                Ok(item) => assert!(item.is_some(), "the source ended without an error"),
                Err(error) => return format!("{error}"),
            }
        }
    }

    fn jpeg(width: usize, height: usize) -> Vec<u8> {
        let pixels = vec![100; width * height * 3];
        let image = turbojpeg::Image {
            pixels: pixels.as_slice(),
            width,
            pitch: width * 3,
            height,
            format: turbojpeg::PixelFormat::BGR,
        };
        turbojpeg::compress(image, 80, turbojpeg::Subsamp::Sub2x2).unwrap().to_vec()
    }

    /// Returns a few bytes per read, as with a slow writer.
    struct SlowWriter(Vec<u8>, usize);

    impl Read for SlowWriter {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = 3.min(out.len()).min(self.0.len() - self.1);
            out[..count].copy_from_slice(&self.0[self.1..][..count]);
            self.1 += count;
            Ok(count)
        }
    }

    /// A writer that sends nothing and keeps the pipe open.
    struct Silent(Receiver<()>);

    impl Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(0)
        }
    }

    #[test]
    fn y4m_becomes_full_range_i420() {
        let stream = b"YUV4MPEG2 W2 H2 F25:1 C420jpeg\nFRAME\n\x10\xeb\x10\xeb\x80\x80FRAME\n\x10\x10\x10\x10\x80\xf0";
        let items = items(SlowWriter(stream.to_vec(), 0));
        let [Item::Config(config), Item::Frame(first), Item::Frame(second)] = &items[..] else { panic!("{items:?}") };
        assert_eq!((config.codec, config.width, config.height, config.millifps), (Codec::I420, 2, 2, 25_000));
        assert_eq!(first.data, [0, 255, 0, 255, 128, 128].as_slice());
        assert_eq!(second.data, [0, 0, 0, 0, 128, 255].as_slice());
        assert_eq!((first.sequence, second.sequence), (0, 1));
        assert!(first.keyframe && 0 < first.times.captured && first.times.captured <= second.times.captured);
    }

    #[test]
    fn a_jpeg_of_another_size_changes_the_configuration_and_a_broken_one_leaves_a_gap() {
        let (small, large) = (jpeg(16, 16), jpeg(32, 16));
        let mut lossless = small.clone();
        let frame_header = lossless.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
        lossless[frame_header + 1] = 0xC3;
        let items = items(SlowWriter([&small[..], &small, &lossless, &large].concat(), 0));
        let shape = |item: &Item| match item {
            Item::Config(config) => (u64::from(config.width), usize::from(config.height)),
            Item::Fault(error) => panic!("{error}"),
            Item::State(_) | Item::NoPicture(_) => panic!("{item:?}"),
            Item::Service(service) => panic!("{service:?}"),
            Item::Frame(frame) => (frame.sequence, frame.data.len()),
        };
        let shapes: Vec<_> = items.iter().map(shape).collect();
        assert_eq!(shapes, [(16, 16), (0, small.len()), (1, small.len()), (32, 16), (3, large.len())]);
    }

    #[test]
    fn video_from_ffmpegs_pipe_is_read_completely() {
        for (format, codec) in [("yuv4mpegpipe", Codec::I420), ("mjpeg", Codec::Jpeg), ("image2pipe", Codec::Jpeg)] {
            let mut ffmpeg = Command::new("ffmpeg")
                .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=duration=1:rate=30,scale=323:181,setsar=1"])
                .args(["-pix_fmt", if codec == Codec::Jpeg { "yuvj420p" } else { "yuv444p" }, "-f", format, "-"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let items = items(ffmpeg.stdout.take().unwrap());
            assert!(ffmpeg.wait().unwrap().success());
            let Item::Config(config) = &items[0] else { panic!("{:?}", items[0]) };
            assert_eq!((config.codec, config.width, config.height), (codec, 323, 181), "{format}");
            assert_eq!(items.len(), 31, "{format}");
        }
    }

    #[test]
    fn pixels_that_are_not_square_become_square() {
        let stream =
            [&b"YUV4MPEG2 W4 H4 It A2:1 C420jpeg XCOLORRANGE=FULL\nFRAME\n"[..], &[90; 16], &[128; 8]].concat();
        let items = items(SlowWriter(stream, 0));
        let [Item::Config(config), Item::Frame(frame)] = &items[..] else { panic!("{items:?}") };
        assert_eq!((config.width, config.height, frame.data.len()), (8, 4, 48));
        assert!(frame.data[..32].iter().all(|value| value.abs_diff(90) <= 1));
    }

    #[test]
    fn data_that_is_no_video_is_refused_with_the_reason() {
        assert!(error(b"").contains("is empty"));
        assert!(error(b"\x89PNG\r\n\x1a\nxxxxxxxxxx").contains(r"starts with '\x89PNG\r\n\x1a\n"));
        assert!(error(b"YUV4").contains("starts with 'YUV4'"));
        assert!(error(b"YUV4MPEG2 W2 H2\nFRAME\n123").contains("before the first whole frame"));
        assert!(error(b"YUV4MPEG2 W2 H2 C420p12\n").contains("'420p12'"));
        assert!(error(b"\xff\xd8\xff\xd9").contains("before the first whole frame"));
    }

    #[test]
    fn a_stop_ends_the_source_while_the_writer_is_silent() {
        let (_held, silence) = sync_channel(0);
        let stop = Stop::default();
        let mut source = Stdin::new(Silent(silence), &Options::default(), &stop).unwrap();
        let (asked, ended) = thread::scope(|scope| {
            let reader = scope.spawn(move || (source.next().unwrap().is_none(), Instant::now()));
            stop.wait(Duration::from_millis(20));
            let asked = Instant::now();
            stop.stop();
            let (none, ended) = reader.join().unwrap();
            assert!(none);
            (asked, ended)
        });
        assert!(ended - asked < Duration::from_millis(100), "{:?}", ended - asked);
    }

    #[test]
    fn a_requested_rate_is_kept() {
        let small = jpeg(16, 16);
        let mut source = source(SlowWriter(small.repeat(6), 0), Some(100.0));
        let started = Instant::now();
        let frames =
            std::iter::from_fn(|| source.next().unwrap()).filter(|item| matches!(item, Item::Frame(_))).count();
        assert_eq!(frames, 6);
        assert!(started.elapsed() >= Duration::from_millis(50), "{:?}", started.elapsed());
    }
}
