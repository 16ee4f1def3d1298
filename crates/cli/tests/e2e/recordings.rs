//! Recordings as a whole: sizes that change, options, names, the index of a finished file.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::harness::{Hub, Running, Scratch, fails, ffmpeg, framewire, output, tool};

/// Pictures of two sizes in one file, in runs of ten: JPEGs, or H.264 whose parameter sets change.
fn two_sizes(scratch: &Scratch, codec: &str) -> String {
    let parts = ["320x240", "160x120"].map(|size| {
        let (part, source) =
            (scratch.file(&format!("{size}.{codec}")), format!("testsrc2=size={size}:rate=25,trim=end_frame=10"));
        let encoder: &[&str] =
            if codec == "h264" { &["libx264", "-bf", "2", "-pix_fmt", "yuv420p"] } else { &["mjpeg"] };
        output(ffmpeg(&[&["-f", "lavfi", "-i", &source, "-c:v"], encoder, &["-f", codec, &part]].concat()));
        fs::read(part).unwrap()
    });
    let file = scratch.file(&format!("two.{codec}"));
    fs::write(&file, parts.concat()).unwrap();
    file
}

/// The sizes of a file's pictures, each with how many follow each other.
fn sizes(file: &str) -> Vec<(String, usize)> {
    let mut probe = tool("ffprobe");
    probe.args(["-v", "error", "-show_entries", "frame=width,height", "-of", "csv=p=0", file]);
    let text = String::from_utf8(output(probe)).unwrap();
    let mut runs: Vec<(String, usize)> = Vec::new();
    for size in text.lines().map(|line| line.trim_end_matches(',')).filter(|line| !line.is_empty()) {
        match runs.last_mut().filter(|(last, _)| last == size) {
            Some((_, count)) => *count += 1,
            None => runs.push((size.into(), 1)),
        }
    }
    runs
}

#[test]
fn a_size_that_changes_leaves_one_recording_in_every_container() {
    let scratch = Scratch::new("sizes");
    for codec in ["mjpeg", "h264"] {
        let source = format!("{}#codec=copy#fps=0", two_sizes(&scratch, codec));
        for extension in ["mkv", "mp4", "avi"] {
            let file = scratch.file(&format!("{codec}.{extension}"));
            output(framewire(["record", &source, &file]));
            let (first, second) = if extension == "mkv" { (10, "160,120") } else { (20, "320,240") };
            let expected = [("320,240".to_owned(), first), (second.into(), 10)];
            assert_eq!(sizes(&file), expected[..expected.len() - usize::from(extension != "mkv")], "{file}");
            assert!(!fs::exists(scratch.file(&format!("{codec}-2.{extension}"))).unwrap());
            // It decodes without a warning.
            output(ffmpeg(&["-xerror", "-i", &file, "-f", "null", "-"]));
        }
        for (format, length) in [("bgr24", 320 * 240 * 3), ("y4m", 320 * 240 * 3 / 2 + 6)] {
            let read = output(framewire(["record", &source, "-", "--format", format]));
            let header = if format == "y4m" { read.iter().position(|byte| *byte == b'\n').unwrap() + 1 } else { 0 };
            assert_eq!(read.len() - header, 20 * length, "{codec} {format}");
        }
    }
}

#[test]
fn h264_that_is_passed_on_tells_its_new_size() {
    let scratch = Scratch::new("told");
    let hub = Hub::start(&["--source", &format!("film={}#codec=copy", two_sizes(&scratch, "h264"))]);
    let file = scratch.file("out.mkv");
    let recorder = Running::start(framewire(["record", &hub.fw("film"), &file]));
    let info = hub.wait_until("film", "is through", |info| info["delivered"] == 20);
    assert_eq!((info["width"].as_u64(), info["height"].as_u64()), (Some(160), Some(120)), "{info}");
    recorder.signal("INT");
    let (status, printed) = recorder.ended();
    assert!(status.success() && printed.contains("recorded 20 frames") && printed.contains(" 0 dropped"), "{printed}");
    assert_eq!(sizes(&file), [("320,240".to_owned(), 10), ("160,120".to_owned(), 10)]);
}

#[test]
fn a_bitrate_or_size_makes_one_file_that_has_it() {
    let scratch = Scratch::new("coded");
    let source = format!("{}#fps=0", two_sizes(&scratch, "h264"));
    let coded = |name: &str, flags: &[&str]| {
        let file = scratch.file(name);
        output(framewire([&["record", &source, &file], flags].concat()));
        let mut probe = tool("ffprobe");
        probe.args(["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", &file]);
        (String::from_utf8(output(probe)).unwrap().trim().trim_end_matches(',').to_owned(), sizes(&file))
    };
    let at = |size: &str| vec![(size.to_owned(), 20)];
    assert_eq!(coded("bitrate.mp4", &["--bitrate", "500k"]), ("h264".into(), at("320,240")));
    assert_eq!(coded("quality.avi", &["--quality", "30"]), ("mjpeg".into(), at("320,240")));
    assert_eq!(coded("size.mkv", &["--size", "64x48", "--codec", "h264"]), ("h264".into(), at("64,48")));
}

