//! A cable that is pulled out, or loses what is sent over it: two network namespaces with a link between them.

use std::{
    fs::File,
    os::fd::AsFd,
    process::Command,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use framewire::internals::{
    clock,
    media::decode::Decoder,
    source::{self, Item},
    stop::Stop,
};
use framewire_proto::{Codec, Config, Frame, Micros, stamp};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::harness::{PATIENCE, Running, Scratch, eventually, framewire, output, run, tool};

/// The hub's address on the cable's near end.
pub(crate) const HUB: &str = "10.97.0.1:7070";

/// Two namespaces and the cable between them; both go with the test.
pub(crate) struct Cable {
    near: String,
    pub(crate) far: String,
}

/// Cables that this process has laid.
static LAID: AtomicU32 = AtomicU32::new(0);

impl Cable {
    /// `None`, and says why, where the test may not have one.
    pub(crate) fn lay() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tested, since only root can lay a cable: run the tests as root");
            return None;
        }
        let id = format!("{}-{}", std::process::id(), LAID.fetch_add(1, Ordering::Relaxed));
        let cable = Self { near: format!("framewire-near-{id}"), far: format!("framewire-far-{id}") };
        let Self { near, far } = &cable;
        let made = run(ip(&format!("netns add {near}")));
        if !made.status.success() {
            eprintln!("not tested, since there are no network namespaces: {}", String::from_utf8_lossy(&made.stderr));
            return None;
        }
        for line in [
            format!("netns add {far}"),
            format!("-n {near} link add cable type veth peer name cable netns {far}"),
            format!("-n {near} address add 10.97.0.1/24 dev cable"),
            format!("-n {far} address add 10.97.0.2/24 dev cable"),
            format!("-n {near} link set lo up"),
            format!("-n {far} link set lo up"),
            format!("-n {near} link set cable up"),
            format!("-n {far} link set cable up"),
        ] {
            output(ip(&line));
        }
        Some(cable)
    }

    /// Pulls the cable out, or puts it in.
    fn plug(&self, state: &str) {
        output(ip(&format!("-n {} link set cable {state}", self.far)));
    }

    /// From now on the cable carries no more than this many kilobits a second to the far end, and holds a quarter of a second of them.
    pub(crate) fn narrow(&self, kilobits: u32) {
        // Else a whole frame is one packet, which is more than the queue takes.
        output(ip(&format!("-n {} link set cable gso_max_segs 1", self.near)));
        let queue = kilobits * 1000 / 8 / 4;
        let shape = format!("qdisc replace dev cable root tbf rate {kilobits}kbit burst 3100 limit {queue}");
        output(tc(&format!("-n {} {shape}", self.near)));
    }

    /// Runs this on a thread at the far end.
    pub(crate) fn run_at_far<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        run_within(&self.far, job)
    }

    /// From now on the cable loses every packet, in both directions: nobody sees it gone.
    fn lose(&self) {
        for namespace in [&self.near, &self.far] {
            output(tc(&format!("-n {namespace} qdisc add dev cable root bfifo limit 1")));
        }
    }

    /// The cable carries packets again.
    fn find(&self) {
        for namespace in [&self.near, &self.far] {
            output(tc(&format!("-n {namespace} qdisc del dev cable root")));
        }
    }

    /// Connections that are being tried from the far end.
    fn tried(&self) -> usize {
        let mut ss = tool("ss");
        ss.args(["--no-header", "--tcp", "state", "syn-sent"]);
        String::from_utf8(output(self.at_far(&ss))).expect("text").lines().count()
    }

    /// A command at the hub's end.
    pub(crate) fn at_near(&self, command: &Command) -> Command {
        within(&self.near, command)
    }

    /// A command at the other end.
    pub(crate) fn at_far(&self, command: &Command) -> Command {
        within(&self.far, command)
    }

    /// What the hub says of a stream, asked at its own end.
    pub(crate) fn stream(&self, name: &str) -> Option<Value> {
        let mut curl = tool("curl");
        curl.args(["--silent", "--fail", "--max-time", "5", &format!("http://{HUB}/streams/{name}")]);
        serde_json::from_slice(&run(self.at_near(&curl)).stdout).ok()
    }

    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.stream("scene").filter(&holds))
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for namespace in [&self.near, &self.far] {
            run(ip(&format!("netns delete {namespace}")));
        }
    }
}

