//! Publishing to a hub: the newest frame, coded when the link is ready for it, and nothing while nobody watches.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use framewire_proto::{
    Config, Frame, Micros, Name, Times,
    flow::Flow,
    wire::native::{Message, Report},
};
use tracing::{debug, info, warn};

use super::Outlet;
use crate::error::{Error, Result, bail};
use crate::{
    clock,
    hub::{Event, Subscriber},
    net::{
        self,
        client::{Address, Backoff, Client},
        line::{Caller, Heard, Line},
    },
    stop::Stop,
    transcode::encode,
};

/// How long a thread sleeps at most before it looks around.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// How long the last frame's report is waited for.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long it may take, once a connection breaks, until it is known whether another takes over.
const VERDICT: Duration = Duration::from_secs(2);

/// A stream of this process to be published to a hub.
pub struct Publish {
    /// What is published.
    pub outlet: Outlet,
    /// The other hub, and the stream's name there.
    pub address: Address,
    /// Try again even if the first try fails.
    pub wait: bool,
    /// Its frames may be passed on as others coded them.
    pub passthrough: bool,
}

impl Publish {
    /// Publishes until the stream ends or `stop` is raised; comes back by itself when the hub goes.
    ///
    /// # Errors
    /// The first try fails, unless told to wait; or frames cannot be coded.
    pub fn run(&self, stop: &Stop) -> Result<()> {
        let name = self.address.name.clone().unwrap_or_else(|| Name::from_lossy(&net::machine_name()));
        let caller = Caller::new(self.address.clone())?;
        let mut backoff = Backoff::default();
        let mut patient = self.wait;
        while !stop.stopped() {
            let error = match Session::begin(&caller, &name, self.passthrough, stop) {
                Ok(mut session) => {
                    info!("{}: publishing '{name}'", self.address);
                    backoff.reset();
                    patient = true;
                    session.shared.lock().flow.max_age(self.outlet.max_age);
                    match session.feed(self, stop) {
                        Ok(()) => return Ok(()),
                        Err(error) => error.context(self.address.to_string()),
                    }
                }
                Err(error) if !patient => return Err(error),
                Err(error) => error,
            };
            let wait = backoff.next_wait();
            warn!("{error}; trying again in {:.1} s", wait.as_secs_f64());
            stop.wait(wait);
        }
        Ok(())
    }
}

/// A connection to the hub, and those that take over from it.
struct Session {
    client: Arc<Client>,
    shared: Arc<Shared>,
    /// Ends the thread that receives.
    ended: Stop,
    encoder: Option<encode::Encoder>,
    raw: Option<Arc<Config>>,
    told: Option<Config>,
    /// Added to the stream's numbers, so that what was left out while nobody watched is no loss; `None` before the first
    /// frame of a watch.
    renumber: Option<u64>,
    next: u64,
    /// The stream's own number of the last frame sent: it is there again for who subscribes anew.
    last: Option<u64>,
    /// Frames that could not be coded.
    bad: u64,
}

/// What the thread that receives tells the one that sends.
struct Shared {
    inside: Mutex<Inside>,
    sender: Thread,
}

struct Inside {
    /// The connection that is sent over now.
    client: Arc<Client>,
    /// It has taken over from the one before.
    anew: bool,
    viewers: u32,
    flow: Flow,
    /// Times of frames under way, on this process's clock.
    under_way: Vec<(u64, Times)>,
    arrived: Vec<Times>,
    /// Somebody cannot decode before a keyframe comes.
    keyframe: bool,
    broken: Option<Error>,
}

impl Session {
    /// Connects and waits until the hub grants the name.
    fn begin(caller: &Caller, name: &Name, passthrough: bool, stop: &Stop) -> Result<Self> {
        let line = caller.call(&Message::Publish { name: name.clone(), passthrough }, stop)?;
        let (client, ended) = (line.client(), Stop::default());
        let shared = Arc::new(Shared { inside: Mutex::new(Inside::new(client.clone())), sender: thread::current() });
        let session = Self {
            client,
            shared: shared.clone(),
            ended: ended.clone(),
            encoder: None,
            raw: None,
            told: None,
            renumber: None,
            last: None,
            next: 0,
            bad: 0,
        };
        thread::spawn(move || {
            let broken = listen(line, &shared, &ended);
            shared.lock().broken = broken.err();
            shared.sender.unpark();
        });
        Ok(session)
    }

