//! Files, and any URL that FFmpeg opens, as sources.

mod timing;

use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::FileTypeExt,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framewire_proto::{
    Codec, Config, Frame, Micros, Times,
    jpeg::{self, Fault},
    limits,
};

use self::timing::Timing;
use super::{Item, Kind, Options, Source, Spec, pace::Pace};
use crate::error::{Context as _, Error, Result, bail, ensure, error};
use crate::{
    clock,
    media::{
        huffman,
        input::{AccessUnit, AccessUnits, Input, Packet, Threads, Video, VideoDecoder},
    },
    stop::Stop,
    transcode::encode::CodecChoice,
};

/// The row of [`super::SOURCES`] for URLs.
pub const URL: Kind = Kind {
    usage: "URL",
    summary: "whatever FFmpeg opens: rtsp://, http://, udp://, …",
    live: true,
    sized: false,
    matches: is_url,
    open: |spec, stop| Ok(Box::new(File::open(spec, stop)?)),
};

/// The row of [`super::SOURCES`] for files: it takes whatever no other takes.
pub const PATH: Kind = Kind {
    usage: "PATH",
    summary: "a video file, played at its own pace",
    live: false,
    sized: false,
    matches: |_| true,
    open: |spec, stop| Ok(Box::new(File::open(spec, stop)?)),
};

/// A host that does not answer and a stream that says nothing are given up after this long.
const PATIENCE: Duration = Duration::from_secs(8);
/// Frames are this far apart where nothing says how far.
const USUAL: Duration = Duration::from_millis(40);
/// A film that came later than this, or whose times jump so far, goes on from now.
const JUMP: Duration = Duration::from_secs(1);

/// Packets of a film that are read before the first is given: twice as many as may be held back (ITU-T H.264, section A.3.1).
const AHEAD: usize = 32;
/// Of what is live as many as are there at once, which FFmpeg has read to see what it is, up to this many; and where there are
/// B-frames at least a few, though they have to be waited for.
const AHEAD_LIVE: usize = 256;
const AHEAD_REORDERED: usize = 8;
/// What takes longer to read, was not there.
const AT_ONCE: Duration = Duration::from_millis(5);

/// An open file or URL.
pub struct File {
    name: String,
    url: String,
    looped: bool,
    copies: bool,
    stop: Stop,
    pace: Pacing,
    playing: Playing,
    video: Video,
    config: Option<Config>,
    waiting: Option<Item>,
    sequence: u64,
    /// Frames given since the beginning or the last repetition.
    given: u64,
    broken: u64,
    /// When the last packet came, for what is live.
    arrived: Micros,
}

/// The input and what its packets become. That comes first, to be dropped before the memory that it may use.
struct Playing {
    form: Form,
    /// Packets that were read to learn how far the order of decoding is from that of showing.
    ahead: VecDeque<Packet>,
    /// The longest time, in µs, that any of those is shown after it is decoded.
    reordering: Micros,
    /// How long, in µs, before the last of those the first was due.
    lead: Micros,
    input: Input,
    ended: bool,
}

impl Playing {
    fn read(&mut self) -> Result<Option<Packet>> {
        if let Some(packet) = self.ahead.pop_front() {
            return Ok(Some(packet));
        }
        self.input.read()
    }

    /// Reads the first packets of such a video.
    fn look_ahead(&mut self, video: &Video) {
        let usual = interval(video).as_micros() as Micros;
        let least = if video.reorders { AHEAD_REORDERED } else { 1 };
        while self.ahead.len() < if video.finite { AHEAD } else { AHEAD_LIVE } {
            let begun = Instant::now();
            // An error is there again for who reads on.
            let Ok(Some(packet)) = self.input.read() else { break };
            self.ahead.push_back(packet);
            if !video.finite && begun.elapsed() > AT_ONCE && self.ahead.len() >= least {
                break;
            }
        }
        let mut next = None;
        for packet in self.ahead.iter_mut().rev() {
            // Where a container only tells when frames are shown, FFmpeg knows the rest of all but the first ones.
            packet.decoded = packet.decoded.or_else(|| next.map(|next: i64| next.saturating_sub_unsigned(usual)));
            self.reordering = self.reordering.max(timing::ahead(packet.decoded, packet.shown));
            next = packet.decoded;
        }
        let last = self.ahead.back().and_then(|packet| packet.decoded);
        self.lead = last.zip(next).and_then(|(last, first)| last.checked_sub(first)?.try_into().ok()).unwrap_or(0);
    }
}

/// What packets become.
enum Form {
    Pictures(VideoDecoder),
    /// JPEGs as they are.
    Jpegs,
    /// H.264 as it is.
    AccessUnits(AccessUnits),
}

