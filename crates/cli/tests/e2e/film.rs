//! A real film, sent, recorded and compared with what FFmpeg makes of it.

use std::time::{Duration, Instant};

use crate::{
    harness::{Hub, Running, Scratch, deps, ffmpeg, framewire, output},
    picture::{Probed, Rgb, frame_by_ffmpeg, probe},
};

/// Frames of the film, and the time from its first to its last.
const FRAMES: usize = 132;
const PLAYS: Duration = Duration::from_millis(5_240);

fn film() -> String {
    deps("media/bigbuckbunny.mp4")
}

fn jpegs(frames: usize) -> Probed {
    Probed { codec: "mjpeg".into(), width: 1280, height: 720, frames }
}

/// Sends the film to a hub that records it, until all of it is on the disk. Checks that each published frame was delivered
/// to the recorder or counted as dropped, and that the file holds the delivered ones. Returns the hub's figures and the time
/// that sending took.
fn recorded_by_a_hub(test: &str, flags: &[&str]) -> (serde_json::Value, Duration) {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new(test));
    let file = scratch.file("out.mkv");
    let mut record = framewire(["record", &hub.fw("film"), &file, "--wait", "--stats", "json"]);
    record.env("FRAMEWIRE_LOG", "framewire=info");
    let mut recorder = Running::start(record);
    // A recorder gets every frame from its subscription on, so it must be there before the film starts.
    recorder.wait_for(&format!("'film': {}", hub.fw("film")));
    let begun = Instant::now();
    output(framewire([&["send", &film(), &hub.fw("film"), "--wait"], flags].concat()));
    let took = begun.elapsed();
    let info = hub.wait_until("film", "has delivered", |info| {
        let dropped: u64 = info["dropped"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
        info["published"].as_u64().unwrap() == info["delivered"].as_u64().unwrap() + dropped
    });
    let delivered = info["delivered"].as_u64().unwrap() as usize;
    assert_eq!((info["codec"].as_str(), info["width"].as_u64()), (Some("jpeg"), Some(1280)));
    recorder.wait_for(&format!("\"delivered\":{delivered},"));
    recorder.signal("INT");
    let (status, printed) = recorder.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert_eq!(probe(&["-i", &file]), jpegs(delivered));
    (info, took)
}

#[test]
fn a_film_is_sent_and_recorded_at_its_own_frame_rate() {
    let (info, took) = recorded_by_a_hub("paced", &[]);
    let count = |field: &str| info[field].as_u64().unwrap() as usize;
    assert!(took >= PLAYS, "{took:?}");
    // A late sender drops frames and leaves gaps in their numbers.
    assert!(count("published") + count("missed") <= FRAMES && count("published") > FRAMES * 3 / 4, "{info}");
}

#[test]
fn an_unpaced_film_loses_no_frame() {
    let (info, _) = recorded_by_a_hub("unpaced", &["--fps", "0"]);
    assert_eq!(info["delivered"], FRAMES, "{info}");
}

#[test]
fn every_container_is_cut_to_its_duration() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("containers"));
    let _sender = Running::start(framewire(["send", &film(), &hub.fw("film"), "--loop"]));
    hub.wait_until("film", "is live", |info| info["published"].as_u64() > Some(0));
    let record = |name: &str| {
        let file = scratch.file(name);
        (file.clone(), Running::start(framewire(["record", &hub.fw("film"), &file, "--duration", "2"])))
    };
    // AVI has no timestamps but a slot per frame interval: before a late frame there is an empty one.
    for (slots, (file, recorder)) in [(1, record("out.mkv")), (1, record("out.mp4")), (2, record("out.avi"))] {
        let (status, printed) = recorder.ended();
        assert_eq!(status.code(), Some(0), "{printed}");
        let told =
            printed.lines().find_map(|line| line.strip_prefix("framewire recorded ")?.split(' ').next()?.parse().ok());
        let told: usize = told.unwrap_or_else(|| panic!("no count of recorded frames: {printed}"));
        assert!((10..=60).contains(&told), "{printed}");
        let probed = probe(&["-i", &file]);
        assert!((told..=slots * told).contains(&probed.frames), "{printed}\n{probed:?}");
        assert_eq!(probed, jpegs(probed.frames));
        // It decodes without a warning.
        output(ffmpeg(&["-xerror", "-i", &file, "-f", "null", "-"]));
    }
}

