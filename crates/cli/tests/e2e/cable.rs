//! A link that is unplugged or loses every packet: two networks with a cable between them.

use std::{
    process::Command,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use framewire_proto::{Codec, Config, Frame, Micros, stamp};
use serde_json::Value;

use crate::{
    harness::{PATIENCE, Running, Scratch, eventually, framewire, output, run, tool},
    internals::{
        clock,
        media::decode::Decoder,
        source::{self, Item},
        stop::Stop,
    },
    namespaces::{Network, is_root_here, skip, this_test},
};

/// The hub's address on the cable's near end.
pub(crate) const HUB: &str = "10.97.0.1:7070";

/// Two networks and the cable between them, removed with the test.
pub(crate) struct Cable {
    near: Network,
    far: Network,
}

impl Cable {
    /// `None` where this process may not have one: then the test has run in another that may, or was reported as skipped.
    pub(crate) fn lay(test: &str) -> Option<Self> {
        if !is_root_here(test) {
            return None;
        }
        Self::between(Network::new(), Network::new()).map_err(|why| skip(test, &why)).ok()
    }

    fn between(near: Result<Network, String>, far: Result<Network, String>) -> Result<Self, String> {
        let cable = Self { near: near?, far: far? };
        let laid =
            run(cable.at_near(&ip(&format!("link add cable type veth peer name cable netns {}", cable.far.id()))));
        if !laid.status.success() {
            return Err(format!("no virtual cables here ({})", String::from_utf8_lossy(&laid.stderr)));
        }
        for (network, address) in [(&cable.near, "10.97.0.1/24"), (&cable.far, "10.97.0.2/24")] {
            output(network.within(&ip(&format!("address add {address} dev cable"))));
            output(network.within(&ip("link set cable up")));
        }
        Ok(cable)
    }

    /// Sets the far end of the cable `up` or `down`.
    pub(crate) fn plug(&self, state: &str) {
        output(self.at_far(&ip(&format!("link set cable {state}"))));
    }

    /// Limits the cable to this many kilobits a second towards the far end, with a queue of a quarter of a second.
    pub(crate) fn narrow(&self, kilobits: u32) {
        // Otherwise a whole frame is one packet, larger than the queue.
        output(self.at_near(&ip("link set cable gso_max_segs 1")));
        let queue = kilobits * 1000 / 8 / 4;
        let shape = format!("qdisc replace dev cable root tbf rate {kilobits}kbit burst 3100 limit {queue}");
        output(self.at_near(&tc(&shape)));
    }

    /// Runs this on a thread at the far end.
    pub(crate) fn run_at_far<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        self.far.spawn(job)
    }

    /// From now on the cable loses every packet in both directions, without an error at either end.
    fn lose(&self) {
        for network in [&self.near, &self.far] {
            output(network.within(&tc("qdisc add dev cable root bfifo limit 1")));
        }
    }

    /// The cable carries packets again.
    fn find(&self) {
        for network in [&self.near, &self.far] {
            output(network.within(&tc("qdisc del dev cable root")));
        }
    }

    /// Connection attempts under way from the far end.
    fn tried(&self) -> usize {
        let mut ss = tool("ss");
        ss.args(["--no-header", "--tcp", "state", "syn-sent"]);
        String::from_utf8(output(self.at_far(&ss))).expect("text").lines().count()
    }

    /// A command at the hub's end.
    pub(crate) fn at_near(&self, command: &Command) -> Command {
        self.near.within(command)
    }

    /// A command at the other end.
    pub(crate) fn at_far(&self, command: &Command) -> Command {
        self.far.within(command)
    }

    /// The figures of a stream, asked of the hub at its own end.
    pub(crate) fn stream(&self, name: &str) -> Option<Value> {
        let mut curl = tool("curl");
        curl.args(["--silent", "--fail", "--max-time", "5", &format!("http://{HUB}/streams/{name}")]);
        serde_json::from_slice(&run(self.at_near(&curl)).stdout).ok()
    }

    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.stream("scene").filter(&holds))
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

