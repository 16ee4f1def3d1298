//! A tutorial's displaying server as a sink: connects, sends the newest picture when the link takes it, comes back by itself.

use std::{mem, time::Duration};

use bytes::{Bytes, BytesMut};
use framewire_proto::{
    Config, Frame, Micros, Times,
    wire::tutorial::{Outgoing, Transmit},
};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::Outlet;
use crate::error::{Context as _, Result, bail};
use crate::{
    clock,
    net::{NO_PROGRESS, client::Backoff, endpoint::Endpoint, socket::Socket},
    pace::pacer::Pacer,
    stop::Stop,
    transcode::transcoded::Transcoded,
};

/// A picture older than this is none to begin with: these wires do not tell its age.
const FRESH: Micros = 1_000_000;
/// So many bytes of a picture for a program that is slow are kept back: whether it reads is told only when something comes, and
/// these wires have no bytes that mean nothing.
const KEPT: usize = 64;
/// How long a server may take for the last picture when all shall end.
const FAREWELL: Duration = Duration::from_secs(2);

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
    /// Sends until the stream ends or `stop` is raised; comes back by itself when the server goes.
    ///
    /// # Errors
    /// The first try fails, unless told to wait.
    pub async fn run(&self, stop: &Stop) -> Result<()> {
        let authority = self.to.authority();
        let mut backoff = Backoff::default();
        let mut patient = self.wait;
        while !stop.stopped() {
            let connected = tokio::select! {
                connected = Socket::connect(&authority) => connected.with_context(|| self.to.to_string()),
                () = stop.raised() => break,
            };
            let error = match connected {
                Ok(socket) => {
                    info!("{}: connected", self.to);
                    backoff.reset();
                    patient = true;
                    let fed = tokio::select! {
                        fed = self.feed(&socket, stop) => fed,
                        // A server that hangs keeps nobody from ending.
                        () = async { stop.raised().await; sleep(FAREWELL).await } => return Ok(()),
                    };
                    match fed {
                        Ok(()) => return Ok(()),
                        Err(error) => error.context(self.to.to_string()),
                    }
                }
                Err(error) if !patient => return Err(error.context("--wait tries until it is there")),
                Err(error) => error,
            };
            let wait = backoff.next_wait();
            warn!("{error}; trying again in {:.1} s", wait.as_secs_f64());
            // Whether the time is over or the stop is raised, the loop looks what is next.
            let _ = timeout(wait, stop.raised()).await;
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

/// Sends pictures until there are no more, the connection ends or `stop` is raised; `on_sent` hears of each that is begun.
///
/// # Errors
/// The connection ended or broke, or its other end took nothing or did not answer for 10 s, or answered wrongly.
pub(super) async fn feed(
    socket: &Socket,
    transmitter: &mut dyn Transmit,
    pictures: &mut Transcoded,
    stop: &Stop,
    mut on_sent: impl FnMut(&Config, &Frame),
) -> Result<()> {
    let mut times: Option<Times> = None;
    let mut begun = false;
    let mut answers = BytesMut::new();
    let mut answered = false;
    let mut paced = Pacer::new(socket);
    let mut kept = Bytes::new();
    loop {
        write(socket, transmitter, &mut kept, if paced.slow() { KEPT } else { 0 }).await?;
        if !transmitter.ready() {
            let heard = timeout(NO_PROGRESS, hear(socket, &mut answers)).await;
            heard.context("it has not answered for 10 s")??;
            transmitter.push(&answers);
            answered = true;
            continue;
        }
        if let Some(mut times) = times.take() {
            // Who answers has it; of others nothing is known once it is written.
            times.received = if answered { clock::now() } else { 0 };
            pictures.viewer().report_arrival(&times);
        }
        let next = async {
            paced.room(socket).await?;
            if !answered {
                read(socket, &mut paced, &mut kept).await?;
            }
            pictures.set_target(paced.target());
            Ok::<_, crate::Error>(paced.meanwhile(socket, pictures.next()).await)
        };
        tokio::select! {
            biased;
            () = stop.raised() => break,
            heard = hear(socket, &mut answers) => {
                heard?;
                transmitter.push(&answers);
            }
            next = next => {
                let Some((config, mut frame)) = next? else { break };
                frame.times.sent = clock::now();
                if !begun && frame.times.captured.max(frame.times.received).saturating_add(FRESH) < frame.times.sent {
                    continue;
                }
                begun = true;
                paced.paced(&config);
                on_sent(&config, &frame);
                times = Some(frame.times);
                let picture = Outgoing { width: config.width, height: config.height, data: frame.data };
                let bytes = transmitter.picture(&picture, clock::wall());
                paced.begun(frame.sequence, bytes);
            }
        }
    }
    transmitter.finish();
    write(socket, transmitter, &mut kept, 0).await
}

/// Writes what was kept back and all that there is to be written, and keeps back so many of the last bytes.
async fn write(socket: &Socket, transmitter: &mut dyn Transmit, kept: &mut Bytes, keep: usize) -> Result<()> {
    while let Some(bytes) = transmitter.pull()? {
        socket.write(&mem::replace(kept, bytes), &[]).await?;
    }
    let most = kept.len().saturating_sub(keep);
    socket.write(&kept.split_to(most), &[]).await
}

/// Waits until the other end's program has read so much that it may have another picture; it gets what was kept of this one.
async fn read(socket: &Socket, paced: &mut Pacer, kept: &mut Bytes) -> Result<()> {
    let mut waited = false;
    while !paced.reads(socket).await? {
        if !kept.is_empty() {
            socket.write(&kept.split_to(1), &[]).await?;
        } else if mem::replace(&mut waited, true) {
            // Only the next picture can ask.
            return Ok(());
        }
    }
    socket.write(&mem::take(kept), &[]).await
}

/// Waits for what the other end says.
async fn hear(socket: &Socket, into: &mut BytesMut) -> Result<()> {
    into.clear();
    if socket.read(into).await? == 0 {
        bail!(ConnectionLost, "the other end closed the connection");
    }
    Ok(())
}
