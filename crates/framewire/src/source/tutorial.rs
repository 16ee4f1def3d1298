//! A tutorial's camera, which connects and pushes pictures, as the source of a stream of its own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use framewire_proto::{
    Config, Frame, Limits, Micros, Name, Times, WireError,
    error::ErrorKind,
    wire::{
        self, Verdict, WIRES, Wire,
        tutorial::{End, Picture, Receive, Received, Tutorial},
    },
};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tracing::{debug, info, warn};

use crate::{
    bad_frames::{BadFrames, TooLarge},
    clock,
    error::{Context as _, Error, OrError as _, Result},
    hub::{Hub, Publisher},
    media::jpeg::JpegEntry,
    net::{
        accept::{self, Accepted},
        socket::Socket,
    },
};

/// A camera that sends nothing for this long is gone: these wires have no other sign of life.
const SILENCE: Duration = Duration::from_secs(60);

/// Feeds streams from tutorials' cameras that connect.
#[derive(Clone)]
pub struct Cameras {
    /// Where their streams are.
    pub hub: Hub,
    /// Which streams those are.
    pub streams: Streams,
    /// Bounds on their pictures.
    pub limits: Limits,
}

/// The streams that cameras feed.
#[derive(Clone)]
pub enum Streams {
    /// Each camera has its own, named by its wire and address, for as long as it is connected.
    Each,
    /// The same. This is called for each before its first frame, to subscribe to it. A camera without viewers is disconnected.
    Watched(Arc<dyn Fn(&Name) + Send + Sync>),
    /// One camera at a time feeds this one.
    One(Name),
}

/// Accepts cameras on this wire for as long as it is polled.
pub async fn listen(listener: TcpListener, wire: &'static Wire, cameras: Cameras) {
    let serve = move |accepted: Accepted| {
        let cameras = cameras.clone();
        async move {
            let peer = accepted.socket.peer();
            if let Err(error) = cameras.serve(accepted).await {
                warn!("{peer}: closed: {error}");
            }
        }
    };
    accept::run(listener, vec![wire], serve).await;
}

impl Cameras {
    /// Feeds a stream from this connection until it ends.
    ///
    /// # Errors
    /// The connection broke, or its bytes are not its wire.
    pub async fn serve(&self, accepted: Accepted) -> Result<()> {
        let Accepted { wire, socket, prefix } = accepted;
        let peer = socket.peer();
        let tutorial = wire.tutorial.or_error(Error::InvalidInput, || format!("{} is no camera's wire", wire.name))?;
        let name = match &self.streams {
            Streams::One(name) => name.clone(),
            _ => Name::from_lossy(&format!("{}-{}-{}", wire.name, peer.ip().to_canonical(), peer.port())),
        };
        let mut connection = Connection::new(socket, wire, &tutorial, prefix, &self.limits);
        let mut camera = Camera {
            cameras: self,
            name,
            peer,
            watched: None,
            publisher: None,
            next: 0,
            jpegs: JpegEntry::default(),
            bad: BadFrames::default(),
            clock: CameraClock::default(),
        };
        let outcome = camera.feed(&mut connection, wire).await;
        camera.end();
        outcome
    }
}

/// What a camera sends next.
pub(super) enum Next {
    /// A picture.
    Picture(Picture),
    /// It has finished, though the connection stays: another may follow.
    End,
    /// It has closed the connection.
    Closed,
}

/// A connection to a tutorial's camera, whichever end has connected.
pub(super) struct Connection {
    socket: Socket,
    wire: &'static Wire,
    receiver: Box<dyn Receive>,
    /// The connection's first bytes, up to [`wire::PREFIX`].
    first: BytesMut,
    too_large: TooLarge,
}

impl Connection {
    /// A connection on this wire that begins with these bytes, with these bounds on its pictures.
    pub(super) fn new(
        socket: Socket,
        wire: &'static Wire,
        tutorial: &Tutorial,
        first: BytesMut,
        limits: &Limits,
    ) -> Self {
        let mut receiver = (tutorial.receiver)(limits);
        receiver.push(&first);
        Self { socket, wire, receiver, first, too_large: TooLarge::default() }
    }