#[test]
fn a_cable_is_pulled_out_and_put_in_again() {
    let Some(cable) = Cable::lay(this_test!()) else { return };
    let scratch = Scratch::new("cable");
    let (to, file) = (format!("fw://{HUB}/scene"), scratch.file("out.mkv"));
    let mut hub = Running::start(cable.at_near(&framewire(["serve", "--listen", HUB, "--insecure"])));
    hub.wait_for("the hub listens on");
    let mut sender = Running::start(cable.at_far(&framewire(["send", "pattern#size=320x240", &to])));
    let mut viewer = Running::start(cable.at_far(&framewire(["record", &to, &file, "--wait"])));
    cable.wait_until("the stream is watched", |info| info["viewers"] == 1 && info["delivered"].as_u64() > Some(10));

    // For a moment: the connections survive.
    cable.plug("down");
    let pulled = Instant::now();
    cable.wait_until("it is stalled", |info| info["state"] == "stalled");
    assert!(pulled.elapsed() < Duration::from_secs(3), "stalled after {:?}", pulled.elapsed());
    cable.plug("up");
    let info = cable.wait_until("it is live again", |info| info["state"] == "live");
    let count = |info: &Value| info["delivered"].as_u64().unwrap();
    cable.wait_until("the viewer gets pictures again", |now| count(now) > count(&info) + 10);

    // For longer: each end notices, and reconnects.
    cable.plug("down");
    let pulled = Instant::now();
    cable.wait_until("the viewer is dropped", |info| info["viewers"] == 0);
    assert!(pulled.elapsed() < Duration::from_secs(15), "not after {:?}", pulled.elapsed());
    sender.wait_for("trying again");
    viewer.wait_for("trying again");
    cable.plug("up");
    let info = cable.wait_until("it is live again", |info| info["state"] == "live");
    cable.wait_until("it is watched again", |now| now["viewers"] == 1 && count(now) > count(&info) + 10);
    viewer.signal("INT");
    let (status, printed) = viewer.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
}

/// A viewer in this process, at one end of the cable; it stops with the test.
pub(crate) struct Viewer {
    frames: Receiver<(Config, Frame)>,
    decoder: Decoder,
    /// The last frame received.
    last: Option<Frame>,
    stop: Stop,
}

impl Viewer {
    fn watch(from: &Network, address: &str) -> Self {
        let (sender, frames) = mpsc::channel();
        let stop = Stop::default();
        let (spec, ended) = (format!("{address}#wait"), stop.clone());
        from.spawn(move || {
            let mut source = source::open(&spec.parse().expect("a source"), &ended).expect("a stream");
            let mut config = None;
            while let Some(item) = source.next().expect("a stream that recovers") {
                match item {
                    Item::Config(new) => config = Some(new),
                    // The test may have ended.
                    Item::Frame(frame) => drop(sender.send((config.clone().expect("a configuration"), frame))),
                    Item::State(_) | Item::Fault(_) | Item::NoPicture(_) | Item::Service(_) => {}
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

    /// Checks that a frame is whole and newer than all before it.
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
            assert!(captured.0 < captured.1, "{captured:?}: a frame is older than the one before");
        }
    }

    /// Receives until then, and checks that all frames are ones that were under way.
    fn nothing_until(&mut self, moment: Instant, gone: Micros) {
        while let Ok((config, frame)) = self.frames.recv_timeout(moment.saturating_duration_since(Instant::now())) {
            assert!(frame.times.captured < gone + 100_000, "a frame crossed a dead link");
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
fn a_publisher_recovers_at_once_from_a_dead_link() {
    for codec in ["jpeg", "h264"] {
        let Some(cable) = Cable::lay(this_test!()) else { return };
        dead_link(&cable, codec, &cable.far, &cable.near);
    }
}

#[test]
fn a_viewer_recovers_at_once_from_a_dead_link() {
    for codec in ["jpeg", "h264"] {
        let Some(cable) = Cable::lay(this_test!()) else { return };
        dead_link(&cable, codec, &cable.near, &cable.far);
    }
}

/// Nothing crosses the cable for five seconds; the hub is at its near end.
fn dead_link(cable: &Cable, codec: &str, sends: &Network, watches: &Network) {
    const GONE: Duration = Duration::from_secs(5);
    let to = format!("fw://{HUB}/scene");
    let mut hub = Running::start(cable.at_near(&framewire(["serve", "--listen", HUB, "--insecure"])));
    hub.wait_for("the hub listens on");
    let send = framewire(["send", "pattern#size=640x360", &to, "--codec", codec]);
    let _sender = Running::start(sends.within(&send));
    let mut viewer = Viewer::watch(watches, &to);
    while viewer.next().sequence < 30 {}
    assert_eq!(cable.tried(), 0, "no attempts on a healthy link");

    cable.lose();
    let (gone, until) = (clock::now(), Instant::now() + GONE);
    let most = || eventually("another connection attempt", || Some(cable.tried()).filter(|tried| *tried > 0));
    assert!(most() <= 8);
    viewer.nothing_until(until, gone);
    assert!((1..=8).contains(&cable.tried()), "few attempts at once");

    cable.find();
    let back = clock::now();
    let mut frame = viewer.next();
    while frame.times.captured < back {
        frame = viewer.next();
    }
    let after = frame.times.arrived.saturating_sub(back) / 1000;
    println!("{codec}: the first new frame arrived {after} ms after the link recovered");
    // README promises half a second. Measured in 45 runs on a busy machine: 1 to 229 ms.
    assert!(after < 1_000, "{after} ms");
    let info = cable.stream("scene").expect("the stream");
    assert_eq!(info["viewers"], 1, "the old connection is not counted");
    for _ in 0..30 {
        viewer.next();
    }
    assert_eq!(cable.tried(), 0, "no attempt is left");
    assert_eq!(cable.stream("scene").expect("the stream")["state"], "live");
}