fn ip(arguments: &str) -> Command {
    let mut command = tool("ip");
    command.args(arguments.split(' '));
    command
}

fn tc(arguments: &str) -> Command {
    let mut command = tool("tc");
    command.args(arguments.split(' '));
    command
}

fn within(namespace: &str, command: &Command) -> Command {
    let mut inside = tool("ip");
    inside.args(["netns", "exec", namespace]).arg(command.get_program()).args(command.get_args());
    inside
}

/// Runs this on a thread inside a namespace.
fn run_within<T: Send + 'static>(namespace: &str, job: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    let place = format!("/run/netns/{namespace}");
    thread::spawn(move || {
        let namespace = File::open(place).expect("a namespace");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root");
        job()
    })
}

#[test]
fn a_cable_is_pulled_out_and_put_in_again() {
    let Some(cable) = Cable::lay() else { return };
    let scratch = Scratch::new("cable");
    let (to, file) = (format!("fw://{HUB}/scene"), scratch.file("out.mkv"));
    let mut hub = Running::start(cable.at_near(&framewire(["serve", "--listen", HUB, "--insecure"])));
    hub.wait_for("the hub listens on");
    let mut sender = Running::start(cable.at_far(&framewire(["send", "pattern#size=320x240", &to])));
    let mut viewer = Running::start(cable.at_far(&framewire(["record", &to, &file, "--wait"])));
    cable.wait_until("the stream is watched", |info| info["viewers"] == 1 && info["delivered"].as_u64() > Some(10));

    // For a moment: the same connections go on.
    cable.plug("down");
    let pulled = Instant::now();
    cable.wait_until("it is stalled", |info| info["state"] == "stalled");
    assert!(pulled.elapsed() < Duration::from_secs(3), "stalled is said at once, not after {:?}", pulled.elapsed());
    cable.plug("up");
    let info = cable.wait_until("it is live again", |info| info["state"] == "live");
    let count = |info: &Value| info["delivered"].as_u64().unwrap();
    cable.wait_until("the viewer gets pictures again", |now| count(now) > count(&info) + 10);

    // For longer: each end finds that the other is gone, and comes back.
    cable.plug("down");
    let pulled = Instant::now();
    cable.wait_until("the viewer is given up", |info| info["viewers"] == 0);
    assert!(pulled.elapsed() < Duration::from_secs(15), "not after {:?}", pulled.elapsed());
    sender.wait_for("trying again");
    viewer.wait_for("trying again");
    cable.plug("up");
    let info = cable.wait_until("it is live again", |info| info["state"] == "live");
    cable.wait_until("it is watched again", |now| now["viewers"] == 1 && count(now) > count(&info) + 10);
    viewer.signal("INT");
    let (status, said) = viewer.ended();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// A viewer in this process, at one end of the cable; it leaves with the test.
pub(crate) struct Viewer {
    frames: Receiver<(Config, Frame)>,
    decoder: Decoder,
    /// The last frame that came.
    last: Option<Frame>,
    stop: Stop,
}

impl Viewer {
    fn watch(namespace: &str, address: &str) -> Self {
        let (tell, frames) = mpsc::channel();
        let stop = Stop::default();
        let (spec, ended) = (format!("{address}#wait"), stop.clone());
        run_within(namespace, move || {
            let mut source = source::open(&spec.parse().expect("a source"), &ended).expect("a stream");
            let mut config = None;
            while let Some(item) = source.next().expect("a stream that comes back") {
                match item {
                    Item::Config(new) => config = Some(new),
                    // Nobody looks any more once the test is over.
                    Item::Frame(frame) => drop(tell.send((config.clone().expect("a configuration"), frame))),
                    Item::State(_) | Item::Service(_) => {}
                }
            }
        });
        Self { frames, decoder: Decoder::new(), last: None, stop }
    }

    /// The next frame.
    fn next(&mut self) -> Frame {
        let (config, frame) = self.frames.recv_timeout(PATIENCE).expect("a frame");
        self.check(&config, &frame);
        frame
    }

    /// It is whole, and newer than all before it.
    fn check(&mut self, config: &Config, frame: &Frame) {
        let picture = self.decoder.decode(config, frame, Codec::I420).expect("a picture that can be decoded");
        let (_, picture) = picture.expect("a picture at once");
        let stamp = stamp::read(picture.data(), picture.width(), picture.width() as usize).expect("a stamp");
        assert!(
            stamp.captured.abs_diff(frame.times.captured % stamp::WRAP) < 100_000,
            "{stamp:?}: another picture than {frame:?}"
        );
        if let Some(last) = self.last.replace(frame.clone()) {
            let numbers = (last.sequence, frame.sequence);
            assert!(numbers.0 < numbers.1, "{numbers:?}: numbers rise, whichever connection brings them");
            let captured = (last.times.captured, frame.times.captured);
            assert!(captured.0 < captured.1, "{captured:?}: no picture is older than the one before");
        }
    }

    /// Takes what comes until then, which is nothing but what was under way.
    fn nothing_until(&mut self, moment: Instant, gone: Micros) {
        while let Ok((config, frame)) = self.frames.recv_timeout(moment.saturating_duration_since(Instant::now())) {
            assert!(frame.times.captured < gone + 100_000, "a frame came over a cable that loses everything");
            self.check(&config, &frame);
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

#[test]
fn a_publisher_behind_a_link_that_lost_everything_is_back_at_once() {
    for codec in ["jpeg", "h264"] {
        let Some(cable) = Cable::lay() else { return };
        let (near, far) = (cable.near.clone(), cable.far.clone());
        dead_link(&cable, codec, &far, &near);
    }
}

#[test]
fn a_viewer_behind_a_link_that_lost_everything_is_back_at_once() {
    for codec in ["jpeg", "h264"] {
        let Some(cable) = Cable::lay() else { return };
        let (near, far) = (cable.near.clone(), cable.far.clone());
        dead_link(&cable, codec, &near, &far);
    }
}

/// Nothing crosses the cable for five seconds; the hub is at its near end.
fn dead_link(cable: &Cable, codec: &str, sends: &str, watches: &str) {
    const GONE: Duration = Duration::from_secs(5);
    let to = format!("fw://{HUB}/scene");
    let mut hub = Running::start(cable.at_near(&framewire(["serve", "--listen", HUB, "--insecure"])));
    hub.wait_for("the hub listens on");
    let send = framewire(["send", "pattern#size=640x360", &to, "--codec", codec]);
    let _sender = Running::start(within(sends, &send));
    let mut viewer = Viewer::watch(watches, &to);
    while viewer.next().sequence < 30 {}
    assert_eq!(cable.tried(), 0, "nothing is tried while all is well");

    cable.lose();
    let (gone, until) = (clock::now(), Instant::now() + GONE);
    let most = || eventually("another connection is tried", || Some(cable.tried()).filter(|tried| *tried > 0));
    assert!(most() <= 8);
    viewer.nothing_until(until, gone);
    assert!((1..=8).contains(&cable.tried()), "few are open at once");

    cable.find();
    let back = clock::now();
    let mut frame = viewer.next();
    while frame.times.captured < back {
        frame = viewer.next();
    }
    let after = frame.times.arrived.saturating_sub(back) / 1000;
    println!("{codec}: the first picture of after came {after} ms after the cable was well again");
    assert!(after < 5_000, "{after} ms");
    let info = cable.stream("scene").expect("the stream");
    assert_eq!(info["viewers"], 1, "the connection of before is not counted");
    for _ in 0..30 {
        viewer.next();
    }
    assert_eq!(cable.tried(), 0, "no attempt is left");
    assert_eq!(cable.stream("scene").expect("the stream")["state"], "live");
}
