//! Cameras of the network that go away and come back.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Hub, Running, Scratch, eventually, ffmpeg, framewire, output},
    picture::probe,
};

/// Frames of a session, and how many come in a second.
const FRAMES: usize = 25;
const FPS: usize = 50;

/// A camera that speaks RTSP (RFC 2326) with RTP in its connection (RFC 6184), and closes it after [`FRAMES`] frames.
struct RtspCamera {
    address: SocketAddr,
    /// How many sessions were begun.
    sessions: Arc<AtomicUsize>,
}

impl RtspCamera {
    fn start() -> Self {
        let made = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=50", "-frames:v", "25", "-c:v", "libx264"];
        let coded = ["-pix_fmt", "yuv420p", "-bf", "0", "-g", "25", "-x264-params", "slices=1", "-f", "h264", "-"];
        let film = Arc::new(output(ffmpeg(&[&made[..], &coded].concat())));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, sessions) = (listener.local_addr().expect("an address"), Arc::<AtomicUsize>::default());
        let counted = sessions.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (film, counted) = (film.clone(), counted.clone());
                thread::spawn(move || serve(&mut connection.expect("a connection"), &film, &counted));
            }
        });
        Self { address, sessions }
    }

    fn url(&self) -> String {
        format!("rtsp://{}/live", self.address)
    }

    fn wait_for_session(&self, number: usize) {
        eventually("a session", || (self.sessions.load(Ordering::SeqCst) >= number).then_some(()));
    }
}

/// Answers requests, and plays when it is told to. Returns when the other end is gone or the session is over.
fn serve(connection: &mut TcpStream, film: &[u8], sessions: &AtomicUsize) {
    let description = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
                       a=fmtp:96 packetization-mode=1\r\na=control:video\r\n";
    while let Some(head) = request(connection) {
        let sequence = head.lines().find_map(|line| line.strip_prefix("CSeq: ")).expect("a number");
        let method = head.split(' ').next().expect("a method");
        let (more, body) = match method {
            "DESCRIBE" => {
                (format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n", description.len()), description)
            }
            "SETUP" => ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n".into(), ""),
            _ => ("Session: 1\r\n".into(), ""),
        };
        let answer = format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{more}\r\n{body}");
        if connection.write_all(answer.as_bytes()).is_err() {
            return;
        }
        if method == "PLAY" {
            sessions.fetch_add(1, Ordering::SeqCst);
            // The other end may leave first.
            let _ = play(connection, film);
            return;
        }
    }
}

fn request(connection: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        (connection.read(&mut byte).ok()? == 1).then(|| head.push(byte[0]))?;
    }
    String::from_utf8(head).ok()
}

/// Sends every NAL unit of the film, those of pictures at their times.
fn play(connection: &mut TcpStream, film: &[u8]) -> std::io::Result<()> {
    let (begun, mut pictures, mut number) = (Instant::now(), 0, 0_u16);
    for unit in film.split_start_codes() {
        let picture = matches!(unit[0] & 0x1F, 1 | 5);
        let time = (pictures * 90_000 / FPS) as u32;
        for (payload, last) in payloads(unit) {
            let marker = if picture && last { 0xE0 } else { 0x60 };
            let packet =
                [&[0x80, marker][..], &number.to_be_bytes(), &time.to_be_bytes(), &[0, 0, 0, 1], &payload].concat();
            connection.write_all(&[b"$\0", &(packet.len() as u16).to_be_bytes()[..], &packet].concat())?;
            number = number.wrapping_add(1);
        }
        if picture {
            pictures += 1;
            let due = Duration::from_millis((pictures * 1000 / FPS) as u64);
            // Pictures come at their times, as from a camera.
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    Ok(())
}

/// A NAL unit in packets of at most 1200 bytes, and whether each is the last (RFC 6184, section 5.8).
fn payloads(unit: &[u8]) -> Vec<(Vec<u8>, bool)> {
    if unit.len() <= 1200 {
        return vec![(unit.to_vec(), true)];
    }
    let pieces: Vec<_> = unit[1..].chunks(1200).collect();
    let last = pieces.len() - 1;
    let packet = |(place, piece): (usize, &&[u8])| {
        let ends = [(place == 0, 0x80), (place == last, 0x40)]
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, bit)| bit)
            .sum::<u8>();
        ([&[unit[0] & 0xE0 | 0x1C, unit[0] & 0x1F | ends], *piece].concat(), place == last)
    };
    pieces.iter().enumerate().map(packet).collect()
}