    /// What the camera sends next. Cancelling the wait loses nothing, unless an answer was being written.
    pub(super) async fn next(&mut self) -> Result<Next> {
        loop {
            match self.receiver.pull()? {
                Some(Received::Picture(picture)) => return Ok(Next::Picture(picture)),
                Some(Received::Answer(answer)) => self.socket.write([answer]).await?,
                Some(Received::End) => return Ok(Next::End),
                Some(Received::Recognised(layout)) => info!("{}: recognised: {layout}", self.socket.peer()),
                Some(Received::TooLarge { length, limit }) => self.too_large.count(self.socket.peer(), length, limit),
                None => {
                    let space = self.receiver.space();
                    let held = space.len();
                    let read = timeout(SILENCE, self.socket.read(space)).await;
                    if read.with_context(|| format!("the camera has sent nothing for {} s", SILENCE.as_secs()))?? == 0 {
                        return Ok(Next::Closed);
                    }
                    let missing = wire::PREFIX.saturating_sub(self.first.len());
                    self.first.extend(space[held..].iter().take(missing));
                    if missing > 0 {
                        self.check_wire()?;
                    }
                }
            }
        }
    }

    /// Refuses a connection that begins another wire. The camera of a wire with answers may send fewer bytes than this wire's first
    /// header has, and wait. What a camera sends to those who connect to it is not recognised, but read.
    fn check_wire(&self) -> Result<(), WireError> {
        let listens = self.wire.tutorial.is_some_and(|tutorial| tutorial.camera == End::Listens);
        match wire::recognise(&self.first) {
            Ok(Some(other)) if other.name != self.wire.name && !listens => {
                Err(WireError { wire: self.wire.name, offset: 0, kind: ErrorKind::NotThisWire })
            }
            _ => Ok(()),
        }
    }
}

/// One camera and its stream.
struct Camera<'a> {
    cameras: &'a Cameras,
    name: Name,
    peer: SocketAddr,
    /// Feeds the stream, from the first picture on.
    publisher: Option<Publisher>,
    /// How many watch, where a camera without viewers is disconnected.
    watched: Option<watch::Receiver<u32>>,
    next: u64,
    jpegs: JpegEntry,
    bad: BadFrames,
    clock: CameraClock,
}