    /// Sends frames until the stream ends or `stop` is raised.
    fn feed(&mut self, publish: &Publish, stop: &Stop) -> Result<()> {
        let mut viewer = None;
        let mut begun = false;
        while !stop.stopped() {
            let (watched, opens, anew) = self.look(viewer.as_ref())?;
            if anew && self.raw.as_ref().is_some_and(|raw| !raw.codec.independent()) {
                // Frames may have been lost with the connection before: it begins with what leads up to the present.
                (viewer, self.last) = (None, None);
            }
            if begun && !watched {
                // One picture is there for those who come; the source may sleep.
                viewer = None;
                if publish.outlet.hub.ended(&publish.outlet.stream) {
                    break;
                }
                thread::park_timeout(LOOK_AROUND);
                continue;
            }
            if viewer.is_none() {
                self.renumber = None;
            }
            let from = match &mut viewer {
                Some(viewer) => viewer,
                None => viewer.insert(publish.outlet.subscribe()?),
            };
            if opens != Some(Duration::ZERO) {
                thread::park_timeout(opens.unwrap_or(LOOK_AROUND).min(LOOK_AROUND));
                continue;
            }
            match from.next_before(Instant::now() + LOOK_AROUND) {
                Some(Event::Config(config)) => self.raw = Some(config),
                Some(Event::Frame(frame)) => {
                    let catching_up = from.catching_up();
                    self.send(&frame, catching_up, publish)?;
                    begun = true;
                }
                Some(Event::Ended) => break,
                Some(Event::State(_)) | None => {}
            }
        }
        self.farewell(stop)
    }

    /// Whether anybody watches, how long until the link is ready for a frame, if not for a report, and whether another connection
    /// has taken over; passes on what has arrived.
    fn look(&mut self, viewer: Option<&Subscriber>) -> Result<(bool, Option<Duration>, bool)> {
        let mut inside = self.shared.lock();
        if let Some(error) = inside.broken.take() {
            return Err(error);
        }
        let anew = mem::take(&mut inside.anew);
        if anew {
            // Whoever watches begins with what comes over this connection.
            self.client = inside.client.clone();
            self.told = None;
            inside.keyframe = true;
        }
        let arrived = std::mem::take(&mut inside.arrived);
        let now = clock::now();
        let opens = inside.flow.opens(now).map(|at| Duration::from_micros(at.saturating_sub(now)));
        let answer = (inside.viewers > 0, opens, anew);
        drop(inside);
        if let Some(viewer) = viewer {
            arrived.iter().for_each(|times| viewer.report_arrival(times));
        }
        Ok(answer)
    }