trait AnnexB {
    fn split_start_codes(&self) -> Vec<&[u8]>;
}

impl AnnexB for [u8] {
    /// The NAL units between start codes (ITU-T H.264, annex B).
    fn split_start_codes(&self) -> Vec<&[u8]> {
        let starts: Vec<_> =
            (0..self.len() - 3).filter(|at| self[*at..].starts_with(&[0, 0, 1])).map(|at| at + 3).collect();
        let ends = starts.iter().skip(1).map(|start| start - 3).chain([self.len()]);
        starts.iter().zip(ends).map(|(start, end)| self[*start..end].trim_zeros()).collect()
    }
}

trait TrimZeros {
    fn trim_zeros(&self) -> &Self;
}

impl TrimZeros for [u8] {
    fn trim_zeros(&self) -> &Self {
        let end = self.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        &self[..end]
    }
}

#[test]
fn a_hub_opens_a_camera_again_that_has_ended_its_session() {
    for option in ["", "#codec=copy"] {
        let camera = RtspCamera::start();
        let mut hub = Hub::start(&["--source", &format!("yard={}{option}", camera.url())]);
        let watching = framewire(["record", &hub.fw("yard"), "-", "--format", "mjpeg"]);
        let (viewer, _stdin, mut pictures) = Running::start_piped(watching);
        let drained = thread::spawn(move || std::io::copy(&mut pictures, &mut std::io::sink()));
        camera.wait_for_session(3);
        let info = hub.wait_until("yard", "is live again", |info| {
            info["state"] == "live" && info["published"].as_u64() > Some(2 * FRAMES as u64)
        });
        assert_eq!(info["viewers"], 1, "{info}");
        hub.running.has_printed("the other end has closed the stream; trying again in");
        viewer.signal("INT");
        assert_eq!(viewer.ended().0.code(), Some(0));
        drained.join().expect("a thread").expect("a pipe");
    }
}

#[test]
fn a_recording_goes_on_over_the_end_of_a_session_and_is_as_long_as_asked_for() {
    let (camera, scratch) = (RtspCamera::start(), Scratch::new("sessions"));
    let file = scratch.file("out.mkv");
    output(framewire(["record", &camera.url(), &file, "--duration", "4"]));
    assert!(camera.sessions.load(Ordering::SeqCst) >= 3);
    let film = probe(&["-i", &file]);
    assert!((2 * FRAMES..4 * FPS).contains(&film.frames), "{film:?}");
}

#[test]
fn a_sender_does_not_end_with_a_session() {
    let (camera, hub) = (RtspCamera::start(), Hub::start(&[]));
    let mut sender = Running::start(framewire(["send", &camera.url(), &hub.fw("yard")]));
    hub.wait_until("yard", "is there", |_| true);
    let watching = framewire(["record", &hub.fw("yard"), "-", "--format", "mjpeg"]);
    let (viewer, _stdin, mut pictures) = Running::start_piped(watching);
    let drained = thread::spawn(move || std::io::copy(&mut pictures, &mut std::io::sink()));
    camera.wait_for_session(3);
    sender.wait_for("is back");
    viewer.signal("INT");
    assert_eq!(viewer.ended().0.code(), Some(0));
    drained.join().expect("a thread").expect("a pipe");
    sender.signal("INT");
    assert_eq!(sender.ended().0.code(), Some(0));
}
