//! A tutorial's camera, which connects and pushes pictures, as the source of a stream of its own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use framewire_proto::{
    Config, Frame, Limits, Micros, Name, Times, WireError,
    error::Kind,
    wire::{
        self, Wire,
        tutorial::{Picture, Receive, Received, Tutorial},
    },
};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tracing::{debug, info, warn};

use crate::{
    bad_frames::BadFrames,
    clock,
    error::{Context as _, Error, OrError as _, Result},
    hub::{Hub, Publisher},
    net::{
        accept::{self, Accepted},
        socket::Socket,
    },
};

/// A camera that sends nothing for this long is given up: these wires have no other sign of life.
const SILENCE: Duration = Duration::from_secs(60);

/// What becomes of tutorials' cameras that connect.
#[derive(Clone)]
pub struct Cameras {
    /// Where their streams are.
    pub hub: Hub,
    /// Which streams those are.
    pub streams: Streams,
}

/// The streams that cameras feed.
#[derive(Clone)]
pub enum Streams {
    /// Each camera has its own, named by its wire and address, for as long as it is connected.
    Each,
    /// The same. Told of each before its first frame, to begin to watch it: who is not watched any more is let go.
    Watched(Arc<dyn Fn(&Name) + Send + Sync>),
    /// One camera at a time feeds this one.
    One(Name),
}

/// Takes cameras on this wire for as long as it is polled.
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
    /// The connection broke, or what comes is not its wire.
    pub async fn serve(&self, accepted: Accepted) -> Result<()> {
        let Accepted { wire, socket, prefix } = accepted;
        let peer = socket.peer();
        let tutorial = wire.tutorial.or_error(Error::InvalidInput, || format!("{} is no camera's wire", wire.name))?;
        let name = match &self.streams {
            Streams::One(name) => name.clone(),
            _ => Name::from_lossy(&format!("{}-{}-{}", wire.name, peer.ip().to_canonical(), peer.port())),
        };
        let mut connection = Connection::new(socket, wire, &tutorial, prefix);
        let mut camera = Camera {
            cameras: self,
            name,
            peer,
            watched: None,
            publisher: None,
            next: 0,
            bad: BadFrames::default(),
            wall: Wall::default(),
        };
        let outcome = camera.feed(&mut connection, wire).await;
        if let Some(publisher) = camera.publisher {
            info!("{peer}: '{}' has ended after {} pictures", camera.name, camera.next);
            match self.streams {
                // Dropped, it leaves the stream to the next camera.
                Streams::One(_) => drop(publisher),
                _ => publisher.retire(),
            }
        }
        outcome
    }
}

/// A connection to a tutorial's camera, whichever of the two has connected.
pub(super) struct Connection {
    socket: Socket,
    wire: &'static Wire,
    receiver: Box<dyn Receive>,
    /// How the connection begins.
    first: BytesMut,
}

impl Connection {
    /// A connection on this wire that begins with these bytes.
    pub(super) fn new(socket: Socket, wire: &'static Wire, tutorial: &Tutorial, first: BytesMut) -> Self {
        let mut receiver = (tutorial.receiver)(&Limits::default());
        receiver.push(&first);
        Self { socket, wire, receiver, first }
    }

