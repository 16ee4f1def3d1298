//! FFmpeg's own programs check the files.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use framewire_proto::Times;

use super::*;

/// A directory for one test, which removes it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("framewire-mux-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(codec: Codec, millifps: u32) -> Config {
    Config::new(codec, 320, 240, millifps)
}

fn frame(number: u64, captured: Micros, keyframe: bool, data: Vec<u8>) -> Frame {
    let times = Times { captured, ..Times::default() };
    Frame { sequence: number, keyframe, times, data: data.into() }
}

/// A picture whose noise does not compress, so that sizes are predictable.
fn jpeg(number: u64, subsamp: turbojpeg::Subsamp) -> Vec<u8> {
    let mut noise = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let pixels: Vec<u8> = (0..320 * 240 * 3)
        .map(|_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8
        })
        .collect();
    let image = turbojpeg::Image {
        pixels: pixels.as_slice(),
        width: 320,
        pitch: 960,
        height: 240,
        format: turbojpeg::PixelFormat::BGR,
    };
    turbojpeg::compress(image, 80, subsamp).unwrap().to_vec()
}

/// Access units of x264 with parameter sets in band, each with whether it is a keyframe. Each begins with an access unit
/// delimiter.
fn h264(count: u32) -> Vec<(Vec<u8>, bool)> {
    let source = format!("testsrc2=size=320x240:rate=30:duration={}", f64::from(count) / 30.0);
    let encoded = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source, "-c:v", "libx264", "-preset", "superfast"])
        .args(["-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "20", "-x264-params", "aud=1"])
        .args(["-bsf:v", "dump_extra", "-f", "h264", "-"])
        .output()
        .unwrap();
    assert!(encoded.status.success(), "{}", String::from_utf8_lossy(&encoded.stderr));
    units(&encoded.stdout)
}

/// Access units that begin with delimiters, each with whether it is a keyframe.
fn units(bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let delimiter = [0, 0, 0, 1, 9];
    let starts: Vec<_> = (0..bytes.len() - 5).filter(|at| bytes[*at..].starts_with(&delimiter)).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let unit = |(start, end): (&usize, usize)| {
        let unit = bytes[*start..end].to_vec();
        let key = unit.windows(4).any(|head| head[..3] == [0, 0, 1] && head[3] & 0x1F == 5);
        (unit, key)
    };
    starts.iter().zip(ends).map(unit).collect()
}

/// One field of the file's first track, or of the file.
fn probe(path: &Path, entries: &str) -> String {
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-count_packets", "-show_entries", entries, "-of", "csv=p=0"]).arg(path);
    let output = probe.output().unwrap();
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().trim_end_matches(',').to_string()
}

fn packets(path: &Path) -> u64 {
    probe(path, "stream=nb_read_packets").parse().unwrap()
}

/// How many frames can be decoded.
fn decoded(path: &Path) -> u64 {
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]);
    let output = probe.arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().trim_end_matches(',').parse().unwrap()
}

fn seconds(path: &Path) -> f64 {
    probe(path, "format=duration").parse().unwrap()
}

#[test]
fn jpegs_play_at_the_times_they_were_captured() {
    let scratch = Scratch::new();
    for extension in ["mkv", "mp4", "avi"] {
        let path = scratch.0.join(format!("a:b.{extension}"));
        let mut muxer = Muxer::create(&path, &config(Codec::Jpeg, 30_000)).unwrap();
        // A second of frames, a pause of a second, another second of frames.
        let captured = (0..30_u64).chain(60..90).map(|slot| 5_000_000 + slot * 33_333);
        for (number, captured) in (0..).zip(captured) {
            muxer.write(&frame(number, captured, true, jpeg(number, turbojpeg::Subsamp::Sub2x2))).unwrap();
        }
        assert_eq!(muxer.finish().unwrap(), 60);
        let expected = [60, if extension == "avi" { 90 } else { 60 }];
        assert!(expected.contains(&packets(&path)), "{extension}: {}", packets(&path));
        assert_eq!(decoded(&path), 60, "{extension}");
        assert!((seconds(&path) - 3.0).abs() < 0.05, "{extension}: {}", seconds(&path));
        assert_eq!(probe(&path, "stream=codec_name,width,height,pix_fmt"), "mjpeg,320,240,yuvj420p", "{extension}");
    }
}

