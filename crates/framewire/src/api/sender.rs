//! Sending frames to a hub, or to a tutorial's script.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    thread,
    time::Duration,
};

use framewire_proto::{
    Codec, Name,
    wire::tutorial::{Size, Tutorial},
};

use tokio::sync::watch;

use super::{
    hub::Images,
    image::Image,
    local::{self, Feeding, LocalHub},
    stats,
};
use crate::{
    clock,
    error::{Error, Result, ensure, error},
    hub::{self, block_within},
    net,
    sink::{
        self, Outlet, Sent,
        kind::{Sink, Way},
    },
    source::{self, Options, Spec as Source, feed::Feed, honours::Use},
    stop::{Stop, StopOnDrop},
    transcode::encode::{self, CodecChoice},
};

/// How long the last picture may take: a session with a hub gives up after two seconds.
const FINISH: Duration = Duration::from_secs(3);

/// Sends frames to a hub over the network: the newest one, encoded when the link has room for it and as large as the link
/// carries. It reconnects by itself, and encodes nothing while nobody watches.
///
/// ```no_run
/// use framewire::{Image, PixelFormat, Sender};
///
/// let mut sender = Sender::open("fw://127.0.0.1:7070/door")?;
/// for brightness in 0..=255 {
///     sender.send(Image::new(PixelFormat::Bgr, 640, 480, vec![brightness; 3 * 640 * 480])?)?;
/// }
/// sender.finish()?;
/// # Ok::<(), framewire::Error>(())
/// ```
pub struct Sender {
    /// This program's pictures; `None` where a source is forwarded.
    images: Option<Images>,
    sending: Option<Feeding>,
    /// Why sending has ended.
    failure: Option<Error>,
    feeding: Option<Feeding>,
    hub: LocalHub,
    /// How many watch at the other end.
    viewers: Arc<watch::Sender<u32>>,
    sent: Arc<Mutex<Sent>>,
    pub(super) preview: Option<LocalHub>,
    stop: StopOnDrop,
}

/// How to send, see [`Sender::builder`].
#[derive(Debug, Clone)]
pub struct SenderBuilder {
    to: String,
    options: Options,
    own_size: bool,
    preview: bool,
    stop: Stop,
}

/// What a sender sends.
enum Input {
    Images,
    Source(Source),
}

impl SenderBuilder {
    /// What frames are encoded in: by default JPEG where the link carries that, else H.264.
    #[must_use]
    pub fn codec(mut self, codec: CodecChoice) -> Self {
        self.options.codec = codec;
        self
    }

    /// JPEG quality, 1 to 100: 80 by default.
    #[must_use]
    pub fn quality(mut self, quality: u8) -> Self {
        self.options.quality = Some(quality.clamp(1, 100));
        self
    }

