//! A hub inside a program, and frames that the program makes.

use std::{future::Future, sync::Arc, time::Duration};

use framewire_proto::{Config, Frame, Name, Times};

use super::{
    image::Image,
    local::{self, LocalHub},
    stats,
    viewer::{Origin, Viewer, ViewerBuilder},
};
use crate::{
    clock,
    error::Result,
    hub,
    source::{self, Spec as Source, feed::Feed, honours::Use},
    stop::{Stop, StopOnDrop},
    transcode::encode,
};

/// Named streams of this process. Each is fed by one publisher and watched by any number of viewers; none waits for another.
/// Clones are the same hub. A [`Server`](crate::Server) makes a hub's streams reachable over the network.
///
/// ```
/// use framewire::{Hub, Image, PixelFormat};
///
/// let hub = Hub::new();
/// let mut publisher = hub.publish("door")?;
/// let mut viewer = hub.view("door")?;
/// publisher.send(Image::new(PixelFormat::Gray, 64, 48, vec![200; 64 * 48])?)?;
/// let frame = viewer.next()?.expect("the stream goes on");
/// assert_eq!((frame.width(), frame.height()), (64, 48));
/// # Ok::<(), framewire::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Hub {
    pub(super) local: LocalHub,
    sources: Arc<StopOnDrop>,
}

impl Hub {
    /// An empty hub.
    #[expect(clippy::new_without_default, reason = "it starts a thread")]
    pub fn new() -> Self {
        Self { local: LocalHub::new(), sources: Arc::new(StopOnDrop(Stop::default())) }
    }

    /// Starts to feed a stream, which may be new. A publisher that has sent nothing for three seconds makes way for another.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused): the stream has a publisher, or the hub is full;
    /// [`Error::InvalidInput`](crate::Error::InvalidInput): the text cannot be a stream's name.
    pub fn publish(&self, name: &str) -> Result<Publisher> {
        let publisher = self.local.hub.publish(&name.parse()?, clock::now())?;
        Ok(Publisher { images: Images::new(publisher, 0) })
    }

    /// Watches a stream of this hub; waits for it if it does not exist yet.
    ///
    /// # Errors
    /// As [`Hub::publish`].
    pub fn view(&self, name: &str) -> Result<Viewer> {
        self.viewer(name).open()
    }

    /// Watches a stream of this hub as the builder says.
    pub fn viewer(&self, name: &str) -> ViewerBuilder {
        ViewerBuilder::new(Origin::Hub(self.local.clone(), name.into()))
    }

    /// Lets a source feed a stream. It is opened when the first viewer comes and closed ten seconds after the last has left.
    ///
    /// # Errors
    /// As [`Hub::publish`]; and there is no such kind of source. That it cannot be opened is logged, and tried again.
    pub fn add_source(&self, name: &str, source: Source) -> Result<()> {
        self.feed(name, source, &self.sources.0)
    }

    /// Lets a source feed a stream until `stop` is raised.
    pub(super) fn feed(&self, name: &str, source: Source, stop: &Stop) -> Result<()> {
        let name: Name = name.parse()?;
        source.options.check()?;
        source.check_options(Use::SERVED)?;
        let feed = Feed {
            encode: Some(encoding(&source)?),
            publisher: self.local.hub.publish(&name, clock::now())?,
            spec: source,
            on_demand: true,
            again: true,
        };
        let stop = stop.child();
        let feed = async move {
            if let Err(error) = feed.run(None, stop).await {
                tracing::error!("'{name}': {error}");
            }
            Ok(())
        };
        local::in_background(feed, &Stop::default()).map(drop)
    }

    /// The figures of every stream, in the order of their names.
    pub fn streams(&self) -> Vec<stats::Stream> {
        self.local.hub.streams(clock::now())
    }
}

/// How a source's frames are encoded for a hub. A source that gives the size that it is asked for is not scaled.
pub(super) fn encoding(spec: &Source) -> Result<encode::EncodeOptions> {
    let kind = source::kind(spec)?;
    let source::Options { quality, size, codec, bitrate, .. } = spec.options;
    let size = size.filter(|_| !kind.sized).map(|(width, height)| encode::Size::Exactly(width, height));
    Ok(encode::EncodeOptions { quality, size, codec, bitrate, ..encode::EncodeOptions::default() })
}

/// Feeds one stream of a [`Hub`] with pictures that this program makes. Dropped, it leaves the stream to the next publisher.
#[derive(Debug)]
pub struct Publisher {
    images: Images,
}

impl Publisher {
    /// Gives a picture to all viewers. It never waits: viewers who are slow get a newer one instead.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused): another publisher has taken the stream over.
    pub fn send(&mut self, image: Image) -> Result<()> {
        self.images.send(image)
    }

    /// How many viewers the stream has now.
    pub fn viewers(&self) -> u32 {
        self.images.viewers()
    }

    /// Ends the stream: its viewers get no more.
    pub fn finish(self) {
        self.images.publisher.finish();
    }
}

/// Pictures of this program on their way into a stream.
#[derive(Debug)]
pub(super) struct Images {
    pub(super) publisher: hub::Publisher,
    sequence: u64,
    config: Option<Config>,
    /// Frames in a thousand seconds; 0: not known.
    millifps: u32,
}

impl Images {
    pub(super) fn new(publisher: hub::Publisher, millifps: u32) -> Self {
        Self { publisher, sequence: 0, config: None, millifps }
    }

    pub(super) fn send(&mut self, image: Image) -> Result<()> {
        let captured = image.captured();
        let (config, data) = image.for_hub(self.millifps);
        if self.config.as_ref() != Some(&config) {
            self.publisher.configure(config.clone())?;
            self.config = Some(config);
        }
        let now = clock::now();
        let times = Times { captured, encoded: now, received: now, ..Times::default() };
        self.publisher.publish(Frame { sequence: self.sequence, keyframe: true, times, data }, now)?;
        self.sequence += 1;
        Ok(())
    }

    pub(super) fn viewers(&self) -> u32 {
        *self.publisher.viewers().borrow()
    }

    /// Waits until a viewer has room for another picture; `false` when none had in time, or at this end.
    pub(super) fn wait_for_room(&self, timeout: Duration, end: impl Future<Output = ()>) -> bool {
        self.publisher.room_within(timeout, end, clock::now)
    }
}
