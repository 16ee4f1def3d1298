//! The camera server of the tutorial that pickles its frames: any number of viewers, each of which connects and sends nothing.

use std::{future::pending, time::Duration};

use framewire_proto::{
    Name,
    wire::tutorial::{Transmit, Tutorial, Width},
};
use tokio::{net::TcpListener, runtime, time::timeout};
use tracing::info;

use super::{
    Outlet,
    kind::{Kind, Sink, Way},
    tutorial::feed,
};
use crate::{
    clock,
    error::{Context as _, Result},
    hub::{Hub, Policy, Publisher},
    net::{
        accept::{self, Accepted},
        endpoint::Endpoint,
    },
    stop::Stop,
    transcode::{encode, transcoded::Transcoded},
};

/// How long viewers may take to get the last picture when the stream ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// The row of [`SINKS`](super::SINKS).
pub const KIND: Kind = Kind {
    usage: "pickle://ADDR:PORT",
    summary: "the viewers of the tutorial that pickles frames: they connect here",
    matches: |to| to.starts_with("pickle://"),
    open: |to| Ok(Box::new(Listening(Endpoint::parse(to)?))),
};

/// A port that is not open yet.
struct Listening(Endpoint);

impl Sink for Listening {
    fn tutorial(&self) -> Option<&Tutorial> {
        Some(&self.0.tutorial)
    }

    fn listens(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, outlet: Outlet, _: Way, stop: &Stop) -> Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = accept::bind_endpoint(&self.0, "watch").await?;
            Port { outlet, at: self.0, ends: true }.run(listener, stop).await
        })
    }
}

/// A port where a stream is served to viewers that send nothing.
pub struct Port {
    /// What is served, encoded once for all viewers and only while there is one.
    pub outlet: Outlet,
    /// The port, and the wire that is spoken there.
    pub at: Endpoint,
    /// The stream's end is this port's too.
    pub ends: bool,
}

impl Port {
    /// Serves until the stream ends, if that ends the port, or `stop` is raised.
    ///
    /// # Errors
    /// The stream cannot be watched.
    pub async fn run(&self, listener: TcpListener, stop: &Stop) -> Result<()> {
        // A hub of its own, for these viewers only.
        let served = Hub::default();
        let publisher = served.publish(&self.outlet.stream, clock::now())?;
        let mut viewers = publisher.viewers();
        let tell = async {
            while viewers.changed().await.is_ok() {
                self.outlet.viewers.send_replace(*viewers.borrow_and_update());
            }
        };
        let (name, transmitter) = (self.outlet.stream.clone(), self.at.tutorial.transmitter);
        let stopped = stop.clone();
        let serve = move |accepted: Accepted| {
            let (served, name, stop) = (served.clone(), name.clone(), stopped.clone());
            async move {
                let peer = accepted.socket.peer();
                info!("{peer}: watches '{name}'");
                let left = viewer(accepted, &served, &name, transmitter(Width::default()), &stop).await;
                info!(
                    "{peer}: {}",
                    left.map_or_else(|error| format!("left: {error}"), |()| "got the stream to its end".into())
                );
            }
        };
        tokio::select! {
            () = accept::run(listener, vec![self.at.wire], serve) => Ok(()),
            outcome = self.encode(publisher) => outcome,
            () = async { tell.await; pending().await } => Ok(()),
            () = stop.raised() => Ok(()),
        }
    }

    /// Encodes pictures while there are viewers.
    async fn encode(&self, served: Publisher) -> Result<()> {
        let mut viewers = served.viewers();
        loop {
            // The sender lives in the stream, which the publisher holds.
            let _ = viewers.wait_for(|count| *count > 0).await;
            let mut pictures = Transcoded::new(self.outlet.subscribe()?, self.outlet.encode.clone());
            loop {
                let next = async {
                    // A picture that no viewer has room for is not encoded.
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
                        // A viewer that takes longer misses the last picture.
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
    let subscriber = served.subscribe(name, Policy::Newest, false, clock::now()).context("the stream is gone")?;
    let as_it_comes = encode::EncodeOptions { codec: encode::CodecChoice::Copy, ..encode::EncodeOptions::default() };
    feed(&accepted.socket, transmitter.as_mut(), &mut Transcoded::new(subscriber, as_it_comes), stop, |_, _| {}).await
}
