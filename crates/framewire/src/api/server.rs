//! A hub's port.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
    sync::Arc,
    thread,
    time::Duration,
};

use framewire_proto::{Limits, Name};
use tokio::{net::TcpListener, runtime};
use tracing::warn;

use super::{
    hub::Hub,
    local::{self, Feeding},
    sender::encoding_for,
    wire::Wire,
};
use crate::{
    error::{Context as _, Error, OrError as _, Result, bail, ensure},
    net::{accept, endpoint::Endpoint},
    serve,
    sink::{Outlet, pickle},
    source::Spec as Source,
    stop::{Stop, StopOnDrop},
    transcode::encode,
};

/// How long the port's tasks may take to end.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Makes the streams of a [`Hub`] reachable on one TCP port: for publishers and viewers, for browsers (the page, MJPEG,
/// WebSocket, JSON, metrics), and for the cameras of the tutorials. Dropped, it closes the port and every connection.
///
/// ```
/// let server = framewire::Server::builder("127.0.0.1:0").source("scene", "pattern".parse()?).start()?;
/// println!("open http://{}/ in a browser", server.address());
/// # assert!(server.hub().streams().iter().any(|stream| stream.name == "scene"));
/// # Ok::<(), framewire::Error>(())
/// ```
pub struct Server {
    hub: Hub,
    address: SocketAddr,
    serving: Option<Feeding>,
    stop: StopOnDrop,
}

/// How to serve, see [`Server::builder`].
#[must_use]
pub struct ServerBuilder {
    listen: String,
    hub: Option<Hub>,
    sources: Vec<(String, Source)>,
    pickles: Vec<PicklePort>,
    insecure: bool,
    wires: Vec<Wire>,
    config: serve::Config,
    stop: Stop,
}

impl ServerBuilder {
    /// Serves this hub; by default a new one.
    pub fn hub(mut self, hub: &Hub) -> Self {
        self.hub = Some(hub.clone());
        self
    }

    /// Lets a source feed a stream, opened while somebody watches it, until the server is dropped.
    pub fn source(mut self, name: &str, source: Source) -> Self {
        self.sources.push((name.into(), source));
        self
    }

    /// Serves a stream on a port of its own to the viewers of the tutorial that pickles frames.
    pub fn pickle(mut self, port: PicklePort) -> Self {
        self.pickles.push(port);
        self
    }

    /// Listens beyond this machine though anybody who reaches the port may watch and publish.
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// A name by which browsers may call this hub, besides IP addresses, names without a dot and this machine's name:
    /// `cams.example`, or `cams.example:8443` where its page has a port of its own.
    pub fn host_name(mut self, name: &str) -> Self {
        self.config.access.host_names.push(name.into());
        self
    }

    /// The address of a proxy in front of this hub, or a network of such (`172.16.0.0/12`): what its `X-Forwarded-Host`, `-Proto`
    /// and `-For` say is believed.
    pub fn proxy(mut self, network: &str) -> Self {
        self.config.access.proxies.push(network.into());
        self
    }

    /// Lets web pages of this origin (`https://home.example`) embed MJPEG, snapshots and the page with one stream.
    pub fn allow_embed(mut self, origin: &str) -> Self {
        self.config.access.embedders.push(origin.into());
        self
    }

    /// Frames of more bytes are passed over and counted, and not sent to viewers: 8 MiB unless set, 256 MiB at most.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.config.limits = Limits::with_frame(bytes);
        self
    }

    /// Whether tutorials' cameras may push frames to the port: they may by default.
    pub fn tutorials(mut self, allowed: bool) -> Self {
        self.config.no_legacy = !allowed;
        self
    }

    /// Adds a protocol of your own to the port.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wires.push(wire);
        self
    }

    /// Raising this flag ends the server, from any thread.
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Listens, and serves in the background.
    ///
    /// # Errors
    /// The port is taken or not permitted, a name or source is wrong, a wire has another's name, or the address is reached from other machines
    /// without [`ServerBuilder::insecure`].
    pub fn start(self) -> Result<Server> {
        check_address(&self.listen, self.insecure)?;
        check_names(&self.wires)?;
        self.config.access.check()?;
        let (hub, stop) = (self.hub.unwrap_or_else(Hub::new), self.stop.child());
        for port in &self.pickles {
            check_address(&port.at.authority(), self.insecure)?;
        }
        let pickles = self.pickles.into_iter().map(|port| port.of(&hub)).collect();
        allow_many_connections();
        let (runtime, listener, pickles) = local::outside_of_tasks(|| {
            let runtime =
                runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the hub's threads")?;
            let listener = runtime.block_on(accept::bind(&self.listen))?;
            let pickles = runtime.block_on(bind_all(pickles))?;
            Ok((runtime, listener, pickles))
        })?;
        let address = listener.local_addr()?;
        // Dropped at an error, it takes the sources back.
        let stop = StopOnDrop(stop);
        for (name, source) in self.sources {
            hub.feed(&name, source, &stop.0)?;
        }
        let (served, stopped) = (hub.local.hub.clone(), stop.0.clone());
        let extra_wires = self.wires.into_iter().map(|wire| wire.row(&hub)).collect();
        let config = serve::Config { extra_wires, ..self.config };
        let serving = thread::spawn(move || {
            for (port, listener) in pickles {
                let stop = stopped.clone();
                runtime.spawn(async move {
                    if let Err(error) = port.run(listener, &stop).await {
                        tracing::error!("{}: {error}", port.at);
                    }
                });
            }
            let served = runtime.block_on(async {
                tokio::select! {
                    served = serve::run(listener, served, config) => served,
                    () = stopped.raised() => Ok(()),
                }
            });
            runtime.shutdown_timeout(SHUTDOWN);
            served
        });
        Ok(Server { hub, address, serving: Some(serving), stop })
    }
}

