//! Viewers behind a slow link: their frames are fresh, and sized for that link.

use std::{
    io::{BufRead, BufReader, Write},
    iter,
    net::TcpStream,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use framewire_proto::jpeg as header;
use serde_json::Value;

use crate::{
    cable::{Cable, HUB},
    harness::{Hub, Peer, Running, Scratch, framewire, jpeg, output, padded, tool},
    namespaces::this_test,
};

/// A frame older than this is stale.
const STALE: Duration = Duration::from_millis(500);
/// A slow link in kbit/s: JPEGs of the scene take several times as much.
const SLOW: u32 = 2_000;
/// A link that carries them easily.
const FAST: u32 = 200_000;
/// Frames until the sender has measured the link, and then those that are checked.
const BEFORE: usize = 60;
const CHECKED: usize = 120;

/// A hub at the cable's near end with the test scene, and the cable as slow as that.
pub(crate) fn hub(cable: &Cable, kilobits: u32) -> (Running, Running) {
    let mut hub = Running::start(cable.at_near(&framewire(["serve", "--listen", HUB, "--insecure"])));
    hub.wait_for("the hub listens on");
    let to = format!("fw://{HUB}/scene");
    let sender = Running::start(cable.at_near(&framewire(["send", "pattern#size=1280x720", &to, "--codec", "jpeg"])));
    cable.wait_until("the stream is there", |info| info["codec"] == "jpeg");
    cable.narrow(kilobits);
    (hub, sender)
}

/// A frame received over HTTP.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) age: Duration,
    length: usize,
    pub(crate) sequence: u64,
}

/// Watches the scene over HTTP.
pub(crate) fn watch_over_http(hub: &str, frames: usize) -> Vec<Part> {
    let mut reader = over_http(hub);
    (0..frames).map(|_| part(&mut reader)).collect()
}

/// A response with the scene as multipart JPEGs.
fn over_http(hub: &str) -> impl BufRead {
    let mut stream = TcpStream::connect(hub).expect("the hub");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    write!(stream, "GET /streams/scene/mjpeg HTTP/1.0\r\nHost: {hub}\r\n\r\n").expect("a request");
    BufReader::new(stream)
}

/// The next part, whole.
pub(crate) fn part(reader: &mut impl BufRead) -> Part {
    let (mut length, mut captured, mut sequence) = (None, None, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line of a head");
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse::<usize>().ok(),
            Some(("X-Timestamp", value)) => captured = value.parse::<f64>().ok(),
            Some(("X-Sequence", value)) => sequence = value.parse().ok(),
            None if line == "\r\n" && length.is_some() => break,
            _ => {}
        }
    }
    let length = length.expect("a length");
    let mut data = vec![0; length];
    reader.read_exact(&mut data).expect("a picture");
    header::size(&data).expect("a JPEG");
    let captured = UNIX_EPOCH + Duration::from_secs_f64(captured.expect("a time"));
    let age = SystemTime::now().duration_since(captured).expect("a picture that was captured before it came");
    Part { age, length, sequence: sequence.expect("a number") }
}

#[test]
fn viewers_without_reports_get_jpegs_that_fit_their_link() {
    let Some(cable) = Cable::lay(this_test!()) else { return };
    let _hub = hub(&cable, SLOW);
    let parts = cable.run_at_far(|| watch_over_http(HUB, BEFORE + CHECKED)).join().expect("a viewer");
    let (before, parts) = parts.split_at(BEFORE);
    let old = parts.iter().filter(|part| part.age > STALE).count();
    assert_eq!(old, 0, "{parts:?}");
    let span = parts[parts.len() - 1].sequence - parts[0].sequence;
    assert!(span < 2 * CHECKED as u64, "{CHECKED} pictures in the time of {span}");
    let mean = |parts: &[Part]| parts.iter().map(|part| part.length).sum::<usize>() / parts.len();
    assert!(mean(parts) < before[0].length, "{} bytes, at first {}", mean(parts), before[0].length);
    let oldest = parts.iter().map(|part| part.age).max();
    println!("{CHECKED} pictures in the time of {span}, the oldest {oldest:?}, of {} bytes", mean(parts));
}

