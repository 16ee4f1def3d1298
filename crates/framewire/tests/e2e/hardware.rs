//! H.264 by a graphics card: FFmpeg's own NVENC, with a stand-in for its driver (`tests/nvenc`), since no card is at hand.

use std::{fs, path::Path};

use crate::{
    harness::{Hub, Running, Scratch, ffmpeg, framewire, output, run, tool},
    picture::probe,
};

/// What x264 says of itself in keyframes of libx264 as framewire opens it, and of the driver.
const SOFTWARE: &str = "rc=crf";
const DRIVER: &str = "rc=cbr";

/// Records the test scene for so many seconds as a sender codes it on a machine with such a driver, told to do this badly; it
/// misses nothing, and the sender says `due`.
fn record(test: &str, badly: &[(&str, &str)], seconds: u32, due: &str) -> Vec<u8> {
    let scratch = Scratch::new(test);
    let mut build = tool("bash");
    build.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/nvenc/build")).arg(scratch.path());
    output(build);
    let hub = Hub::start(&[]);
    // A trial minds the time, of which a busy machine has none: then there is another.
    for _ in 0..5 {
        let file = scratch.file("scene.mkv");
        let mut send = framewire(["send", "-v", "pattern#size=640x360", &hub.fw("scene"), "--codec", "h264"]);
        send.env("LD_LIBRARY_PATH", scratch.path()).envs(badly.iter().copied());
        let mut sender = Running::start(send);
        let for_seconds = seconds.to_string();
        let command = framewire(["record", &hub.fw("scene"), &file, "--wait", "--duration", &for_seconds]);
        let recorder = Running::start(command);
        let verdict = sender.wait_for("coded by h264_nvenc");
        if ["it takes", "a picture took"].iter().any(|slow| verdict.contains(slow)) {
            continue;
        }
        sender.has_said(due);
        let (status, said) = recorder.ended();
        assert!(status.success() && said.contains(" 0 dropped"), "{said}");
        let frames = probe(&["-i", &file]).frames;
        assert!(frames > 10 * seconds as usize, "{frames} frames in {seconds} s");
        let decoded = run(ffmpeg(&["-i", &file, "-f", "null", "-"]));
        assert!(decoded.status.success() && decoded.stderr.is_empty(), "{}", String::from_utf8_lossy(&decoded.stderr));
        return fs::read(file).expect("the recording");
    }
    panic!("the machine is too busy to try anything");
}

/// Who coded the keyframes, one after the other; the first may have come before the recording began.
fn coders(recording: &[u8]) -> Vec<&str> {
    let marks = recording.windows(SOFTWARE.len()).filter_map(|bytes| std::str::from_utf8(bytes).ok());
    let mut coders: Vec<&str> = marks.filter(|mark| [SOFTWARE, DRIVER].contains(mark)).collect();
    coders.dedup();
    coders
}

#[test]
fn a_card_takes_over_once_it_was_tried_and_nothing_is_missed() {
    let recording = record("card", &[], 4, "H.264 of 640x360 is coded by h264_nvenc");
    assert!(coders(&recording).ends_with(&[DRIVER]), "{:?}", coders(&recording));
}

#[test]
fn a_card_that_fails_is_given_up_and_nothing_is_missed() {
    // After what a trial takes.
    let recording = record("failing-card", &[("DRIVER_FAILS_AFTER", "60")], 6, "h264_nvenc fails, libx264 goes on");
    assert!(coders(&recording).ends_with(&[DRIVER, SOFTWARE]), "{:?}", coders(&recording));
}

#[test]
fn a_card_that_gives_frames_late_is_not_used() {
    let why = "H.264 of 640x360 is not coded by h264_nvenc: the encoder held a picture back";
    assert_eq!(coders(&record("late-card", &[("DRIVER_DELAYS", "1")], 3, why)), [SOFTWARE]);
}