/// When frames are given.
enum Pacing {
    /// As soon as they are there.
    Unpaced,
    /// At this rate.
    Even(Pace, f64),
    /// At their own times.
    Own(Timeline),
    /// Passed on in an order that is not that of showing.
    AccessUnits(Timing),
}

/// A picture, a JPEG or an access unit, and when it is to be decoded and shown, in µs on the video's own clock.
struct Ready {
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
    /// It is missing, empty, no file, no video, or does not answer.
    pub fn open(spec: &Spec, stop: &Stop) -> Result<Self> {
        let name = spec.source.clone();
        let url = if is_url(&name) { name.clone() } else { check_path(&name)? };
        let copies = spec.options.codec == CodecChoice::Copy;
        let (playing, video) = play(&url, copies, stop).with_context(|| name.clone())?;
        let units = matches!(playing.form, Form::AccessUnits(_));
        let mut pace = Pacing::new(&spec.options, &video, is_url(&name), units);
        pace.begins(&playing);
        Ok(Self {
            name,
            url,
            looped: spec.options.looped,
            copies,
            stop: stop.clone(),
            pace,
            playing,
            video,
            config: None,
            waiting: None,
            sequence: 0,
            given: 0,
            broken: 0,
            arrived: 0,
        })
    }

    /// The next frame's picture, JPEG or access unit, past all that is broken; `None` at the end.
    fn ready(&mut self) -> Result<Option<Ready>> {
        loop {
            if self.stop.stopped() {
                return Ok(None);
            }
            if let Form::Pictures(decoder) = &mut self.playing.form {
                match decoder.pull() {
                    Ok(Some((picture, shown))) => {
                        let (width, height) = (picture.width() as u16, picture.height() as u16);
                        let (codec, data, decoded) = (Codec::I420, picture.into_data(), shown);
                        return Ok(Some(Ready { codec, width, height, data, keyframe: true, decoded, shown }));
                    }
                    Ok(None) if self.playing.ended => return Ok(None),
                    Ok(None) => {}
                    Err(error) => self.skip(&error),
                }
            } else if self.playing.ended {
                return Ok(None);
            }
            let packet = self.playing.read();
            self.arrived = clock::now();
            if let Some(ready) = self.take(packet?) {
                return Ok(Some(ready));
            }
        }
    }

    /// Hands a packet to the decoder, or makes a frame of it where it is passed on.
    fn take(&mut self, packet: Option<Packet>) -> Option<Ready> {
        self.playing.ended = packet.is_none();
        match &mut self.playing.form {
            Form::Pictures(decoder) => {
                if let Err(error) = decoder.push(packet.as_ref()) {
                    self.skip(&error);
                }
                None
            }
            Form::Jpegs => self.jpeg(packet?),
            Form::AccessUnits(_) => self.unit(packet?),
        }
    }

    /// The access unit in this packet.
    fn unit(&mut self, packet: Packet) -> Option<Ready> {
        let Form::AccessUnits(units) = &mut self.playing.form else { return None };
        let (decoded, shown) = (packet.decoded, packet.shown);
        match units.convert(packet) {
            Ok(Some(AccessUnit { data, keyframe })) => {
                // They were checked when it was opened.
                let (width, height) = (self.video.width as u16, self.video.height as u16);
                Some(Ready { codec: Codec::H264, width, height, data, keyframe, decoded, shown })
            }
            Ok(None) => None,
            Err(error) => {
                self.skip(&error);
                None
            }
        }
    }

    fn jpeg(&mut self, packet: Packet) -> Option<Ready> {
        let (size, expected) = (jpeg::size(packet.data()), (self.video.width, self.video.height));
        let fits = |(width, height): (u16, u16)| (u32::from(width), u32::from(height)) == expected || expected.0 == 0;
        match size {
            // Fields of interlaced video, two in a packet, or a kind of JPEG that only FFmpeg knows.
            Ok(size) if self.given == 0 && !fits(size) => self.decode(&packet),
            Err(Fault::Unsupported(_)) if self.given == 0 => self.decode(&packet),
            Err(fault) => self.skip(&fault.into()),
            Ok((width, height)) => {
                let (decoded, shown) = (packet.decoded, packet.shown);
                let data = huffman::complete(packet.into_bytes());
                return Some(Ready { codec: Codec::Jpeg, width, height, data, keyframe: true, decoded, shown });
            }
        }
        None
    }

    /// Decodes from this packet on what was meant to be passed on.
    fn decode(&mut self, packet: &Packet) {
        let decoder = self.playing.input.decoder(Threads::LowDelay);
        match decoder.and_then(|mut decoder| decoder.push(Some(packet)).map(|()| decoder)) {
            Ok(decoder) => self.playing.form = Form::Pictures(decoder),
            Err(error) => self.skip(&error),
        }
    }

