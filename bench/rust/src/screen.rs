//! The viewer: decodes, notes which frame each picture is and when it was there, and tells all of it at the end.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};
use framewire::{
    clock,
    hub::{Event, Hub, Policy, Reporter, Subscriber},
    latency::Bound,
    media::{
        Picture,
        decode::Decoder,
        stamp::{self, Stamp},
    },
    net::{accept, endpoint::Endpoint},
    proto::{
        Codec, Config, Frame, Micros, Name,
        wire::{native::Report, tutorial::End},
    },
    source::{
        self, Spec,
        feed::Feed,
        tutorial::{Cameras, Streams, listen},
    },
    stop::Stop,
};

const LOOK_AROUND: Duration = Duration::from_millis(100);

/// Frames between two whose luma is kept.
const SAMPLED: u32 = 10;

/// Views a stream until the stop is raised, by the way that its frames have in `framewire view`. The luma of some pictures
/// is put into the folder.
pub(crate) fn view(address: &str, passed: bool, lumas: Option<&Path>, stop: &Stop) -> Result<()> {
    tell(&format!("\"connecting\": {}", clock::now()));
    let (hub, local) = (Hub::default(), Name::from_lossy("in"));
    let subscriber = hub.subscribe(&local, Policy::Newest, true, clock::now())?;
    let feeding = feed(address, &hub, local, stop)?;
    let reporter = subscriber.reporter();
    let (decoder, lumas) = (Decoder::new(), lumas.map(Path::to_path_buf));
    let mut screen = Screen {
        subscriber,
        reporter,
        decoder,
        bound: Bound::default(),
        config: None,
        seen: Vec::new(),
        unreadable: 0,
        lumas,
    };
    while !stop.stopped() && !feeding.is_finished() {
        match screen.subscriber.next_within(LOOK_AROUND, clock::now) {
            Some(Event::Config(config)) => screen.config = Some(config),
            Some(Event::Frame(_)) if passed => screen.received(),
            Some(Event::Frame(frame)) => screen.show(&frame)?,
            Some(Event::State(_) | Event::Ended) | None => {}
        }
    }
    stop.stop();
    screen.tell();
    crate::outcome(feeding)
}

/// Feeds the stream: from a hub, from a camera server, or from a camera that connects.
fn feed(address: &str, hub: &Hub, local: Name, stop: &Stop) -> Result<JoinHandle<Result<()>>> {
    if Endpoint::matches(address) {
        let at = Endpoint::parse(address)?;
        if at.tutorial.camera == End::Connects {
            let (authority, cameras) = (at.authority(), Cameras { hub: hub.clone(), streams: Streams::One(local) });
            let stop = stop.clone();
            return crate::in_background(async move {
                let listener = accept::bind(&authority).await?;
                tokio::select! {
                    () = listen(listener, at.wire, cameras) => {}
                    () = stop.raised() => {}
                }
                Ok(())
            });
        }
    }
    let spec: Spec = address.parse()?;
    let opened = source::open(&spec, stop)?;
    let publisher = hub.publish(&local, clock::now())?;
    let feed = Feed { spec, publisher, encode: None, on_demand: false, again: false };
    crate::in_background(feed.run(Some((opened, stop.child())), stop.clone()))
}

struct Screen {
    subscriber: Subscriber,
    reporter: Reporter,
    decoder: Decoder,
    bound: Bound,
    config: Option<Arc<Config>>,
    seen: Vec<Seen>,
    unreadable: u64,
    lumas: Option<PathBuf>,
}

struct Seen {
    stamp: Stamp,
    decoded: Micros,
}

impl Screen {
    fn show(&mut self, frame: &Frame) -> Result<()> {
        let Some(config) = &self.config else { return Ok(()) };
        let Some((frame, picture)) = self.decoder.decode(config, frame, Codec::I420)? else { return Ok(()) };
        let decoded = clock::now();
        if !self.bound.shows(frame.times.captured, decoded) {
            return Ok(());
        }
        let report = Report { sequence: frame.sequence, received: frame.times.arrived, decoded, shown: decoded };
        self.reporter.report(&frame.times, &report, true);
        match stamp::read(picture.data(), picture.width(), picture.width() as usize) {
            Some(stamp) => {
                self.note(Seen { stamp, decoded });
                self.keep_luma(stamp.number, &picture)?;
            }
            None => self.unreadable += 1,
        }
        Ok(())
    }

    /// Keeps the luma of one picture in ten as a file that says its size.
    fn keep_luma(&self, number: u32, picture: &Picture) -> Result<()> {
        let Some(folder) = self.lumas.as_ref().filter(|_| number.is_multiple_of(SAMPLED)) else { return Ok(()) };
        let mut pgm = format!("P5\n{} {}\n255\n", picture.width(), picture.height()).into_bytes();
        pgm.extend(&picture.data()[..(picture.width() * picture.height()) as usize]);
        let path = folder.join(format!("{number}.pgm"));
        fs::write(&path, pgm).with_context(|| path.display().to_string())
    }

    /// A frame has come that is not looked at.
    fn received(&mut self) {
        self.note(Seen { stamp: Stamp { number: 0, captured: 0 }, decoded: clock::now() });
    }

    fn note(&mut self, seen: Seen) {
        if self.seen.is_empty() {
            tell(&format!("\"first\": {}", seen.decoded));
        }
        self.seen.push(seen);
    }

    fn tell(&self) {
        let frames: Vec<_> = self.seen.iter().map(Seen::to_json).collect();
        tell(&format!("\"frames\": [{}], \"unreadable\": {}", frames.join(", "), self.unreadable));
    }
}

impl Seen {
    fn to_json(&self) -> String {
        let Stamp { number, captured } = self.stamp;
        format!("[{number}, {captured}, {}]", self.decoded)
    }
}

/// One line of JSON for `bench/run`.
fn tell(facts: &str) {
    println!("{{{facts}}}");
}
