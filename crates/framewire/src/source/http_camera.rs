//! Cameras that send JPEGs over HTTP: one after another in a response that does not end, or one for each request.
//!
//! FFmpeg refuses many of these responses, and gives a picture without a length only when the next one has come; so they are
//! read here. Whatever else has an `http://` address is left to FFmpeg.

mod client;

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framewire_proto::{Codec, Config, Frame, Limits, Times, wire::multipart::Reader};

use self::client::{Client, Response};
use super::{Item, Kind, Source, Spec, file::File, pace::Thinning, reopen::Reopening};
use crate::{
    bad_frames::BadFrames,
    clock,
    error::{Context as _, Result, bail},
    media::jpeg::{Jpeg, JpegEntry},
    stop::Stop,
};

/// The row of [`super::SOURCES`].
pub const KIND: Kind = Kind {
    usage: "http://HOST/PATH",
    summary: "a camera's stream of JPEGs or still picture, or any film that FFmpeg opens",
    live: true,
    sized: false,
    honours: &["fps", "loop", "wait", "codec=copy", "max-frame"],
    matches: |source| source.starts_with("http://"),
    open: |spec, stop| Reopening::open(spec, stop, open),
};

/// How often a still picture is asked for where no rate is given, in frames per second.
const STILL_FPS: f64 = 1.0;
/// How often at most.
const FASTEST_STILL_FPS: f64 = 30.0;
/// A picture must be whole within this time.
const PICTURE_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks what the address gives, and opens it as that.
fn open(spec: &Spec, stop: &Stop) -> Result<Box<dyn Source>> {
    let mut client = Client::new(&spec.source, stop)?;
    let mut response = client.get().with_context(|| &spec.source)?;
    if !response.is_jpegs(&client).with_context(|| &spec.source)? {
        // The connection is closed first: some cameras have room for one.
        drop(response);
        drop(client);
        return Ok(Box::new(File::open(spec, stop)?));
    }
    Ok(Box::new(HttpCamera::new(spec, stop, client, response)))
}

/// A camera that sends JPEGs.
struct HttpCamera {
    name: String,
    stop: Stop,
    fps: Option<f64>,
    client: Client,
    /// The response that is being read; `None` between still pictures.
    response: Option<Response>,
    limits: Limits,
    reader: Reader,
    /// Pictures that this response has given.
    pictures: u64,
    /// Pictures of this response that the reader has passed over.
    passed_over: u64,
    /// When the next still picture is due.
    due: Instant,
    /// When the last picture came, or the request was sent.
    progress: Instant,
    thinning: Option<Thinning>,
    entry: JpegEntry,
    bad: BadFrames,
    config: Option<Config>,
    queue: VecDeque<Item>,
    sequence: u64,
}

impl HttpCamera {
    fn new(spec: &Spec, stop: &Stop, client: Client, response: Response) -> Self {
        let fps = spec.options.fps;
        let now = Instant::now();
        let mut this = Self {
            name: spec.source.to_string(),
            stop: stop.clone(),
            fps,
            client,
            response: None,
            limits: spec.options.limits(),
            reader: Reader::new("", &spec.options.limits()),
            pictures: 0,
            passed_over: 0,
            due: now,
            progress: now,
            thinning: fps.and_then(Thinning::new),
            entry: JpegEntry::default(),
            bad: BadFrames::default(),
            config: None,
            queue: VecDeque::new(),
            sequence: 0,
        };
        this.begin(response);
        this
    }

    fn begin(&mut self, response: Response) {
        let fps = self.fps.filter(|fps| *fps > 0.0).map_or(STILL_FPS, |fps| fps.min(FASTEST_STILL_FPS));
        let fps = if self.fps == Some(0.0) { FASTEST_STILL_FPS } else { fps };
        self.progress = Instant::now();
        // A camera that answers slowly is not asked faster afterwards.
        self.due = self.due.max(self.progress) + Duration::from_secs_f64(1.0 / fps);
        self.reader = Reader::new(response.content_type(), &self.limits);
        (self.pictures, self.passed_over) = (0, 0);
        self.response = Some(response);
    }

