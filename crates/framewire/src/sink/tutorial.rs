//! A tutorial's displaying server as a sink: connects, sends the newest picture when the link is ready for it, and reconnects.

use std::{mem, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use framewire_proto::{
    Config, Frame, Micros, Times,
    wire::tutorial::{Outgoing, Transmit, Tutorial},
};
use tokio::{runtime, time::sleep};
use tracing::info;

use super::{
    Outlet,
    kind::{Kind, Sink, Way},
};
use crate::{
    clock,
    error::{Context as _, Result, bail},
    net::{endpoint::Endpoint, retry::Retry, socket::Socket},
    pace::pacer::{Pacer, Room},
    stop::Stop,
    transcode::transcoded::Transcoded,
};

/// An older picture, in µs, is not sent as the first one: these wires do not carry its age.
const FIRST_MAX_AGE: Micros = 1_000_000;
/// So many last bytes of a picture are held back from a slow program, as probes. Its kernel reports its window only when
/// something arrives, and these wires have no bytes without meaning.
const PROBES: usize = 64;
/// How long a server may take for the last picture when the program ends.
const FAREWELL: Duration = Duration::from_millis(300);

/// The rows of [`SINKS`](super::SINKS).
pub const LHH: Kind = Kind {
    usage: "lhh://HOST:PORT",
    summary: "a tutorial's display of JPEGs behind struct \"lhh\"; ?long=8 for one that reads 8-byte lengths",
    matches: |to| to.starts_with("lhh://"),
    open: Script::open,
};
/// The same for base64 between length and time.
pub const BASE64: Kind = Kind {
    usage: "base64://HOST:PORT",
    summary: "a tutorial's display of base64 between 64 bytes of length and of time",
    matches: |to| to.starts_with("base64://"),
    open: Script::open,
};
/// The same for JPEGs that are acknowledged one by one.
pub const STOPWAIT: Kind = Kind {
    usage: "stopwait://HOST:PORT",
    summary: "a tutorial's display that answers ok to each length and each JPEG",
    matches: |to| to.starts_with("stopwait://"),
    open: Script::open,
};

/// The same for JPEGs behind a length.
pub const LENGTH: Kind = Kind {
    usage: "length://HOST:PORT",
    summary: "a script that reads a 4-byte big-endian length and a JPEG; ?long=8 for 8 bytes",
    matches: |to| to.starts_with("length://"),
    open: Script::open,
};

/// A tutorial's displaying server that is not connected yet.
struct Script(Endpoint);

impl Script {
    fn open(to: &str) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Self(Endpoint::parse(to)?)))
    }
}

impl Sink for Script {
    fn tutorial(&self) -> Option<&Tutorial> {
        Some(&self.0.tutorial)
    }

    fn run(self: Box<Self>, outlet: Outlet, way: Way, stop: &Stop) -> Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Push { outlet, to: self.0, wait: way.wait }.run(stop))
    }
}

/// A stream of this process to be sent to a displaying server.
pub struct Push {
    /// What is sent.
    pub outlet: Outlet,
    /// The server.
    pub to: Endpoint,
    /// Try again even if the first try fails.
    pub wait: bool,
}

impl Push {
    /// Sends until the stream ends or `stop` is raised; reconnects when the server goes.
    ///
    /// # Errors
    /// The first try fails, unless told to wait.
    pub async fn run(&self, stop: &Stop) -> Result<()> {
        let mut retry = Retry::default();
        let mut may_retry = self.wait;
        while !stop.stopped() {
            let connected = tokio::select! {
                connected = Socket::connect(&self.to.host, self.to.port) => connected.with_context(|| self.to.to_string()),
                () = stop.raised() => break,
            };
            let error = match connected {
                Ok(socket) => {
                    info!("{}: connected", self.to);
                    retry.reset();
                    may_retry = true;
                    self.outlet.viewers.send_replace(1);
                    let fed = tokio::select! {
                        fed = self.feed(&socket, stop) => fed,
                        // A server that hangs does not keep the program from ending.
                        () = async { stop.raised().await; sleep(FAREWELL).await } => return Ok(()),
                    };
                    self.outlet.viewers.send_replace(0);
                    match fed {
                        Ok(()) => return Ok(()),
                        Err(error) => error.context(self.to.to_string()),
                    }
                }
                Err(error) if !may_retry => return Err(error.context("--wait tries until it is there")),
                Err(error) => error,
            };
            retry.wait_async(Duration::ZERO, &error, stop).await;
        }
        Ok(())
    }

