//! A publisher's connection as the source of a hub's stream.

use std::{collections::VecDeque, future::pending, time::Duration};

use framewire_proto::{
    Config, Frame, Micros,
    link::{IDLE_TIMEOUT, Link},
    wire::native::{Message, Oversized, Report, State, code},
};
use tokio::{sync::watch, time::sleep};
use tracing::{debug, info};

use crate::{
    bad_frames::{BadFrames, TooLarge},
    clock,
    error::{Error, Result, bail},
    hub::Publisher,
    media::jpeg::JpegEntry,
    net::channel::Channel,
};

/// A publisher is asked for a keyframe at most once in this time, in µs: each keyframe is a burst.
const KEYFRAME_INTERVAL: Micros = 1_000_000;

/// A publisher's side of the native conversation: what its messages do to the stream, and what to send next. No I/O.
#[derive(Debug)]
pub(super) struct PublisherSession {
    publisher: Publisher,
    link: Link,
    config: Option<Config>,
    jpegs: JpegEntry,
    bad: BadFrames,
    too_large: TooLarge,
    /// A frame was passed over that the next ones need: they are dropped until a keyframe comes.
    needs_keyframe: bool,
    outbox: VecDeque<Message>,
    /// How many watch, where the publisher does not know it yet.
    viewers: Option<u32>,
    /// A viewer needs a keyframe that was not asked for yet, and when one may be.
    keyframe_wanted: bool,
    next_keyframe: Micros,
}

impl PublisherSession {
    /// A publisher whose stream has so many viewers. `link` has taken the messages so far.
    pub(super) fn new(publisher: Publisher, link: Link, viewers: u32) -> Self {
        Self {
            publisher,
            link,
            config: None,
            jpegs: JpegEntry::default(),
            bad: BadFrames::default(),
            too_large: TooLarge::default(),
            needs_keyframe: false,
            outbox: VecDeque::new(),
            viewers: Some(viewers),
            keyframe_wanted: false,
            next_keyframe: 0,
        }
    }

    /// Bytes arrived that complete no message yet.
    pub(super) fn take_bytes(&mut self, now: Micros) {
        self.link.on_bytes(now);
    }

    /// Takes a message from the publisher; `false` when it was the last.
    ///
    /// # Errors
    /// The message does not fit here, or another publisher feeds the stream.
    pub(super) fn take(&mut self, message: Message, now: Micros) -> Result<bool> {
        self.outbox.extend(self.link.on_message(&message, now));
        match message {
            Message::Config(config) => {
                self.config = Some(config.clone());
                self.publisher.configure(config)?;
            }
            Message::Frame(frame) => {
                let report = Report { sequence: frame.sequence, received: now, ..Report::default() };
                self.frame(frame, now)?;
                self.outbox.push_back(Message::Report(report));
            }
            Message::Oversized(oversized) => self.pass_over(oversized, now),
            Message::Ping { .. } | Message::Pong { .. } => self.publisher.keep_alive(now),
            Message::Fault { text } => {
                self.publisher.set_state(State::Stalled);
                self.publisher.set_fault(&text, now);
            }
            Message::Bye { .. } => return Ok(false),
            Message::Error { text, .. } => bail!(Protocol, "the publisher ended with an error: {text}"),
            Message::Publish { .. } | Message::Subscribe { .. } | Message::Accepted { .. } => {
                bail!(Protocol, "a second Publish or Subscribe on one connection: open another for it")
            }
            Message::Hello { .. }
            | Message::Demand { .. }
            | Message::Keyframe
            | Message::Session(_)
            | Message::State(_)
            | Message::Service(_)
            | Message::Report(_) => {}
        }
        Ok(true)
    }

    /// Publishes a frame whose picture is what it claims to be. Another is dropped and counted: a camera's damaged picture is
    /// no reason to end its stream.
    fn frame(&mut self, mut frame: Frame, now: Micros) -> Result<()> {
        let Some(config) = &mut self.config else { bail!(Protocol, "a frame came before its configuration") };
        self.needs_keyframe &= !frame.keyframe;
        if self.needs_keyframe {
            return Ok(());
        }
        match self.jpegs.enter(config, frame.data) {
            Ok(data) => frame.data = data,
            Err(why) => {
                self.bad.count(self.publisher.name(), format_args!("frame {}: {why}", frame.sequence));
                return Ok(());
            }
        }
        frame.times = self.link.times_to_ours(frame.times);
        frame.times.received = now;
        self.publisher.configure(config.clone())?;
        self.publisher.publish(frame, now)?;
        Ok(())
    }

