//! What every end in this process shares: a hub that looks after itself, and a source that is opened as a stream of it.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use framewire_proto::{Limits, Name, wire::tutorial::End};
use tokio::runtime::{self, Runtime};

use crate::{
    clock,
    error::{Context as _, Result, error},
    hub::{self, Policy, Subscriber},
    net::{accept, endpoint::Endpoint},
    source::{
        self, Location, Spec,
        feed::Feed,
        tutorial::{self, Cameras, Streams},
    },
    stop::{Stop, StopOnDrop},
    transcode::encode,
};

/// The longest wait that an `Instant` surely holds: a century is for ever.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// How often a hub looks for streams that stalled: within a second of it a stream counts as stalled.
const TICK: Duration = Duration::from_millis(100);

/// A hub of this process. The last clone that is dropped ends its looking after itself.
#[derive(Debug, Clone)]
pub(super) struct LocalHub {
    pub(super) hub: hub::Hub,
    _ticking: Arc<StopOnDrop>,
}

impl LocalHub {
    pub(super) fn new() -> Self {
        let (hub, stop) = (hub::Hub::default(), Stop::default());
        let (ticked, stopped) = (hub.clone(), stop.clone());
        thread::spawn(move || {
            while !stopped.wait(TICK) {
                ticked.tick(clock::now());
            }
        });
        Self { hub, _ticking: Arc::new(StopOnDrop(stop)) }
    }
}

/// A thread that feeds a stream until its source ends.
pub(super) type Feeding = JoinHandle<Result<()>>;

/// A source that is open, and the one subscriber of its stream.
pub(super) struct Opened {
    pub(super) subscriber: Subscriber,
    pub(super) feeding: Feeding,
}

/// What to open: a source that this process reads, or the address where a tutorial's camera connects.
pub(super) enum From {
    Source(Spec),
    Cameras(Spec, Endpoint),
}

impl From {
    /// Tells the two apart.
    pub(super) fn new(spec: Spec) -> Result<Self> {
        if Endpoint::matches(spec.source.expose()) {
            let endpoint = Endpoint::parse(spec.source.expose())?;
            if endpoint.tutorial.camera == End::Connects {
                return Ok(Self::Cameras(spec, endpoint));
            }
        }
        Ok(Self::Source(spec))
    }

    /// Opens one stream of it: of cameras that connect, one at a time feeds the stream.
    pub(super) fn open(self, hub: &hub::Hub, policy: Policy, stop: &Stop) -> Result<Opened> {
        match self {
            Self::Source(spec) => open(hub, &spec, None, policy, stop),
            Self::Cameras(spec, at) => {
                let name: Name = at.wire.name.parse()?;
                let mut subscriber = hub.subscribe(&name, policy, true, clock::now())?;
                subscriber.set_max_age(spec.options.max_age);
                let feeding = listen(&at, hub, Streams::One(name), spec.options.limits(), stop)?;
                Ok(Opened { subscriber, feeding })
            }
        }
    }
}

/// Opens a source as a stream of this hub, re-encoded where `encode` says so. The source is closed when the subscriber is
/// dropped. Raises `stop` when the source fails.
pub(super) fn open(
    hub: &hub::Hub,
    spec: &Spec,
    encode: Option<encode::EncodeOptions>,
    policy: Policy,
    stop: &Stop,
) -> Result<Opened> {
    let unwatched = stop.child();
    let closing = unwatched.child();
    let opened = (outside_of_tasks(|| source::open(spec, &closing))?, closing);
    let now = clock::now();
    let name = free_name(hub, &spec.source);
    let publisher = hub.publish(&name, now)?;
    let mut subscriber = hub.subscribe(&name, policy, false, now)?;
    subscriber.set_max_age(spec.options.max_age);
    let mut viewers = publisher.viewers();
    let feed = Feed { spec: spec.clone(), publisher, encode, on_demand: false, again: false };
    let feed = async move {
        let mut feed = pin!(feed.run(Some(opened), unwatched.clone()));
        tokio::select! {
            outcome = &mut feed => return outcome,
            _ = viewers.wait_for(|count| *count == 0) => {}
        }
        unwatched.stop();
        // Nobody watches any more, so nobody needs to know how the source ends.
        let _ = feed.await;
        Ok(())
    };
    Ok(Opened { subscriber, feeding: in_background(feed, stop)? })
}

/// Takes tutorials' cameras that connect to this address until `stop` is raised.
pub(super) fn listen(at: &Endpoint, hub: &hub::Hub, streams: Streams, limits: Limits, stop: &Stop) -> Result<Feeding> {
    let (runtime, listener) = outside_of_tasks(|| {
        let runtime = runtime()?;
        let listener = runtime.block_on(accept::bind_endpoint(at, "send pictures"))?;
        Ok((runtime, listener))
    })?;
    let (wire, cameras, stop) = (at.wire, Cameras { hub: hub.clone(), streams, limits }, stop.clone());
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

/// Takes cameras as [`listen`] does, each as a stream of its own, and gives a subscriber of each to `found`.
pub(super) fn listen_for_each(
    at: &Endpoint,
    hub: &hub::Hub,
    policy: Policy,
    limits: Limits,
    found: impl Fn(Subscriber) + Send + Sync + 'static,
    stop: &Stop,
) -> Result<Feeding> {
    let watched = hub.clone();
    let watch = move |name: &Name| {
        // A camera that nobody watches is disconnected: so it is where this fails.
        let _ = watched.subscribe(name, policy, false, clock::now()).map(&found);
    };
    listen(at, hub, Streams::Watched(Arc::new(watch)), limits, stop)
}

/// Runs a future on a thread of its own, which raises `stop` when it fails.
pub(super) fn in_background(future: impl Future<Output = Result<()>> + Send + 'static, stop: &Stop) -> Result<Feeding> {
    let (runtime, stop) = (runtime()?, stop.clone());
    Ok(thread::spawn(move || {
        let outcome = runtime.block_on(future);
        if outcome.is_err() {
            stop.stop();
        }
        outcome
    }))
}

/// Runs this on a thread of its own and waits for it: what blocks on a runtime may not do so inside of an async caller's.
pub(super) fn outside_of_tasks<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(run).join()).map_err(|_| error!(System, "{PANICKED}"))?
}

/// A runtime for the thread that waits on it.
pub(super) fn runtime() -> Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build().context("cannot wait for sockets and times")
}

const PANICKED: &str = "a thread of framewire panicked; please report this";

/// The outcome of a thread. A panic there is a defect of framewire.
pub(super) fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| error!(System, "{PANICKED}"))?
}

/// The name of a source's stream: the last part of its path, with a number where it is opened twice.
fn free_name(hub: &hub::Hub, source: &Location) -> Name {
    let last = source.last_part();
    let mut name = Name::from_lossy(&last);
    let mut number = 2;
    while hub.stream(name.as_str(), clock::now()).is_ok() {
        let short: String = last.chars().take(14).collect();
        name = Name::from_lossy(&format!("{short}-{number}"));
        number += 1;
    }
    name
}
