//! The camera server of the tutorial that pickles its frames: any number of viewers, each of which connects and says nothing.

use std::time::Duration;

use framewire_proto::{
    Name,
    wire::tutorial::{Transmit, Width},
};
use tokio::{net::TcpListener, time::timeout};
use tracing::info;

use super::{Outlet, tutorial::feed};
use crate::error::{Context as _, Result};
use crate::{
    clock,
    hub::{Hub, Policy, Publisher},
    net::{
        accept::{self, Accepted},
        endpoint::Endpoint,
        socket::Socket,
    },
    stop::Stop,
    transcode::{encode, transcoded::Transcoded},
};

/// How long viewers may take to get the last picture.
const FAREWELL: Duration = Duration::from_secs(2);

/// A port where a stream is served to viewers that say nothing.
pub struct Port {
    /// What is served, coded once for all viewers and only while there is one.
    pub outlet: Outlet,
    /// The port, and the wire that is spoken there.
    pub at: Endpoint,
    /// The stream's end is this port's too.
    pub ends: bool,
}

impl Port {
    /// Serves until the stream ends, if that counts, or `stop` is raised.
    ///
    /// # Errors
    /// The stream cannot be watched.
    pub async fn run(&self, listener: TcpListener, stop: &Stop) -> Result<()> {
        // A stream of its own, which nobody else sees.
        let served = Hub::default();
        let publisher = served.publish(&self.outlet.stream, clock::now())?;
        let (name, transmitter) = (self.outlet.stream.clone(), self.at.tutorial.transmitter);
        let stopped = stop.clone();
        let serve = move |accepted: Accepted| {
            let (served, name, stop) = (served.clone(), name.clone(), stopped.clone());
            async move {
                let peer = accepted.peer;
                info!("{peer}: watches '{name}'");
                let left = viewer(accepted, &served, &name, transmitter(Width::default()), &stop).await;
                info!("{peer}: {}", left.map_or_else(|error| format!("left: {error}"), |()| "has got all".into()));
            }
        };
        tokio::select! {
            () = accept::run(listener, Some(self.at.wire), serve) => Ok(()),
            outcome = self.code(publisher) => outcome,
            () = stop.raised() => Ok(()),
        }
    }

    /// Codes pictures while somebody is there to get them.
    async fn code(&self, served: Publisher) -> Result<()> {
        let mut viewers = served.viewers();
        loop {
            // The sender lives in the stream, which the publisher holds.
            let _ = viewers.wait_for(|count| *count > 0).await;
            let mut pictures = Transcoded::new(self.outlet.subscribe()?, self.outlet.encode.clone());
            loop {
                let next = async {
                    // What nobody can take yet need not be coded.
                    served.room().await;
                    pictures.next().await
                };
                let next = tokio::select! {
                    next = next => next,
                    _ = viewers.wait_for(|count| *count == 0) => break,
                };
                match next {
                    Some((config, frame)) => {
                        self.outlet.sent(&config, &frame);
                        served.configure((*config).clone())?;
                        served.publish(frame, clock::now())?;
                    }
                    None if self.ends => {
                        served.finish();
                        // Who takes longer than that misses the last picture.
                        let _ = timeout(FAREWELL, viewers.wait_for(|count| *count == 0)).await;
                        return Ok(());
                    }
                    None => {}
                }
            }
        }
    }
}

/// Serves one viewer until it leaves.
async fn viewer(
    accepted: Accepted,
    served: &Hub,
    name: &Name,
    mut transmitter: Box<dyn Transmit>,
    stop: &Stop,
) -> Result<()> {
    let socket = Socket::new(accepted.stream, accepted.peer);
    let subscriber = served.subscribe(name, Policy::Newest, false, clock::now()).context("the stream is gone")?;
    let as_it_comes = encode::EncodeOptions { codec: encode::CodecChoice::Copy, ..encode::EncodeOptions::default() };
    feed(&socket, transmitter.as_mut(), &mut Transcoded::new(subscriber, as_it_comes), stop, |_, _| {}).await
}