    fn skip(&mut self, error: &Error) {
        if self.broken == 0 {
            tracing::warn!("{}: frame {} is passed over: {error}", self.name, self.sequence);
        }
        self.broken += 1;
        self.sequence += 1;
    }

    /// The end: of the source, or of this repetition.
    fn end(&mut self) -> Result<bool> {
        if self.stop.stopped() {
            return Ok(true);
        }
        if self.broken > 0 {
            tracing::warn!("{}: {} broken frames were passed over", self.name, self.broken);
        }
        ensure!(
            self.given > 0,
            InvalidData,
            "{}: no frame of it can be decoded: it is broken, or ends before its first frame",
            self.name
        );
        if !self.looped {
            return Ok(true);
        }
        (self.given, self.broken) = (0, 0);
        match play(&self.url, self.copies, &self.stop) {
            Ok((playing, _)) => {
                self.pace.begins(&playing);
                self.playing = playing;
            }
            // It need not begin again any more.
            Err(_) if self.stop.stopped() => return Ok(true),
            Err(error) => return Err(error.context(self.name.clone())),
        }
        Ok(false)
    }

    fn config(&self, ready: &Ready) -> Config {
        let millifps = self.pace.fps(&self.video).map_or(0, |fps| (fps * 1000.0).round() as u32);
        Config { codec: ready.codec, width: ready.width, height: ready.height, millifps, extra: Bytes::new() }
    }

    /// The frame, once it is due; `None` when the stop was raised first.
    fn frame(&mut self, ready: Ready) -> Option<Item> {
        let usual = interval(&self.video);
        let mut captured = None;
        let stopped = match &mut self.pace {
            Pacing::AccessUnits(timing) => {
                let usual = usual.as_micros() as Micros;
                let (due, picture) = timing.place(ready.decoded, ready.shown, usual, self.arrived);
                captured = Some(picture);
                let wait = if timing.waits() { due.saturating_sub(clock::now()) } else { 0 };
                self.stop.wait(Duration::from_micros(wait))
            }
            pace => pace.wait(ready.shown, usual, &self.stop),
        };
        if stopped {
            return None;
        }
        let live = matches!(self.pace, Pacing::Unpaced) && !self.video.finite;
        let captured = captured.unwrap_or_else(|| if live { self.arrived } else { clock::now() });
        let times = Times { captured, ..Times::default() };
        let frame = Frame { sequence: self.sequence, keyframe: ready.keyframe, times, data: ready.data };
        self.sequence += 1;
        self.given += 1;
        Some(Item::Frame(frame))
    }
}

impl Source for File {
    fn next(&mut self) -> Result<Option<Item>> {
        if let Some(frame) = self.waiting.take() {
            return Ok(Some(frame));
        }
        let ready = loop {
            let ready = self.ready().with_context(|| format!("{} after {} frames", self.name, self.sequence))?;
            match ready {
                Some(ready) => break ready,
                None if self.end()? => return Ok(None),
                None => {}
            }
        };
        let config = self.config(&ready);
        let Some(frame) = self.frame(ready) else { return Ok(None) };
        if self.config.as_ref() == Some(&config) {
            return Ok(Some(frame));
        }
        self.waiting = Some(frame);
        self.config = Some(config.clone());
        Ok(Some(Item::Config(config)))
    }

    fn describe(&self) -> String {
        let Video { width, height, codec, fps, .. } = &self.video;
        let rate = fps.map_or(String::new(), |fps| format!(" at {} fps", (fps * 100.0).round() / 100.0));
        format!("{}: {width}x{height} {codec}{rate}", self.name)
    }
}

impl Pacing {
    fn new(options: &Options, video: &Video, url: bool, units: bool) -> Self {
        // What is live comes at its own pace, and would only grow older by waiting; but segments come in bursts.
        let live = url && !video.finite && !["hls", "dash"].iter().any(|name| video.format.contains(name));
        if units {
            let own = video.fps.unwrap_or(1.0 / USUAL.as_secs_f64());
            let pace = match options.fps {
                _ if live => timing::Pace::Arrival,
                None => timing::Pace::Own(1.0),
                Some(fps) if fps > 0.0 => timing::Pace::Own(fps / own),
                Some(_) => timing::Pace::Taken,
            };
            return Self::AccessUnits(Timing::new(pace));
        }
        match options.fps {
            Some(fps) => Pace::new(fps).map_or(Self::Unpaced, |pace| Self::Even(pace, fps)),
            None if live => Self::Unpaced,
            None => Self::Own(Timeline::default()),
        }
    }

