//! H.264 as passthrough: order, recordings, snapshots, and viewers that join in the middle of a long GOP.

use std::{
    fs,
    time::{Duration, Instant},
};

use framewire_proto::{
    Codec, Config, Frame,
    wire::native::{Message, Report},
};

use crate::{
    harness::{Hub, Peer, Running, Scratch, fails, ffmpeg, framewire, output},
    internals::{clock, media::decode::Decoder},
    picture::{Probed, Rgb, probe},
    slow_links::watch_over_http,
};

/// A film of 25 frames a second with B-frames and this many frames from keyframe to keyframe.
pub(crate) fn film(scratch: &Scratch, name: &str, frames: u32, gop: u32) -> String {
    let file = scratch.file(name);
    let (source, gop) = (format!("testsrc2=size=320x240:rate=25,trim=end_frame={frames}"), gop.to_string());
    let mut command = ffmpeg(&["-f", "lavfi", "-i", &source, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-bf", "3"]);
    command.args(["-g", &gop, "-sc_threshold", "0", "-preset", "veryfast", &file]);
    output(command);
    file
}

/// The times in ms, from the first on, and the checksums of a file's pictures as FFmpeg shows them.
fn pictures(file: &str) -> Vec<(i64, String)> {
    let text = output(ffmpeg(&[
        "-i",
        file,
        "-an",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "1/1000",
        "-f",
        "framemd5",
        "-",
    ]));
    let text = String::from_utf8(text).expect("lines");
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        (fields[2].parse::<i64>().expect(line), fields[5].to_owned())
    };
    let pictures: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(line).collect();
    let first = pictures[0].0;
    pictures.into_iter().map(|(time, sum)| (time - first, sum)).collect()
}

/// Checks that no packet of a file is decoded after it is shown, and that decoding times rise.
fn in_order(file: &str) {
    let mut command = crate::harness::tool("ffprobe");
    command.args(["-v", "error", "-show_entries", "packet=dts,pts", "-of", "csv=p=0", file]);
    let text = String::from_utf8(output(command)).expect("lines");
    let times = text.lines().map(|line| {
        let (pts, dts) = line.trim_end_matches(',').split_once(',').expect(line);
        (dts.parse::<i64>().expect(line), pts.parse::<i64>().expect(line))
    });
    let times: Vec<_> = times.collect();
    assert!(times.len() > 10, "{text}");
    assert!(times.iter().all(|(dts, pts)| dts <= pts), "{text}");
    assert!(times.windows(2).all(|pair| pair[0].0 < pair[1].0), "{text}");
}

#[test]
fn a_film_with_b_frames_is_recorded_through_a_hub_unchanged() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("copied"));
    let film = film(&scratch, "film.mp4", 100, 40);
    let truth = pictures(&film);
    assert_eq!(truth.len(), 100);
    let files = ["out.mkv", "out.mp4"].map(|name| scratch.file(name));
    let mut recorders = files.clone().map(|file| {
        let mut record = framewire(["record", &hub.fw("film"), &file, "--wait"]);
        record.env("FRAMEWIRE_LOG", "framewire=info");
        let mut recorder = Running::start(record);
        recorder.wait_for(&format!("'film': {}", hub.fw("film")));
        recorder
    });
    output(framewire(["send", &film, &hub.fw("film"), "--codec", "copy", "--fps", "0"]));
    let info = hub.wait_until("film", "has delivered", |info| info["delivered"] == 200);
    assert_eq!((info["codec"].as_str(), info["width"].as_u64()), (Some("h264"), Some(320)));
    for recorder in &mut recorders {
        recorder.signal("INT");
    }
    for (recorder, file) in recorders.into_iter().zip(&files) {
        let (status, printed) = recorder.ended();
        assert!(status.success() && printed.contains("recorded 100 frames"), "{printed}");
        assert_eq!(probe(&["-i", file]), Probed { codec: "h264".into(), width: 320, height: 240, frames: 100 });
        in_order(file);
        let got = pictures(file);
        assert_eq!(got.len(), truth.len());
        for ((time, sum), (due, whole)) in got.iter().zip(&truth) {
            assert!(sum == whole && (time - due).abs() <= 1, "{file}: {time} for {due}");
        }
    }
}

#[test]
fn passthrough_frames_decode_in_display_order() {
    let scratch = Scratch::new("read");
    let film = film(&scratch, "film.mkv", 60, 250);
    let read = |codec| output(framewire(["record", &film, "-", "--format", "y4m", "--fps", "0", "--codec", codec]));
    let (decoded, copied) = (read("auto"), read("copy"));
    assert!(decoded.len() > 60 * 320 * 240 * 3 / 2);
    assert!(decoded == copied, "{} {}", decoded.len(), copied.len());
}