    /// Reads the next bytes, and queues the pictures that are whole.
    fn read(&mut self) -> Result<()> {
        let Some(response) = &mut self.response else {
            if !self.stop.wait(self.due.saturating_duration_since(Instant::now())) {
                let response = self.client.get()?;
                self.begin(response);
            }
            return Ok(());
        };
        let bytes = response.chunk(&self.client)?;
        if self.stop.stopped() {
            return Ok(());
        }
        let Some(bytes) = bytes else { return self.end_response() };
        self.reader.push(&bytes);
        while let Some(picture) = self.reader.pull() {
            self.take(&picture);
        }
        self.count_passed_over();
        self.check_progress()
    }

    /// The end of a response is that of a still picture, or a camera has closed its stream.
    fn end_response(&mut self) -> Result<()> {
        let reader = mem::replace(&mut self.reader, Reader::new("", &self.limits));
        if let Some(picture) = reader.finish() {
            self.take(&picture);
        }
        self.response = None;
        match self.pictures {
            0 => bail!(InvalidData, "the camera's answer holds no whole JPEG"),
            1 => Ok(()),
            _ => bail!(ConnectionLost, "the camera has closed the stream"),
        }
    }

    /// Queues a picture.
    fn take(&mut self, picture: &Bytes) {
        let now = clock::now();
        self.progress = Instant::now();
        self.pictures += 1;
        if self.pictures > 1 && self.thinning.as_mut().is_some_and(|thinning| !thinning.takes(now)) {
            return;
        }
        match self.entry.admit(picture) {
            Ok(Jpeg { data, width, height }) => {
                let config = Config::new(Codec::Jpeg, width, height, 0);
                if self.config.as_ref() != Some(&config) {
                    self.config = Some(config.clone());
                    self.queue.push_back(Item::Config(config));
                }
                let times = Times { captured: now, ..Times::default() };
                self.queue.push_back(Item::Frame(Frame { sequence: self.sequence, keyframe: true, times, data }));
            }
            Err(error) => self.bad.count(&self.name, error),
        }
        self.sequence += 1;
    }

    /// Viewers see a gap in the numbers where pictures were passed over.
    fn count_passed_over(&mut self) {
        let passed_over = self.reader.too_large() + self.reader.broken();
        for _ in self.passed_over..passed_over {
            let why = if self.reader.too_large() > 0 { self.over_the_limit() } else { "it is no whole JPEG".into() };
            self.bad.count(&self.name, why);
            self.sequence += 1;
        }
        self.passed_over = passed_over;
    }

    fn over_the_limit(&self) -> String {
        format!("it is over the limit of {} KiB: raise it with #max-frame", self.limits.frame >> 10)
    }

    /// # Errors
    /// No picture was whole for too long.
    fn check_progress(&self) -> Result<()> {
        let seconds = PICTURE_TIMEOUT.as_secs();
        if self.progress.elapsed() <= PICTURE_TIMEOUT {
            return Ok(());
        }
        if self.reader.too_large() > 0 {
            bail!(Timeout, "no picture came for {seconds} s that could be taken: {}", self.over_the_limit());
        }
        bail!(Timeout, "no whole JPEG came for {seconds} s: does the camera send another kind of picture?")
    }
}

impl Source for HttpCamera {
    fn next(&mut self) -> Result<Option<Item>> {
        while !self.stop.stopped() {
            if let Some(item) = self.queue.pop_front() {
                return Ok(Some(item));
            }
            self.read().with_context(|| &self.name)?;
        }
        Ok(None)
    }

    fn describe(&self) -> String {
        format!("{}: JPEGs over HTTP", self.name)
    }
}

#[cfg(test)]
mod tests;