#[test]
fn a_film_is_read_by_another_program() {
    let record = |format: &str| {
        output(framewire(["record", &film(), "-", "--format", format, "--fps", "0", "--size", "320x180"]))
    };
    let bgr = record("bgr24");
    assert_eq!(bgr.len(), FRAMES * 320 * 180 * 3);
    let scratch = Scratch::new("piped");
    for (format, demuxer, codec) in [("y4m", "yuv4mpegpipe", "rawvideo"), ("mjpeg", "mjpeg", "mjpeg")] {
        let file = scratch.file(format);
        std::fs::write(&file, record(format)).unwrap();
        let expected = Probed { codec: codec.into(), width: 320, height: 180, frames: FRAMES };
        assert_eq!(probe(&["-f", demuxer, "-i", &file]), expected);
        // Every format holds the same pictures: compare FFmpeg's of this file with the raw pixels.
        let mut frame = frame_by_ffmpeg_of(&file, demuxer, 60);
        frame.pixels.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
        let plain = Rgb { pixels: bgr[60 * 320 * 180 * 3..][..320 * 180 * 3].to_vec(), ..frame.clone() };
        let psnr = frame.psnr(&plain);
        assert!(psnr > 32.0, "{format}: {psnr:.1} dB");
    }
}

/// A frame of a file whose format FFmpeg cannot tell by its name.
fn frame_by_ffmpeg_of(file: &str, demuxer: &str, number: usize) -> Rgb {
    let named = format!("{file}.mkv");
    output(ffmpeg(&["-f", demuxer, "-i", file, "-c", "copy", &named]));
    frame_by_ffmpeg(&named, number)
}

#[test]
fn an_unpaced_loop_goes_on_until_its_duration() {
    let begun = Instant::now();
    let jpegs = output(framewire([
        "record",
        &film(),
        "-",
        "--format",
        "mjpeg",
        "--size",
        "64x36",
        "--fps",
        "0",
        "--loop",
        "--duration",
        "3",
    ]));
    let took = begun.elapsed();
    let frames = jpegs.windows(3).filter(|three| three == &[0xff, 0xd8, 0xff]).count();
    // More than once through the film, and faster than it plays.
    assert!(frames > FRAMES, "{frames}");
    assert!(frames as f64 / took.as_secs_f64() > 2.0 * FRAMES as f64 / PLAYS.as_secs_f64(), "{frames} in {took:?}");
}

#[test]
fn a_snapshot_shows_the_films_colours() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("colours"));
    let still = scratch.file("still.mp4");
    output(ffmpeg(&["-i", &film(), "-frames:v", "1", "-c", "copy", "-an", &still]));
    let _sender = Running::start(framewire(["send", &still, &hub.fw("still"), "--loop"]));
    hub.wait_until("still", "has a frame", |info| info["published"].as_u64() > Some(0));
    let (status, snapshot) = hub.get("/streams/still/snapshot.jpg");
    assert_eq!(status, 200);
    let psnr = Rgb::of_jpeg(&snapshot).psnr(&frame_by_ffmpeg(&still, 0));
    assert!(psnr > 30.0, "{psnr:.1} dB");
}

#[test]
fn colours_are_right_in_every_matrix_and_range() {
    let scratch = Scratch::new("matrices");
    let truth = Rgb::quadrants(320, 240);
    let raw = scratch.file("truth.rgb");
    std::fs::write(&raw, &truth.pixels).unwrap();
    for (matrix, tag) in [("bt601", "smpte170m"), ("bt709", "bt709")] {
        for range in ["tv", "pc"] {
            let file = scratch.file(&format!("{matrix}-{range}.mkv"));
            let filter = format!("scale=out_color_matrix={matrix}:out_range={range},format=yuv420p");
            output(ffmpeg(&[
                "-f",
                "rawvideo",
                "-pix_fmt",
                "rgb24",
                "-s",
                "320x240",
                "-i",
                &raw,
                "-vf",
                &filter,
                "-c:v",
                "libx264",
                "-qp",
                "1",
                "-colorspace",
                tag,
                "-color_range",
                range,
                &file,
            ]));
            let jpeg = output(framewire(["record", &file, "-", "--format", "mjpeg", "--fps", "0"]));
            let psnr = Rgb::of_jpeg(&jpeg).psnr(&truth);
            assert!(psnr > 32.0, "{matrix} {range}: {psnr:.1} dB");
        }
    }
}
