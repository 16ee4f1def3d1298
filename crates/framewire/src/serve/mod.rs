//! The hub's one port: what [`net`](crate::net) recognises goes to the source or sink that speaks it.

mod broadcast;
pub mod clients;
pub mod http;
pub mod metrics;
mod mjpeg;
mod publish;
mod viewer;
mod watch;
pub mod websocket;

use std::{sync::Arc, time::Duration};

use framewire_proto::{
    link::Link,
    wire::{
        native::{self, Message, Session, code},
        tutorial::End,
    },
};
use tokio::{
    net::TcpListener,
    time::{interval, timeout},
};
use tracing::{debug, info};

use crate::error::{Context as _, Error, Result, bail, error};
use crate::{
    clock,
    hub::Hub,
    net::{
        self,
        accept::{self, Accepted},
        channel::{self, Channel},
    },
    source::tutorial::{Cameras, Streams},
    transcode::renditions,
};
use clients::Sessions;

/// How often streams are looked after: a stalled one must be noticed within a second.
const TICK: Duration = Duration::from_millis(100);

/// What a hub's port does beyond the defaults.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Host names by which browsers may call this hub, besides IP addresses, `localhost` and this machine's name.
    pub host_names: Vec<String>,
    /// Refuse tutorials' cameras.
    pub no_legacy: bool,
}

/// Serves this hub on this listener for as long as it is polled.
pub async fn run(listener: TcpListener, hub: Hub, config: Config) {
    renditions::serve(&hub);
    let sessions = Sessions::default();
    let pages = Arc::new(http::Pages::new(hub.clone(), sessions.clone(), &config.host_names));
    let cameras = (!config.no_legacy).then(|| Cameras { hub: hub.clone(), streams: Streams::Each });
    let serve = {
        let hub = hub.clone();
        move |accepted| connection(accepted, hub.clone(), sessions.clone(), pages.clone(), cameras.clone())
    };
    tokio::join!(accept::run(listener, None, serve), look_after(&hub));
}

async fn look_after(hub: &Hub) {
    let mut tick = interval(TICK);
    loop {
        tick.tick().await;
        hub.tick(clock::now());
    }
}

async fn connection(
    accepted: Accepted,
    hub: Hub,
    sessions: Sessions,
    pages: Arc<http::Pages>,
    cameras: Option<Cameras>,
) {
    let (peer, wire) = (accepted.socket.peer(), accepted.wire);
    let outcome = match (wire.tutorial, cameras) {
        (None, _) if wire.name == native::NAME => native(Channel::new(accepted), &hub, &sessions).await,
        (None, _) => pages.serve(accepted).await,
        (Some(tutorial), Some(cameras)) if tutorial.camera == End::Connects => cameras.serve(accepted).await,
        (Some(_), Some(_)) => Err(error!(
            Refused,
            "{} is never taken from who connects here: `framewire view {0}://HOST:PORT` goes and gets it", wire.name
        )),
        (Some(_), None) => Err(error!(Refused, "{} is refused by --no-legacy", wire.name)),
    };
    match outcome {
        Ok(()) => debug!("{peer}: left"),
        Err(error) => info!("{peer}: closed: {error}"),
    }
}

/// Hears what a client on the native wire wants, then lets it have that.
async fn native(channel: Channel, hub: &Hub, sessions: &Sessions) -> Result<()> {
    let mut link = Link::new(clock::now());
    let mut before = Before::default();
    let wish = timeout(net::HEAD, wish(&channel, &mut link, &mut before)).await;
    let wish = match wish.context("it did not say in time what it wants").flatten() {
        Ok(wish) => wish,
        Err(error) => {
            channel.greet(&[channel::hello()]).await?;
            return Err(told(&channel, error).await);
        }
    };
    let seat = match before.session.map(|session| sessions.join(session)).transpose() {
        Ok(seat) => seat,
        Err(outdated) => {
            channel.greet(&[channel::hello(), Message::Bye { text: outdated.to_string() }]).await?;
            bail!(Refused, "{outdated}");
        }
    };
    let (seated, answers) = (seat.as_ref(), before.answers);
    let serve = async {
        match wish {
            Message::Publish { .. } => publish::run(&channel, hub, &wish, seated, link, answers).await,
            Message::Subscribe { .. } => watch::run(&channel, hub, wish, seated, link, answers).await,
            _ => Ok(()),
        }
    };
    tokio::select! {
        outcome = serve => match outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(told(&channel, error).await),
        },
        () = clients::taken(seated) => {
            // What waits here to be sent is old by now, and its client reads elsewhere.
            channel.abandon();
            bail!(Refused, "a newer connection of the same client has taken over")
        }
    }
}

/// Tells a client that does not follow the wire so.
async fn told(channel: &Channel, error: Error) -> Error {
    if let Some(fault) = error.wire() {
        // It may have gone already; then nobody needs the reason.
        let _ = channel.send(&Message::Error { code: code::PROTOCOL, text: fault.to_string() }).await;
    }
    error
}

/// What a client said before what it wants.
#[derive(Default)]
struct Before {
    session: Option<Session>,
    /// To its pings, which are answered with the grant.
    answers: Vec<Message>,
}

/// The first message that says what the client wants.
async fn wish(channel: &Channel, link: &mut Link, before: &mut Before) -> Result<Message> {
    const BEFORE: usize = 16;
    for _ in 0..BEFORE {
        let message = channel.receive(|| {}).await?;
        before.answers.extend(link.take(&message, clock::now()));
        match message {
            Message::Session(session) => before.session = Some(session),
            Message::Publish { .. } | Message::Subscribe { .. } | Message::Bye { .. } => return Ok(message),
            _ => {}
        }
    }
    bail!(Protocol, "it said {BEFORE} things and not what it wants: Publish or Subscribe")
}
