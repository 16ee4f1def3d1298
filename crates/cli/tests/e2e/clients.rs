//! Clients that know nothing of framewire, and one that knows only its protocol.

use std::process::Command;

use framewire_proto::stamp;

use crate::{
    harness::{Hub, Running, Scratch, ffmpeg, framewire, output, python, tool},
    picture::Rgb,
};

/// A hub with a test scene.
fn scene() -> Hub {
    Hub::start(&["--source", "scene=pattern#size=640x360"])
}

#[test]
fn opencv_reads_pictures_whose_numbers_rise() {
    let hub = scene();
    let program = r#"
import sys, cv2
video = cv2.VideoCapture(sys.argv[1])
for _ in range(30):
    good, image = video.read()
    assert good, "no picture"
    assert image.shape == (360, 640, 3), image.shape
    sys.stdout.buffer.write(cv2.cvtColor(image[:8], cv2.COLOR_BGR2GRAY).tobytes())
"#;
    let rows = output(python(["-c", program, &hub.url("/streams/scene/mjpeg")]));
    let numbers: Vec<u32> =
        rows.chunks_exact(640 * 8).map(|rows| stamp::read(rows, 640, 640).expect("a stamp").number).collect();
    assert_eq!(numbers.len(), 30);
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
}

#[test]
fn ffmpeg_reads_the_mjpeg_address() {
    let hub = scene();
    let url = hub.url("/streams/scene/mjpeg");
    let luma = output(ffmpeg(&[
        "-i",
        &url,
        "-frames:v",
        "20",
        "-fps_mode",
        "passthrough",
        "-pix_fmt",
        "gray",
        "-f",
        "rawvideo",
        "-",
    ]));
    let numbers: Vec<u32> =
        luma.chunks_exact(640 * 360).map(|luma| stamp::read(luma, 640, 640).expect("a stamp").number).collect();
    assert_eq!(numbers.len(), 20);
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
}

#[test]
fn gstreamer_reads_the_mjpeg_address() {
    let hub = scene();
    let mut gstreamer = tool("gst-launch-1.0");
    let source = format!("souphttpsrc location={} is-live=true", hub.url("/streams/scene/mjpeg"));
    let pipeline = format!(
        "--quiet {source} ! multipartdemux ! jpegdec ! videoconvert ! video/x-raw,format=GRAY8 ! identity eos-after=20 ! fdsink"
    );
    gstreamer.args(pipeline.split(' '));
    let luma = output(gstreamer);
    let numbers: Vec<u32> =
        luma.chunks_exact(640 * 360).map(|luma| stamp::read(luma, 640, 640).expect("a stamp").number).collect();
    assert!(numbers.len() >= 19, "{numbers:?}");
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
}

#[test]
fn curls_snapshot_is_the_picture_that_was_sent() {
    let (hub, truth) = (Hub::start(&[]), Rgb::quadrants(320, 240));
    let _sender = Running::start_fed(framewire(["send", "-", &hub.fw("still"), "--fps", "20"]), truth.jpeg());
    hub.wait_until("still", "has a frame", |info| info["published"].as_u64() > Some(0));
    let mut curl = tool("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "10", &hub.url("/streams/still/snapshot.jpg")]);
    let jpeg = output(curl);
    assert_eq!(jpeg, truth.jpeg(), "JPEGs pass through unchanged");
}

#[test]
fn a_viewer_in_python_takes_at_most_fifty_lines() {
    let (hub, scratch) = (scene(), Scratch::new("stranger"));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/viewer.py");
    let lines = std::fs::read_to_string(example).unwrap().lines().count();
    assert!(lines <= 50, "{lines}");
    let (host, port) = (hub.address.ip().to_string(), hub.address.port().to_string());
    let mut viewer: Command = python([example, &host, &port, "scene", "10"]);
    viewer.current_dir(scratch.path());
    let printed = String::from_utf8(output(viewer)).unwrap();
    let files: Vec<&str> = printed.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(files.len(), 10, "{printed}");
    let mut last = None;
    for file in files {
        let picture = Rgb::of_jpeg(&std::fs::read(scratch.path().join(file)).unwrap());
        assert_eq!((picture.width, picture.height), (640, 360));
        let luma: Vec<u8> = picture.pixels.chunks_exact(3).map(|pixel| pixel[1]).collect();
        let number = stamp::read(&luma, 640, 640).expect("a stamp").number;
        assert!(last < Some(number), "{printed}");
        last = Some(number);
    }
}