    async fn feed(&self, socket: &Socket, stop: &Stop) -> Result<()> {
        let mut transmitter = (self.to.tutorial.transmitter)(self.to.width);
        let mut pictures = Transcoded::new(self.outlet.subscribe()?, self.outlet.encode.clone());
        let on_sent = |config: &Config, frame: &Frame| self.outlet.sent(config, frame);
        feed(socket, transmitter.as_mut(), &mut pictures, stop, on_sent).await
    }
}

/// Sends pictures until there are no more, the connection ends or `stop` is raised; `on_sent` gets each that is started.
///
/// # Errors
/// The connection ended or broke, its other end answered wrongly, or the other end's machine is gone.
pub(super) async fn feed(
    socket: &Socket,
    transmitter: &mut dyn Transmit,
    pictures: &mut Transcoded,
    stop: &Stop,
    mut on_sent: impl FnMut(&Config, &Frame),
) -> Result<()> {
    let mut under_way: Option<Times> = None;
    let mut started = false;
    let mut answers = BytesMut::new();
    let mut answered = false;
    let mut pacer = Pacer::new(socket);
    let mut probes = Bytes::new();
    loop {
        write(socket, transmitter, &mut probes, if pacer.reader_slow() { PROBES } else { 0 }).await?;
        if !transmitter.ready() {
            socket.while_there(receive(socket, &mut answers)).await??;
            transmitter.push(&answers);
            answered = true;
            continue;
        }
        if let Some(mut times) = under_way.take() {
            // An answer means that the picture has arrived. On other wires its arrival is unknown.
            times.received = if answered { clock::now() } else { 0 };
            pictures.viewer().report_arrival(&times);
        }
        tokio::select! {
            biased;
            () = stop.raised() => break,
            answer = receive(socket, &mut answers) => {
                answer?;
                transmitter.push(&answers);
            }
            next = next(socket, &mut pacer, (!answered).then_some(&mut probes), pictures) => {
                let Some((config, mut frame)) = next? else { break };
                frame.times.sent = clock::now();
                let arrived = frame.times.captured.max(frame.times.received);
                if !started && arrived.saturating_add(FIRST_MAX_AGE) < frame.times.sent {
                    continue;
                }
                started = true;
                pacer.configure(&config);
                on_sent(&config, &frame);
                under_way = Some(frame.times);
                let picture = Outgoing { width: config.width, height: config.height, data: frame.data };
                let bytes = transmitter.picture(&picture, clock::wall());
                pacer.start(frame.sequence, bytes);
            }
        }
    }
    transmitter.finish();
    write(socket, transmitter, &mut probes, 0).await
}

/// The next picture, once the other end is ready for it. The probes are for a wire without answers.
async fn next(
    socket: &Socket,
    pacer: &mut Pacer,
    probes: Option<&mut Bytes>,
    pictures: &mut Transcoded,
) -> Result<Option<(Arc<Config>, Frame)>> {
    pacer.ready(socket).await?;
    if let Some(probes) = probes {
        probe(socket, pacer, probes).await?;
    }
    pictures.set_target(pacer.target());
    Ok(pacer.reading_acks(socket, pictures.next()).await)
}

/// Writes the probes that are left and all that is to be written, and holds back so many of the last bytes as probes.
async fn write(socket: &Socket, transmitter: &mut dyn Transmit, probes: &mut Bytes, hold_back: usize) -> Result<()> {
    while let Some(bytes) = transmitter.pull()? {
        socket.write([&mem::replace(probes, bytes)]).await?;
    }
    let most = probes.len().saturating_sub(hold_back);
    socket.write([&probes.split_to(most)]).await
}

/// Waits until the other end's program has read so much that it may have another picture. Its kernel is asked by the probes, one
/// byte each; then the rest of them is written.
async fn probe(socket: &Socket, pacer: &mut Pacer, probes: &mut Bytes) -> Result<()> {
    loop {
        match pacer.room(socket).await? {
            // These wires have no bytes without meaning: only the next picture shows whether the program reads.
            Room::Frame | Room::Test(_) => return socket.write([&mem::take(probes)]).await,
            Room::Probe => socket.write([&probes.split_to(probes.len().min(1))]).await?,
        }
    }
}

/// Waits for bytes from the other end.
async fn receive(socket: &Socket, into: &mut BytesMut) -> Result<()> {
    into.clear();
    if socket.read(into).await? == 0 {
        bail!(ConnectionLost, "the other end closed the connection");
    }
    Ok(())
}
