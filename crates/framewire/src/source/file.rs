//! Files, and any URL that FFmpeg opens, as sources.

mod pacing;
mod rtsp_password;
mod timing;

use std::{
    collections::VecDeque,
    fs, io, mem,
    os::unix::fs::FileTypeExt,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framewire_proto::{
    Codec, Config, Frame, Micros, Times,
    jpeg::{self, HeaderError},
    limits,
};

use self::pacing::{Pacing, interval};
use super::{Item, Kind, Options, Source, Spec, pace::Thinning, reopen::Reopening};
use crate::error::{Context as _, Error, Result, bail, ensure, error};
use crate::{
    clock,
    media::{
        input::{AccessUnit, AccessUnits, Input, Packet, Threads, Video, VideoDecoder},
        jpeg::{Jpeg, JpegEntry},
    },
    stop::Stop,
    transcode::encode::CodecChoice,
};

/// The row of [`super::SOURCES`] for URLs.
pub const URL: Kind = Kind {
    usage: "URL",
    summary: "any URL that FFmpeg opens: rtsp://, http://, udp://, …",
    live: true,
    sized: false,
    honours: &["fps", "deinterlace", "loop", "wait", "codec=copy"],
    matches: is_url,
    open: |spec, stop| Reopening::open(spec, stop, |spec, stop| Ok(Box::new(File::open(spec, stop)?))),
};

/// The row of [`super::SOURCES`] for files. It matches anything, so it comes last.
pub const PATH: Kind = Kind {
    usage: "PATH",
    summary: "a video file, played at its own pace",
    live: false,
    sized: false,
    honours: &["fps", "deinterlace", "loop", "codec=copy"],
    matches: |_| true,
    open: |spec, stop| Ok(Box::new(File::open(spec, stop)?)),
};

/// A host or stream that sends nothing for this long is given up.
const TIMEOUT: Duration = Duration::from_secs(8);

/// FFmpeg mostly notices a stop within this time.
const STOPPING: Duration = Duration::from_millis(300);

/// How many packets of a film are read ahead: twice as many as a decoder may delay (ITU-T H.264, section A.3.1).
const READ_AHEAD: usize = 32;
/// The most packets of a live stream that are read ahead: those that FFmpeg has buffered while it opened the stream.
const READ_AHEAD_LIVE: usize = 256;
/// The least packets that are read ahead of a live stream with B-frames, even if that takes time.
const READ_AHEAD_REORDERED: usize = 8;
/// A packet that takes longer to read was not buffered.
const BUFFERED_WITHIN: Duration = Duration::from_millis(5);

/// An open file or URL.
pub struct File {
    name: String,
    url: String,
    looped: bool,
    options: Options,
    stop: Stop,
    pacing: Pacing,
    open: OpenFile,
    video: Video,
    config: Option<Config>,
    /// The frame after the configuration that was just returned.
    queued: Option<Item>,
    sequence: u64,
    /// Frames since the start or the last repetition.
    given: u64,
    /// Broken frames that were dropped.
    broken: u64,
    /// What is wrong with the first of them, or why it is not passed through.
    fault: Option<Error>,
    /// What is buffered is not given.
    skips_buffered: bool,
    /// When the last packet of a live stream arrived.
    arrived: Micros,
    /// The display time of the film's last picture so far, and for how long it is shown, in µs.
    last_picture: Option<(i64, Micros)>,
    /// Leaves frames of what is live out, where fewer are asked for than come.
    thinning: Option<Thinning>,
}

/// An open input and its output, which comes first because it must be dropped before the memory of `input` that it may use.
struct OpenFile {
    output: FileOutput,
    /// Packets that were read ahead to learn the reorder delay.
    ahead: VecDeque<Packet>,
    /// The longest time, in µs, from decoding to display of any packet that was read ahead.
    reorder_delay: Micros,
    /// The time, in µs, from the first to the last packet that was read ahead.
    buffered: Micros,
    input: Input,
    ended: bool,
}

impl OpenFile {
    fn read(&mut self) -> Result<Option<Packet>> {
        if let Some(packet) = self.ahead.pop_front() {
            return Ok(Some(packet));
        }
        self.input.read()
    }

    /// Reads the first packets.
    fn read_ahead(&mut self, video: &Video) {
        let usual = interval(video).as_micros() as Micros;
        let least = if video.reorders { READ_AHEAD_REORDERED } else { 1 };
        while self.ahead.len() < if video.is_finite() { READ_AHEAD } else { READ_AHEAD_LIVE } {
            let started = Instant::now();
            // The next read reports the same error.
            let Ok(Some(packet)) = self.input.read() else { break };
            self.ahead.push_back(packet);
            if !video.is_finite() && started.elapsed() > BUFFERED_WITHIN && self.ahead.len() >= least {
                break;
            }
        }
        let mut next = None;
        for packet in self.ahead.iter_mut().rev() {
            // Where a container states only display times, FFmpeg computes the decoding times of all but the first packets.
            packet.decoded = packet.decoded.or_else(|| next.map(|next: i64| next.saturating_sub_unsigned(usual)));
            self.reorder_delay = self.reorder_delay.max(timing::reorder_delay(packet.decoded, packet.shown));
            next = packet.decoded;
        }
        let last = self.ahead.back().and_then(|packet| packet.decoded);
        self.buffered = last.zip(next).and_then(|(last, first)| last.checked_sub(first)?.try_into().ok()).unwrap_or(0);
    }
}

/// What packets are converted to.
enum FileOutput {
    /// I420.
    Decoded(VideoDecoder),
    /// JPEGs, passed through.
    Jpeg(JpegEntry),
    /// H.264, passed through.
    H264(AccessUnits),
}

/// A picture, JPEG or access unit, and when to decode and display it, in µs on the video's own clock.
struct TimedFrame {
    codec: Codec,
    width: u16,
    height: u16,
    data: Bytes,
    keyframe: bool,
    decoded: Option<i64>,
    shown: Option<i64>,
}

impl File {
    /// Opens the file or URL.
    ///
    /// # Errors
    /// The file is missing, empty, or no video; the host does not respond.
    pub fn open(spec: &Spec, stop: &Stop) -> Result<Self> {
        let (name, source) = (spec.source.to_string(), spec.source.expose());
        let url = if is_url(source) { source.to_owned() } else { check_path(source, &name)? };
        let (open, video) = open_input(&url, &spec.options, stop).with_context(|| name.clone())?;
        let units = matches!(open.output, FileOutput::H264(_));
        let live = is_url(&name) && !video.is_finite();
        let mut pacing = Pacing::new(&spec.options, &video, is_url(&name), units);
        pacing.start(&open);
        Ok(Self {
            name,
            url,
            // What is live is opened again anyway, at a rate that its host can bear.
            looped: spec.options.looped && !live,
            options: spec.options.clone(),
            stop: stop.clone(),
            open,
            video,
            config: None,
            queued: None,
            sequence: 0,
            given: 0,
            broken: 0,
            fault: None,
            skips_buffered: matches!(pacing, Pacing::Unpaced) && live,
            arrived: 0,
            last_picture: None,
            thinning: spec.options.fps.filter(|_| live && !units).and_then(Thinning::new),
            pacing,
        })
    }

    /// Passes over what FFmpeg has buffered of a live stream while it opened it: a new viewer gets the present. H.264 that passes
    /// through needs those frames, and keeps their times. Returns the last frame where nothing follows: that of a still picture.
    fn skip_buffered(&mut self) -> Result<Option<TimedFrame>> {
        let mut last = None;
        for _ in 0..READ_AHEAD_LIVE {
            let started = Instant::now();
            let packet = self.open.read()?;
            if packet.is_some() && started.elapsed() > BUFFERED_WITHIN {
                self.open.ahead.extend(packet);
                break;
            }
            self.arrived = clock::now();
            let ended = packet.is_none();
            let mut frame = self.convert(packet);
            while let Some(pulled) = self.pull() {
                frame = Some(pulled);
            }
            self.sequence += u64::from(frame.is_some() && last.is_some());
            last = frame.or(last);
            if ended {
                return Ok(last);
            }
        }
        self.sequence += u64::from(last.is_some());
        Ok(None)
    }

    /// The next frame. Broken frames are dropped. `None` at the end.
    fn next_frame(&mut self) -> Result<Option<TimedFrame>> {
        if mem::take(&mut self.skips_buffered)
            && let Some(frame) = self.skip_buffered()?
        {
            return Ok(Some(frame));
        }
        while !self.stop.stopped() {
            if let Some(frame) = self.pull() {
                return Ok(Some(frame));
            }
            if self.open.ended {
                break;
            }
            let packet = self.open.read();
            self.arrived = clock::now();
            if let Ok(Some(packet)) = &packet {
                let lasts = packet.lasts.unwrap_or(interval(&self.video).as_micros() as Micros);
                self.last_picture = self.last_picture.max(packet.shown.map(|shown| (shown, lasts)));
            }
            if let Some(frame) = self.convert(packet?) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// The next picture that the decoder has ready.
    fn pull(&mut self) -> Option<TimedFrame> {
        loop {
            let FileOutput::Decoded(decoder) = &mut self.open.output else { return None };
            match decoder.pull() {
                Ok(picture) => {
                    let (picture, shown) = picture?;
                    let (width, height) = (picture.width() as u16, picture.height() as u16);
                    let (codec, data, decoded) = (Codec::I420, picture.into_data(), shown);
                    return Some(TimedFrame { codec, width, height, data, keyframe: true, decoded, shown });
                }
                Err(error) => self.drop_broken(&error),
            }
        }
    }

    /// Gives a packet to the decoder, or returns its frame where it passes through.
    fn convert(&mut self, packet: Option<Packet>) -> Option<TimedFrame> {
        self.open.ended = packet.is_none();
        match &mut self.open.output {
            FileOutput::Decoded(decoder) => {
                if let Err(error) = decoder.push(packet.as_ref()) {
                    self.drop_broken(&error);
                }
                None
            }
            FileOutput::Jpeg(_) => self.jpeg(packet?),
            FileOutput::H264(_) => self.access_unit(packet?),
        }
    }

    fn access_unit(&mut self, packet: Packet) -> Option<TimedFrame> {
        let FileOutput::H264(units) = &mut self.open.output else { return None };
        let (decoded, shown) = (packet.decoded, packet.shown);
        match units.convert(packet) {
            Ok(Some(AccessUnit { data, keyframe, size })) => {
                if let Some((width, height)) = size {
                    (self.video.width, self.video.height) = (width.into(), height.into());
                }
                // The size was checked when it was read.
                let (width, height) = (self.video.width as u16, self.video.height as u16);
                Some(TimedFrame { codec: Codec::H264, width, height, data, keyframe, decoded, shown })
            }
            Ok(None) => None,
            Err(error) => {
                self.drop_broken(&error);
                None
            }
        }
    }

    fn jpeg(&mut self, packet: Packet) -> Option<TimedFrame> {
        let (size, expected) = (jpeg::size(packet.data()), (self.video.width, self.video.height));
        let fits = |(width, height): (u16, u16)| (u32::from(width), u32::from(height)) == expected || expected.0 == 0;
        match size {
            // Two fields of interlaced video in a packet, or a kind of JPEG that only FFmpeg decodes.
            Ok(size) if self.given == 0 && !fits(size) => self.decode_from(&packet),
            Err(fault @ HeaderError::Unsupported(_)) => {
                self.fault.get_or_insert_with(|| fault.into());
                self.decode_from(&packet);
            }
            Err(fault) => self.drop_broken(&fault.into()),
            Ok(_) => return self.admit(packet),
        }
        None
    }

    fn admit(&mut self, packet: Packet) -> Option<TimedFrame> {
        let FileOutput::Jpeg(entry) = &mut self.open.output else { return None };
        let (decoded, shown) = (packet.decoded, packet.shown);
        let orientation = self.video.presentation.orientation;
        match entry.admit(&packet.into_bytes()).and_then(|jpeg| entry.turn(jpeg, orientation)) {
            Ok(Jpeg { data, width, height }) => {
                Some(TimedFrame { codec: Codec::Jpeg, width, height, data, keyframe: true, decoded, shown })
            }
            Err(error) => {
                self.drop_broken(&error);
                None
            }
        }
    }

    /// Switches from passthrough to decoding, from this packet on.
    fn decode_from(&mut self, packet: &Packet) {
        let decoder = self.open.input.decoder(Threads::LowDelay);
        let decoder = decoder.map(|decoder| decoder.deinterlaced(self.options.deinterlace()));
        match decoder.and_then(|mut decoder| decoder.push(Some(packet)).map(|()| decoder)) {
            Ok(decoder) => self.open.output = FileOutput::Decoded(decoder),
            Err(error) => self.drop_broken(&error),
        }
    }

    fn drop_broken(&mut self, error: &Error) {
        if self.broken == 0 {
            tracing::warn!("{}: frame {} dropped: {error}", self.name, self.sequence);
        }
        self.fault.get_or_insert_with(|| error.clone());
        self.broken += 1;
        self.sequence += 1;
    }

    /// Handles the end of the input. Returns whether the source ends too, or else repeats.
    fn end(&mut self) -> Result<bool> {
        if self.stop.stopped() {
            return Ok(true);
        }
        if self.broken > 0 {
            tracing::warn!("{}: {} broken frames were dropped", self.name, self.broken);
        }
        if self.given == 0 {
            let why = self.fault.as_ref().map(ToString::to_string);
            let why = why.unwrap_or_else(|| "the video is broken, or ends before its first frame".into());
            bail!(InvalidData, "{}: no frame can be decoded: {why}", self.name);
        }
        let lasts = self.last_picture.take().map_or(interval(&self.video).as_micros() as Micros, |(_, lasts)| lasts);
        if self.pacing.wait_for_end(lasts, &self.stop) || !self.looped {
            return Ok(true);
        }
        (self.given, self.broken) = (0, 0);
        match open_input(&self.url, &self.options, &self.stop) {
            Ok((open, video)) => {
                self.pacing.start(&open);
                (self.open, self.video) = (open, video);
            }
            // The stop ended the opening.
            Err(_) if self.stop.stopped() => return Ok(true),
            Err(error) => return Err(error.context(self.name.clone())),
        }
        Ok(false)
    }

    fn config(&self, frame: &TimedFrame) -> Config {
        let millifps = self.pacing.fps(&self.video).map_or(0, |fps| (fps * 1000.0).round() as u32);
        let mut config = Config::new(frame.codec, frame.width, frame.height, millifps);
        if frame.codec == Codec::H264 {
            config.presentation = self.video.presentation;
        }
        config
    }

    /// Waits until the frame is due; `None` when the stop was raised first.
    fn paced(&mut self, frame: TimedFrame) -> Option<Item> {
        let usual = interval(&self.video);
        let mut captured = None;
        let stopped = match &mut self.pacing {
            Pacing::Decoding(timing) => {
                let usual = usual.as_micros() as Micros;
                let (due, picture) = timing.place(frame.decoded, frame.shown, usual, self.arrived);
                captured = Some(picture);
                let wait = if timing.waits() { due.saturating_sub(clock::now()) } else { 0 };
                self.stop.wait(Duration::from_micros(wait))
            }
            pacing => pacing.wait(frame.shown, usual, &self.stop),
        };
        if stopped {
            return None;
        }
        let live = matches!(self.pacing, Pacing::Unpaced) && !self.video.is_finite();
        let captured = captured.unwrap_or_else(|| if live { self.arrived } else { clock::now() });
        let times = Times { captured, ..Times::default() };
        let frame = Frame { sequence: self.sequence, keyframe: frame.keyframe, times, data: frame.data };
        self.sequence += 1;
        self.given += 1;
        Some(Item::Frame(frame))
    }
}

impl Source for File {
    fn next(&mut self) -> Result<Option<Item>> {
        if let Some(frame) = self.queued.take() {
            return Ok(Some(frame));
        }
        let frame = loop {
            let frame = self.next_frame().with_context(|| format!("{} after {} frames", self.name, self.sequence))?;
            match frame {
                Some(_) if self.thinning.as_mut().is_some_and(|thinning| !thinning.takes(self.arrived)) => {}
                Some(frame) => break frame,
                None if self.end()? => return Ok(None),
                None => {}
            }
        };
        let config = self.config(&frame);
        let Some(frame) = self.paced(frame) else { return Ok(None) };
        if self.config.as_ref() == Some(&config) {
            return Ok(Some(frame));
        }
        self.queued = Some(frame);
        self.config = Some(config.clone());
        Ok(Some(Item::Config(config)))
    }

    fn is_finite(&self) -> bool {
        self.video.is_finite()
    }

    fn describe(&self) -> String {
        let Video { width, height, codec, fps, .. } = &self.video;
        let rate = fps.map_or(String::new(), |fps| format!(" at {} fps", (fps * 100.0).round() / 100.0));
        format!("{}: {width}x{height} {codec}{rate}", self.name)
    }
}

/// Opens a URL on a thread of its own, which is left behind where FFmpeg does not notice the stop: while it waits for the system's
/// resolver.
fn open_url(url: String, options: Vec<(&'static str, &'static str)>, stop: &Stop) -> Result<Input> {
    let (tell, told) = mpsc::channel();
    let _stopped = stop.on_stop({
        let tell = tell.clone();
        // The opener is gone where it was faster.
        move || drop(tell.send(None))
    });
    let opening = {
        let stop = stop.clone();
        move || drop(tell.send(Some(Input::open(&url, None, &options, &stop, TIMEOUT))))
    };
    thread::Builder::new().name("open".into()).spawn(opening).context("cannot be opened")?;
    let outcome = match told.recv() {
        Ok(None) => told.recv_timeout(STOPPING).ok().flatten(),
        outcome => outcome.ok().flatten(),
    };
    outcome.unwrap_or_else(|| Err(error!(Stopped, "stopped while it was being opened")))
}

fn open_input(url: &str, how: &Options, stop: &Stop) -> Result<(OpenFile, Video)> {
    let passthrough = how.codec == CodecChoice::Copy;
    let rtsp = url.starts_with("rtsp").then_some(("rtsp_flags", "prefer_tcp"));
    // Else FFmpeg reads twenty frames of a live stream to count how many come in a second.
    let no_probe = is_url(url).then_some(("fpsprobesize", "0"));
    let options: Vec<_> = rtsp.into_iter().chain(no_probe).collect();
    let input = if is_url(url) {
        open_url(url.to_owned(), options, stop).map_err(|error| match error {
            Error::PermissionDenied(_) if rtsp.is_some() => rtsp_password::explain(error, url, stop),
            _ => explain_network_error(error),
        })?
    } else {
        Input::open(url, None, &options, stop, TIMEOUT)?
    };
    let video = input.video();
    let threads = if video.is_finite() { Threads::Frames } else { Threads::LowDelay };
    let output = match video.codec.as_str() {
        // JPEGs pass through, where nothing must be done to their pixels.
        "mjpeg" if passthrough || !(how.deinterlaced || video.interlaced || video.has_odd_pixels()) => {
            check_untouched(how, &video)?;
            FileOutput::Jpeg(JpegEntry::default())
        }
        "h264" if passthrough => {
            limits::check_size(video.width, video.height).map_err(|why| error!(InvalidInput, "{why}"))?;
            check_untouched(how, &video)?;
            FileOutput::H264(input.access_units()?)
        }
        other if passthrough => bail!(
            Unsupported,
            "holds {other}, and only H.264 and JPEG can pass through: leave 'copy' out to re-encode the video"
        ),
        _ => FileOutput::Decoded(input.decoder(threads)?.deinterlaced(how.deinterlace())),
    };
    let mut open = OpenFile { output, ahead: VecDeque::new(), reorder_delay: 0, buffered: 0, input, ended: false };
    if matches!(open.output, FileOutput::H264(_)) {
        open.read_ahead(&video);
    }
    Ok((open, video))
}

/// Whether passthrough does what was asked for; what it leaves as it is is said.
fn check_untouched(how: &Options, video: &Video) -> Result<()> {
    ensure!(!how.deinterlaced, InvalidInput, "what passes through cannot be deinterlaced: leave 'copy' out");
    if video.interlaced {
        tracing::warn!(
            "the pictures are interlaced, and pass through as they are: leave 'copy' out to deinterlace them"
        );
    }
    if video.has_odd_pixels() && video.codec == "mjpeg" {
        tracing::warn!("the pixels are not square, and JPEGs cannot say so: leave 'copy' out to make them square");
    }
    Ok(())
}

/// Adds to an error of the system what it means for an address, and what to try.
fn explain_network_error(error: Error) -> Error {
    match error {
        Error::Refused(_) => error.context("nothing listens at this address: check the port"),
        // FFmpeg says so of an RTSP host without a route, too.
        Error::InvalidData(_) => error.context("the host cannot be reached, or what it serves is no video"),
        // FFmpeg reports an unknown host as an input/output error.
        Error::ConnectionLost(_) => error.context("the host is unknown, or has closed the connection: check its name"),
        _ => error,
    }
}

fn is_url(source: &str) -> bool {
    source.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    })
}

/// FFmpeg's URL of a file, after a check that the file exists and is not empty.
fn check_path(path: &str, name: &str) -> Result<String> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => error!(
            NotFound,
            "{name}: no such file, and no other source has this name: {}",
            if path.contains('@') {
                "an address begins with rtsp:// or http://"
            } else {
                "'framewire send --help' lists the sources"
            }
        ),
        _ => Error::from(error).context(format!("{name} cannot be opened")),
    })?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        bail!(InvalidInput, "{name} is a directory: name a video file in it");
    }
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
        bail!(InvalidInput, "{name} is not a file: pipe its data into the source '-'");
    }
    ensure!(metadata.len() > 0 || !kind.is_file(), InvalidData, "{name} is empty");
    Ok(format!("file:{}", Path::new(path).display()))
}

#[cfg(test)]
mod tests;