#[test]
fn options_that_do_nothing_are_errors_before_anything_is_waited_for() {
    let scratch = Scratch::new("options");
    let file = scratch.file("out.mkv");
    let (nobody, film) = ("fw://127.0.0.1:9/door", two_sizes(&scratch, "mjpeg"));
    for (arguments, words) in [
        (&["record", nobody, &file, "--wait", "--fps", "5"][..], "fps does nothing for a stream of a hub"),
        (&["record", &film, &file, "--codec", "copy", "--size", "64x48"], "leave out size"),
        (&["record", &film, "-", "--format", "y4m", "--bitrate", "1M"], "bitrate does nothing"),
        (&["record", "pattern", &file, "--loop"], "loop does nothing"),
        (&["view", &film, "--quality", "5"], "quality does nothing"),
        (&["send", "pattern", nobody, "--wait", "--loop"], "loop does nothing"),
        (&["send", &film, "lhh://127.0.0.1:9", "--wait", "--codec", "h264"], "codec=h264 does nothing"),
        (&["serve", "--listen", "127.0.0.1:0", "--source", "door=pattern#wait"], "wait does nothing"),
        (&["record", nobody, "missing/out.mkv", "--wait"], "no folder missing"),
        (&["record", nobody, "out.webm", "--wait"], ".mkv, .mp4 or .avi"),
    ] {
        let error = fails(framewire(arguments));
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    assert!(!fs::exists(&file).unwrap());
    fs::hard_link(&film, scratch.file("same.mkv")).unwrap();
    for source in [film.clone(), format!("file:{film}")] {
        let error = fails(framewire(["record", &source, &scratch.file("same.mkv"), "--overwrite"]));
        assert!(error.contains("is what would be recorded"), "{error}");
    }
}

/// The first line of what this recording writes as y4m.
fn y4m_header(mut record: Command, input: Stdio) -> String {
    let written = record.args(["-", "--format", "y4m"]).stdin(input).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let line = written.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

#[test]
fn y4m_states_the_rate_that_was_measured_and_what_is_known_of_the_pictures() {
    let scratch = Scratch::new("y4m");
    // A camera of seven pictures a second, which says nothing of its rate.
    let camera = ["-re", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=7", "-t", "3", "-f", "mjpeg", "-"];
    let mut camera = ffmpeg(&camera).stdout(Stdio::piped()).spawn().unwrap();
    let header = y4m_header(framewire(["record", "-"]), camera.stdout.take().unwrap().into());
    camera.wait().unwrap();
    assert!(header.starts_with("YUV4MPEG2 W64 H48 "), "{header}");
    let rate = header.split(" F").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|rate| rate.split_once(':'));
    let rate = rate.map(|(frames, seconds)| frames.parse::<f64>().unwrap() / seconds.parse::<f64>().unwrap());
    assert!(rate.is_some_and(|rate| (rate - 7.0).abs() < 0.8), "{header}");
    // As fast as they are read, no rate can be measured.
    let pictures = fs::File::open(two_sizes(&scratch, "mjpeg")).unwrap();
    let header = y4m_header(framewire(["record", "-"]), pictures.into());
    assert!(header.contains(" F0:0 Ip A1:1 "), "{header}");
    // Interlaced pictures are deinterlaced, unless they are passed on.
    let (film, fields) = (scratch.file("film.mkv"), "testsrc2=size=320x240:rate=50,trim=end_frame=20,interlace");
    let coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-flags", "+ilme+ildct", &film];
    output(ffmpeg(&[&["-f", "lavfi", "-i", fields][..], &coded].concat()));
    let copied = y4m_header(framewire(["record", &film, "--codec", "copy", "--fps", "0"]), Stdio::null());
    let mut probe = tool("ffprobe");
    probe.args(["-v", "error", "-show_entries", "frame=top_field_first", "-of", "csv=p=0", &film]);
    let fields = if output(probe).starts_with(b"1") { " It A1:1 " } else { " Ib A1:1 " };
    assert!(copied.contains(fields), "{copied}");
    let decoded = y4m_header(framewire(["record", &film, "--fps", "0"]), Stdio::null());
    assert!(decoded.contains(" Ip A1:1 "), "{decoded}");
}