    /// The size in pixels that frames are scaled to, or that a camera is asked for.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.options.size = Some((width, height));
        self
    }

    /// Frames of more bytes are dropped and counted, and not sent to a hub: 8 MiB unless set, 256 MiB at most. Raise the hub's limit too.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.options.max_frame = Some(bytes);
        self
    }

    /// Keep the pictures' own size and the default quality where a tutorial's wire has others.
    #[must_use]
    pub fn own_size(mut self) -> Self {
        self.own_size = true;
        self
    }

    /// How many pictures a second the program will send: 30 by default. Each is made as large as the link carries in that time.
    #[must_use]
    pub fn fps(mut self, fps: f64) -> Self {
        self.options.fps = Some(fps);
        self
    }

    /// Bits a second at most, whatever the link carries.
    #[must_use]
    pub fn bitrate(mut self, bits_per_second: u64) -> Self {
        self.options.bitrate = Some(bits_per_second);
        self
    }

    /// Frames older than this are dropped instead of sent.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.options.max_age = Some(age.as_micros() as u64);
        self
    }

    /// Keep trying where the first attempt to connect fails. Without it, that is an error.
    #[must_use]
    pub fn wait(mut self) -> Self {
        self.options.wait = true;
        self
    }

    /// Keep what is sent for a window to show, see `WindowBuilder::preview`.
    #[must_use]
    pub fn preview(mut self) -> Self {
        self.preview = true;
        self
    }

    /// Raising this flag ends the sender, from any thread.
    #[must_use]
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Connects in the background, to send pictures that this program makes.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput): the address is none, or a setting is out of bounds. That nobody listens there is an error of [`Sender::send`].
    pub fn open(self) -> Result<Sender> {
        self.start(Input::Images)
    }

    /// Opens a source and sends its frames in the background, until it ends. The source's own options count before the
    /// builder's.
    ///
    /// # Errors
    /// The source cannot be opened.
    pub fn forward(self, source: Source) -> Result<Sender> {
        self.start(Input::Source(source))
    }

    fn start(self, input: Input) -> Result<Sender> {
        self.options.check()?;
        let to = sink::open(&self.to)?;
        let (hub, stop, local) = (LocalHub::new(), self.stop.child(), local_name(&*to));
        let publisher = hub.hub.publish(&local, clock::now())?;
        let (spec, images, feeding) = match input {
            Input::Images => {
                let millifps = (self.options.fps.unwrap_or(0.0) * 1000.0) as u32;
                let spec = Source { source: "images".into(), options: self.options };
                (spec, Some(Images::new(publisher, millifps)), None)
            }
            Input::Source(source) => {
                let wait = source.options.wait;
                let spec = Source { options: source.options.or(&self.options), ..source };
                // The builder's wait is for the other end.
                let asked = Source { options: Options { wait, ..spec.options.clone() }, ..spec.clone() };
                asked.check_options(use_of(&*to))?;
                let spec = if self.own_size { spec } else { with_defaults(spec, &*to) };
                let feeding = feed(&spec, publisher, to.listens(), &stop)?;
                (spec, None, Some(feeding))
            }
        };
        let sized = images.is_none() && source::kind(&spec)?.sized;
        let mut encode = encoding_to(&*to, &spec.options, sized);
        if self.own_size {
            (encode.size, encode.quality) = (None, spec.options.quality);
        }
        let sent = Arc::<Mutex<Sent>>::default();
        let viewers = Arc::<watch::Sender<u32>>::default();
        let preview = self.preview.then(LocalHub::new);
        let outlet = Outlet {
            hub: hub.hub.clone(),
            stream: local,
            encode,
            max_age: spec.options.max_age,
            max_frame: spec.options.max_frame(),
            viewers: viewers.clone(),
            sent: sent.clone(),
            preview: preview.as_ref().map(preview_publisher).transpose()?,
        };
        let way = Way { passthrough: images.is_none() && spec.is_passthrough(), wait: spec.options.wait };
        let sending = {
            let stop = stop.clone();
            thread::spawn(move || {
                let outcome = to.run(outlet, way, &stop);
                stop.stop();
                outcome
            })
        };
        Ok(Sender {
            images,
            sending: Some(sending),
            failure: None,
            feeding,
            hub,
            viewers,
            sent,
            preview,
            stop: StopOnDrop(stop),
        })
    }
}

/// The stream of a preview.
pub(super) const PREVIEW: &str = "preview";

fn preview_publisher(hub: &LocalHub) -> Result<hub::Publisher> {
    Ok(hub.hub.publish(&PREVIEW.parse()?, clock::now())?)
}

/// Opens a source and lets it feed this stream.
fn feed(spec: &Source, publisher: hub::Publisher, first_viewer: bool, stop: &Stop) -> Result<Feeding> {
    let closing = stop.child();
    let opened = (source::open(spec, &closing)?, closing);
    let on_demand = source::kind(spec)?.live;
    let mut viewers = publisher.viewers();
    let feed = Feed { spec: spec.clone(), publisher, encode: None, on_demand, again: false };
    let stopped = stop.clone();
    let feeding = async move {
        if first_viewer && !on_demand {
            // A film begins with its first viewer.
            tokio::select! {
                // The sender lives in the stream, which the feed's publisher holds.
                _ = viewers.wait_for(|count| *count > 0) => {}
                () = stopped.raised() => {}
            }
        }
        feed.run(Some(opened), stopped).await
    };
    local::in_background(feeding, stop)
}