impl Camera<'_> {
    async fn feed(&mut self, connection: &mut Connection, wire: &Wire) -> Result<()> {
        loop {
            let picture = tokio::select! {
                picture = connection.next() => picture,
                () = unwatched(self.watched.as_mut()) => {
                    debug!("'{}': disconnected, since there are no viewers", self.name);
                    return Ok(());
                }
            };
            match picture {
                Ok(Next::Picture(picture)) => self.take(picture)?,
                Ok(Next::End) => self.end(),
                Ok(Next::Closed) => return Ok(()),
                Err(error) if self.next == 0 && error.wire().is_some() => {
                    return Err(error.context(wrong_wire(wire, &connection.first)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The camera has finished. If it sends another picture, it begins again.
    fn end(&mut self) {
        let Some(publisher) = self.publisher.take() else { return };
        info!("{}: '{}' has ended after {} pictures", self.peer, self.name, self.next);
        match self.cameras.streams {
            // Dropped, it leaves the stream to the next camera.
            Streams::One(_) => drop(publisher),
            _ => publisher.retire(),
        }
        self.watched = None;
    }

    /// Publishes a picture; one that is not what it claims to be is dropped and counted.
    fn take(&mut self, picture: Picture) -> Result<()> {
        let now = clock::now();
        let sent = picture.sent;
        let (config, data) = match checked(picture, &mut self.jpegs) {
            Ok(picture) => picture,
            Err(why) => {
                self.bad.count(&self.name, why);
                return Ok(());
            }
        };
        let captured = sent.and_then(|sent| self.clock.ours(&self.name, sent, now));
        // A picture without a time of sending is as old as its arrival here.
        let times =
            Times { captured: captured.unwrap_or(now), sent: captured.unwrap_or(0), received: now, ..Times::default() };
        if self.publisher.is_none() {
            self.begin(now)?;
        }
        if let Some(publisher) = &self.publisher {
            publisher.configure(config)?;
            publisher.publish(Frame { sequence: self.next, keyframe: true, times, data }, now)?;
        }
        self.next += 1;
        Ok(())
    }

    fn begin(&mut self, now: Micros) -> Result<()> {
        let publisher = self.cameras.hub.publish(&self.name, now)?;
        info!("'{}': {} sends pictures", self.name, self.peer);
        if let Streams::Watched(subscribe) = &self.cameras.streams {
            subscribe(&self.name);
            self.watched = Some(publisher.viewers());
        }
        self.publisher = Some(publisher);
        Ok(())
    }
}

/// A picture and what a decoder must know of it, if it is what it claims to be.
pub(super) fn checked(picture: Picture, jpegs: &mut JpegEntry) -> Result<(Config, Bytes)> {
    let (width, height) = picture.size.unwrap_or_default();
    let mut config = Config::new(picture.codec, width, height, 0);
    let data = jpegs.enter(&mut config, picture.data)?;
    Ok((config, data))
}

/// Waits until there are no viewers; for ever where that does not matter.
async fn unwatched(watched: Option<&mut watch::Receiver<u32>>) {
    match watched {
        // The sender lives in the stream, which the camera's publisher holds.
        Some(watched) => drop(watched.wait_for(|viewers| *viewers == 0).await),
        None => std::future::pending().await,
    }
}

/// What a connection on this wire's port begins with, for an error.
fn wrong_wire(wire: &Wire, first: &[u8]) -> String {
    let shown = accept::shown(first);
    if let Ok(Some(other)) = wire::recognise(first)
        && other.name != wire.name
    {
        return format!("this port takes {}, and '{shown}' begins {}: {}", wire.name, other.name, other.summary);
    }
    // Too few bytes may have come to be sure.
    let maybe = WIRES.iter().filter(|other| other.name != wire.name && (other.recognise)(first) == Verdict::More);
    let maybe: Vec<_> = maybe.map(|other| other.name).collect();
    if maybe.is_empty() {
        return format!("this port takes {}, which does not begin with '{shown}'", wire.name);
    }
    format!("this port takes {}, and '{shown}' begins {}", wire.name, maybe.join(" or "))
}

/// Whether a camera's calendar clock and ours agree, judged by the picture with the shortest transfer time.
#[derive(Debug, Default)]
struct CameraClock {
    /// The shortest transfer time so far in µs, by the two clocks.
    shortest: Option<i64>,
    warned: bool,
}

impl CameraClock {
    /// How far ahead of ours, in µs, the clock of a picture with no transfer time may seem.
    const AHEAD: i64 = 50_000;
    /// The longest believed transfer time, in µs, of the fastest picture. A longer one is another clock, or a time zone.
    const LONGEST: i64 = 1_000_000;

    /// This moment of the camera's calendar (µs since 1970) on our clock, which shows `now`; `None` where the clocks do not
    /// agree, which is logged once.
    fn ours(&mut self, name: &Name, sent: Micros, now: Micros) -> Option<Micros> {
        self.judge(name, clock::wall() as i64 - sent as i64, now)
    }

    fn judge(&mut self, name: &Name, transfer: i64, now: Micros) -> Option<Micros> {
        let shortest = self.shortest.map_or(transfer, |before| before.min(transfer));
        self.shortest = Some(shortest);
        if (-Self::AHEAD..=Self::LONGEST).contains(&shortest) {
            return Some(now.saturating_sub(transfer.max(0).unsigned_abs()).max(1));
        }
        if !std::mem::replace(&mut self.warned, true) {
            let (seconds, side) = (shortest as f64 / 1e6, if shortest < 0 { "ahead of" } else { "behind" });
            warn!(
                "'{name}': its clock is {:.3} s {side} ours: its times of sending are not used; set both clocks (NTP) to see its delay",
                seconds.abs()
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        Name::from_lossy("base64-camera")
    }

    #[test]
    fn a_time_of_sending_counts_when_the_clocks_agree() {
        let mut clock = CameraClock::default();
        assert_eq!(clock.judge(&name(), 3_000, 10_000_000), Some(9_997_000));
        assert_eq!(clock.judge(&name(), -2_000, 10_000_000), Some(10_000_000), "sent a little after it arrived");
        assert_eq!(clock.judge(&name(), 7_000_000, 10_000_000), Some(3_000_000), "a lag that grew is no other clock");
        assert!(!clock.warned);
    }

    #[test]
    fn another_clock_or_time_zone_is_not_used_and_logged_once() {
        for transfer in [3_600_000_000, -3_600_000_000, 1_500_000, -60_000] {
            let mut clock = CameraClock::default();
            assert_eq!(clock.judge(&name(), transfer, 10_000_000), None, "{transfer}");
            assert!(clock.warned);
        }
    }

    #[test]
    fn another_wire_is_named() {
        let lhh = wire::WIRES.iter().find(|wire| wire.name == "lhh").unwrap();
        assert!(wrong_wire(lhh, b"12345, ").contains("'12345, ' begins stopwait"), "{}", wrong_wire(lhh, b"12345, "));
        assert!(wrong_wire(lhh, b"hello world").contains("does not begin with 'hello world'"));
    }
}