#[test]
fn a_snapshot_of_a_passthrough_stream_is_a_current_jpeg() {
    let scratch = Scratch::new("still");
    let (still, raw) = (scratch.file("still.mp4"), scratch.file("still.rgb"));
    let truth = Rgb::quadrants(320, 240);
    fs::write(&raw, truth.pixels.repeat(50)).unwrap();
    let mut command = ffmpeg(&["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "320x240", "-r", "25", "-i", &raw]);
    command.args(["-vf", "scale=out_color_matrix=bt709,format=yuv420p", "-c:v", "libx264", "-qp", "4", "-bf", "3"]);
    command.args(["-colorspace", "bt709", "-color_range", "tv", "-g", "250", &still]);
    output(command);
    let hub = Hub::start(&["--source", &format!("still={still}#codec=copy#loop")]);
    let (status, jpeg) = hub.get("/streams/still/snapshot.jpg");
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&jpeg));
    let psnr = Rgb::of_jpeg(&jpeg).psnr(&truth);
    assert!(psnr > 30.0, "{psnr:.1} dB");
    assert_eq!(hub.stream("still").unwrap()["codec"], "h264");
}

/// What a viewer gets first when it joins a stream in the middle of a long GOP.
struct Joined {
    /// From the request until the first picture was decoded, and until the frame that was then the newest arrived.
    first: Duration,
    present: Duration,
    frames: u64,
    pictures: u64,
}

fn join(hub: &Hub, published: u64) -> Joined {
    let begun = Instant::now();
    let mut peer = Peer::watch(hub, "film");
    let mut config: Option<Config> = None;
    let (mut frames, mut first): (Vec<Frame>, _) = (Vec::new(), Duration::ZERO);
    let config = loop {
        let message = peer.wait_for("a frame", |message| matches!(message, Message::Config(_) | Message::Frame(_)));
        let frame = match message {
            Message::Config(new) => {
                config = Some(new);
                continue;
            }
            Message::Frame(frame) => frame,
            other => unreachable!("{other:?}"),
        };
        shows(&peer, &frame);
        assert_eq!(frame.keyframe, frames.is_empty(), "only the first frame is a keyframe");
        assert!(frames.last().is_none_or(|last| last.sequence + 1 == frame.sequence), "no frame is missing");
        let config = config.clone().expect("a configuration comes first");
        let newest = frame.sequence + 1 >= published;
        frames.push(frame);
        if frames.len() == 1 {
            // The decoder may hold it back for B-frames, but it can be decoded.
            assert_eq!(decoded(&config, &frames), 1);
            first = begun.elapsed();
        }
        if newest {
            break config;
        }
    };
    let present = begun.elapsed();
    for _ in 0..10 {
        let frame = peer.frame();
        shows(&peer, &frame);
    }
    Joined { first, present, frames: frames.len() as u64, pictures: decoded(&config, &frames) }
}

/// Reports a frame as shown at once.
fn shows(peer: &Peer, frame: &Frame) {
    let now = clock::now();
    let report = Report { sequence: frame.sequence, received: now, decoded: now, shown: now };
    peer.client.send(&Message::Report(report)).unwrap();
}

/// How many pictures these frames decode to; a broken one is an error.
fn decoded(config: &Config, frames: &[Frame]) -> u64 {
    let mut decoder = Decoder::new();
    frames.iter().for_each(|frame| decoder.push(config, frame, Some(Codec::I420)).unwrap());
    decoder.end();
    std::iter::from_fn(|| decoder.pull()).count() as u64
}

#[test]
fn a_viewer_that_joins_a_long_gop_has_a_picture_at_once_and_soon_catches_up() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("join"));
    let film = film(&scratch, "film.mp4", 500, 500);
    let _sender = Running::start(framewire(["send", &film, &hub.fw("film"), "--codec", "copy"]));
    let _watcher = Running::start(framewire(["record", &hub.fw("film"), &scratch.file("out.mkv"), "--wait"]));
    let published = |info: &serde_json::Value| info["published"].as_u64().unwrap();
    let info = hub.wait_until("film", "has gone on for a while", |info| published(info) >= 150);
    let joined = join(&hub, published(&info));
    println!("first picture in {:?}, present in {:?} after {} frames", joined.first, joined.present, joined.frames);
    assert!(joined.frames >= 150 && joined.pictures == joined.frames);
    assert!(joined.first < Duration::from_millis(150), "{:?}", joined.first);
    assert!(joined.present < Duration::from_secs(2), "{:?}", joined.present);
    let info = hub.wait_until("film", "is measured", |info| info["latency_ms"]["total"]["max"].is_number());
    let total = info["latency_ms"]["total"]["max"].as_f64().unwrap();
    assert!(total < 2_000.0, "GOP replay counts as no latency: {info}");
}

