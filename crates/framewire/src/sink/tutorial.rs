//! A tutorial's displaying server as a sink: connects, sends the newest picture when the link takes it, comes back by itself.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use framewire_proto::{
    Config, Frame, Micros, Times,
    wire::tutorial::{Outgoing, Transmit},
};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Outlet, coded::Coded, paced::Paced};
use crate::{
    clock,
    net::{NO_PROGRESS, client::Backoff, endpoint::Endpoint, socket::Socket},
    stop::Stop,
};

/// A picture older than this is none to begin with: these wires do not tell its age.
const FRESH: Micros = 1_000_000;
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
            warn!("{error:#}; trying again in {:.1} s", wait.as_secs_f64());
            // Whether the time is over or the stop is raised, the loop looks what is next.
            let _ = timeout(wait, stop.raised()).await;
        }
        Ok(())
    }

    async fn feed(&self, socket: &Socket, stop: &Stop) -> Result<()> {
        let mut transmitter = (self.to.tutorial.transmitter)(self.to.width);
        let mut pictures = Coded::new(self.outlet.subscribe()?, self.outlet.encode.clone());
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
    pictures: &mut Coded,
    stop: &Stop,
    mut on_sent: impl FnMut(&Config, &Frame),
) -> Result<()> {
    let mut times: Option<Times> = None;
    let mut begun = false;
    let mut answers = BytesMut::new();
    let mut paced = Paced::new(socket);
    loop {
        write_all(socket, transmitter).await?;
        if !transmitter.ready() {
            let heard = timeout(NO_PROGRESS, hear(socket, &mut answers)).await;
            heard.context("it has not answered for 10 s")??;
            transmitter.push(&answers);
            continue;
        }
        if let Some(mut times) = times.take() {
            // Who answers has it; of others nothing is known once it is written.
            times.received = if answers.is_empty() { 0 } else { clock::now() };
            pictures.viewer().report_arrival(&times);
            answers.clear();
        }
        let next = async {
            paced.room(socket).await?;
            pictures.aim(paced.budget());
            anyhow::Ok(paced.meanwhile(socket, pictures.next()).await)
        };
        tokio::select! {
            biased;
            () = stop.raised() => break,
            heard = hear(socket, &mut answers) => {
                heard?;
                transmitter.push(&answers);
                answers.clear();
            }
            next = next => {
                let Some((config, mut frame)) = next? else { break };
                frame.times.sent = clock::now();
                if !begun && frame.times.captured.max(frame.times.received).saturating_add(FRESH) < frame.times.sent {
                    continue;
                }
                begun = true;
                paced.paced(&config);
                paced.begun(&frame);
                on_sent(&config, &frame);
                times = Some(frame.times);
                let picture = Outgoing { width: config.width, height: config.height, data: frame.data };
                transmitter.picture(&picture, clock::wall());
            }
        }
    }
    transmitter.finish();
    write_all(socket, transmitter).await
}

async fn write_all(socket: &Socket, transmitter: &mut dyn Transmit) -> Result<()> {
    while let Some(bytes) = transmitter.pull()? {
        socket.write(&bytes, &[]).await?;
    }
    Ok(())
}

/// Waits for what the other end says.
async fn hear(socket: &Socket, into: &mut BytesMut) -> Result<()> {
    into.clear();
    if socket.read(into).await? == 0 {
        bail!("the other end closed the connection");
    }
    Ok(())
}
