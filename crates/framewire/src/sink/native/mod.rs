//! Publishing to a hub: the newest frame, encoded when the link is ready for it, and nothing while nobody watches. The
//! [session](session) decides; here are its threads, its connection and its clock.

mod session;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use framewire_proto::{Config, Frame, Name, wire::native::Message};
use tokio::sync::watch;
use tracing::info;

pub(crate) use session::{EncodeJob, NextStep, PublisherSession};

use super::{
    Outlet,
    kind::{Kind, Sink, Way},
};
use crate::bad_frames::{BadFrames, TooLarge};
use crate::error::Result;
use crate::{
    clock,
    net::{
        self,
        client::{Address, MessageSender},
        hub_client::{ClientIdentity, HubClient, HubEvent},
        retry::Retry,
    },
    stop::Stop,
    transcode::encode,
};

/// The row of [`SINKS`](super::SINKS).
pub const KIND: Kind = Kind {
    usage: "fw://HOST:PORT/NAME",
    summary: "a stream of a hub; without a name, it is named like this machine",
    matches: |to| to.starts_with("fw://"),
    open: |to| Ok(Box::new(to.parse::<Address>()?)),
};

/// How long the hub may take for the last message after a stop.
const FAREWELL: Duration = Duration::from_millis(300);

impl Sink for Address {
    fn name(&self) -> Option<Name> {
        self.name.clone()
    }

    fn run(self: Box<Self>, outlet: Outlet, Way { wait, passthrough }: Way, stop: &Stop) -> Result<()> {
        Publish { outlet, address: *self, wait, passthrough }.run(stop)
    }
}

/// A stream of this process to be published to a hub.
pub struct Publish {
    /// What is published.
    pub outlet: Outlet,
    /// The other hub, and the stream's name there.
    pub address: Address,
    /// Try again even if the first try fails.
    pub wait: bool,
    /// Its frames may pass through as others encoded them.
    pub passthrough: bool,
}

impl Publish {
    /// Publishes until the stream ends or `stop` is raised. Reconnects when the hub goes away.
    ///
    /// # Errors
    /// The first try fails and [`Publish::wait`] is not set, or the encoder's configuration is refused.
    pub fn run(&self, stop: &Stop) -> Result<()> {
        let name = self.address.name.clone().unwrap_or_else(|| Name::from_lossy(&net::machine_name()));
        let identity = ClientIdentity::new(self.address.clone())?.with_max_frame(Some(self.outlet.max_frame));
        let mut retry = Retry::default();
        let mut may_retry = self.wait;
        while !stop.stopped() {
            let error = match Publishing::begin(self, &identity, &name, stop) {
                Ok(mut publishing) => {
                    info!("{}: publishing '{name}'", self.address);
                    retry.reset();
                    may_retry = true;
                    match publishing.run(stop) {
                        Ok(()) => return Ok(()),
                        Err(error) => error.context(&self.address),
                    }
                }
                Err(error) if !may_retry => return Err(error),
                Err(error) => error,
            };
            retry.wait(&error, stop);
        }
        Ok(())
    }
}

/// A session with its hub: this thread encodes and sends, another receives.
struct Publishing<'a> {
    outlet: &'a Outlet,
    shared: Arc<Mutex<SharedSession>>,
    /// Ends the thread that receives.
    end: Stop,
    encoder: Option<encode::Encoder>,
    /// Frames that could not be encoded.
    bad: BadFrames,
    too_large: TooLarge,
}

struct SharedSession {
    session: PublisherSession,
    /// Sends over the current connection.
    sender: Arc<MessageSender>,
}

impl<'a> Publishing<'a> {
    /// Connects and waits until the hub grants the name.
    fn begin(publish: &'a Publish, identity: &ClientIdentity, name: &Name, stop: &Stop) -> Result<Self> {
        let request = Message::Publish { name: name.clone(), passthrough: publish.passthrough };
        // Once connected the receiving thread outlives the stop: another connection may still free a sender that is blocked.
        let end = Stop::default();
        let while_connecting = stop.on_stop({
            let end = end.clone();
            move || end.stop()
        });
        let client = identity.connect(&request, &end)?;
        drop(while_connecting);
        let (outlet, sender) = (&publish.outlet, client.sender());
        let session = PublisherSession::new(
            outlet.hub.clone(),
            outlet.stream.clone(),
            outlet.max_age,
            sender.local(),
            clock::now(),
        );
        let shared = Arc::new(Mutex::new(SharedSession { session, sender }));
        thread::spawn({
            let (shared, viewers) = (shared.clone(), outlet.viewers.clone());
            move || {
                let why = receive(client, &shared, &viewers);
                viewers.send_replace(0);
                if let Err(why) = why {
                    lock(&shared).session.lost(why);
                }
            }
        });
        Ok(Self { outlet, shared, end, encoder: None, bad: BadFrames::default(), too_large: TooLarge::default() })
    }