#[test]
fn a_passthrough_film_relayed_to_a_second_hub_is_joined_at_once() {
    let (near, far, scratch) = (Hub::start(&[]), Hub::start(&[]), Scratch::new("relayed"));
    let film = film(&scratch, "film.mp4", 500, 500);
    let _sender = Running::start(framewire(["send", &film, &near.fw("film"), "--codec", "copy"]));
    near.wait_until("film", "is there", |info| info["published"].as_u64() >= Some(1));
    let _relay = Running::start(framewire(["send", &near.fw("film"), &far.fw("film")]));
    let _watcher = Running::start(framewire(["record", &far.fw("film"), &scratch.file("out.mkv"), "--wait"]));
    let published = |info: &serde_json::Value| info["published"].as_u64().unwrap();
    let info = far.wait_until("film", "has gone on for a while", |info| published(info) >= 100);
    let joined = join(&far, published(&info));
    assert!(joined.frames >= 100 && joined.pictures == joined.frames);
}

/// A hub with this film as the passthrough stream `scene`, in a loop.
fn looped(film: &str) -> (Hub, Running) {
    let hub = Hub::start(&[]);
    let sender = Running::start(framewire(["send", film, &hub.fw("scene"), "--codec", "copy", "--loop"]));
    hub.wait_until("scene", "is there", |info| info["published"].as_u64() >= Some(1));
    (hub, sender)
}

#[test]
fn every_frame_of_a_film_with_b_frames_is_available_as_a_jpeg() {
    const PICTURES: usize = 50;
    let scratch = Scratch::new("jpegs");
    let (hub, _sender) = looped(&film(&scratch, "film.mp4", 250, 50));
    let parts = watch_over_http(&hub.address.to_string(), 10 + PICTURES);
    let (first, last) = (parts[10].sequence, parts[9 + PICTURES].sequence);
    assert!(last - first < PICTURES as u64 * 5 / 4, "{parts:?}");
}

#[test]
fn a_viewer_that_wakes_a_film_catches_up_and_stays_current() {
    const PICTURES: usize = 20;
    let scratch = Scratch::new("woken");
    let (hub, _sender) = looped(&film(&scratch, "film.mp4", 750, 250));
    for turn in 0..5 {
        let parts = watch_over_http(&hub.address.to_string(), PICTURES);
        // After the frame that waited and the first current one, no gap is as long as a GOP.
        let span = parts[PICTURES - 1].sequence - parts[2].sequence;
        assert!(span < 100, "turn {turn}: {parts:?}");
        hub.wait_until("scene", "sleeps", |info| info["viewers"] == 0);
    }
}

#[test]
fn passthrough_of_other_codecs_is_refused_in_one_line() {
    let scratch = Scratch::new("not-copied");
    let (other, cut, noise) = (scratch.file("other.mkv"), scratch.file("cut.mp4"), scratch.file("noise.h264"));
    output(ffmpeg(&["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-frames:v", "5", "-c:v", "mpeg4", &other]));
    let whole = fs::read(film(&scratch, "film.mp4", 50, 25)).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let random = |number: u32| (number.wrapping_mul(2_654_435_761) >> 24) as u8;
    fs::write(&noise, (0..50_000).map(random).collect::<Vec<_>>()).unwrap();
    for (source, words) in [(&other, "holds mpeg4"), (&cut, "cut short"), (&noise, "noise.h264")] {
        let file = scratch.file("out.mkv");
        let error = fails(framewire(["record", source, &file, "--codec", "copy", "--fps", "0"]));
        assert!(error.contains(source.as_str()) && error.contains(words), "{error}");
        assert!(!scratch.path().join("out.mkv").exists());
    }
}

#[test]
fn a_truncated_film_passes_through_up_to_its_end() {
    let scratch = Scratch::new("copied-cut");
    let (whole, cut, file) = (film(&scratch, "film.mkv", 100, 25), scratch.file("cut.mkv"), scratch.file("out.mkv"));
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() * 2 / 3]).unwrap();
    output(framewire(["record", &cut, &file, "--codec", "copy", "--fps", "0"]));
    let (truth, got) = (pictures(&whole), pictures(&file));
    assert!((30..100).contains(&got.len()), "{}", got.len());
    // The last frame may be truncated.
    let same = got.iter().zip(&truth).filter(|(got, truth)| got.1 == truth.1).count();
    assert!(same + 4 >= got.len(), "{same} of {}", got.len());
}
