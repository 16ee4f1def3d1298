//! A publisher's connection as the source of a hub's stream.

use std::{future::pending, time::Duration};

use framewire_proto::{
    Config, Frame, Name,
    link::Link,
    wire::native::{Message, Report, code},
};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::clients::Seat;
use crate::error::{Result, bail};
use crate::{
    clock,
    hub::{Hub, Publisher},
    net::channel::{self, Channel},
};

/// A publisher is asked for a keyframe at most once in this time: each is a burst.
const KEYFRAMES: Duration = Duration::from_secs(1);

/// Feeds the stream that this message asked for from this connection until either ends. `link` has taken the messages so far, `answers`
/// are what it gave, `seat` is its place where the client said who it is.
///
/// # Errors
/// The connection broke or the publisher does not follow the wire. It was told so.
pub(super) async fn run(
    channel: &Channel,
    hub: &Hub,
    wish: &Message,
    seat: Option<&Seat>,
    mut link: Link,
    answers: Vec<Message>,
) -> Result<()> {
    let peer = channel.peer();
    let Message::Publish { name, passthrough } = wish else { bail!(Protocol, "not a Publish") };
    let publisher = match hub.publish_as(seat.map(Seat::token), name, clock::now()) {
        Ok(publisher) => publisher,
        Err(refused) => {
            let error = Message::Error { code: refused.code(), text: refused.to_string() };
            channel.greet(&[channel::hello(), error]).await?;
            bail!(Refused, "{refused}");
        }
    };
    publisher.set_passthrough(*passthrough);
    seat.into_iter().for_each(Seat::settle);
    let mut demand = publisher.viewers();
    let mut wishes = publisher.keyframe_requests();
    let mut quiet_until = Instant::now();
    let mut first = vec![channel::hello()];
    first.extend(answers);
    first.push(Message::Accepted { name: name.clone() });
    first.extend(link.poll_ping(clock::now()));
    first.push(Message::Demand { viewers: *demand.borrow_and_update() });
    channel.greet(&first).await?;
    info!("{peer}: publishes '{name}'");
    let mut push = Push { publisher: Some(publisher), name, config: None, bad: 0 };
    loop {
        let now = clock::now();
        let wait = Duration::from_micros(link.deadline().saturating_sub(now));
        let wished = async {
            sleep_until(quiet_until).await;
            wishes.changed().await
        };
        tokio::select! {
            message = channel.receive(|| link.on_bytes(clock::now())) => {
                let message = message?;
                let now = clock::now();
                if let Some(answer) = link.on_message(&message, now) {
                    channel.send(&answer).await?;
                }
                match push.take(message, &link) {
                    Ok(Outcome::Nothing) => {}
                    Ok(Outcome::Report(report)) => channel.send(&Message::Report(report)).await?,
                    Ok(Outcome::Bye) => {
                        info!("{peer}: has published '{name}' to its end");
                        return Ok(());
                    }
                    Err(error) => {
                        let text = format!("{error}");
                        channel.send(&Message::Error { code: code::UNEXPECTED, text }).await?;
                        return Err(error);
                    }
                }
            }
            Ok(()) = wished => {
                quiet_until = Instant::now() + KEYFRAMES;
                channel.send(&Message::Keyframe).await?;
            }
            changed = demand.changed() => match changed {
                Ok(()) => {
                    let viewers = *demand.borrow_and_update();
                    debug!("'{name}': {viewers} watch");
                    channel.send(&Message::Demand { viewers }).await?;
                }
                Err(_) => pending().await,
            },
            () = sleep(wait) => {
                let now = clock::now();
                if link.is_timed_out(now) {
                    bail!(Timeout, "the publisher has said nothing for 10 s");
                }
                if let Some(ping) = link.poll_ping(now) {
                    channel.send(&ping).await?;
                }
            }
        }
    }
}

/// What one publisher's messages do to its stream.
struct Push<'a> {
    publisher: Option<Publisher>,
    name: &'a Name,
    config: Option<Config>,
    bad: u64,
}

enum Outcome {
    Nothing,
    Report(Report),
    Bye,
}

impl Push<'_> {
    fn take(&mut self, message: Message, link: &Link) -> Result<Outcome> {
        let Some(publisher) = &self.publisher else { return Ok(Outcome::Bye) };
        let now = clock::now();
        match message {
            Message::Config(config) => {
                self.config = Some(config.clone());
                publisher.configure(config)?;
            }
            Message::Frame(frame) => {
                let report = Report { sequence: frame.sequence, received: now, ..Report::default() };
                self.frame(frame, link)?;
                return Ok(Outcome::Report(report));
            }
            Message::Bye { .. } => {
                self.publisher.take().into_iter().for_each(Publisher::finish);
                return Ok(Outcome::Bye);
            }
            Message::Ping { .. } | Message::Pong { .. } => publisher.keep_alive(now),
            Message::Hello { .. }
            | Message::Demand { .. }
            | Message::Keyframe
            | Message::Session(_)
            | Message::State(_)
            | Message::Service(_)
            | Message::Report(_) => {}
            Message::Error { text, .. } => bail!(Protocol, "the publisher ended with an error: {text}"),
            Message::Publish { .. } | Message::Subscribe { .. } | Message::Accepted { .. } => {
                bail!(Protocol, "a second Publish or Subscribe on one connection: open another for it")
            }
        }
        Ok(Outcome::Nothing)
    }

    /// Publishes a frame whose picture is what it claims to be; another is dropped and counted, since a camera's damaged
    /// picture is no reason to end its stream.
    fn frame(&mut self, mut frame: Frame, link: &Link) -> Result<()> {
        let (Some(publisher), Some(config)) = (&self.publisher, &mut self.config) else {
            bail!(Protocol, "a frame came before its configuration")
        };
        if let Err(why) = config.check(&frame.data) {
            self.bad += 1;
            if self.bad.is_power_of_two() {
                warn!("'{}': frame {} dropped ({} so far): {why}", self.name, frame.sequence, self.bad);
            }
            return Ok(());
        }
        let now = clock::now();
        frame.times = link.times_to_ours(frame.times);
        frame.times.received = now;
        publisher.configure(config.clone())?;
        publisher.publish(frame, now)?;
        Ok(())
    }
}