#[test]
fn a_slow_program_is_not_mistaken_for_a_slow_link() {
    let Some(cable) = Cable::lay(this_test!()) else { return };
    let _hub = hub(&cable, FAST);
    let parts = cable.run_at_far(|| {
        let mut reader = over_http(HUB);
        // It is busy with each frame for as long as another viewer takes to receive six.
        let next = || (part(&mut reader), watch_over_http(HUB, 6)).0;
        iter::repeat_with(next).take(40).collect::<Vec<Part>>()
    });
    let parts = parts.join().expect("a viewer");
    let lengths: Vec<usize> = parts.iter().map(|part| part.length).collect();
    assert!(lengths.iter().all(|length| *length > lengths[0] / 2), "{lengths:?}");
    println!("{} pictures, the oldest {:?}", parts.len(), parts.iter().map(|part| part.age).max());
}

#[test]
fn a_program_that_stops_reading_gets_few_stale_frames() {
    const SENT: u64 = 60;
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "scene");
    let picture = padded(&jpeg(9), &[0; 10_000]);
    publisher.send_jpeg(0, &picture);
    let mut stream = hub.connect();
    stream.write_all(b"GET /streams/scene/mjpeg HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("a request");
    let mut reader = BufReader::new(stream);
    assert_eq!(part(&mut reader).sequence, 0);
    // Its receive buffer holds a dozen of these.
    for sequence in 1..=SENT {
        publisher.send_jpeg(sequence, &picture);
        hub.wait_until("scene", "has the next", |info| info["published"].as_u64() > Some(sequence));
    }
    let sequences = iter::repeat_with(|| part(&mut reader).sequence);
    let old = sequences.take_while(|sequence| *sequence < SENT).count();
    println!("{old} old pictures of {SENT}");
    assert!(old <= 7, "{old} of {SENT}");
}

#[test]
fn raw_output_keeps_its_size_on_a_slow_link() {
    let Some(cable) = Cable::lay(this_test!()) else { return };
    // Slow enough for smaller pictures.
    let _hub = hub(&cable, 300);
    let from = format!("fw://{HUB}/scene");
    let raw = output(cable.at_far(&framewire(["record", &from, "-", "--format", "bgr24", "--duration", "5"])));
    let picture = 1280 * 720 * 3;
    assert_eq!(raw.len() % picture, 0, "{} bytes", raw.len());
    assert!(raw.len() / picture > 20, "{} pictures", raw.len() / picture);
    let info = cable.stream("scene").expect("the stream");
    assert!(info["delivered"].as_u64() > Some(20), "{info}");
}

#[test]
fn a_viewer_learns_which_rendition_it_gets_and_why() {
    let Some(cable) = Cable::lay(this_test!()) else { return };
    let _hub = hub(&cable, SLOW);
    let (scratch, from) = (Scratch::new("told"), format!("fw://{HUB}/scene"));
    let record = framewire(["record", &from, "-", "--format", "mjpeg", "--stats", "json"]);
    let mut shell = tool("sh");
    shell.args(["-c", "exec \"$@\" > \"$OUT\"", "sh"]).arg(record.get_program()).args(record.get_args());
    let mut viewer = cable.at_far(&shell);
    viewer.env("OUT", scratch.file("out"));
    let mut viewer = Running::start(viewer);
    let line = viewer.wait_for_line("another rendition", |line| {
        let figures: Value = serde_json::from_str(line).unwrap_or_default();
        ["high", "low"].iter().any(|rendition| figures["service"]["rendition"] == **rendition)
    });
    let figures: Value = serde_json::from_str(&line).unwrap();
    assert!(figures["service"]["capacity"].as_u64() > Some(0), "{line}");
    let rendition = figures["service"]["rendition"].as_str().unwrap().to_owned();
    cable.wait_until("the hub counts it there", |info| {
        let renditions = info["renditions"].as_array().unwrap();
        renditions.iter().any(|one| one["name"] == *rendition && one["viewers"] == 1 && one["capacity"].is_u64())
    });
}
