//! A tutorial's camera server that pickles its frames, as a source: connects, and reconnects. Nothing is ever executed.

use std::mem;

use bytes::BytesMut;
use framewire_proto::{Config, Frame, Limits, Times, wire::tutorial::Picture};
use tokio::runtime::{self, Runtime};
use tracing::info;

use super::{
    Item, Kind, Source,
    tutorial::{Connection, Next, checked},
};
use crate::{
    bad_frames::BadFrames,
    clock,
    error::{Context as _, Error, Result, bail},
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
    honours: &["wait", "codec=copy"],
    matches: |source| source.starts_with("pickle://"),
    open: |spec, stop| Ok(Box::new(Viewer::open(spec.source.expose(), spec.options.wait, stop)?)),
};

/// A viewer of such a server.
struct Viewer {
    from: Endpoint,
    runtime: Runtime,
    stop: Stop,
    connection: Option<Connection>,
    /// Try again even if the first try fails.
    may_retry: bool,
    retry: Retry,
    config: Option<Config>,
    /// A frame whose configuration was returned before it.
    waiting: Option<Frame>,
    next: u64,
    jpegs: JpegEntry,
    bad: BadFrames,
}

impl Viewer {
    fn open(from: &str, wait: bool, stop: &Stop) -> Result<Self> {
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().context("cannot wait for a socket")?;
        let mut viewer = Self {
            from: Endpoint::parse(from)?,
            runtime,
            stop: stop.clone(),
            connection: None,
            may_retry: wait,
            retry: Retry::default(),
            config: None,
            waiting: None,
            next: 0,
            jpegs: JpegEntry::default(),
            bad: BadFrames::default(),
        };
        viewer.connect()?;
        Ok(viewer)
    }

    /// Connects; after a failure waits where it may try again.
    fn connect(&mut self) -> Result<()> {
        let (authority, stop) = (self.from.authority(), &self.stop);
        let connected = self.runtime.block_on(async {
            tokio::select! {
                connected = Socket::connect(&authority) => connected.map(Some),
                () = stop.raised() => Ok(None),
            }
        });
        match connected.with_context(|| self.from.to_string()) {
            Ok(socket) => {
                info!("{}: connected", self.from);
                self.may_retry = true;
                let Endpoint { wire, tutorial, .. } = &self.from;
                self.connection =
                    socket.map(|socket| Connection::new(socket, wire, tutorial, BytesMut::new(), &Limits::default()));
            }
            Err(error) if self.may_retry => self.wait_to_retry(&error),
            Err(error) => return Err(error.context("--wait tries until it is there")),
        }
        Ok(())
    }

    fn wait_to_retry(&mut self, error: &Error) {
        self.retry.wait(error, &self.stop);
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
                self.connect()?;
                continue;
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
                Err(error) => {
                    self.connection = None;
                    let error = error.context(self.from.to_string());
                    self.wait_to_retry(&error);
                    return Ok(Some(Item::Fault(error)));
                }
            }
        }
        Ok(None)
    }

    fn describe(&self) -> String {
        self.from.to_string()
    }
}
