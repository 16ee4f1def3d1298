//! `framewire serve`: the hub.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use framewire::proto::{Micros, Name};
use tokio::{net::TcpListener, runtime};
use tracing::{error, warn};

use crate::{cameras, options};
use framewire::{
    clock,
    hub::Hub,
    net::{accept, endpoint::Endpoint},
    serve as server,
    sink::{Outlet, pickle},
    source::{Spec, feed::Feed, kind},
    stop::Stop,
    transcode::encode,
};

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7070")]
    pub(crate) listen: String,
    /// A source to run in the hub, opened when somebody watches: NAME=SOURCE, may be given again
    #[arg(long = "source", value_name = "NAME=SOURCE", value_parser = parse_source)]
    pub(crate) sources: Vec<(Name, Spec)>,
    /// Serve a stream to the viewers of the tutorial that pickles frames: ADDR:PORT=NAME, options may follow as in
    /// 127.0.0.1:9999=door#size=640x480 [default: 320 wide]; may be given again
    #[arg(long = "pickle", value_name = "ADDR:PORT=NAME", value_parser = parse_pickle)]
    pub(crate) pickles: Vec<Pickle>,
    /// Listen beyond this machine though anybody who reaches the port may watch and publish
    #[arg(long)]
    pub(crate) insecure: bool,
    /// A name by which browsers may call this hub, besides IP addresses, localhost and this machine's name
    #[arg(long = "host-name", value_name = "NAME")]
    pub(crate) host_names: Vec<String>,
    /// Refuse the tutorials' cameras (lhh, base64, stopwait), which else are taken by their first bytes
    #[arg(long)]
    pub(crate) no_legacy: bool,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<()> {
    serve(args, stop, |address| {
        println!("framewire: the hub listens on {address}");
        println!("  page     http://{address}/");
        println!("  publish  framewire send camera fw://{address}/NAME");
        println!("  watch    framewire view fw://{address}/NAME");
    })
}

/// Runs a hub until `stop` is raised; `ready` hears where it listens.
pub(crate) fn serve(args: &Args, stop: &Stop, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    check_address(&args.listen, args.insecure)?;
    for pickle in &args.pickles {
        check_address(&pickle.at.authority(), args.insecure)?;
    }
    allow_many_connections();
    let runtime =
        runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the hub's threads")?;
    let outcome = runtime.block_on(async {
        let listener = accept::bind(&args.listen).await.context("--listen")?;
        let address = listener.local_addr()?;
        let hub = Hub::default();
        for (name, spec) in &args.sources {
            run_source(&hub, name, spec, stop)?;
        }
        for pickle in &args.pickles {
            run_pickle(&hub, pickle, stop).await?;
        }
        ready(address);
        until_stopped(listener, hub, args, stop).await;
        anyhow::Ok(())
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn until_stopped(listener: TcpListener, hub: Hub, args: &Args, stop: &Stop) {
    let config = server::Config { host_names: args.host_names.clone(), no_legacy: args.no_legacy };
    tokio::select! {
        () = server::run(listener, hub, config) => {}
        () = stop.raised() => {}
    }
}

/// Lets a source feed a stream of the hub while somebody watches it.
fn run_source(hub: &Hub, name: &Name, spec: &Spec, stop: &Stop) -> Result<()> {
    kind(spec)?;
    let now: Micros = clock::now();
    let feed = Feed {
        spec: spec.clone(),
        publisher: hub.publish(name, now)?,
        encode: Some(options::encoding(spec)?),
        on_demand: true,
        again: true,
    };
    let (name, stop) = (name.clone(), stop.clone());
    tokio::spawn(async move {
        if let Err(fault) = feed.run(None, stop).await {
            error!("'{name}': {fault:#}");
        }
    });
    Ok(())
}

/// Serves a stream of the hub to silent viewers.
async fn run_pickle(hub: &Hub, pickle: &Pickle, stop: &Stop) -> Result<()> {
    let listener = cameras::bind(&pickle.at, "watch").await?;
    let outlet = Outlet {
        hub: hub.clone(),
        stream: pickle.stream.clone(),
        encode: pickle.encode.clone(),
        max_age: None,
        sent: Arc::default(),
        preview: None,
    };
    let (port, stop) = (pickle::Port { outlet, at: pickle.at.clone(), ends: false }, stop.clone());
    tokio::spawn(async move {
        if let Err(fault) = port.run(listener, &stop).await {
            error!("{}: {fault:#}", port.at);
        }
    });
    Ok(())
}

/// Refuses to listen beyond this machine unless told to.
fn check_address(listen: &str, insecure: bool) -> Result<()> {
    let mut addresses = listen
        .to_socket_addrs()
        .with_context(|| format!("'{listen}' is no address to listen on: write it like 127.0.0.1:7070"))?;
    let Some(open) = addresses.find(|address| !address.ip().is_loopback()) else { return Ok(()) };
    if insecure {
        warn!("anybody who reaches {open} can watch and publish");
        return Ok(());
    }
    bail!(
        "{open} is reached from other machines, and anybody there could watch and publish: add --insecure if that is wanted"
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

/// A stream and the port where silent viewers get it.
#[derive(Debug, Clone)]
pub(crate) struct Pickle {
    at: Endpoint,
    stream: Name,
    encode: encode::EncodeOptions,
}

fn parse_pickle(text: &str) -> Result<Pickle> {
    let wanted = "write it like 127.0.0.1:9999=door";
    let (address, stream) = text.split_once('=').with_context(|| format!("'{text}' names no stream: {wanted}"))?;
    let at = Endpoint::parse(&format!("pickle://{address}"))?;
    let Spec { source, options } = stream.parse()?;
    let encode = options::encoding_for(&at.tutorial, &options, false);
    Ok(Pickle { at, stream: source.parse()?, encode })
}

fn parse_source(text: &str) -> Result<(Name, Spec)> {
    let wanted = "write it like door=/dev/video0#size=1280x720";
    let (name, source) = text.split_once('=').with_context(|| format!("'{text}' names no source: {wanted}"))?;
    ensure!(!source.is_empty(), "'{text}' names no source: {wanted}");
    Ok((name.parse()?, source.parse()?))
}
