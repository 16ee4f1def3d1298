//! Recordings and their faults: full disks, closed pipes, signals, restarted hubs.

use std::{fs, io::Read};

use framewire_proto::wire::native::Message;

use crate::{
    harness::{Display, Hub, Peer, Running, Scratch, eventually, fails, framewire, jpeg, output, run, tool},
    namespaces::{is_root_here, skip, this_test},
    picture::probe,
};

const SCENE: &str = "pattern#size=320x240";

/// A small disk, unmounted with the test.
struct SmallDisk(Scratch);

impl SmallDisk {
    /// `None` where this process may not have one: then the test has run in another that may, or was reported as skipped.
    fn mount(test: &str, size: &str) -> Option<Self> {
        if !is_root_here(test) {
            return None;
        }
        let scratch = Scratch::new("small-disk");
        let mut mount = tool("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "framewire-test"]).arg(scratch.path());
        let outcome = run(mount);
        if !outcome.status.success() {
            skip(test, &format!("no small disk here ({})", String::from_utf8_lossy(&outcome.stderr)));
            return None;
        }
        Some(Self(scratch))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = tool("umount");
        unmount.arg("--lazy").arg(self.0.path());
        run(unmount);
    }
}

#[test]
fn frames_written_before_the_disk_was_full_play() {
    for name in ["out.mkv", "out.mp4", "out.avi"] {
        let Some(disk) = SmallDisk::mount(this_test!(), "4m") else { return };
        let file = disk.0.file(name);
        let error = fails(framewire(["record", "pattern#size=640x360", &file, "--fps", "60", "--duration", "15"]));
        let written =
            error.split_once("the disk is full after ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        let written: usize = written.unwrap_or_else(|| panic!("no count of written frames: {error}"));
        assert!(error.contains(&file), "{error}");
        let playing = decoded(&file);
        // A second may be held back; the frame that the disk cut off may still show.
        let expected = written.saturating_sub(61).max(11)..=written + 1;
        assert!(expected.contains(&playing), "{name}: {playing} frames play of {written}");
    }
}

/// How many frames of a file can be decoded.
fn decoded(file: &str) -> usize {
    let mut probe = tool("ffprobe");
    probe.args(["-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", file]);
    let count = String::from_utf8(run(probe).stdout).unwrap();
    count.trim().trim_end_matches(',').parse().unwrap_or_else(|_| panic!("{file} holds {count:?} frames"))
}

#[test]
fn a_full_disk_behind_standard_output_is_reported_in_one_line() {
    let mut shell = tool("sh");
    let binary = env!("CARGO_BIN_EXE_framewire");
    shell.args(["-c", "exec \"$0\" record pattern#size=320x240 - --format bgr24 >/dev/full", binary]);
    let error = fails(shell);
    assert!(error.contains("standard output") && error.contains("full"), "{error}");
}

#[test]
fn a_reader_that_closes_its_end_is_no_error() {
    for format in ["bgr24", "y4m", "mjpeg"] {
        let (recorder, _, mut out) = Running::start_piped(framewire(["record", SCENE, "-", "--format", format]));
        let mut first = [0; 5000];
        out.read_exact(&mut first).unwrap();
        drop(out);
        let (status, printed) = recorder.ended();
        assert_eq!(status.code(), Some(0), "{format}: {printed}");
    }
}

#[test]
fn a_closed_pipe_behind_list_is_no_error() {
    let hub = Hub::start(&["--source", "scene=pattern"]);
    let (lister, _, out) = Running::start_piped(framewire(["list", &hub.fw("")]));
    drop(out);
    let (status, printed) = lister.ended();
    assert_eq!((status.code(), printed.as_str()), (Some(0), ""));
}

#[test]
fn a_recording_of_nothing_is_an_error() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("nothing"));
    let file = scratch.file("out.mkv");
    let error = fails(framewire(["record", &hub.fw("door"), &file, "--wait", "--duration", "0.5"]));
    assert!(error.contains(&hub.fw("door")) && error.contains("nothing is recorded"), "{error}");
}

#[test]
fn a_killed_recorder_leaves_a_file_that_plays() {
    let scratch = Scratch::new("killed");
    let file = scratch.file("out.mkv");
    let recorder = Running::start(framewire(["record", SCENE, &file, "--fps", "60"]));
    eventually("enough is on the disk", || fs::metadata(&file).ok().filter(|file| file.len() > 1_000_000));
    recorder.signal("KILL");
    recorder.ended();
    let probed = probe(&["-i", &file]);
    assert!(probed.frames > 20, "{probed:?}");
}

