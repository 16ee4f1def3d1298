//! The hub over HTTP, as browsers, curl and Prometheus call it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use bytes::Bytes;
use framewire_proto::wire::multipart;

use crate::{
    harness::{Hub, Peer, jpeg},
    internals::net,
};

#[test]
fn json_lists_the_streams() {
    let hub = Hub::start(&[]);
    assert_eq!(hub.get("/streams"), (200, b"[]".to_vec()));
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(9));
    let info = hub.wait_until("door", "has its size", |info| info["width"] == 64);
    for field in ["name", "state", "codec", "width", "height", "fps", "viewers", "latency_ms", "dropped"] {
        assert!(info.get(field).is_some(), "{field}: {info}");
    }
    let (status, body) = hub.get("/streams/yard");
    let text = String::from_utf8(body).unwrap();
    assert_eq!((status, text.as_str()), (404, "there is no stream 'yard'; there is 'door'\n"));
}

#[test]
fn requests_by_a_foreign_name_are_refused() {
    let hub = Hub::start(&["--host-name", "gate.example"]);
    let ask = |host: &str| hub.http(&format!("GET /streams HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).0;
    let machine = net::machine_name();
    for ours in ["127.0.0.1", "localhost:7070", "[::1]", "192.168.7.9", "gate.example", &machine] {
        assert_eq!(ask(ours), 200, "{ours}");
    }
    for foreign in ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example"] {
        assert_eq!(ask(foreign), 403, "{foreign}");
    }
    assert_eq!(hub.http("GET /streams HTTP/1.0\r\n\r\n").0, 400);
}

#[test]
fn only_get_is_answered_and_no_other_origin_may_read() {
    let hub = Hub::start(&[]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let request =
            format!("{method} /streams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let (status, head, _) = hub.http(&request);
        assert_eq!(status, 405, "{method}");
        assert!(!head.to_lowercase().contains("access-control-allow"), "{head}");
    }
    let (_, head, _) =
        hub.http("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n");
    let head = head.to_lowercase();
    assert!(!head.contains("access-control-allow"), "{head}");
    for header in ["content-security-policy", "cross-origin-resource-policy: same-origin", "nosniff"] {
        assert!(head.contains(header), "{header}: {head}");
    }
}

#[test]
fn a_page_of_another_origin_may_not_open_the_websocket() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240"]);
    let ask = |origin: &str| {
        let mut stream = hub.connect();
        let request = format!(
            "GET /streams/scene/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origin}\r\n",
            hub.address
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        String::from_utf8_lossy(&status[9..]).into_owned()
    };
    assert_eq!(ask(""), "101");
    assert_eq!(ask(&format!("Origin: http://{}\r\n", hub.address)), "101");
    assert_eq!(ask("Origin: http://evil.example\r\n"), "403");
    assert_eq!(ask("Origin: null\r\n"), "403");
}

#[test]
fn a_snapshot_is_a_current_picture() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240"]);
    let (status, body) = hub.get("/streams/scene/snapshot.jpg");
    assert_eq!(status, 200);
    let header = turbojpeg::read_header(&body).unwrap();
    assert_eq!((header.width, header.height), (320, 240));
    let picture = turbojpeg::decompress(&body, turbojpeg::PixelFormat::RGB).unwrap();
    assert!(picture.pixels.iter().max() > picture.pixels.iter().min());
}

#[test]
fn metrics_and_health_are_there() {
    let hub = Hub::start(&[]);
    assert_eq!(hub.get("/healthz"), (200, b"ok\n".to_vec()));
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(9));
    hub.wait_until("door", "has a frame", |info| info["published"] == 1);
    let (_, body) = hub.get("/metrics");
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains("framewire_frames_published_total{stream=\"door\"} 1\n"), "{text}");
}

#[test]
fn viewers_are_counted_by_rendition() {
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(9));
    let _viewers = [Peer::watch(&hub, "door"), Peer::watch(&hub, "door")];
    let info = hub.wait_until("door", "has two viewers", |info| info["viewers"] == 2);
    let source = &info["renditions"][0];
    assert_eq!((&source["name"], &source["viewers"]), (&"source".into(), &2.into()), "{info}");
    let (_, body) = hub.get("/metrics");
    let text = String::from_utf8(body).unwrap();
    for (rendition, viewers) in [("source", 2), ("high", 0), ("low", 0), ("jpeg", 0)] {
        let line = format!("framewire_rendition_viewers{{stream=\"door\",rendition=\"{rendition}\"}} {viewers}\n");
        assert!(text.contains(&line), "{line}: {text}");
    }
}

/// The next chunk of a body (RFC 9112, section 7.1).
fn chunk(reader: &mut impl BufRead) -> Vec<u8> {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a chunk's length");
    let length = usize::from_str_radix(line.trim_end(), 16).expect(&line);
    let mut data = vec![0; length + 2];
    reader.read_exact(&mut data).expect("a chunk");
    assert!(data.ends_with(b"\r\n"), "a chunk of {length}");
    data.truncate(length);
    data
}

#[test]
fn a_crowd_gets_every_byte_of_a_shared_page() {
    const CROWD: usize = 150;
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    // Bytes after the end marker of a JPEG are ignored. This many do not fit in one write.
    let picture = |number: u8| {
        let noise = (0..700_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ number);
        jpeg(number).into_iter().chain(noise).collect::<Bytes>()
    };
    publisher.send_jpeg(0, &picture(0));
    hub.wait_until("door", "has a frame", |info| info["published"] == 1);
    let watch = |version: &str| {
        let mut stream = hub.connect();
        write!(stream, "GET /streams/door/mjpeg HTTP/{version}\r\nHost: localhost\r\n\r\n").expect("a request");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).expect("a line of the answer's head");
        }
        reader
    };
    let whole = |picture: &[u8]| [b"\r\n\r\n", picture, multipart::CLOSING].concat();
    let next = |reader: &mut BufReader<TcpStream>| loop {
        let data = chunk(reader);
        if data.len() > 1000 {
            return data;
        }
    };
    let mut old = watch("1.0");
    let mut crowd: Vec<_> = (0..CROWD).map(|_| watch("1.1")).collect();
    for reader in &mut crowd {
        // The head of the response may be in the same chunk, before it.
        assert!(next(reader).ends_with(&picture(0)));
    }
    let pid = hub.running.id();
    for number in 1..4 {
        publisher.send_jpeg(number.into(), &picture(number));
        let expected = whole(&picture(number));
        for reader in &mut crowd {
            let data = next(reader);
            assert!(data.ends_with(&expected), "{} bytes of {number}, not {}", data.len(), expected.len());
        }
        let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("what the hub has open").flatten();
        let shared = files.filter_map(|file| fs::read_link(file.path()).ok());
        let shared = shared.filter(|file| file.to_string_lossy().contains("memfd:")).count();
        assert!((1..=4).contains(&shared), "{shared} shared pages");
    }
    // Without chunks, and later than the others.
    let mut came = vec![0; whole(&picture(0)).len()];
    old.read_exact(&mut came).expect("a picture");
    let first = came.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of a part's head");
    assert!(whole(&picture(0)).starts_with(&came[first..]));
}