    /// Encodes and sends frames until the stream ends or `stop` is raised.
    fn run(&mut self, stop: &Stop) -> Result<()> {
        let waker = Waker::from(Arc::new(ParkedThread(thread::current())));
        let _woken = stop.on_stop({
            let waker = waker.clone();
            move || waker.wake()
        });
        let _freed = stop.on_stop(self.free_later());
        loop {
            let mut shared = lock(&self.shared);
            if stop.stopped() {
                shared.session.stop();
            }
            let now = clock::now();
            let Poll::Ready(output) = shared.session.poll(&mut Context::from_waker(&waker), now) else {
                let deadline = shared.session.deadline(now);
                drop(shared);
                thread::park_timeout(Duration::from_micros(deadline.saturating_sub(now)));
                continue;
            };
            let output = output?;
            let (sender, config) = (shared.sender.clone(), shared.session.sent_config().cloned());
            drop(shared);
            match output {
                NextStep::Encode(job) => self.encode(&job)?,
                NextStep::Send(message) => self.send(&sender, &message, config.as_ref()),
                NextStep::Finish => return sender.send(&Message::Bye { text: String::new() }),
            }
        }
    }

    /// Frees a sender that is blocked by a hub that takes nothing, a while after the stop.
    fn free_later(&self) -> impl FnOnce() + Send + 'static {
        let (shared, end) = (self.shared.clone(), self.end.clone());
        move || {
            thread::spawn(move || {
                if !end.wait(FAREWELL) {
                    lock(&shared).sender.abandon();
                }
            });
        }
    }

    /// Encodes a frame and hands it to the session. One that cannot be encoded is dropped and counted.
    fn encode(&mut self, job: &EncodeJob) -> Result<()> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            None => self.encoder.insert(encode::Encoder::new(self.outlet.encode.clone())?),
        };
        match encode(encoder, job, self.outlet.encode.passes_through(&job.config)) {
            Ok(None) => {}
            Ok(Some((_, frame))) if frame.data.len() > self.outlet.max_frame => {
                self.too_large.count(&self.outlet.stream, frame.data.len() as u64, self.outlet.max_frame as u64);
                lock(&self.shared).session.withhold();
            }
            Ok(Some(encoded)) => {
                let mut shared = lock(&self.shared);
                shared.session.encoded(job.connection, encoded, clock::now());
                self.outlet.measured(shared.session.capacity(), encoder.setting());
            }
            Err(error) => self.bad.count(&self.outlet.stream, error),
        }
        Ok(())
    }

    /// Sends a message. The session decides what a failure means: another connection may take over.
    fn send(&self, sender: &Arc<MessageSender>, message: &Message, config: Option<&Config>) {
        if let (Message::Frame(frame), Some(config)) = (message, config) {
            self.outlet.sent(config, frame);
        }
        let Err(error) = sender.send(message) else { return };
        let mut shared = lock(&self.shared);
        // If another connection has taken over already, the failure is of no interest.
        if Arc::ptr_eq(sender, &shared.sender) {
            shared.session.send_failed(error, clock::now());
        }
    }
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.end.stop();
        lock(&self.shared).sender.close();
    }
}

/// What a frame becomes; `None` where there is nothing to send.
fn encode(encoder: &mut encode::Encoder, job: &EncodeJob, passes: bool) -> Result<Option<(Config, Frame)>> {
    encoder.set_target(job.target);
    if job.keyframe {
        encoder.request_keyframe();
    }
    if job.catching_up && !passes {
        // No viewer needs its picture, but the frames after it may need it to be decoded.
        return encoder.skip(&job.config, &job.frame).map(|()| None);
    }
    encoder.encode(&job.config, &job.frame)
}

/// Hands the hub's messages to the session until the client ends.
fn receive(mut client: HubClient, shared: &Mutex<SharedSession>, viewers: &watch::Sender<u32>) -> Result<()> {
    loop {
        match client.receive()? {
            HubEvent::Message(message) => {
                // Before the lock, which would delay it: the link is measured by this time.
                let now = clock::now();
                if let Message::Demand { viewers: count } = message {
                    viewers.send_replace(count);
                }
                lock(shared).session.take(message, client.link(), now)?;
            }
            HubEvent::Reconnected => {
                let mut shared = lock(shared);
                shared.sender = client.sender();
                shared.session.reconnected(clock::now());
            }
            HubEvent::Stopped => return Ok(()),
        }
    }
}

fn lock(shared: &Mutex<SharedSession>) -> MutexGuard<'_, SharedSession> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes a thread that is parked.
struct ParkedThread(Thread);

impl Wake for ParkedThread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