    /// The first packets are known.
    fn begins(&mut self, playing: &Playing) {
        if let Self::AccessUnits(timing) = self {
            timing.reorders(playing.reordering);
            timing.leads(playing.lead);
        }
    }

    /// Waits until a frame is due, or the stop is raised; returns whether it is.
    fn wait(&mut self, shown: Option<i64>, usual: Duration, stop: &Stop) -> bool {
        match self {
            Self::Unpaced | Self::AccessUnits(_) => stop.stopped(),
            Self::Even(pace, _) => pace.wait(stop),
            Self::Own(timeline) => {
                let now = Instant::now();
                stop.wait(timeline.due(shown, usual, now).saturating_duration_since(now))
            }
        }
    }

    fn fps(&self, video: &Video) -> Option<f64> {
        match self {
            Self::Even(_, fps) => Some(*fps),
            Self::AccessUnits(timing) => video.fps.map(|fps| fps * timing.speed()),
            Self::Unpaced | Self::Own(_) => video.fps,
        }
    }
}

/// When each frame of a film is due.
#[derive(Default)]
struct Timeline {
    last: Option<(Instant, Option<i64>)>,
}

impl Timeline {
    /// When the frame that is to be shown at this time of the film is due. Each is counted from the one before, so a jump of
    /// the film's clock costs one usual interval, and a film begins again without a gap.
    fn due(&mut self, shown: Option<i64>, usual: Duration, now: Instant) -> Instant {
        let due = match self.last {
            None => now,
            Some((last, before)) => {
                let step = shown.zip(before).and_then(|(shown, before)| u64::try_from(shown.checked_sub(before)?).ok());
                let step = step.map(Duration::from_micros).filter(|step| *step <= JUMP).unwrap_or(usual);
                // What is very late is not hurried after.
                if now > last + step + JUMP { now } else { last + step }
            }
        };
        self.last = Some((due, shown));
        due
    }
}

/// How far apart frames usually are.
fn interval(video: &Video) -> Duration {
    video.fps.map_or(USUAL, |fps| Duration::from_secs_f64(1.0 / fps))
}

fn play(url: &str, copies: bool, stop: &Stop) -> Result<(Playing, Video)> {
    let options: &[(&str, &str)] = if url.starts_with("rtsp") { &[("rtsp_flags", "prefer_tcp")] } else { &[] };
    let input = Input::open(url, None, options, stop, PATIENCE)
        .map_err(|error| if is_url(url) { error_of_address(error) } else { error })?;
    let video = input.video();
    let threads = if video.finite { Threads::Frames } else { Threads::LowDelay };
    let form = match video.codec.as_str() {
        // JPEGs are passed on as they are, asked for or not.
        "mjpeg" => Form::Jpegs,
        "h264" if copies => {
            limits::check_size(video.width, video.height).map_err(|why| error!(InvalidInput, "{why}"))?;
            Form::AccessUnits(input.access_units()?)
        }
        other if copies => bail!(
            Unsupported,
            "holds {other}, and only H.264 and JPEG are passed on as they are: leave `copy` out, and it is coded anew"
        ),
        _ => Form::Pictures(input.decoder(threads)?),
    };
    let mut playing = Playing { form, ahead: VecDeque::new(), reordering: 0, lead: 0, input, ended: false };
    if matches!(playing.form, Form::AccessUnits(_)) {
        playing.look_ahead(&video);
    }
    Ok((playing, video))
}

/// What the system's mere word means where an address was opened.
fn error_of_address(error: Error) -> Error {
    match error {
        Error::Refused(_) => error.context("nobody listens there: is the port right?"),
        // FFmpeg calls it an input/output error when a name has no address.
        Error::ConnectionLost(_) => error.context("the host is unknown or broke off: is its name right?"),
        _ => error,
    }
}

fn is_url(source: &str) -> bool {
    source.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    })
}

/// A path as FFmpeg's URL, when there is a file.
fn check_path(path: &str) -> Result<String> {
    let about = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => error!(
            NotFound,
            "{path}: there is no such file, and no other source of this name: `framewire send --help` lists them"
        ),
        _ => Error::from(error).context(format!("{path}: cannot be opened")),
    })?;
    let kind = about.file_type();
    if kind.is_dir() {
        bail!(InvalidInput, "{path}: is a directory: name a video file in it");
    }
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
        bail!(InvalidInput, "{path}: is no file: pipe what it gives into the source `-`");
    }
    ensure!(about.len() > 0 || !kind.is_file(), InvalidData, "{path}: is empty");
    Ok(format!("file:{}", Path::new(path).display()))
}

#[cfg(test)]
mod tests;