#[test]
fn signals_finish_the_file() {
    for (signal, name) in [("TERM", "out.mkv"), ("INT", "out.mp4"), ("TERM", "out.avi")] {
        let scratch = Scratch::new(&format!("signals-{name}"));
        let file = scratch.file(name);
        let mut recorder = Running::start(framewire(["record", SCENE, &file, "--stats", "json"]));
        recorder.wait_for_line("a second's figures", |line| delivered(line) >= Some(10));
        recorder.signal(signal);
        let (status, printed) = recorder.ended();
        assert_eq!(status.code(), Some(0), "{name}: {printed}");
        let mut probe = tool("ffprobe");
        probe.args(["-v", "error", "-of", "csv=p=0", "-show_entries", "format=duration", &file]);
        // Only a finished file has its duration at its beginning.
        let told = String::from_utf8(output(probe)).unwrap();
        assert!(told.trim().parse::<f64>().unwrap() > 0.3, "{name}: {told}");
    }
}

#[test]
fn a_hub_restarted_under_a_recorder_and_a_window() {
    let (scratch, screen) = (Scratch::new("restarted"), Display::start("320x240"));
    let hub = Hub::start(&["--source", &format!("scene={SCENE}")]);
    let (address, from, file) = (hub.address.to_string(), hub.fw("scene"), scratch.file("out.mkv"));
    let mut recorder = Running::start(framewire(["record", &from, &file, "--stats", "json"]));
    let mut window = Running::start(screen.on(framewire(["view", &from])));
    hub.wait_until("scene", "is watched by both", |info| info["viewers"] == 2);
    let line = recorder.wait_for_line("that it records", |line| delivered(line) >= Some(5));
    let before = delivered(&line);
    drop(hub);
    recorder.wait_for("trying again");
    window.wait_for("trying again");
    let hub = Hub::at(&address, &["--source", &format!("scene={SCENE}")]);
    window.wait_for("connected");
    hub.wait_until("scene", "is watched again by both", |info| info["viewers"] == 2);
    let line = recorder.wait_for_line("that it goes on", |line| delivered(line) > before.map(|count| count + 30));
    recorder.signal("INT");
    let (status, printed) = recorder.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert!(probe(&["-i", &file]).frames as u64 >= delivered(&line).unwrap());
    window.signal("TERM");
    let (status, printed) = window.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
}

/// How many frames a line of `--stats json` counts.
fn delivered(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?["delivered"].as_u64()
}

#[test]
fn why_there_is_no_picture_is_told_wherever_the_stream_is() {
    let scratch = Scratch::new("no-picture");
    let film = scratch.file("film.mp4");
    let hub = Hub::start(&["--source", &format!("film={film}")]);
    let next = Hub::start(&["--source", &format!("copy={}", hub.fw("film"))]);
    let error = fails(framewire(["record", &next.fw("copy"), &scratch.file("o.mkv"), "--duration", "2"]));
    assert!(error.contains("film.mp4: no such file"), "{error}");
    for hub in [&hub, &next] {
        let listed = String::from_utf8(output(framewire(["list", &hub.address.to_string()]))).unwrap();
        assert!(listed.contains("no picture: ") && listed.contains("film.mp4: no such file"), "{listed}");
    }
    let diagnosis = output(framewire(["doctor", &hub.fw("film"), "--duration", "1", "--json"]));
    let diagnosis: serde_json::Value = serde_json::from_slice(&diagnosis).unwrap();
    assert!(diagnosis["verdict"].as_str().unwrap().contains("film.mp4: no such file"), "{diagnosis}");
    let mut viewer = Peer::watch(&hub, "film");
    let fault = viewer.wait_for("a fault", |message| matches!(message, Message::Fault { .. }));
    assert!(matches!(fault, Message::Fault { text } if text.contains("no such file")));
    output(framewire(["record", SCENE, &film, "--duration", "1"]));
    viewer.wait_for("no fault any more", |message| *message == Message::Fault { text: String::new() });
    assert!(hub.stream("film").unwrap()["fault"].is_null());
}

#[test]
fn a_publisher_tells_its_viewers_what_has_failed() {
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(1));
    let text = format!("rtsp://user:pass@camera/x: {}\u{1b}[31m", "gone ".repeat(100));
    publisher.client.send(&Message::Fault { text }).unwrap();
    let info = hub.wait_until("door", "has failed", |info| info["fault"].is_string());
    let fault = info["fault"].as_str().unwrap();
    assert!(fault.starts_with("rtsp://user:***@camera/x: gone gone ") && fault.len() <= 200, "{fault}");
    assert_eq!(info["state"], "stalled");
    publisher.send_jpeg(1, &jpeg(2));
    hub.wait_until("door", "is back", |info| info["fault"].is_null() && info["state"] == "live");
    drop(publisher);
    let info = hub.wait_until("door", "is deserted", |info| info["fault"].is_string());
    assert!(info["fault"].as_str().unwrap().contains("connection"), "{info}");
}
