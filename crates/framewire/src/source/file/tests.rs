use std::{net::TcpListener, path::PathBuf, process::Command, sync::OnceLock};

use super::{
    timing::{Steps, Timeline},
    *,
};

/// A path in the directory of the test clips.
fn path(name: &str) -> String {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    let home = HOME.get_or_init(|| {
        let home = std::env::temp_dir().join(format!("framewire-file-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        home
    });
    home.join(name).to_str().unwrap().to_owned()
}

/// A clip made by the command `ffmpeg`.
fn clip(name: &str, arguments: &str) -> String {
    let path = path(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]).args(arguments.split_whitespace()).arg(&path);
    let output = command.output().expect("the command ffmpeg");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

fn open(source: &str, options: &str) -> Result<File> {
    let spec: Spec = format!("{source}{options}").parse().unwrap();
    File::open(&spec, &Stop::default())
}

fn all(source: &mut File) -> (Vec<Config>, Vec<Frame>) {
    let (mut configs, mut frames) = (Vec::new(), Vec::new());
    while let Some(item) = source.next().unwrap() {
        match item {
            Item::Config(config) => configs.push(config),
            Item::Frame(frame) => frames.push(frame),
            other => panic!("{other:?}"),
        }
    }
    (configs, frames)
}

fn error(source: &str) -> String {
    format!("{:#}", open(source, "").err().expect("an error"))
}

#[test]
fn a_film_plays_at_its_own_rate_as_i420() {
    let film = clip("film.mp4", "-f lavfi -i testsrc2=size=160x120:rate=50 -frames:v 15 -c:v libx264 -bf 2");
    let mut source = open(&film, "").unwrap();
    assert_eq!(source.describe(), format!("{film}: 160x120 h264 at 50 fps"));
    let (configs, frames) = all(&mut source);
    let expected = Config::new(Codec::I420, 160, 120, 50_000);
    assert_eq!(configs, [expected]);
    assert_eq!(frames.iter().map(|frame| frame.sequence).collect::<Vec<_>>(), (0..15).collect::<Vec<_>>());
    assert!(frames.iter().all(|frame| frame.data.len() == 160 * 120 * 3 / 2));
    let span = frames[14].times.captured - frames[0].times.captured;
    assert!((270_000..600_000).contains(&span), "14 frames at 50 fps took {span} µs");
}

#[test]
fn a_requested_rate_is_kept_and_zero_plays_at_full_speed() {
    let film = clip("slow.mp4", "-f lavfi -i testsrc2=size=64x48:rate=1 -frames:v 10 -c:v mpeg4");
    let started = Instant::now();
    assert_eq!(all(&mut open(&film, "#fps=0").unwrap()).1.len(), 10);
    let (configs, frames) = all(&mut open(&film, "#fps=100").unwrap());
    assert_eq!(configs[0].millifps, 100_000);
    assert!(frames[9].times.captured - frames[0].times.captured >= 80_000);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_loop_repeats_and_frame_numbers_continue() {
    let film = clip("loop.avi", "-f lavfi -i testsrc2=size=64x48:rate=25 -frames:v 3 -c:v mjpeg");
    let mut source = open(&film, "#loop#fps=0").unwrap();
    let mut last = 0;
    while last < 7 {
        if let Item::Frame(frame) = source.next().unwrap().unwrap() {
            last = frame.sequence;
        }
    }
}

#[test]
fn jpegs_pass_through() {
    let film = clip("mjpeg.mkv", "-f lavfi -i testsrc2=size=96x64:rate=25 -frames:v 4 -c:v mjpeg -q:v 3");
    let (configs, frames) = all(&mut open(&film, "#fps=0").unwrap());
    assert_eq!((configs[0].codec, configs[0].width, configs[0].height), (Codec::Jpeg, 96, 64));
    assert_eq!(frames.len(), 4);
    let file = fs::read(&film).unwrap();
    for frame in frames {
        assert!(file.windows(frame.data.len()).any(|bytes| bytes == frame.data), "frame {}", frame.sequence);
    }
}

#[test]
fn jpegs_without_huffman_tables_get_them() {
    let film = clip(
        "avi1.avi",
        "-f lavfi -i testsrc2=size=96x64:rate=25 -frames:v 3 -c:v mjpeg -huffman default -pix_fmt yuvj420p",
    );
    // Remove the tables from every frame, as in a camera's AVI.
    let mut bytes = fs::read(&film).unwrap();
    let mut cut = 0;
    while let Some(at) = bytes.windows(4).position(|four| four[..3] == [0xFF, 0xC4, 0x01]) {
        // The tables become a comment of the same length.
        bytes[at + 1] = 0xFE;
        cut += 1;
    }
    assert_eq!(cut, 3);
    fs::write(&film, bytes).unwrap();
    let (configs, frames) = all(&mut open(&film, "#fps=0").unwrap());
    assert_eq!(configs[0].codec, Codec::Jpeg);
    for frame in &frames {
        assert!(frame.data.windows(2).any(|marker| marker == [0xFF, 0xC4]));
        crate::media::jpeg::JpegDecoder::new().decode(&frame.data, Codec::I420).unwrap();
    }
    assert_eq!(frames.len(), 3);
}

#[test]
fn another_size_is_announced_before_its_first_frame() {
    let small = clip("small.mjpeg", "-f lavfi -i testsrc2=size=64x48 -frames:v 2 -c:v mjpeg");
    let large = clip("large.mjpeg", "-f lavfi -i testsrc2=size=128x96 -frames:v 2 -c:v mjpeg");
    let both = small.replace("small.mjpeg", "both.mjpeg");
    fs::write(&both, [fs::read(small).unwrap(), fs::read(large).unwrap()].concat()).unwrap();
    let mut source = open(&both, "#fps=0").unwrap();
    let shape = |item: Item| match item {
        Item::Config(config) => u64::from(config.width),
        Item::Frame(frame) => frame.sequence,
        other => panic!("{other:?}"),
    };
    let shapes: Vec<_> = std::iter::from_fn(|| source.next().unwrap()).map(shape).collect();
    assert_eq!(shapes, [64, 0, 1, 128, 2, 3]);
}

/// The mean colour of a film's first picture: blue, green, red.
fn colour(film: &str) -> [u8; 3] {
    let (configs, frames) = all(&mut open(film, "#fps=0").unwrap());
    let picture = crate::media::decode::Decoder::new().decode(&configs[0], &frames[0], Codec::Bgr24);
    let (_, picture) = picture.unwrap().unwrap();
    let mean = |channel| {
        let values = picture.data().iter().skip(channel).step_by(3).map(|value| u64::from(*value));
        (values.sum::<u64>() / (picture.data().len() as u64 / 3)) as u8
    };
    [mean(0), mean(1), mean(2)]
}

#[test]
fn colours_are_right_for_every_colour_matrix_and_range() {
    let colours = [("red", [0, 0, 255]), ("blue", [255, 0, 0]), ("lime", [0, 255, 0]), ("gray", [128, 128, 128])];
    for (name, expected) in colours {
        for (encoded, size) in [
            ("out_color_matrix=bt709:out_range=limited,format=yuv420p -colorspace bt709 -color_range tv", "128x96"),
            ("out_color_matrix=bt709:out_range=limited,format=yuv420p", "1280x720"),
            ("out_color_matrix=bt601:out_range=limited,format=yuv420p", "128x96"),
            ("out_color_matrix=bt601:out_range=full,format=yuv420p -colorspace smpte170m -color_range pc", "128x96"),
            ("out_color_matrix=bt709:out_range=limited,format=yuv444p -colorspace bt709 -color_range tv", "128x96"),
            ("out_color_matrix=bt709:out_range=limited,format=yuv420p10 -colorspace bt709 -color_range tv", "96x66"),
            ("out_color_matrix=bt2020:out_range=limited,format=yuv422p -colorspace bt2020nc -color_range tv", "98x66"),
        ] {
            let made = format!(
                "-f lavfi -i color={name}:size={size}:rate=1,format=gbrp -frames:v 1 -vf scale={encoded} -c:v libx264 -qp 4"
            );
            let given = colour(&clip("colour.mkv", &made));
            let off = given.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            assert!(off <= 3, "{name} as {encoded} at {size}: {given:?}");
        }
        for format in ["rgb24", "bgr0", "gbrp"] {
            let made = format!("-f lavfi -i color={name}:size=62x44:rate=1,format={format} -frames:v 1 -c:v ffv1");
            let encoded = if format == "rgb24" { made.replace("ffv1", "rawvideo") } else { made };
            let given = colour(&clip("colour.nut", &encoded));
            let off = given.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            assert!(off <= 3, "{name} as {format}: {given:?}");
        }
    }
    let made = "-f lavfi -i color=gray:size=62x44:rate=1,format=gray -frames:v 1 -c:v ffv1";
    let given = colour(&clip("grey.mkv", made));
    assert!(given.iter().all(|value| value.abs_diff(128) <= 3), "{given:?}");
}

#[test]
fn a_file_that_cannot_be_played_is_named_with_the_reason() {
    assert!(error("/nowhere/film.mp4").contains("/nowhere/film.mp4: no such file"));
    let sound = clip("sound.wav", "-f lavfi -i sine=duration=0.2");
    assert!(error(&sound).contains("has no video"), "{}", error(&sound));
    let home = Path::new(&sound).parent().unwrap();
    assert!(error(home.to_str().unwrap()).contains("is a directory"));
    let (empty, text) = (home.join("empty.mp4"), home.join("letter.mp4"));
    fs::write(&empty, b"").unwrap();
    assert!(error(empty.to_str().unwrap()).contains("is empty"));
    fs::write(&text, "Dear Sir or Madam, ".repeat(500)).unwrap();
    assert!(error(text.to_str().unwrap()).contains("holds no video"), "{}", error(text.to_str().unwrap()));
    assert!(error("nonsense://somewhere").contains("nonsense://somewhere"));
}

#[test]
fn a_truncated_film_plays_up_to_its_end() {
    let film = clip("whole.mkv", "-f lavfi -i testsrc2=size=160x120:rate=25 -frames:v 30 -c:v libx264 -g 5 -bf 0");
    let bytes = fs::read(&film).unwrap();
    let cut = film.replace("whole", "cut");
    fs::write(&cut, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let mut source = open(&cut, "#fps=0").unwrap();
    let mut frames = 0;
    // The end or an error, but only after most frames were played.
    while let Ok(Some(item)) = source.next() {
        frames += u32::from(matches!(item, Item::Frame(_)));
    }
    assert!((10..30).contains(&frames), "{frames}");
    let film = clip("index.mp4", "-f lavfi -i testsrc2=size=160x120:rate=25 -frames:v 30 -c:v libx264");
    let bytes = fs::read(&film).unwrap();
    fs::write(&film, &bytes[..bytes.len() / 2]).unwrap();
    assert!(error(&film).contains("index.mp4"), "{}", error(&film));
}

#[test]
fn a_silent_host_is_given_up_when_the_stop_is_raised() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/film.mp4", silent.local_addr().unwrap());
    let stop = Stop::default();
    let (raised, spec): (_, Spec) = (stop.clone(), url.parse().unwrap());
    let opener = std::thread::spawn(move || (File::open(&spec, &raised).is_err(), Instant::now()));
    let (_connection, _) = silent.accept().unwrap();
    let asked = Instant::now();
    stop.stop();
    let (failed, ended) = opener.join().unwrap();
    assert!(failed && ended - asked < Duration::from_secs(1), "{:?}", ended - asked);
}

#[test]
fn a_closed_port_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let message = error(&format!("http://{free}/film.mp4"));
    assert!(message.contains("nothing listens") && message.contains(&free.to_string()), "{message}");
}

#[test]
fn a_jump_of_the_clock_costs_one_interval() {
    let (begin, usual) = (Instant::now(), Duration::from_millis(40));
    let mut timeline = Timeline::new(Steps::of_film(Some(8_000_000)));
    let mut due = |shown, now| (timeline.due(shown, usual, now) - begin).as_millis();
    assert_eq!(due(Some(5_000_000), begin), 0);
    assert_eq!(due(Some(5_020_000), begin), 20);
    assert_eq!(due(Some(90_000_000), begin), 60);
    assert_eq!(due(Some(0), begin), 100);
    assert_eq!(due(None, begin), 140);
    assert_eq!(due(Some(i64::MAX), begin), 180);
    assert_eq!(due(Some(i64::MIN + 1), begin), 220);
    assert_eq!(due(None, begin + Duration::from_secs(9)), 9000);
}

#[test]
fn pauses_of_a_film_are_kept_and_its_last_picture_is_shown_for_its_time() {
    // Pictures at 0, 0.3 and 1.7 s; the last one is shown for 0.4 s.
    let made =
        "-f lavfi -i testsrc2=size=64x48:rate=10:duration=2.1 -vf select=eq(n\\,0)+eq(n\\,3)+eq(n\\,17) -fps_mode vfr";
    for (name, options) in [
        ("pauses.gif", ""),
        ("pauses.mkv", " -c:v libx264 -pix_fmt yuv420p -bf 0"),
        ("pauses.mp4", " -c:v libx264 -pix_fmt yuv420p -bf 0"),
    ] {
        let film = clip(name, &format!("{made}{options}"));
        for copied in ["", "#codec=copy"] {
            if copied == "#codec=copy" && name.ends_with("gif") {
                continue;
            }
            let mut source = open(&film, copied).unwrap();
            let started = clock::now();
            let (_, frames) = all(&mut source);
            let times: Vec<_> = frames.iter().map(|frame| frame.times.captured - frames[0].times.captured).collect();
            let near = |time: Micros, expected: Micros| time.abs_diff(expected) < 60_000;
            assert!(
                times.len() == 3 && near(times[1], 300_000) && near(times[2], 1_700_000),
                "{name}{copied} {times:?}"
            );
            let took = clock::now() - started;
            assert!(took >= 1_750_000, "{name}{copied} {took}");
        }
    }
}

/// The frames of a film that passes through, and the pictures that a decoder makes of them.
fn copied(source: &str, options: &str) -> (Config, Vec<Frame>, Vec<(Frame, crate::media::Picture)>) {
    let (configs, frames) = all(&mut open(source, options).unwrap());
    let mut decoder = crate::media::decode::Decoder::new();
    let mut pictures = Vec::new();
    for frame in &frames {
        decoder.push(&configs[0], frame, Some(Codec::I420)).unwrap();
        pictures.extend(std::iter::from_fn(|| decoder.pull()));
    }
    decoder.end();
    pictures.extend(std::iter::from_fn(|| decoder.pull()));
    assert_eq!(configs.len(), 1);
    (configs[0].clone(), frames, pictures)
}

#[test]
fn h264_passes_through_from_every_container() {
    let made = "-f lavfi -i testsrc2=size=128x96:rate=25 -frames:v 40 -c:v libx264 -pix_fmt yuv420p -bf 3 -g 20";
    let film = clip("passed.mp4", made);
    let (_, truth) = all(&mut open(&film, "#fps=0").unwrap());
    for name in ["passed.mp4", "passed.mkv", "passed.ts", "passed.flv", "passed.avi"] {
        let film = clip(name, &format!("{made} -flags +bitexact"));
        let (config, frames, pictures) = copied(&film, "#codec=copy#fps=0");
        assert_eq!((config.codec, config.width, config.height), (Codec::H264, 128, 96), "{name}");
        assert_eq!((frames.len(), pictures.len()), (40, 40), "{name}");
        for frame in &frames {
            let contents = framewire_proto::h264::contents(&frame.data);
            assert_eq!(
                (frame.keyframe, contents.parameter_sets),
                (contents.is_keyframe(), contents.is_keyframe()),
                "{name}"
            );
        }
        assert_eq!(frames.iter().filter(|frame| frame.keyframe).count(), 2, "{name}");
        // The same pictures, at the same distances in time.
        let same = |((frame, picture), truth): (&(Frame, crate::media::Picture), &Frame)| {
            (frame.keyframe, *picture.data() == truth.data)
        };
        assert!(pictures.iter().zip(&truth).all(|pair| same(pair).1), "{name}");
        if name != "passed.avi" {
            let captured = pictures.windows(2).map(|pair| pair[1].0.times.captured - pair[0].0.times.captured);
            assert!(
                captured.clone().all(|step| step.abs_diff(40_000) <= 1_000),
                "{name} {:?}",
                captured.collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn passthrough_keeps_the_rate_and_no_frame_is_captured_after_it_arrives() {
    let film =
        clip("pace.mp4", "-f lavfi -i testsrc2=size=64x48:rate=50 -frames:v 25 -c:v libx264 -pix_fmt yuv420p -bf 2");
    for (options, fps) in [("", 50), ("#fps=100", 100)] {
        let (spec, started) = (format!("#codec=copy{options}"), clock::now());
        let mut source = open(&film, &spec).unwrap();
        let mut frames = Vec::new();
        while let Some(item) = source.next().unwrap() {
            match item {
                Item::Config(config) => assert_eq!(config.millifps, fps * 1000),
                Item::Frame(frame) => {
                    assert!(frame.times.captured <= clock::now());
                    frames.push(frame);
                }
                other => panic!("{other:?}"),
            }
        }
        let took = clock::now() - started;
        assert_eq!(frames.len(), 25);
        assert!(took >= Micros::from(24 * 1_000_000 / fps), "{took}");
    }
}

#[test]
fn every_keyframe_gets_parameter_sets_even_if_the_film_has_them_only_once() {
    // Encoders that write them once, as some cameras do.
    let made = "-f lavfi -i testsrc2=size=128x96:rate=25 -frames:v 40 -c:v libx264 -pix_fmt yuv420p -bf 0 -g 10";
    let film = clip(
        "bare.h264",
        &format!("{made} -x264-params repeat-headers=0 -flags +global_header -bsf:v dump_extra=freq=e"),
    );
    let bytes = fs::read(&film).unwrap();
    let sets = |bytes: &[u8]| bytes.windows(4).filter(|head| head[..3] == [0, 0, 1] && head[3] & 0x1F == 7).count();
    assert!(sets(&bytes) >= 1);
    let (_, frames, pictures) = copied(&film, "#codec=copy#fps=0");
    assert_eq!((frames.len(), pictures.len()), (40, 40));
    assert!(frames.iter().step_by(10).all(|frame| frame.keyframe && sets(&frame.data) == 1));
}

/// A film of these access units without one.
fn without(missing: usize, frames: &[Frame], name: &str) -> String {
    let path = path(name);
    let rest = (0..).zip(frames).filter(|(number, _)| *number != missing).map(|(_, frame)| &frame.data[..]);
    fs::write(&path, rest.collect::<Vec<_>>().concat()).unwrap();
    path
}

#[test]
fn frames_that_need_a_missing_frame_are_dropped() {
    let size = "-f lavfi -i testsrc2=size=128x96:rate=25 -frames:v 40 -pix_fmt yuv420p -c:v libx264 -g 20";
    for options in ["-tune zerolatency -x264-params aud=1", "-bf 3 -x264-params aud=1:b-pyramid=none:cqm=jvt"] {
        let film = clip("whole.h264", &format!("{size} {options}"));
        let (_, frames, truth) = copied(&film, "#codec=copy#fps=0");
        assert_eq!((frames.len(), truth.len()), (40, 40), "{options}");
        // A missing frame that no other frame needs has no effect.
        let needed = |frame: &Frame| {
            let slice = frame.data.windows(4).find(|head| head[..3] == [0, 0, 1] && matches!(head[3] & 0x1F, 1 | 5));
            slice.unwrap()[3] & 0x60 != 0
        };
        for missing in [1, 5, 8, 18, 20, 30] {
            let rest = (0..).zip(&frames).filter(|(number, _)| *number != missing).map(|(_, frame)| &frame.data[..]);
            let torn = Path::new(&film).with_file_name("torn.h264");
            fs::write(&torn, rest.collect::<Vec<_>>().concat()).unwrap();
            let (_, some, pictures) = copied(torn.to_str().unwrap(), "#codec=copy#fps=0");
            let expected = if needed(&frames[missing]) { 20 + missing % 20 } else { 39 };
            assert_eq!(some.len(), expected, "without {missing}: {options}");
            let whole = |picture: &crate::media::Picture| truth.iter().any(|(_, one)| one.data() == picture.data());
            assert!(pictures.iter().all(|(_, picture)| whole(picture)), "without {missing}: {options}");
            assert!(pictures.len() + 3 >= expected, "{} without {missing}: {options}", pictures.len());
        }
    }
}

#[test]
fn a_film_with_intra_refresh_resumes_after_the_refresh() {
    let size = "-f lavfi -i testsrc2=size=128x96:rate=25 -frames:v 60 -pix_fmt yuv420p -c:v libx264 -tune zerolatency";
    let film = clip("refreshed.h264", &format!("{size} -x264-params aud=1:intra-refresh=1:keyint=10"));
    let (_, frames, _) = copied(&film, "#codec=copy#fps=0");
    assert_eq!((frames.len(), frames.iter().filter(|frame| frame.keyframe).count()), (60, 1));
    let (_, some, _) = copied(&without(14, &frames, "torn-refreshed.h264"), "#codec=copy#fps=0");
    assert!((45..59).contains(&some.len()), "{}", some.len());
}

#[test]
fn a_codec_that_cannot_pass_through_is_refused_with_advice() {
    let refused = |source: &str| format!("{:#}", open(source, "#codec=copy#fps=0").err().expect("an error"));
    let other = clip("other.mkv", "-f lavfi -i testsrc2=size=64x48:rate=25 -frames:v 3 -c:v ffv1");
    let words = refused(&other);
    assert!(words.contains("other.mkv") && words.contains("ffv1") && words.contains("leave 'copy' out"), "{words}");
    // Good parameter sets, and only noise after them.
    let film = clip("noise.h264", "-f lavfi -i testsrc2=size=64x48:rate=25 -frames:v 9 -c:v libx264 -pix_fmt yuv420p");
    let mut bytes = fs::read(&film).unwrap();
    let slice = bytes.windows(4).position(|head| head[..3] == [0, 0, 1] && head[3] & 0x1F == 5).unwrap();
    bytes[slice..].fill(0x6B);
    fs::write(&film, bytes).unwrap();
    assert!(refused(&film).contains("noise.h264"), "{}", refused(&film));
}
