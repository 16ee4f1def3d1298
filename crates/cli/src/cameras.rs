//! Listening for tutorials' cameras, as those tutorials' displaying servers do.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::Result;
use framewire::proto::{Name, wire::tutorial::End};
use tokio::net::TcpListener;
use tracing::{info, warn};

use framewire::{
    clock,
    hub::{Hub, Policy, Subscriber},
    net::{accept, endpoint::Endpoint},
    source::{
        Spec,
        tutorial::{self, Cameras, Streams},
    },
    stop::Stop,
};

/// Where to listen for cameras, if that is what is to be watched.
pub(crate) fn endpoint(from: &Spec) -> Result<Option<Endpoint>> {
    if !Endpoint::matches(&from.source) {
        return Ok(None);
    }
    let endpoint = Endpoint::parse(&from.source)?;
    Ok((endpoint.tutorial.camera == End::Connects).then_some(endpoint))
}

/// A stream for each camera, of which whoever takes them is given a subscriber.
pub(crate) fn watched(hub: &Hub, policy: Policy, meet: impl Fn(Subscriber) + Send + Sync + 'static) -> Streams {
    let hub = hub.clone();
    Streams::Watched(Arc::new(move |name| {
        // Whatever fails here leaves the camera unwatched, so that it is let go.
        let _ = hub.subscribe(name, policy, false, clock::now()).map(&meet);
    }))
}

/// Takes cameras one at a time, all into one stream: who watches sees but a pause between them.
pub(crate) fn one(
    at: &Endpoint,
    hub: &Hub,
    policy: Policy,
    stop: &Stop,
) -> Result<(Subscriber, JoinHandle<Result<()>>)> {
    let name: Name = at.wire.name.parse()?;
    let subscriber = hub.subscribe(&name, policy, true, clock::now())?;
    let listening = listen(at, hub, Streams::One(name), stop)?;
    Ok((subscriber, listening))
}

/// Takes cameras there until `stop` is raised.
pub(crate) fn listen(at: &Endpoint, hub: &Hub, streams: Streams, stop: &Stop) -> Result<JoinHandle<Result<()>>> {
    let runtime = crate::runtime()?;
    let listener = runtime.block_on(bind(at, "send pictures"))?;
    let (wire, cameras, stop) = (at.wire, Cameras { hub: hub.clone(), streams }, stop.clone());
    Ok(thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = tutorial::listen(listener, wire, cameras) => {}
                () = stop.raised() => {}
            }
        });
        Ok(())
    }))
}

/// Listens there, and says so. Whoever reaches the port can do `what`.
pub(crate) async fn bind(at: &Endpoint, what: &str) -> Result<TcpListener> {
    let listener = accept::bind(&at.authority()).await?;
    let address: SocketAddr = listener.local_addr()?;
    info!("{}: listens on {address}", at.wire.name);
    if !address.ip().is_loopback() {
        warn!("anybody who reaches {address} can {what}");
    }
    Ok(listener)
}
