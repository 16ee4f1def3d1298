//! A tutorial's camera server that pickles its frames, as a source: connects, and reconnects. Nothing is ever executed.

use std::mem;

use bytes::BytesMut;
use framewire_proto::{Config, Frame, Limits, Times, wire::tutorial::Picture};
use tracing::info;

use super::{
    Item, Kind, Source, Spec,
    background_runtime::BackgroundRuntime,
    tutorial::{Connection, Next, checked},
};
use crate::{
    bad_frames::BadFrames,
    clock,
    error::{Context as _, Error, Result, bail, error},
    media::jpeg::JpegEntry,
    net::{endpoint::Endpoint, retry::Retry, socket::Socket},
    stop::Stop,
};

/// The row of [`super::SOURCES`].
pub const KIND: Kind = Kind {
    usage: "pickle://HOST:PORT",
    summary: "a script's camera server that pickles its frames, or sends JPEGs behind any length",
    live: true,
    sized: false,
    honours: &["wait", "codec=copy", "max-frame"],
    matches: |source| source.starts_with("pickle://"),
    open: |spec, stop| Ok(Box::new(Viewer::open(spec, stop)?)),
};

/// A viewer of such a server.
struct Viewer {
    from: Endpoint,
    runtime: BackgroundRuntime,
    limits: Limits,
    stop: Stop,
    connection: Option<Connection>,
    /// Try again even if the first try fails.
    may_retry: bool,
    retry: Retry,
    /// Why there is no connection, where the next try has to wait.
    failure: Option<Error>,
    config: Option<Config>,
    /// A frame whose configuration was returned before it.
    waiting: Option<Frame>,
    next: u64,
    jpegs: JpegEntry,
    bad: BadFrames,
}

impl Viewer {
    fn open(spec: &Spec, stop: &Stop) -> Result<Self> {
        let wait = spec.options.wait;
        let mut viewer = Self {
            from: Endpoint::parse(spec.source.expose())?,
            runtime: BackgroundRuntime::new()?,
            limits: spec.options.limits(),
            stop: stop.clone(),
            connection: None,
            may_retry: wait,
            retry: Retry::default(),
            failure: None,
            config: None,
            waiting: None,
            next: 0,
            jpegs: JpegEntry::default(),
            bad: BadFrames::default(),
        };
        match viewer.connect() {
            Err(error @ Error::Stopped(_)) => Err(error),
            Err(error) if !wait => Err(error.context("--wait tries until it is there")),
            // The first read tries again.
            _ => Ok(viewer),
        }
    }

    /// Connects, unless the stop ends that.
    fn connect(&mut self) -> Result<()> {
        let (Endpoint { host, port, .. }, stop) = (&self.from, &self.stop);
        let connected = self.runtime.block_on(async {
            tokio::select! {
                connected = Socket::connect(host, *port) => connected,
                () = stop.raised() => Err(error!(Stopped, "stopped before it was connected")),
            }
        });
        let socket = connected.with_context(|| self.from.to_string())?;
        info!("{}: connected", self.from);
        self.may_retry = true;
        let Endpoint { wire, tutorial, .. } = &self.from;
        self.connection = Some(Connection::new(socket, wire, tutorial, BytesMut::new(), &self.limits));
        Ok(())
    }

    /// Connects once the next try is due; returns what viewers are told where that fails.
    fn reconnect(&mut self) -> Result<Option<Item>> {
        if let Some(failure) = self.failure.take() {
            self.retry.wait(&failure, &self.stop);
        }
        match self.connect() {
            Ok(()) | Err(Error::Stopped(_)) => Ok(None),
            Err(error) if self.may_retry => Ok(Some(self.lose(error))),
            Err(error) => Err(error.context("--wait tries until it is there")),
        }
    }

    fn lose(&mut self, error: Error) -> Item {
        self.connection = None;
        self.failure = Some(error.clone());
        Item::Fault(error)
    }

    /// A picture as a frame, or its configuration first where that is new.
    fn take(&mut self, picture: Picture) -> Option<Item> {
        let (config, data) = match checked(picture, &mut self.jpegs) {
            Ok(picture) => picture,
            Err(why) => {
                self.bad.count(&self.from, why);
                return None;
            }
        };
        self.retry.reset();
        let now = clock::now();
        // This wire does not carry the time of capture: a frame is as old as its arrival here.
        let times = Times { captured: now, arrived: now, ..Times::default() };
        let frame = Frame { sequence: self.next, keyframe: true, times, data };
        self.next += 1;
        if self.config.as_ref() == Some(&config) {
            return Some(Item::Frame(frame));
        }
        self.waiting = Some(frame);
        self.config = Some(config.clone());
        Some(Item::Config(config))
    }
}

impl Source for Viewer {
    fn next(&mut self) -> Result<Option<Item>> {
        if let Some(frame) = mem::take(&mut self.waiting) {
            return Ok(Some(Item::Frame(frame)));
        }
        while !self.stop.stopped() {
            let Some(connection) = &mut self.connection else {
                match self.reconnect()? {
                    Some(item) => return Ok(Some(item)),
                    None => continue,
                }
            };
            let stop = &self.stop;
            let received = self.runtime.block_on(async {
                tokio::select! {
                    next = connection.next() => next.and_then(|next| match next {
                        Next::Picture(picture) => Ok(Some(picture)),
                        Next::End => bail!(ConnectionLost, "the camera has ended"),
                        Next::Closed => bail!(ConnectionLost, "the camera closed the connection"),
                    }),
                    () = stop.raised() => Ok(None),
                }
            });
            match received {
                Ok(Some(picture)) => {
                    if let Some(item) = self.take(picture) {
                        return Ok(Some(item));
                    }
                }
                Ok(None) => {}
                // A camera that has sent no picture yet speaks another wire, or other pickles, and would again.
                Err(error) if error.wire().is_some() && self.next == 0 => {
                    return Err(error.context(self.from.to_string()));
                }
                Err(error) => return Ok(Some(self.lose(error.context(self.from.to_string())))),
            }
        }
        Ok(None)
    }

    fn describe(&self) -> String {
        self.from.to_string()
    }
}
