//! Pictures as they were meant: turned, with square pixels, deinterlaced, and whole; the same wherever they are seen.

use std::{io::Write, net::TcpStream};

use bytes::Bytes;
use framewire_proto::jpeg::{STANDARD_TABLES, admit};

use crate::{
    harness::{Hub, Peer, Running, Scratch, fails_fed, ffmpeg, framewire, jpeg, output, output_fed, python, tool},
    picture::{Part, Rgb},
};

/// A film of ten frames whose left half is blue and whose right half is red, with these options of FFmpeg.
fn film(scratch: &Scratch, name: &str, options: &[&str]) -> String {
    let file = scratch.file(name);
    let halves = "color=red:s=320x240:r=10:d=1,drawbox=w=160:color=blue:t=fill";
    output(ffmpeg(&[&["-f", "lavfi", "-i", halves, "-c:v", "libx264", "-g", "5"], options, &[&file]].concat()));
    file
}

/// The first line of a source's video as YUV4MPEG2.
fn y4m_header(source: &str) -> String {
    let video = output(framewire(["record", source, "-", "--format", "y4m"]));
    let end = video.iter().position(|byte| *byte == b'\n').expect("a line");
    String::from_utf8_lossy(&video[..end]).into_owned()
}

/// Width, height, aspect ratio of a pixel, and rotation of a file's video, as FFmpeg reads its header.
fn header(file: &str) -> String {
    let mut probe = tool("ffprobe");
    let entries = "stream=width,height,sample_aspect_ratio:stream_side_data=rotation";
    probe.args(["-v", "error", "-show_entries", entries, "-of", "csv=p=0", file]);
    String::from_utf8(output(probe)).expect("text").split_whitespace().collect::<String>().trim_matches(',').to_owned()
}

/// The first picture of a file as FFmpeg's users see it, turned as the file states.
fn shown_by_ffmpeg(file: &str) -> Rgb {
    Rgb::of_jpeg(&output(ffmpeg(&["-i", file, "-frames:v", "1", "-q:v", "2", "-f", "mjpeg", "-"])))
}

/// Checks that a picture is upright: 240x320, blue above and red below.
fn assert_upright(picture: &Rgb, of: &str) {
    assert_eq!((picture.width, picture.height), (240, 320), "{of}");
    let part = |y: usize| Part { x: 0, y, width: 240, height: 140 };
    let mean = |part: Part| {
        let part = picture.part(part);
        let sum =
            |channel: usize| part.pixels.iter().skip(channel).step_by(3).map(|value| u64::from(*value)).sum::<u64>();
        (sum(0) / (part.pixels.len() as u64 / 3), sum(2) / (part.pixels.len() as u64 / 3))
    };
    let ((red_above, blue_above), (red_below, blue_below)) = (mean(part(0)), mean(part(180)));
    assert!(red_above < 60 && blue_above > 190 && red_below > 190 && blue_below < 60, "{of}");
}

#[test]
fn a_film_on_its_side_is_upright_everywhere() {
    let scratch = Scratch::new("turned");
    let lying = film(&scratch, "lying.mp4", &[]);
    let file = |name: &str| scratch.file(name);
    // Turned by hand, it states its orientation as telephones do.
    let turned = file("turned.mp4");
    output(framewire(["record", &format!("{lying}#rotate=90"), &turned, "--codec", "copy"]));
    assert_eq!(header(&turned), "320,240,1:1,-90");
    assert_upright(&shown_by_ffmpeg(&turned), "mp4");
    assert!(y4m_header(&turned).contains(" W240 H320 "));
    assert!(y4m_header(&format!("{turned}#rotate=270")).contains(" W320 H240 "));
    for name in ["again.mp4", "again.mkv", "again.avi"] {
        let again = file(name);
        output(framewire(["record", &turned, &again, "--codec", "copy"]));
        assert_upright(&shown_by_ffmpeg(&again), name);
    }
    let copy = format!("copy={turned}#codec=copy#loop");
    let hub = Hub::start(&["--source", &copy, "--source", &format!("decoded={turned}#loop")]);
    for name in ["copy", "decoded"] {
        let (status, snapshot) = hub.get(&format!("/streams/{name}/snapshot.jpg"));
        assert_eq!(status, 200);
        assert_upright(&Rgb::of_jpeg(&snapshot), name);
        let info = hub.stream(name).expect("it is there");
        assert_eq!((info["width"].as_u64(), info["height"].as_u64()), (Some(240), Some(320)), "{name}");
        let recorded = file(&format!("{name}.mp4"));
        output(framewire(["record", &hub.fw(name), &recorded, "--duration", "1"]));
        assert_upright(&shown_by_ffmpeg(&recorded), &format!("a recording of {name}"));
    }
}