    /// The next picture; `None` at the camera's end. Nothing is lost when the wait is given up, unless an answer was being
    /// written.
    pub(super) async fn next(&mut self) -> Result<Option<Picture>> {
        loop {
            match self.receiver.pull()? {
                Some(Received::Picture(picture)) => return Ok(Some(picture)),
                Some(Received::Answer(answer)) => self.socket.write([answer]).await?,
                // It closes the connection now, or begins again.
                Some(Received::End) => {}
                None => {
                    let space = self.receiver.space();
                    let held = space.len();
                    let read = timeout(SILENCE, self.socket.read(space)).await;
                    if read.context("the camera has sent nothing for 60 s")?? == 0 {
                        return Ok(None);
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

    /// Refuses what begins another wire. One whose camera waits for an answer may send fewer bytes than this one's first
    /// header has.
    fn check_wire(&self) -> Result<(), WireError> {
        match wire::recognise(&self.first) {
            Ok(Some(other)) if other.name != self.wire.name => {
                Err(WireError { wire: self.wire.name, offset: 0, kind: Kind::NotThisWire })
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
    /// How many watch, where it matters.
    watched: Option<watch::Receiver<u32>>,
    next: u64,
    bad: BadFrames,
    wall: Wall,
}

impl Camera<'_> {
    async fn feed(&mut self, connection: &mut Connection, wire: &Wire) -> Result<()> {
        loop {
            let picture = tokio::select! {
                picture = connection.next() => picture,
                () = deserted(self.watched.as_mut()) => {
                    debug!("'{}': let go, since nobody watches", self.name);
                    return Ok(());
                }
            };
            match picture {
                Ok(Some(picture)) => self.take(picture)?,
                Ok(None) => return Ok(()),
                Err(error) if self.next == 0 && error.wire().is_some() => {
                    return Err(error.context(what_came(wire, &connection.first)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Publishes a picture; one that is not what it claims to be is dropped and counted.
    fn take(&mut self, picture: Picture) -> Result<()> {
        let now = clock::now();
        let sent = picture.sent;
        let (config, data) = match checked(picture) {
            Ok(picture) => picture,
            Err(why) => {
                self.bad.count(&self.name, why);
                return Ok(());
            }
        };
        let captured = sent.and_then(|sent| self.wall.ours(&self.name, sent, now));
        // What does not tell when it was sent is as old as its arrival here.
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
        if let Streams::Watched(meet) = &self.cameras.streams {
            meet(&self.name);
            self.watched = Some(publisher.viewers());
        }
        self.publisher = Some(publisher);
        Ok(())
    }
}

/// A picture and what a decoder must know of it, if it is what it claims to be.
pub(super) fn checked(picture: Picture) -> Result<(Config, Bytes), String> {
    let (width, height) = picture.size.unwrap_or_default();
    let mut config = Config { codec: picture.codec, width, height, millifps: 0, extra: Bytes::new() };
    config.check(&picture.data)?;
    Ok((config, picture.data))
}

/// Waits until nobody watches; for ever where that does not matter.
async fn deserted(watched: Option<&mut watch::Receiver<u32>>) {
    match watched {
        // The sender lives in the stream, which the camera's publisher holds.
        Some(watched) => drop(watched.wait_for(|viewers| *viewers == 0).await),
        None => std::future::pending().await,
    }
}

/// What a connection on this wire's port begins with, in words.
fn what_came(wire: &Wire, first: &[u8]) -> String {
    let shown = accept::shown(first);
    match wire::recognise(first) {
        Ok(Some(other)) if other.name != wire.name => {
            format!("this port takes {}, and '{shown}' begins {}: {}", wire.name, other.name, other.summary)
        }
        _ => format!("this port takes {}, which does not begin with '{shown}'", wire.name),
    }
}

/// Whether a camera's calendar clock and ours agree, judged by the picture that seems to have come fastest.
#[derive(Debug, Default)]
struct Wall {
    /// The shortest way so far in µs, by the two clocks.
    shortest: Option<i64>,
    told: bool,
}

impl Wall {
    /// How far ahead of ours, in µs, the clock of a picture may seem that has come in no time.
    const AHEAD: i64 = 50_000;
    /// How long, in µs, the fastest picture may be on its way. What is longer is another clock, or a time zone.
    const LONGEST: i64 = 1_000_000;

    /// This moment of the camera's calendar (µs since 1970) on our clock, now showing `now`; `None` where the clocks do not
    /// agree, which is said once.
    fn ours(&mut self, name: &Name, sent: Micros, now: Micros) -> Option<Micros> {
        self.judge(name, clock::wall() as i64 - sent as i64, now)
    }

    fn judge(&mut self, name: &Name, way: i64, now: Micros) -> Option<Micros> {
        let shortest = self.shortest.map_or(way, |before| before.min(way));
        self.shortest = Some(shortest);
        if (-Self::AHEAD..=Self::LONGEST).contains(&shortest) {
            return Some(now.saturating_sub(way.max(0).unsigned_abs()).max(1));
        }
        if !std::mem::replace(&mut self.told, true) {
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
        let mut wall = Wall::default();
        assert_eq!(wall.judge(&name(), 3_000, 10_000_000), Some(9_997_000));
        assert_eq!(wall.judge(&name(), -2_000, 10_000_000), Some(10_000_000), "sent a little after it came");
        assert_eq!(wall.judge(&name(), 7_000_000, 10_000_000), Some(3_000_000), "a lag that grew is no other clock");
        assert!(!wall.told);
    }

    #[test]
    fn another_clock_or_time_zone_is_told_once_and_not_used() {
        for way in [3_600_000_000, -3_600_000_000, 1_500_000, -60_000] {
            let mut wall = Wall::default();
            assert_eq!(wall.judge(&name(), way, 10_000_000), None, "{way}");
            assert!(wall.told);
        }
    }

    #[test]
    fn what_came_instead_is_named() {
        let lhh = wire::WIRES.iter().find(|wire| wire.name == "lhh").unwrap();
        assert!(what_came(lhh, b"12345, ").contains("'12345, ' begins stopwait"), "{}", what_came(lhh, b"12345, "));
        assert!(what_came(lhh, b"\x01\x02").contains("does not begin with '\\x01\\x02'"));
    }
}