impl Sender {
    /// Sends pictures that this program makes to `fw://HOST:PORT/NAME`, or to a tutorial's script: `lhh://HOST:PORT`,
    /// `base64://HOST:PORT`, `stopwait://HOST:PORT`, or for scripts that connect here, `pickle://ADDR:PORT`.
    ///
    /// # Errors
    /// As [`SenderBuilder::open`].
    pub fn open(to: &str) -> Result<Self> {
        Self::builder(to).open()
    }

    /// Sends as the builder says.
    pub fn builder(to: &str) -> SenderBuilder {
        SenderBuilder {
            to: to.into(),
            options: Options::default(),
            own_size: false,
            preview: false,
            stop: Stop::default(),
        }
    }

    /// Hands over a picture to be sent. It never waits: what the link has no room for makes way for the next picture.
    ///
    /// # Errors
    /// Why sending has ended: nobody listened at the first attempt, the name is taken, the sender was stopped.
    pub fn send(&mut self, image: Image) -> Result<()> {
        self.check()?;
        match &mut self.images {
            Some(images) => images.send(image),
            None => Err(error!(InvalidInput, "this sender forwards a source: open another for pictures")),
        }
    }

    /// Whether the sender still sends.
    ///
    /// # Errors
    /// As [`Sender::send`]: why it has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.sending.as_ref().is_some_and(|sending| !sending.is_finished()) {
            return Ok(());
        }
        let failure = self.join().err().unwrap_or_else(|| error!(Stopped, "the sender was stopped"));
        Err(self.failure.insert(failure).clone())
    }

    /// Waits until there is room for another picture; `false` when there was none in time, or the sender has ended, which
    /// [`Sender::send`] tells the reason of. Programs that make pictures as fast as they can be sent call it before each.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        self.images.as_ref().is_some_and(|images| images.wait_for_room(timeout, self.stop.0.raised()))
    }

    /// How many viewers the stream has at its hub now; of a tutorial's script, how many are connected.
    pub fn viewers(&self) -> u32 {
        *self.viewers.borrow()
    }

    /// Waits until somebody watches; `false` when nobody came in time, or the sender has ended. Meanwhile the program need not
    /// make pictures.
    pub fn wait_for_viewers(&self, timeout: Duration) -> bool {
        let mut viewers = self.viewers.subscribe();
        let mut watched = pin!(viewers.wait_for(|count| *count > 0));
        let mut stopped = pin!(self.stop.0.raised());
        let watched = block_within(timeout, clock::now, |context, _| {
            if stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(false);
            }
            watched.as_mut().poll(context).map(|watched| watched.is_ok())
        });
        watched.unwrap_or(false)
    }

    /// Sends the last picture and says goodbye: waits a few seconds at most for its arrival.
    ///
    /// # Errors
    /// As [`Sender::send`]; and [`Error::Timeout`](crate::Error::Timeout): the other end did not get the last picture in time.
    pub fn finish(mut self) -> Result<()> {
        self.images.take().into_iter().for_each(|images| images.publisher.finish());
        // The thread that sends raises the flag when it ends.
        let sent = self.stop.0.wait(FINISH);
        self.stop.0.stop();
        self.join()?;
        if sent { Ok(()) } else { Err(error!(Timeout, "the last picture was not received within {FINISH:?}")) }
    }

    /// Waits until the forwarded source has ended or the sender was stopped, however long that takes.
    ///
    /// # Errors
    /// Why the source or the connection failed for good; or nothing is forwarded, so that there is no end to wait for.
    pub fn wait(mut self) -> Result<()> {
        ensure!(
            self.images.is_none(),
            InvalidInput,
            "this sender sends the program's own pictures, so only the program ends it: call `finish` after the last one"
        );
        self.join()
    }

    /// The figures of what is sent, and of the link that carries it.
    pub fn stats(&self) -> (Vec<stats::Stream>, stats::Uplink) {
        self.monitor().stats()
    }

    /// Raising this flag ends the sender; it is raised when the sender has ended.
    pub fn stop_flag(&self) -> Stop {
        self.stop.0.clone()
    }

    /// Reads the figures from another thread.
    pub fn monitor(&self) -> SenderMonitor {
        SenderMonitor { hub: self.hub.clone(), sent: self.sent.clone() }
    }

    fn join(&mut self) -> Result<()> {
        let sent = self.sending.take().map_or(Ok(()), local::join);
        self.stop.0.stop();
        sent.and(self.feeding.take().map_or(Ok(()), local::join))
    }
}