impl Server {
    /// Serves a new hub on this address and port with the defaults; port 0 lets the system choose one.
    ///
    /// # Errors
    /// As [`ServerBuilder::start`].
    pub fn start(listen: &str) -> Result<Self> {
        Self::builder(listen).start()
    }

    /// Serves as the builder says.
    pub fn builder(listen: &str) -> ServerBuilder {
        ServerBuilder {
            listen: listen.into(),
            hub: None,
            sources: Vec::new(),
            pickles: Vec::new(),
            insecure: false,
            wires: Vec::new(),
            config: serve::Config::default(),
            stop: Stop::default(),
        }
    }

    /// The address and port on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The hub that it serves.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Serves until the server's stop flag is raised.
    ///
    /// # Errors
    /// A thread of the server failed.
    pub fn wait(mut self) -> Result<()> {
        self.serving.take().map_or(Ok(()), local::join)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.0.stop();
        // Its port is free again once this returns.
        let _ = self.serving.take().map(local::join);
    }
}

/// A stream and the port where silent viewers get it. Written as `ADDR:PORT=NAME`, with options behind it as in
/// `127.0.0.1:9999=door#size=640x480`; 320 pixels wide by default.
#[derive(Debug, Clone)]
pub struct PicklePort {
    at: Endpoint,
    stream: Name,
    encode: encode::EncodeOptions,
}

impl FromStr for PicklePort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('=');
        let (address, stream) = parts
            .or_error(Error::InvalidInput, || format!("'{text}' names no stream: write it like 127.0.0.1:9999=door"))?;
        let at = Endpoint::parse(&format!("pickle://{address}"))?;
        let Source { source, options } = stream.parse()?;
        let encode = encoding_for(&at.tutorial, &options, false);
        Ok(Self { at, stream: source.expose().parse()?, encode })
    }
}

impl PicklePort {
    fn of(self, hub: &Hub) -> pickle::Port {
        let outlet = Outlet {
            hub: hub.local.hub.clone(),
            stream: self.stream,
            encode: self.encode,
            max_age: None,
            max_frame: Limits::default().frame,
            viewers: Arc::default(),
            sent: Arc::default(),
            preview: None,
        };
        pickle::Port { outlet, at: self.at, ends: false }
    }
}

async fn bind_all(ports: Vec<pickle::Port>) -> Result<Vec<(pickle::Port, TcpListener)>> {
    let mut bound = Vec::with_capacity(ports.len());
    for port in ports {
        let listener = accept::bind_endpoint(&port.at, "watch").await?;
        bound.push((port, listener));
    }
    Ok(bound)
}

/// Refuses wires that logs could not tell apart.
fn check_names(wires: &[Wire]) -> Result<()> {
    let mut known: Vec<_> = serve::WIRES.iter().map(|row| row.wire.name).collect();
    for Wire { name, .. } in wires {
        ensure!(!known.contains(name), InvalidInput, "there are two wires named '{name}': give yours another name");
        known.push(name);
    }
    Ok(())
}

/// Refuses to listen beyond this machine unless told to.
fn check_address(listen: &str, insecure: bool) -> Result<()> {
    let addresses = listen.to_socket_addrs().ok();
    let mut addresses = addresses.or_error(Error::InvalidInput, || {
        format!("'{listen}' is not an address to listen on: write it like 127.0.0.1:7070")
    })?;
    let Some(open) = addresses.find(|address| !address.ip().is_loopback()) else { return Ok(()) };
    if insecure {
        warn!("anybody who reaches {open} can watch and publish");
        return Ok(());
    }
    bail!(
        InvalidInput,
        "{open} is reached from other machines, and anybody there could watch and publish: add --insecure, in a program `insecure(true)`, if that is wanted"
    )
}

/// Raises the limit of open files to what the system allows: each viewer needs one.
fn allow_many_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}
