//! The hub's page in a real browser.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cable::{Cable, HUB},
    copy::film,
    harness::{Hub, Running, Scratch, deps, framewire, output, tool},
    namespaces::this_test,
    slow_links,
};

#[test]
fn the_page_shows_a_stream_that_moves_and_says_when_it_stalls() {
    moves_and_stalls("jpeg");
}

#[test]
fn the_page_decodes_h264_whose_keyframes_come_only_on_request() {
    moves_and_stalls("h264");
}

#[test]
fn the_page_joins_a_passthrough_film_in_the_middle_of_a_gop() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("page"));
    let film = film(&scratch, "film.mp4", 750, 250);
    let sender = Running::start(framewire(["send", &film, &hub.fw("scene"), "--codec", "copy", "--loop"]));
    let _recorder = Running::start(framewire(["record", &hub.fw("scene"), &scratch.file("out.mkv"), "--wait"]));
    hub.wait_until("scene", "has gone on for a while", |info| info["published"].as_u64() >= Some(60));
    shown(&hub, &sender, "copy");
}

fn moves_and_stalls(codec: &str) {
    let hub = Hub::start(&[]);
    let sender = Running::start(framewire(["send", "pattern#size=640x360", &hub.fw("scene"), "--codec", codec]));
    hub.wait_until("scene", "is there", |info| info["codec"] == codec);
    shown(&hub, &sender, codec);
}

/// Checks that the page shows the scene, and that the stream has stalled once its sender is killed.
fn shown(hub: &Hub, sender: &Running, name: &str) {
    let (node, screenshot) = page(&hub.url("/"), name, "source");
    let (page, mut question, answers) = Running::start_piped(node);
    // The program has its own deadline for each of its steps.
    let mut answers = BufReader::new(answers).lines().map_while(Result::ok);
    let mut printed = Vec::new();
    printed.extend(answers.by_ref().take_while(|line| line != "READY"));
    sender.signal("KILL");
    let asked = writeln!(question, "stalled?");
    printed.extend(answers.by_ref().take_while(|line| line != "STALLED"));
    drop(question);
    let (status, errors) = page.ended();
    assert!(status.success() && asked.is_ok(), "{errors}\n{}", printed.join("\n"));
    assert!(screenshot.is_file());
}

/// A command that checks the page with the stream `scene`, of which it must get this rendition; and the path of the
/// screenshot that it saves.
fn page(url: &str, screenshot: &str, rendition: &str) -> (Command, PathBuf) {
    let screenshot = screenshot_path(screenshot);
    let mut node = script("page.mjs");
    node.args([url, "scene"]).arg(&screenshot).arg(rendition);
    (node, screenshot)
}

/// Runs a script of tests/browser with these arguments and the path of a screenshot; returns what it printed.
pub(crate) fn run(name: &str, arguments: &[&str], screenshot: &str) -> String {
    let mut node = script(name);
    node.args(arguments).arg(screenshot_path(screenshot));
    String::from_utf8(output(node)).expect("text")
}

fn script(name: &str) -> Command {
    let mut node = tool("node");
    node.arg(format!("{}/tests/browser/{name}", env!("CARGO_MANIFEST_DIR")));
    node.env("PLAYWRIGHT_CORE", deps("npm/node_modules/playwright-core"));
    node
}

/// Where a screenshot is saved; one of before is removed.
fn screenshot_path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png"));
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn a_page_that_decodes_only_jpegs_gets_ones_that_fit_its_link() {
    let Some(cable) = Cable::lay(this_test!()) else { return };
    let _hub = slow_links::hub(&cable, 3_000);
    // Browsers decode H.264 on localhost and on https only.
    let (node, screenshot) = page(&format!("http://{HUB}/"), "slow", "jpeg");
    let printed = String::from_utf8(output(cable.at_far(&node))).expect("text");
    assert!(printed.contains("READY") && screenshot.is_file(), "{printed}");
}