/// Reads a [`Sender`]'s figures.
#[derive(Clone)]
pub struct SenderMonitor {
    hub: LocalHub,
    sent: Arc<Mutex<Sent>>,
}

impl SenderMonitor {
    /// As [`Sender::stats`].
    pub fn stats(&self) -> (Vec<stats::Stream>, stats::Uplink) {
        let (now, mut streams) = (clock::now(), self.hub.hub.streams(clock::now()));
        let Sent { meter, uplink } = self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for stream in &mut streams {
            (stream.fps, stream.bitrate) = (meter.fps(now), meter.bitrate(now));
            (stream.published, stream.bytes) = meter.totals();
            stream.newest.sent = meter.last().unwrap_or(0);
        }
        (streams, uplink)
    }
}

/// What the stream is called in this process.
fn local_name(to: &dyn Sink) -> Name {
    to.name().unwrap_or_else(|| Name::from_lossy(&net::machine_name()))
}

/// The source, asked for the tutorial's own size where no other is.
fn with_defaults(mut spec: Source, to: &dyn Sink) -> Source {
    if let Some(Tutorial { size: Size::Exactly(width, height), .. }) = to.tutorial() {
        spec.options.size = spec.options.size.or(Some(((*width).into(), (*height).into())));
    }
    spec
}

/// What frames are for that go to this sink.
fn use_of(to: &dyn Sink) -> Use {
    match to.tutorial().map(|tutorial| tutorial.codec) {
        None => Use::SENT,
        Some(Codec::Jpeg) => Use::SENT_AS_JPEG,
        Some(_) => Use::SENT_AS_PIXELS,
    }
}

/// How frames are encoded for this sink. A source that is `sized` gives the size that it can: that stands.
fn encoding_to(to: &dyn Sink, options: &Options, sized: bool) -> encode::EncodeOptions {
    if let Some(tutorial) = to.tutorial() {
        return encoding_for(tutorial, options, sized);
    }
    let size = options.size.filter(|_| !sized).map(|(width, height)| encode::Size::Exactly(width, height));
    let Options { quality, codec, bitrate, .. } = *options;
    encode::EncodeOptions { quality, size, codec, bitrate, ..encode::EncodeOptions::default() }
}

/// How frames are encoded for a tutorial's wire: in its own size and quality where no other is asked for. A source that is
/// `sized` gives the size that it can: that stands.
pub(super) fn encoding_for(tutorial: &Tutorial, options: &Options, sized: bool) -> encode::EncodeOptions {
    let asked = options.size.map(|(width, height)| encode::Size::Exactly(width, height));
    let own = match tutorial.size {
        Size::Own => None,
        Size::Exactly(width, height) => Some(encode::Size::Exactly(width.into(), height.into())),
        Size::Width(width) => Some(encode::Size::Width(width.into())),
    };
    let exactly = |size: &encode::Size| matches!(size, encode::Size::Exactly(..));
    encode::EncodeOptions {
        quality: options.quality.or(tutorial.quality),
        size: asked.or(own).filter(|size| !(sized && exactly(size))),
        codec: options.codec,
        bitrate: options.bitrate,
        only: Some(tutorial.codec),
        reencode: false,
    }
}