    /// A frame over the limit has come, and was passed over. It is reported as received, for the link is free again.
    fn pass_over(&mut self, Oversized { sequence, length, limit }: Oversized, now: Micros) {
        self.too_large.count(self.publisher.name(), length as u64, limit as u64);
        self.publisher.keep_alive(now);
        if self.config.as_ref().is_some_and(|config| !config.codec.independent()) {
            (self.needs_keyframe, self.keyframe_wanted) = (true, true);
        }
        self.outbox.push_back(Message::Report(Report { sequence, received: now, ..Report::default() }));
    }

    /// So many watch now.
    pub(super) fn set_viewers(&mut self, viewers: u32) {
        debug!("'{}': {viewers} viewers", self.publisher.name());
        self.viewers = Some(viewers);
    }

    /// A viewer needs a keyframe.
    pub(super) fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// The next message for the publisher.
    pub(super) fn poll(&mut self, now: Micros) -> Option<Message> {
        if let Some(message) = self.outbox.pop_front().or_else(|| self.link.poll_ping(now)) {
            return Some(message);
        }
        if let Some(viewers) = self.viewers.take() {
            return Some(Message::Demand { viewers });
        }
        if self.keyframe_wanted && now >= self.next_keyframe {
            self.keyframe_wanted = false;
            self.next_keyframe = now + KEYFRAME_INTERVAL;
            return Some(Message::Keyframe);
        }
        None
    }

    /// When to poll again even though nothing happened.
    pub(super) fn deadline(&self) -> Micros {
        let keyframe = if self.keyframe_wanted { self.next_keyframe } else { Micros::MAX };
        self.link.deadline().min(keyframe)
    }

    /// Whether the publisher has sent nothing for [`IDLE_TIMEOUT`].
    pub(super) fn silent(&self, now: Micros) -> bool {
        self.link.is_timed_out(now)
    }

    /// The publisher is gone, for this reason.
    fn lost(&self, why: &Error) {
        self.publisher.set_fault(&format!("its publisher is gone: {why}"), clock::now());
    }

    /// The publisher said goodbye: its stream has ended.
    pub(super) fn finish(self) {
        self.publisher.finish();
    }
}

/// Feeds the publisher's stream from this connection until either ends. `viewers` and `keyframes` report how many watch, and that a
/// viewer needs a keyframe.
///
/// # Errors
/// The connection broke, or the publisher does not follow the wire: it was sent the reason.
pub(super) async fn run(
    channel: &Channel,
    mut session: PublisherSession,
    viewers: watch::Receiver<u32>,
    keyframes: watch::Receiver<u64>,
) -> Result<()> {
    match converse(channel, &mut session, viewers, keyframes).await {
        Ok(()) => {
            info!("{}: has published its stream to the end", channel.peer());
            session.finish();
            Ok(())
        }
        Err(error) => {
            session.lost(&error);
            Err(error)
        }
    }
}

/// Takes the publisher's messages and answers them until its last.
async fn converse(
    channel: &Channel,
    session: &mut PublisherSession,
    mut viewers: watch::Receiver<u32>,
    mut keyframes: watch::Receiver<u64>,
) -> Result<()> {
    loop {
        let now = clock::now();
        if session.silent(now) {
            bail!(Timeout, "the publisher has sent nothing for {} s", IDLE_TIMEOUT / 1_000_000);
        }
        while let Some(message) = session.poll(now) {
            channel.send(&message).await?;
        }
        let wait = Duration::from_micros(session.deadline().saturating_sub(clock::now()));
        tokio::select! {
            message = channel.receive(|| session.take_bytes(clock::now())) => {
                match session.take(message?, clock::now()) {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(error) => return Err(unexpected(channel, session, error).await),
                }
            }
            viewers = changed(&mut viewers) => session.set_viewers(viewers),
            _ = changed(&mut keyframes) => session.request_keyframe(),
            () = sleep(wait) => {}
        }
    }
}

/// Sends what is due and then the error.
async fn unexpected(channel: &Channel, session: &mut PublisherSession, error: Error) -> Error {
    while let Some(message) = session.poll(clock::now()) {
        if channel.send(&message).await.is_err() {
            return error;
        }
    }
    // The publisher may be gone; then nobody needs the reason.
    if channel.send(&Message::Error { code: code::UNEXPECTED, text: error.to_string() }).await.is_ok() {
        channel.linger().await;
    }
    error
}

