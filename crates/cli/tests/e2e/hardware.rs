//! H.264 by a graphics card: FFmpeg's own NVENC, with a stand-in for its driver (`tests/nvenc`), since no card is at hand.

use std::path::Path;

use crate::{
    harness::{Hub, Running, Scratch, ffmpeg, framewire, output, run, tool},
    picture::probe,
};

/// Who coded a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coder {
    Software,
    Driver,
}
use Coder::{Driver, Software};

/// Who coded the keyframes of the test scene, one after the other, on a machine with such a driver that was told to do this badly:
/// in a recording from some time before the sender says `due` to a second after it, which misses nothing.
fn coders(test: &str, badly: &[(&str, &str)], due: &str) -> Vec<Coder> {
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
        let recorder = Running::start(framewire(["record", &hub.fw("scene"), &file, "--wait"]));
        let verdict = sender.wait_for("coded by h264_nvenc");
        if ["it takes", "a picture took"].iter().any(|slow| verdict.contains(slow)) {
            continue;
        }
        sender.has_said(due);
        // What was said holds from the next picture on.
        let so_far = hub.wait_until("scene", "is recorded", |info| info["delivered"] != 0)["delivered"].as_u64();
        hub.wait_until("scene", "goes on", |info| info["delivered"].as_u64() > so_far.map(|count| count + 30));
        recorder.signal("INT");
        let (status, said) = recorder.ended();
        assert!(status.success() && said.contains(" 0 dropped"), "{said}");
        assert!(probe(&["-i", &file]).frames > 30);
        let decoded = run(ffmpeg(&["-i", &file, "-f", "null", "-"]));
        assert!(decoded.status.success() && decoded.stderr.is_empty(), "{}", String::from_utf8_lossy(&decoded.stderr));
        return keyframes(&output(ffmpeg(&["-i", &file, "-c", "copy", "-f", "h264", "-"])));
    }
    panic!("the machine is too busy to try anything");
}

/// Who coded the keyframes of a stream in Annex B form: the driver tells a level of 6.2, which pictures this small never need.
fn keyframes(stream: &[u8]) -> Vec<Coder> {
    const SEQUENCE: [u8; 4] = [0, 0, 1, 0x67];
    let levels = stream.windows(SEQUENCE.len() + 3).filter(|bytes| bytes.starts_with(&SEQUENCE)).map(|bytes| bytes[6]);
    let mut coders: Vec<Coder> = levels.map(|level| if level == 62 { Driver } else { Software }).collect();
    coders.dedup();
    coders
}

#[test]
fn a_card_takes_over_once_it_was_tried_and_nothing_is_missed() {
    let coders = coders("card", &[], "H.264 of 640x360 is encoded by h264_nvenc");
    assert!(coders.ends_with(&[Driver]), "{coders:?}");
}

#[test]
fn a_card_that_fails_is_given_up_and_nothing_is_missed() {
    // After what a trial takes.
    let coders = coders(
        "failing-card",
        &[("DRIVER_FAILS_AFTER", "60")],
        "hardware encoder h264_nvenc failed, libx264 replaces it",
    );
    assert!(coders.ends_with(&[Driver, Software]), "{coders:?}");
}

#[test]
fn a_card_that_gives_frames_late_is_not_used() {
    let why = "H.264 of 640x360 is not encoded by h264_nvenc: the encoder gave no frame for a picture at once";
    assert_eq!(coders("late-card", &[("DRIVER_DELAYS", "1")], why), [Software]);
}
