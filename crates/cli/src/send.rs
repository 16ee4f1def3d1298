//! `framewire send`: a source of this machine as a stream of a hub, or to a tutorial's script.

use std::{
    str::FromStr,
    sync::{Arc, Mutex},
    thread,
};

use anyhow::{Context, Result};
use framewire::proto::{
    Name,
    wire::tutorial::{End, Size},
};

use crate::{
    cameras,
    options::{self, Common},
    stats::Teller,
};
use framewire::{
    clock,
    hub::{Policy, Publisher},
    latency::StaleFilter,
    net::{self, client::Address, endpoint::Endpoint},
    sink::{
        Outlet, Sent, native, pickle, tutorial,
        window::{self, Pane, Tile},
    },
    source::{self, Spec, feed::Feed},
    stop::Stop,
    transcode::encode,
};

#[derive(clap::Args)]
#[command(after_help = source::help())]
pub(crate) struct Args {
    /// What to send, see below; options may follow, each after a #, as in /dev/video0#size=1280x720
    source: Spec,
    /// Where to: fw://HOST:PORT/NAME (without a name, under this machine's), or to a tutorial's script:
    /// lhh://HOST:PORT (with ?long=8 for a server that reads 8-byte lengths), base64://HOST:PORT, stopwait://HOST:PORT,
    /// or for those who connect here, pickle://ADDR:PORT
    to: String,
    /// Show in a window what is sent; q ends
    #[arg(long)]
    preview: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Where pictures go.
enum To {
    Hub(Address),
    Script(Endpoint),
}

impl FromStr for To {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if Endpoint::matches(text) { Ok(Self::Script(Endpoint::parse(text)?)) } else { Ok(Self::Hub(text.parse()?)) }
    }
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<()> {
    let to: To = args.to.parse()?;
    let spec = to.with_defaults(args.common.apply(&args.source));
    let (encode, max_age) = (to.encoding(&spec)?, spec.options.max_age);
    let closing = stop.child();
    let opened = (source::open(&spec, &closing)?, closing);
    let (on_demand, passthrough) = (source::kind(&spec)?.live, spec.is_passthrough());
    let hub = crate::local_hub(stop);
    let local = to.name();
    let publisher = hub.publish(&local, clock::now())?;
    let mut viewers = publisher.viewers();
    let patient = to.listens() && !on_demand;
    let feed = Feed { spec, publisher, encode: None, on_demand, again: false };
    let stopped = stop.clone();
    let feeding = async move {
        if patient {
            // A film begins with its first viewer.
            tokio::select! {
                // The sender lives in the stream, which the feed's publisher holds.
                _ = viewers.wait_for(|count| *count > 0) => {}
                () = stopped.raised() => {}
            }
        }
        Ok(feed.run(Some(opened), stopped).await?)
    };
    let feeding = crate::in_background(feeding, stop)?;
    let sent = Arc::<Mutex<Sent>>::default();
    crate::stop_after(args.common.duration, stop);
    let teller = Teller::new(args.common.stats, &hub, Some(sent.clone()));
    teller.start(stop);
    let send = |preview| {
        let outlet = Outlet { hub, stream: local, encode, max_age, sent, preview };
        to.send(outlet, passthrough, args.common.wait, stop)
    };
    let outcome = if args.preview { previewed(send, stop) } else { send(None) };
    stop.stop();
    teller.totals();
    outcome.and(feeding.join().ok().context("the source's thread panicked").flatten())
}

/// Sends while a window shows what is sent, until either ends.
fn previewed(send: impl FnOnce(Option<Publisher>) -> Result<()> + Send, stop: &Stop) -> Result<()> {
    let hub = crate::local_hub(stop);
    let name: Name = "preview".parse()?;
    let publisher = hub.publish(&name, clock::now())?;
    let subscriber = hub.subscribe(&name, Policy::Newest, true, clock::now())?;
    let tiles = vec![Tile { name: name.to_string(), subscriber, stale_filter: StaleFilter::default() }];
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let outcome = send(Some(publisher));
            stop.stop();
            outcome
        });
        let pane = Pane { title: "sent — framewire".into(), tiles };
        let shown = window::run(vec![pane], None, window::WindowOptions::default(), stop);
        stop.stop();
        let sent = sending.join().ok().context("the sending thread panicked").flatten();
        sent.and(Ok(shown?))
    })
}

impl To {
    /// What the stream is called in this process.
    fn name(&self) -> Name {
        let machine = || Name::from_lossy(&net::machine_name());
        match self {
            Self::Hub(address) => address.name.clone().unwrap_or_else(machine),
            Self::Script(_) => machine(),
        }
    }

    /// Whether others connect here.
    fn listens(&self) -> bool {
        matches!(self, Self::Script(endpoint) if endpoint.tutorial.camera == End::Listens)
    }

    /// The source, asked for the tutorial's own size where no other is.
    fn with_defaults(&self, mut spec: Spec) -> Spec {
        if let Self::Script(Endpoint { tutorial, .. }) = self
            && let Size::Exactly(width, height) = tutorial.size
        {
            spec.options.size = spec.options.size.or(Some((width.into(), height.into())));
        }
        spec
    }

    fn encoding(&self, spec: &Spec) -> Result<encode::EncodeOptions> {
        Ok(match self {
            Self::Hub(_) => options::encoding(spec)?,
            Self::Script(endpoint) => {
                options::encoding_for(&endpoint.tutorial, &spec.options, source::kind(spec)?.sized)
            }
        })
    }

    /// Sends until the stream ends or `stop` is raised.
    fn send(self, outlet: Outlet, passthrough: bool, wait: bool, stop: &Stop) -> Result<()> {
        match self {
            Self::Hub(address) => Ok(native::Publish { outlet, address, wait, passthrough }.run(stop)?),
            Self::Script(at) if at.tutorial.camera == End::Listens => crate::runtime()?.block_on(async {
                let listener = cameras::bind(&at, "watch").await?;
                Ok(pickle::Port { outlet, at, ends: true }.run(listener, stop).await?)
            }),
            Self::Script(to) => Ok(crate::runtime()?.block_on(tutorial::Push { outlet, to, wait }.run(stop))?),
        }
    }
}