#[test]
fn h264_starts_at_its_first_keyframe_and_is_not_reencoded() {
    let scratch = Scratch::new();
    let units = h264(90);
    assert_eq!(units.len(), 90);
    for extension in ["mkv", "mp4", "avi"] {
        let path = scratch.0.join(format!("film.{extension}"));
        let mut muxer = Muxer::create(&path, &config(Codec::H264, 30_000)).unwrap();
        for (number, (unit, key)) in (0..).zip(&units).skip(5) {
            muxer.write(&frame(number, 1 + number * 33_333, *key, unit.clone())).unwrap();
        }
        assert_eq!(muxer.finish().unwrap(), 70);
        assert_eq!((packets(&path), decoded(&path)), (70, 70), "{extension}");
        assert!((seconds(&path) - 70.0 / 30.0).abs() < 0.05, "{extension}: {}", seconds(&path));
        assert_eq!(probe(&path, "stream=codec_name,width,height"), "h264,320,240", "{extension}");
    }
}

#[test]
fn b_frames_keep_their_decoding_order_and_display_order() {
    let scratch = Scratch::new();
    let film = scratch.0.join("film.h264");
    let encoded = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=2", "-pix_fmt", "yuv420p"])
        .args(["-c:v", "libx264", "-x264-params", "aud=1:keyint=25:scenecut=0:bframes=2:b-adapt=0:b-pyramid=none"])
        .arg(&film)
        .output()
        .unwrap();
    assert!(encoded.status.success(), "{}", String::from_utf8_lossy(&encoded.stderr));
    let bytes = fs::read(&film).unwrap();
    let units = units(&bytes);
    // I P B B P B B …, eight times three pictures and one in each GOP.
    let shown = |place: u64| match (place / 25 * 25, place % 25) {
        (gop, 0) => gop,
        (gop, at) if at % 3 == 1 => gop + at + 2,
        (gop, at) => gop + at - 1,
    };
    for extension in ["mkv", "mp4", "avi"] {
        let path = scratch.0.join(format!("film.{extension}"));
        let mut muxer = Muxer::create(&path, &config(Codec::H264, 25_000)).unwrap();
        for (number, (unit, key)) in (0..).zip(&units) {
            muxer.write(&frame(number, 1_000_000 + 40_000 * shown(number), *key, unit.clone())).unwrap();
        }
        assert_eq!((muxer.finish().unwrap(), decoded(&path)), (50, 50), "{extension}");
        assert!((seconds(&path) - 2.0).abs() < 0.1, "{extension}: {}", seconds(&path));
        let times = |path: &Path| {
            let text = probe(path, "frame=pts_time");
            let times = text.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
            times.collect::<Vec<_>>()
        };
        let steps = times(&path).windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        assert!(
            extension == "avi" || steps.len() == 49 && steps.iter().all(|step| (step - 0.04).abs() < 0.002),
            "{steps:?}"
        );
    }
}

/// The boxes of an MP4, or in one: where each begins, and its name.
fn boxes(bytes: &[u8]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(length) = bytes.get(at..at + 4) {
        found.push((at, String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned()));
        at += u32::from_be_bytes(length.try_into().unwrap()) as usize;
    }
    found
}

#[test]
fn a_finished_mp4_tells_its_duration_and_where_to_seek() {
    let scratch = Scratch::new();
    let path = scratch.0.join("film.mp4");
    let mut muxer = Muxer::create(&path, &config(Codec::H264, 30_000)).unwrap();
    for (number, (unit, key)) in (0..).zip(h264(150)) {
        muxer.write(&frame(number, 1 + number * 33_333, key, unit)).unwrap();
    }
    muxer.finish().unwrap();
    let bytes = fs::read(&path).unwrap();
    let boxes = boxes(&bytes);
    let names: Vec<_> = boxes.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names[..5], ["ftyp", "moov", "sidx", "free", "moof"]);
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let (index, mut at) = (boxes[2].0, boxes[4].0);
    let count = number(index + 36) as usize & 0xFFFF;
    let mut ticks = 0;
    // A keyframe each 20 frames, fragments from half a second to a second long.
    assert_eq!(count, 8);
    for reference in (0..count).map(|place| index + 40 + 12 * place) {
        assert!(boxes.contains(&(at, "moof".into())), "{at}: {boxes:?}");
        at += number(reference) as usize;
        ticks += number(reference + 4);
    }
    assert!(boxes.contains(&(at, "mfra".into())), "{at}: {boxes:?}");
    assert!(ticks.abs_diff(5 * 90_000) < 300, "{ticks}");
    assert!((seconds(&path) - 5.0).abs() < 0.01, "{}", seconds(&path));
}

