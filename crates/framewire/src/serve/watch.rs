//! A viewer on the native wire.

use std::{
    future::poll_fn,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use framewire_proto::{
    link::Link,
    wire::native::{Message, code},
};
use tokio::time::sleep;
use tracing::info;

use super::{clients::Seat, viewer::Talk};
use crate::error::{Result, bail};
use crate::{
    clock,
    hub::{Accepts, Hub, Policy, Refused},
    net::channel::{self, Channel},
};

/// Serves a viewer that asked for a stream by this message, until it leaves. `link` has taken the messages so far,
/// `answers` are what it gave, `seat` is its place where the client said who it is.
///
/// # Errors
/// The connection broke, or the viewer does not follow the wire.
pub(super) async fn run(
    channel: &Channel,
    hub: &Hub,
    wish: Message,
    seat: Option<&Seat>,
    mut link: Link,
    answers: Vec<Message>,
) -> Result<()> {
    let Message::Subscribe { name, wait, every, jpegs } = wish else { bail!(Protocol, "not a Subscribe") };
    let policy = if every { Policy::Every } else { Policy::Newest };
    let subscriber = match hub.subscribe(&name, policy, wait, clock::now()) {
        Ok(subscriber) => subscriber,
        Err(refused) => {
            let code = if matches!(refused, Refused::TooMany) { code::TOO_MANY } else { code::NO_SUCH_STREAM };
            let error = Message::Error { code, text: refused.to_string() };
            channel.greet(&[channel::hello(), error]).await?;
            bail!(Refused, "{refused}");
        }
    };
    seat.into_iter().for_each(Seat::settle);
    let mut first = vec![channel::hello()];
    first.extend(answers);
    first.push(Message::Accepted { name: name.clone() });
    first.extend(link.poll(clock::now()));
    channel.greet(&first).await?;
    info!("{}: watches '{name}'", channel.peer());
    let takes = match (every, jpegs) {
        (_, true) => Accepts::Jpegs,
        (true, false) => Accepts::Source,
        (false, false) => Accepts::Any,
    };
    let mut talk = Talk::new(subscriber, link, takes, channel.local());
    seat.into_iter().for_each(|seat| talk.resume(seat.known(), clock::now()));
    let talk = Mutex::new(talk);
    tokio::select! {
        ended = listen(channel, &talk) => ended,
        broken = speak(channel, &talk) => broken,
    }
}

/// Takes the viewer's messages until it leaves.
async fn listen(channel: &Channel, talk: &Mutex<Talk>) -> Result<()> {
    loop {
        let message = channel.receive(|| lock(talk).heard(clock::now())).await?;
        if !lock(talk).take(message, clock::now())? {
            return Ok(());
        }
    }
}

/// Sends what there is to send until that fails.
async fn speak(channel: &Channel, talk: &Mutex<Talk>) -> Result<()> {
    loop {
        let now = clock::now();
        let deadline = lock(talk).deadline(now);
        let next = poll_fn(|context| lock(talk).poll(context, clock::now()));
        tokio::select! {
            biased;
            message = next => channel.send(&message).await?,
            () = sleep(Duration::from_micros(deadline.saturating_sub(now))) => {
                if lock(talk).silent(clock::now()) {
                    bail!(Timeout, "the viewer has said nothing for 10 s");
                }
            }
        }
    }
}

fn lock(talk: &Mutex<Talk>) -> std::sync::MutexGuard<'_, Talk> {
    talk.lock().unwrap_or_else(PoisonError::into_inner)
}
