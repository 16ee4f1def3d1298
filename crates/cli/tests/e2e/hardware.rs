//! H.264 by a graphics card: FFmpeg's own NVENC, with a stand-in for its driver (`tests/nvenc`), since no card is at hand.

use std::path::Path;

use crate::{
    harness::{Hub, Running, Scratch, ffmpeg, framewire, output, run, tool},
    picture::probe,
};

/// The encoder of a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coder {
    Software,
    Driver,
}
use Coder::{Driver, Software};

/// The encoders of the test scene's keyframes, in order, on a machine whose driver has these faults. The recording begins
/// before the sender prints `due`, ends a second after, and lacks no frame.
fn coders(test: &str, badly: &[(&str, &str)], due: &str) -> Vec<Coder> {
    let scratch = Scratch::new(test);
    let mut build = tool("bash");
    build.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/nvenc/build")).arg(scratch.path());
    output(build);
    let hub = Hub::start(&[]);
    // A trial measures time, and a busy machine may be too slow: then try again.
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
        sender.has_printed(due);
        // It holds from the next frame on.
        let so_far = hub.wait_until("scene", "is recorded", |info| info["delivered"] != 0)["delivered"].as_u64();
        hub.wait_until("scene", "goes on", |info| info["delivered"].as_u64() > so_far.map(|count| count + 30));
        recorder.signal("INT");
        let (status, printed) = recorder.ended();
        assert!(status.success() && printed.contains(" 0 dropped"), "{printed}");
        assert!(probe(&["-i", &file]).frames > 30);
        // In the file's milliseconds: at the frame rate, two frames of a busy machine may share a time.
        let times = ["-fps_mode", "passthrough", "-enc_time_base", "1/1000"];
        let decoded = run(ffmpeg(&[&["-i", &file][..], &times, &["-f", "null", "-"]].concat()));
        assert!(decoded.status.success() && decoded.stderr.is_empty(), "{}", String::from_utf8_lossy(&decoded.stderr));
        return keyframes(&output(ffmpeg(&["-i", &file, "-c", "copy", "-f", "h264", "-"])));
    }
    panic!("the machine is too busy to try anything");
}

/// The encoders of an Annex B stream's keyframes: the driver writes level 6.2, which pictures this small never need.
fn keyframes(stream: &[u8]) -> Vec<Coder> {
    const SEQUENCE: [u8; 4] = [0, 0, 1, 0x67];
    let levels = stream.windows(SEQUENCE.len() + 3).filter(|bytes| bytes.starts_with(&SEQUENCE)).map(|bytes| bytes[6]);
    let mut coders: Vec<Coder> = levels.map(|level| if level == 62 { Driver } else { Software }).collect();
    coders.dedup();
    coders
}

#[test]
fn a_graphics_card_takes_over_after_its_trial_without_losing_a_frame() {
    let coders = coders("card", &[], "H.264 of 640x360 is encoded by h264_nvenc");
    assert!(coders.ends_with(&[Driver]), "{coders:?}");
}

#[test]
fn libx264_takes_over_from_a_failing_card_without_losing_a_frame() {
    // Later than any frame of a trial.
    let coders = coders(
        "failing-card",
        &[("DRIVER_FAILS_AFTER", "60")],
        "hardware encoder h264_nvenc failed, libx264 replaces it",
    );
    assert!(coders.ends_with(&[Driver, Software]), "{coders:?}");
}

#[test]
fn a_card_that_returns_frames_late_is_not_used() {
    let why = "H.264 of 640x360 is not encoded by h264_nvenc: the encoder gave no frame for a picture at once";
    assert_eq!(coders("late-card", &[("DRIVER_DELAYS", "1")], why), [Software]);
}
