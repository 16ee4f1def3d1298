//! `framewire serve`: the hub.

use std::net::SocketAddr;

use crate::options::option;
use anyhow::{Context, Result, ensure};
use framewire::{Error, Name, PicklePort, Server, Source, Stop};

use crate::options::reason;

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7070")]
    pub(crate) listen: String,
    /// A source to run in the hub, opened when somebody watches: NAME=SOURCE, may be given again
    #[arg(long = "source", value_name = "NAME=SOURCE", value_parser = |text: &str| reason(parse_source(text)))]
    pub(crate) sources: Vec<(Name, Source)>,
    /// Serve a stream to the viewers of the tutorial that pickles frames: ADDR:PORT=NAME, options may follow as in
    /// 127.0.0.1:9999=door#size=640x480 [default: 320 wide]; may be given again
    #[arg(long = "pickle", value_name = "ADDR:PORT=NAME")]
    pub(crate) pickles: Vec<PicklePort>,
    /// Listen beyond this machine though anybody who reaches the port may watch and publish
    #[arg(long)]
    pub(crate) insecure: bool,
    /// A name by which browsers may call this hub, besides IP addresses, names without a dot and this machine's name; may be
    /// given again
    #[arg(long = "host-name", value_name = "NAME[:PORT]")]
    pub(crate) host_names: Vec<String>,
    /// A proxy in front of this hub, or a network of such: what its X-Forwarded-Host, -Proto and -For say is believed; may be
    /// given again
    #[arg(long = "proxy", value_name = "CIDR")]
    pub(crate) proxies: Vec<String>,
    /// Let web pages of these origins, such as http://home.example:8123, embed MJPEG, snapshots and the page with one stream
    #[arg(long = "allow-embed", value_name = "ORIGIN", num_args = 1..)]
    pub(crate) embedders: Vec<String>,
    /// Frames of more bytes are passed over, as in 32M; whoever sends or watches them needs the same limit [default: 8M, at most
    /// 256M]
    #[arg(long, value_name = "SIZE", value_parser = |text: &str| option("max-frame", text, |options| options.max_frame))]
    pub(crate) max_frame: Option<usize>,
    /// Refuse the tutorials' cameras (lhh, base64, stopwait, length), which else are taken by their first bytes
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

/// Runs a hub until `stop` is raised; `ready` receives the address on which it listens.
pub(crate) fn serve(args: &Args, stop: &Stop, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    let server = Server::builder(&args.listen).insecure(args.insecure).tutorials(!args.no_legacy).stop(stop);
    let server =
        args.sources.iter().fold(server, |server, (name, source)| server.source(name.as_str(), source.clone()));
    let server = args.pickles.iter().fold(server, |server, port| server.pickle(port.clone()));
    let server = args.host_names.iter().fold(server, |server, name| server.host_name(name));
    let server = args.proxies.iter().fold(server, |server, network| server.proxy(network));
    let server = args.embedders.iter().fold(server, |server, origin| server.allow_embed(origin));
    let server = match args.max_frame {
        Some(bytes) => server.max_frame(bytes),
        None => server,
    };
    let server = server.start().map_err(|error| match error {
        Error::Busy(_) | Error::PermissionDenied(_) => anyhow::Error::from(error).context("--listen"),
        error => error.into(),
    })?;
    ready(server.address());
    Ok(server.wait()?)
}

fn parse_source(text: &str) -> Result<(Name, Source)> {
    let wanted = "write it like door=/dev/video0#size=1280x720";
    let (name, source) = text.split_once('=').with_context(|| format!("'{text}' names no source: {wanted}"))?;
    ensure!(!source.is_empty(), "'{text}' names no source: {wanted}");
    Ok((name.parse()?, source.parse()?))
}