    /// Sends a frame, coded as its link carries it; one that only `catching_up` to the present, where it is to be coded anew, matters
    /// to those after it.
    fn send(&mut self, frame: &Frame, catching_up: bool, publish: &Publish) -> Result<()> {
        let Some(raw) = self.raw.clone() else { return Ok(()) };
        if self.last.replace(frame.sequence) == Some(frame.sequence) {
            return Ok(());
        }
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            None => self.encoder.insert(encode::Encoder::new(publish.outlet.encode.clone())?),
        };
        let mut inside = self.shared.lock();
        // Within one machine a late report tells of a busy processor, which smaller frames would keep busier.
        encoder.set_target(inside.flow.target().filter(|_| !self.client.local()));
        if mem::take(&mut inside.keyframe) {
            encoder.request_keyframe();
        }
        drop(inside);
        let passes = publish.outlet.encode.passes_through(&raw);
        let coded =
            if catching_up && !passes { encoder.skip(&raw, frame).map(|()| None) } else { encoder.encode(&raw, frame) };
        let (config, mut frame) = match coded {
            Ok(Some(coded)) => coded,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.bad += 1;
                if self.bad.is_power_of_two() {
                    warn!("{error}: dropped ({} so far)", self.bad);
                }
                return Ok(());
            }
        };
        let setting = encoder.setting();
        frame.times.encoded = clock::now();
        let renumber = *self.renumber.get_or_insert(self.next.wrapping_sub(frame.sequence));
        frame.sequence = frame.sequence.wrapping_add(renumber);
        self.next = frame.sequence.wrapping_add(1);
        if self.told.as_ref() != Some(&config) {
            self.tell(&Message::Config(config.clone()))?;
            self.shared.lock().flow.paced(&config);
            self.told = Some(config);
        }
        let now = clock::now();
        frame.times.sent = now;
        let mut inside = self.shared.lock();
        inside.begin(&frame, now);
        publish.outlet.measured(inside.flow.capacity(), setting);
        drop(inside);
        if let Some(config) = &self.told {
            publish.outlet.sent(config, &frame);
        }
        self.tell(&Message::Frame(frame))
    }

    /// Sends a message. One that is lost with its connection is no fault while another takes over.
    fn tell(&self, message: &Message) -> Result<()> {
        let Err(error) = self.client.send(message) else { return Ok(()) };
        // The thread that receives knows what follows, or will in a moment.
        let deadline = Instant::now() + VERDICT;
        while Instant::now() < deadline {
            let inside = self.shared.lock();
            if inside.anew {
                return Ok(());
            }
            if inside.broken.is_some() {
                break;
            }
            drop(inside);
            thread::park_timeout(LOOK_AROUND);
        }
        Err(error)
    }

    /// Says goodbye once the last frame has arrived.
    fn farewell(&self, stop: &Stop) -> Result<()> {
        let deadline = Instant::now() + FAREWELL;
        while !stop.stopped() && Instant::now() < deadline {
            let inside = self.shared.lock();
            if inside.under_way.is_empty() || inside.broken.is_some() {
                break;
            }
            drop(inside);
            thread::park_timeout(LOOK_AROUND);
        }
        self.client.send(&Message::Bye { text: String::new() })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ended.stop();
        self.shared.lock().client.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn new(client: Arc<Client>) -> Self {
        Self {
            client,
            anew: false,
            viewers: 0,
            flow: Flow::default(),
            under_way: Vec::new(),
            arrived: Vec::new(),
            keyframe: false,
            broken: None,
        }
    }

    /// What is under way is lost, or too old to tell anything of the link.
    fn forget(&mut self) {
        self.flow.anew();
        self.under_way.clear();
    }

    fn begin(&mut self, frame: &Frame, now: Micros) {
        /// More than the window allows, for hubs that do not report.
        const KEPT: usize = 16;
        self.flow.sent(frame.sequence, frame.data.len(), now);
        if self.under_way.len() == KEPT {
            self.under_way.remove(0);
        }
        self.under_way.push((frame.sequence, frame.times));
    }

    /// The hub has this frame, and had it at this moment of our clock.
    fn arrived(&mut self, sequence: u64, received: Micros, now: Micros) {
        self.flow.reported(sequence, now);
        if let Some(place) = self.under_way.iter().position(|(sent, _)| *sent == sequence) {
            let (_, times) = self.under_way.drain(..=place).next_back().unwrap_or_default();
            self.arrived.push(Times { received, ..times });
        }
    }
}

/// Takes the hub's messages until the line ends or `ended` is raised.
fn listen(mut line: Line, shared: &Shared, ended: &Stop) -> Result<()> {
    while !ended.stopped() {
        let quiet = line.link().quiet(clock::now());
        let message = match line.receive()? {
            Heard::Message(message) => message,
            Heard::Anew => {
                let mut inside = shared.lock();
                inside.client = line.client();
                inside.anew = true;
                inside.forget();
                drop(inside);
                shared.sender.unpark();
                continue;
            }
            Heard::Nothing => continue,
        };
        let now = clock::now();
        let mut inside = shared.lock();
        if quiet {
            inside.forget();
        }
        if let Some(round_trip) = line.link().round_trip() {
            inside.flow.round_trip(round_trip);
        }
        match message {
            Message::Demand { viewers } => {
                debug!("{viewers} watch");
                inside.viewers = viewers;
            }
            Message::Report(Report { sequence, received, .. }) => {
                inside.arrived(sequence, line.link().moment_to_ours(received), now);
            }
            Message::Pong { pinged, .. } => inside.flow.answered(pinged),
            Message::Keyframe => inside.keyframe = true,
            Message::Error { text, .. } => bail!(ConnectionLost, "{text}"),
            Message::Bye { text } => bail!(ConnectionLost, "the hub ends: {text}"),
            _ => continue,
        }
        drop(inside);
        shared.sender.unpark();
    }
    Ok(())
}