/// The next value; never where the stream is gone.
async fn changed<T: Copy>(value: &mut watch::Receiver<T>) -> T {
    match value.changed().await {
        Ok(()) => *value.borrow_and_update(),
        Err(_) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        iter,
        pin::pin,
        task::{Context, Waker},
    };

    use bytes::Bytes;
    use framewire_proto::{Codec, Name, Times};

    use super::*;
    use crate::hub::Hub;

    const SECOND: Micros = 1_000_000;

    fn session(hub: &Hub) -> PublisherSession {
        let publisher = hub.publish(&Name::from_lossy("door"), SECOND).unwrap();
        PublisherSession::new(publisher, Link::new(SECOND), 0)
    }

    fn polled(session: &mut PublisherSession, now: Micros) -> Vec<Message> {
        iter::from_fn(|| session.poll(now)).filter(|message| !matches!(message, Message::Ping { .. })).collect()
    }

    fn config() -> Message {
        Message::Config(Config::new(Codec::Bgr24, 1, 1, 30_000))
    }

    fn frame(sequence: u64, data: &'static [u8]) -> Message {
        let data = Bytes::from_static(data);
        Message::Frame(Frame { sequence, keyframe: true, times: Times::default(), data })
    }

    #[test]
    fn keyframes_are_asked_for_at_once_and_then_once_a_second() {
        let mut session = session(&Hub::default());
        assert_eq!(polled(&mut session, SECOND), [Message::Demand { viewers: 0 }]);
        session.request_keyframe();
        assert_eq!(polled(&mut session, 2 * SECOND), [Message::Keyframe]);
        session.request_keyframe();
        assert_eq!(polled(&mut session, 2 * SECOND + 1), []);
        assert!(session.deadline() <= 3 * SECOND);
        session.set_viewers(2);
        assert_eq!(polled(&mut session, 3 * SECOND - 1), [Message::Demand { viewers: 2 }]);
        assert_eq!(polled(&mut session, 3 * SECOND), [Message::Keyframe]);
        assert_eq!(polled(&mut session, 9 * SECOND), []);
    }

    #[test]
    fn each_frame_is_reported_and_a_damaged_one_dropped() {
        let hub = Hub::default();
        let mut session = session(&hub);
        polled(&mut session, SECOND);
        assert!(session.take(config(), SECOND).unwrap());
        for (sequence, data) in [(0, &b"BGR"[..]), (1, b"BG")] {
            assert!(session.take(frame(sequence, data), 2 * SECOND).unwrap());
            let report = Report { sequence, received: 2 * SECOND, ..Report::default() };
            assert_eq!(polled(&mut session, 2 * SECOND), [Message::Report(report)]);
        }
        assert_eq!(hub.stream("door", 2 * SECOND).unwrap().published, 1);
        assert!(!session.take(Message::Bye { text: "done".into() }, 3 * SECOND).unwrap());
        session.finish();
        let ended = pin!(hub.end_of(&Name::from_lossy("door")));
        assert!(ended.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn a_frame_over_the_limit_is_reported_and_those_that_need_it_are_dropped() {
        let hub = Hub::default();
        let mut session = session(&hub);
        polled(&mut session, SECOND);
        let h264 = Config::new(Codec::H264, 1, 1, 0);
        assert!(session.take(Message::Config(h264), SECOND).unwrap());
        let oversized = Oversized { sequence: 0, length: 9 << 20, limit: 8 << 20 };
        assert!(session.take(Message::Oversized(oversized), SECOND).unwrap());
        let report = Report { sequence: 0, received: SECOND, ..Report::default() };
        assert_eq!(polled(&mut session, SECOND), [Message::Report(report), Message::Keyframe]);
        for (sequence, keyframe, published) in [(1, false, 0), (2, true, 1), (3, false, 2)] {
            let Message::Frame(frame) = frame(sequence, b"x") else { unreachable!() };
            assert!(session.take(Message::Frame(Frame { keyframe, ..frame }), SECOND).unwrap());
            assert_eq!(hub.stream("door", SECOND).unwrap().published, published);
        }
        assert_eq!(hub.stream("door", SECOND).unwrap().missed, 0, "the first frame here is a publisher's first");
    }

    #[test]
    fn messages_that_do_not_fit_end_the_session() {
        let hub = Hub::default();
        let mut session = session(&hub);
        let early = session.take(frame(0, b"x"), SECOND).unwrap_err();
        assert!(early.to_string().contains("before its configuration"), "{early}");
        let second = Message::Publish { name: Name::from_lossy("yard"), passthrough: false };
        assert!(session.take(second, SECOND).is_err());
        assert!(!session.silent(SECOND + IDLE_TIMEOUT - 1) && session.silent(SECOND + IDLE_TIMEOUT));
    }
}
