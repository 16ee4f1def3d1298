//! Files and addresses that are none, and truncated pictures.

use std::{fs, net::TcpListener};

use crate::{
    harness::{Scratch, deps, fails, fails_fed, ffmpeg, framewire, output, run_fed},
    picture::{Rgb, probe},
};

fn record(source: &str, scratch: &Scratch) -> std::process::Command {
    framewire(["record", source, &scratch.file("out.mkv")])
}

#[test]
fn a_file_without_video_is_refused_in_one_line() {
    let scratch = Scratch::new("no-film");
    let film = deps("media/bigbuckbunny.mp4");
    let (empty, text, cut, sound) =
        (scratch.file("empty.mp4"), scratch.file("text.mp4"), scratch.file("cut.mp4"), scratch.file("sound.m4a"));
    fs::write(&empty, "").unwrap();
    fs::write(&text, "no film at all\n").unwrap();
    // The index of this file is at its end.
    fs::write(&cut, &fs::read(&film).unwrap()[..200_000]).unwrap();
    output(ffmpeg(&["-i", &film, "-vn", "-c", "copy", &sound]));
    let folder = scratch.path().to_str().unwrap();
    for (source, word) in [
        (scratch.file("missing.mp4").as_str(), "no such file"),
        (&empty, "is empty"),
        (&text, "no video"),
        (&cut, "cut short"),
        (&sound, "only audio"),
        (folder, "is a directory"),
        ("/dev/null", "is not a file"),
    ] {
        let error = fails(record(source, &scratch));
        assert!(error.contains(source) && error.contains(word), "{error}");
    }
    assert!(!scratch.path().join("out.mkv").exists());
}

#[test]
fn a_bad_address_is_refused_in_one_line() {
    let scratch = Scratch::new("no-address");
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (source, word) in [
        ("nonsense://127.0.0.1/x", "rotocol"),
        ("http://no-such-host.invalid/film.mp4", "unknown"),
        (&format!("http://{refused}/film.mp4"), "nothing listens at this address"),
        (&format!("rtsp://{refused}/film"), "nothing listens at this address"),
        (&format!("fw://{refused}/door"), "no hub listens there"),
        ("fw://no-such-host.invalid:7070/door", "cannot find the host"),
        ("fw://127.0.0.1:99999/door", "port"),
        ("fw://127.0.0.1:7070/door/bell", "is not allowed in a stream's name"),
        ("http://", "http://: "),
    ] {
        let error = fails(record(source, &scratch));
        assert!(error.contains(source.trim_end_matches("/door")) && error.contains(word), "{source}: {error}");
    }
}

#[test]
fn a_truncated_film_plays_up_to_its_end() {
    let scratch = Scratch::new("breaks-off");
    let (whole, cut, jpegs) = (scratch.file("whole.mkv"), scratch.file("cut.mkv"), scratch.file("jpegs"));
    output(ffmpeg(&["-i", &deps("media/bigbuckbunny.mp4"), "-c", "copy", &whole]));
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 3]).unwrap();
    fs::write(&jpegs, output(framewire(["record", &cut, "-", "--format", "mjpeg", "--fps", "0", "--size", "64x36"])))
        .unwrap();
    let (there, played) = (probe(&["-i", &cut]).frames, probe(&["-f", "mjpeg", "-i", &jpegs]).frames);
    // The last packet may be truncated.
    assert!(there > 10 && (there - 1..=there).contains(&played), "{played} of {there}");
}

#[test]
fn standard_input_must_hold_video() {
    let scratch = Scratch::new("garbage");
    let picture = Rgb::quadrants(64, 48).jpeg();
    for (input, word) in [
        (Vec::new(), "is empty"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "neither YUV4MPEG2 nor a JPEG"),
        (b"YUV4MPEG2 W0 H-3\nFRAME\n".to_vec(), "standard input"),
        (b"YUV4MPEG2 W65535 H65535 F30:1\nFRAME\n".to_vec(), "standard input"),
        (picture[..picture.len() / 2].to_vec(), "before the first whole frame"),
    ] {
        let error = fails_fed(record("-", &scratch), input);
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn jpegs_after_a_broken_one_are_read() {
    let pictures = [(64, 40), (320, 240), (64, 120)].map(|(width, height)| Rgb::quadrants(width, height).jpeg());
    let broken = &pictures[1][..pictures[1].len() / 2];
    let input = [&pictures[0], broken, &pictures[2]].concat();
    let taken = run_fed(framewire(["record", "-", "-", "--format", "mjpeg", "--size", "64x40"]), input);
    let printed = String::from_utf8_lossy(&taken.stderr);
    assert!(taken.status.success(), "{printed}");
    assert!(taken.stdout.starts_with(&pictures[0]), "the first passes through unchanged");
    // Only the size of the third has changed.
    let last = taken.stdout.windows(3).rposition(|three| three == [0xff, 0xd8, 0xff]).unwrap();
    let psnr = Rgb::of_jpeg(&taken.stdout[last..]).psnr(&Rgb::quadrants(64, 40));
    assert!(last > 0 && psnr > 20.0, "{psnr:.1} dB: {printed}");
}

#[test]
fn the_whole_frames_of_a_truncated_y4m_are_read() {
    let frame = [b"FRAME\n".to_vec(), (0..64 * 48 * 3 / 2).map(|place| place as u8).collect()].concat();
    let header = b"YUV4MPEG2 W64 H48 F25:1 C420jpeg XCOLORRANGE=FULL\n".to_vec();
    let input = [header, frame.clone(), frame.clone(), frame[..1000].to_vec()].concat();
    let taken = run_fed(framewire(["record", "-", "-", "--format", "y4m"]), input);
    let printed = String::from_utf8_lossy(&taken.stderr);
    assert!(taken.status.success() && printed.contains("cut short"), "{printed}");
    let line = taken.stdout.iter().position(|byte| *byte == b'\n').unwrap();
    assert_eq!(taken.stdout[line + 1..], [frame.clone(), frame].concat());
}