#[test]
fn pixels_that_are_not_square_become_square() {
    let scratch = Scratch::new("wide");
    let wide = film(&scratch, "wide.mp4", &["-vf", "setsar=64/45"]);
    assert!(y4m_header(&wide).contains(" W456 H240 "));
    assert!(y4m_header(&format!("{wide}#rotate=90")).contains(" W240 H456 "));
    let jpegs = film(&scratch, "wide.mov", &["-vf", "setsar=64/45", "-c:v", "mjpeg"]);
    assert!(y4m_header(&jpegs).contains(" W456 H240 "));
    for (name, stated) in [("copy.mp4", "320,240,64:45"), ("copy.mkv", "320,240,64:45"), ("copy.avi", "456,240,1:1")] {
        let copy = scratch.file(name);
        output(framewire(["record", &wide, &copy, "--codec", "copy"]));
        assert_eq!(header(&copy).trim_end_matches(",N/A"), stated, "{name}");
    }
    let hub = Hub::start(&["--source", &format!("wide={wide}#codec=copy#loop")]);
    let (_, snapshot) = hub.get("/streams/wide/snapshot.jpg");
    let picture = Rgb::of_jpeg(&snapshot);
    assert_eq!((picture.width, picture.height), (456, 240));
}

/// How much more neighbouring rows differ than rows of the same field: above 1 where a picture consists of two.
fn combing(source: &str) -> f64 {
    let video = output(framewire(["record", source, "-", "--format", "y4m"]));
    let start = video.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    let (width, height) = (320, 240);
    // The fifth frame; each has a line of its own.
    let frame = &video[start + 5 * (6 + width * height * 3 / 2) + 6..][..width * height];
    let difference = |rows: usize| {
        let pairs = frame.iter().zip(&frame[rows * width..]);
        pairs.map(|(one, other)| f64::from(one.abs_diff(*other))).sum::<f64>()
    };
    difference(1) / difference(2)
}

#[test]
fn interlaced_pictures_are_deinterlaced_where_they_are_decoded() {
    let scratch = Scratch::new("fields");
    let made = |name: &str, flags: &[&str]| {
        let file = scratch.file(name);
        let moving = "testsrc=s=320x240:r=50:d=1,scroll=h=0.02,interlace";
        output(ffmpeg(
            &[&["-f", "lavfi", "-i", moving, "-c:v", "libx264", "-preset", "ultrafast"], flags, &[&file]].concat(),
        ));
        file
    };
    let (flagged, unflagged) =
        (made("flagged.mp4", &["-flags", "+ilme+ildct"]), made("unflagged.mp4", &["-vf", "setfield=prog"]));
    assert!(combing(&unflagged) > 2.0);
    assert!(combing(&flagged) < 1.0 && combing(&format!("{unflagged}#deinterlace")) < 1.0);
    let copy = scratch.file("copy.mkv");
    let mut record = Running::start(framewire(["record", &flagged, &copy, "--codec", "copy"]));
    record.wait_for("interlaced, and pass through as they are");
    assert!(record.ended().0.success());
}

/// A JPEG with EXIF data that state this orientation.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif = [b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation][..], &[0; 6]];
    [&jpeg[..2], &exif.concat(), &jpeg[2..]].concat()
}

/// Without Huffman tables and an end marker, and with stray bytes behind.
fn bare(jpeg: &[u8]) -> Vec<u8> {
    let whole = [&jpeg[..jpeg.len() - 2], b"\0\0\0"].concat();
    let Some(at) = whole.windows(2).position(|pair| pair == [0xFF, 0xC4]) else { return whole };
    let length = usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
    bare(&[&whole[..at], &whole[at + 2 + length..], &[0xFF, 0xD9]].concat())
}

