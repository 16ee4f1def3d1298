//! A cable that is pulled out: two network namespaces with a link between them.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{Running, Scratch, eventually, framewire, output, run, tool};

/// The hub's address on the cable's near end.
const HUB: &str = "10.97.0.1:7070";

/// Two namespaces and the cable between them; both go with the test.
struct Cable {
    near: String,
    far: String,
}

impl Cable {
    /// `None`, and says why, where the test may not have one.
    fn lay() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tested, since only root can lay a cable: run the tests as root");
            return None;
        }
        let id = std::process::id();
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

    /// A command at the hub's end.
    fn at_near(&self, command: &Command) -> Command {
        within(&self.near, command)
    }

    /// A command at the other end.
    fn at_far(&self, command: &Command) -> Command {
        within(&self.far, command)
    }

    /// What the hub says of a stream, asked at its own end.
    fn stream(&self, name: &str) -> Option<Value> {
        let mut curl = tool("curl");
        curl.args(["--silent", "--fail", "--max-time", "5", &format!("http://{HUB}/streams/{name}")]);
        serde_json::from_slice(&run(self.at_near(&curl)).stdout).ok()
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
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

fn within(namespace: &str, command: &Command) -> Command {
    let mut inside = tool("ip");
    inside.args(["netns", "exec", namespace]).arg(command.get_program()).args(command.get_args());
    inside
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