#[test]
fn an_unfinished_file_plays() {
    let scratch = Scratch::new();
    let units = h264(150);
    for extension in ["mkv", "mp4", "avi"] {
        for codec in [Codec::Jpeg, Codec::H264] {
            let path = scratch.0.join(format!("cut.{extension}"));
            let mut muxer = Muxer::create(&path, &config(codec, 30_000)).unwrap();
            for (number, (unit, key)) in (0..).zip(&units) {
                let picture = match codec {
                    Codec::H264 => frame(number, 1 + number * 33_333, *key, unit.clone()),
                    _ => frame(number, 1 + number * 33_333, true, jpeg(number, turbojpeg::Subsamp::Sub2x2)),
                };
                muxer.write(&picture).unwrap();
            }
            // A copy now is what a killed recorder would leave.
            let killed = scratch.0.join(format!("killed.{extension}"));
            fs::copy(&path, &killed).unwrap();
            let count = decoded(&killed);
            assert!((115..=150).contains(&count), "{extension} {}: {count} of 150", codec.name());
        }
    }
}

#[test]
fn every_kind_of_jpeg_keeps_its_subsampling() {
    use turbojpeg::Subsamp;
    let scratch = Scratch::new();
    for (subsamp, name) in [
        (Subsamp::None, "yuvj444p"),
        (Subsamp::Sub2x1, "yuvj422p"),
        (Subsamp::Sub1x2, "yuvj440p"),
        (Subsamp::Gray, "gray"),
    ] {
        let path = scratch.0.join("colours.mkv");
        let mut muxer = Muxer::create(&path, &config(Codec::Jpeg, 0)).unwrap();
        muxer.write(&frame(0, 1, true, jpeg(0, subsamp))).unwrap();
        muxer.finish().unwrap();
        assert_eq!(probe(&path, "stream=pix_fmt"), name);
    }
}

#[test]
fn time_stamps_increase_whatever_the_publisher_states() {
    let base = TimeBase { seconds: 1, ticks: 1000 };
    let mut timeline = TimestampSequence::new(50_000, false);
    let captured = [700_000, 700_100, 720_000, 10_000, 30_000, 0, 0, 5, u64::MAX];
    let places = captured.map(|captured| timeline.place(captured, base));
    assert_eq!(places[..7], [0, 1, 20, 40, 60, 80, 100]);
    assert_eq!(places[7..], [120, 120 + 24 * 3_600_000]);
}

#[test]
fn an_avi_shortens_a_pause_of_a_day() {
    let scratch = Scratch::new();
    let path = scratch.0.join("pause.avi");
    let mut muxer = Muxer::create(&path, &config(Codec::Jpeg, 30_000)).unwrap();
    for (number, captured) in (0..).zip([1, 33_334, MAX_PAUSE, MAX_PAUSE + 33_333]) {
        muxer.write(&frame(number, captured, true, jpeg(number, turbojpeg::Subsamp::Sub2x2))).unwrap();
    }
    assert_eq!(muxer.finish().unwrap(), 4);
    assert_eq!(decoded(&path), 4);
    let slots = MAX_AVI_PAUSE as f64 + 3.0;
    assert!((seconds(&path) * 30.0 - slots).abs() < 3.0, "{}", seconds(&path));
}

#[test]
fn unsupported_recordings_are_refused_with_advice() {
    let scratch = Scratch::new();
    let create = |name: &str, codec| {
        let made = Muxer::create(&scratch.0.join(name), &config(codec, 0));
        format!("{:#}", made.err().expect("it is refused"))
    };
    assert!(create("film.webm", Codec::Jpeg).contains(".mkv, .mp4 or .avi"));
    assert!(create("film", Codec::Jpeg).contains(".mkv, .mp4 or .avi"));
    assert!(create("film.mkv", Codec::I420).contains("i420"));
    assert!(create("missing/film.mkv", Codec::Jpeg).contains("No such file"));
    let path = scratch.0.join("bad.mkv");
    let mut muxer = Muxer::create(&path, &config(Codec::H264, 0)).unwrap();
    let error = muxer.write(&frame(0, 1, true, vec![0, 0, 1, 0x65, 1, 2, 3])).unwrap_err();
    assert!(format!("{error}").contains("parameter sets"), "{error}");
    assert_eq!(muxer.finish().unwrap(), 0);
    assert!(!path.exists());
}