#[test]
fn a_jpeg_is_whole_and_upright_whatever_wire_it_came_by() {
    let scratch = Scratch::new("entry");
    let lying = scratch.file("lying.jpg");
    let halves = "color=red:s=320x240,drawbox=w=160:color=blue:t=fill";
    output(ffmpeg(&["-f", "lavfi", "-i", halves, "-frames:v", "1", "-huffman", "default", "-update", "1", &lying]));
    let jpeg = with_exif(&bare(&std::fs::read(&lying).expect("it was made")), 6);
    assert!(!jpeg.windows(2).any(|pair| pair == [0xFF, 0xC4] || pair == [0xFF, 0xD9]));

    let film = scratch.file("lying.mjpeg");
    std::fs::write(&film, jpeg.repeat(10)).expect("a film");
    let hub = Hub::start(&["--source", &format!("file={film}#loop")]);
    let publisher = Peer::publish(&hub, "native");
    publisher.send_jpeg(0, &Bytes::from(jpeg.clone()));
    let length = u32::try_from(jpeg.len()).expect("a length").to_le_bytes();
    // lhh states a size too, here 320x240; other tutorials only a length.
    let heads = [("lhh", [length, [64, 1, 240, 0]].concat()), ("length", length.to_vec())];
    let cameras = heads.map(|(wire, head)| {
        let mut camera = TcpStream::connect(hub.address).expect("the hub listens");
        for _ in 0..3 {
            camera.write_all(&[&head[..], &jpeg].concat()).expect("the hub reads");
        }
        let address = camera.local_addr().expect("its address").to_string().replace(':', "-");
        (format!("{wire}-{address}"), camera)
    });
    output_fed(framewire(["send", "-", &hub.fw("stdin")]), jpeg.repeat(3));
    for name in ["native", "stdin", &cameras[0].0, &cameras[1].0, "file"] {
        if name != "file" {
            hub.wait_until(name, "has a frame", |info| info["published"].as_u64() > Some(0));
        }
        let (_, snapshot) = hub.get(&format!("/streams/{name}/snapshot.jpg"));
        let whole = admit(&Bytes::from(snapshot.clone())).expect("a JPEG");
        assert_eq!((whole.data, whole.orientation.exif()), (Bytes::from(snapshot.clone()), 1), "{name}");
        assert_upright(&Rgb::of_jpeg(&snapshot), name);
        let info = hub.stream(name).expect("it is there");
        assert_eq!((info["width"].as_u64(), info["height"].as_u64()), (Some(240), Some(320)), "{name}");
    }
    // OpenCV ignores EXIF in a stream.
    let url = hub.url("/streams/file/mjpeg");
    let code = "import cv2, sys; print(cv2.VideoCapture(sys.argv[1]).read()[1].shape)";
    let shape = output(python(["-c", code, &url]));
    assert_eq!(String::from_utf8_lossy(&shape).trim(), "(320, 240, 3)");
    drop((cameras, publisher));
}

#[test]
fn a_jpeg_that_no_browser_decodes_is_refused_by_name() {
    let good = jpeg(90);
    let at = good.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a frame header");
    for (place, value, name) in [(at + 1, 0xC9, "arithmetic-coded"), (at + 1, 0xC3, "lossless"), (at + 4, 12, "8 bits")]
    {
        let mut bad = good.to_vec();
        bad[place] = value;
        let error = fails_fed(framewire(["record", "-", "-", "--format", "mjpeg"]), bad.repeat(2));
        assert!(error.contains("none of its 2 frames") && error.contains(name), "{error}");
        // Between good ones it is left out.
        let mixed = [&good[..], &bad, &good].concat();
        let kept = output_fed(framewire(["record", "-", "-", "--format", "mjpeg"]), mixed);
        assert_eq!(kept, good.repeat(2));
    }
    assert_eq!(STANDARD_TABLES[..2], [0xFF, 0xC4]);
}
