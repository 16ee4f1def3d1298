//! The hub over HTTP, as browsers, curl and Prometheus call it.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use framewire_proto::wire::multipart;

use crate::harness::{Hub, Peer, jpeg, padded};

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
fn nothing_but_get_is_answered_and_no_other_origin_may_read() {
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

/// A connection that has asked for the stream `door` as MJPEG, and the response's head.
fn watch(hub: &Hub, requests: &str, version: &str) -> (BufReader<TcpStream>, String) {
    let mut stream = hub.connect();
    let request = format!("{requests}GET /streams/door/mjpeg HTTP/{version}\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut reader = BufReader::new(stream);
    let head = head(&mut reader);
    (reader, head)
}

/// Lines up to the empty one.
pub(crate) fn head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && head != "\r\n" {
        assert!(reader.read_line(&mut head).expect("a line of a head") > 0, "it ends after {head}");
    }
    head
}

/// The next part of a multipart response: the picture. What delimits it is checked.
pub(crate) fn part(reader: &mut impl BufRead) -> Vec<u8> {
    let head = head(reader);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect(&head);
    let mut picture = vec![0; length.parse().expect(&head)];
    reader.read_exact(&mut picture).expect("a picture");
    let mut closing = vec![0; multipart::CLOSING.len()];
    reader.read_exact(&mut closing).expect("the delimiter");
    assert_eq!(closing, multipart::CLOSING);
    picture
}

#[test]
fn an_mjpeg_response_has_the_head_of_any_other_and_ends_with_its_connection() {
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(9));
    hub.wait_until("door", "has a frame", |info| info["published"] == 1);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // Requests before it on the same connection are answered first, and errors leave the connection open.
    let before = format!(
        "{}{}{}",
        get("/healthz"),
        get("/streams/yard/mjpeg"),
        get("/streams/door/mjpeg").replacen("GET", "HEAD", 1)
    );
    let (mut reader, health) = watch(&hub, &before, "1.1");
    let mut body = [0; 3];
    reader.read_exact(&mut body).expect("the first answer");
    let unknown = head(&mut reader);
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n") && unknown.starts_with("HTTP/1.1 404 "), "{health}{unknown}");
    reader.read_line(&mut String::new()).expect("the error's text");
    let (only, whole) = (head(&mut reader), head(&mut reader));
    let names = |head: &str| -> BTreeSet<String> {
        head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_lowercase())).collect()
    };
    let mut expected = names(&only);
    // Who asks for the head only keeps the connection.
    expected.remove("transfer-encoding");
    expected.insert("connection".into());
    assert_eq!(names(&whole), expected, "{only}{whole}");
    for header in ["connection: close", multipart::CONTENT_TYPE, "cross-origin-resource-policy: same-origin", "nosniff"]
    {
        assert!(whole.contains(header), "{header}: {whole}");
    }
    let mut opening = vec![0; multipart::OPENING.len()];
    reader.read_exact(&mut opening).expect("the first delimiter");
    assert_eq!(part(&mut reader), jpeg(9));
    // What the client says now is not heard, and once it leaves the hub notices.
    reader.get_mut().write_all(get("/healthz").as_bytes()).expect("it is open");
    publisher.send_jpeg(1, &jpeg(8));
    assert_eq!(part(&mut reader), jpeg(8));
    hub.wait_until("door", "is watched", |info| info["viewers"] == 1);
    drop(reader);
    hub.wait_until("door", "is left", |info| info["viewers"] == 0);
    let (_, old) = watch(&hub, "", "1.0");
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n"), "{old}");
    let foreign = "GET /streams/door/mjpeg HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(hub.http(foreign).0, 403);
}

#[test]
fn answers_that_wait_for_room_come_whole_before_an_mjpeg_response() {
    // More than the kernel takes from the hub before anything is read; all requests are less than the hub reads ahead.
    const BEFORE: usize = 600;
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(9));
    hub.wait_until("door", "has a frame", |info| info["published"] == 1);
    let (_, script) = hub.get("/wire.js");
    let before = "GET /wire.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(BEFORE);
    let mut stream = hub.connect();
    let mjpeg = "GET /streams/door/mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all([&before, mjpeg].concat().as_bytes()).expect("requests");
    let mut reader = BufReader::new(stream);
    for number in 0..BEFORE {
        let head = head(&mut reader);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect(&head);
        let mut body = vec![0; length.parse().expect(&head)];
        reader.read_exact(&mut body).expect("an answer");
        assert!(body == script, "answer {number}");
    }
    assert!(head(&mut reader).contains(multipart::CONTENT_TYPE));
    let mut opening = vec![0; multipart::OPENING.len()];
    reader.read_exact(&mut opening).expect("the first delimiter");
    assert_eq!(part(&mut reader), jpeg(9));
}

#[test]
fn a_crowd_gets_every_byte_of_what_the_kernel_holds_once_for_all() {
    const CROWD: usize = 150;
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    // So much is not taken at once.
    let picture = |number: u8| {
        let noise: Vec<u8> = (0..700_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ number).collect();
        padded(&jpeg(number), &noise)
    };
    publisher.send_jpeg(0, &picture(0));
    hub.wait_until("door", "has a frame", |info| info["published"] == 1);
    let join = || {
        let (mut reader, _) = watch(&hub, "", "1.1");
        let mut opening = vec![0; multipart::OPENING.len()];
        reader.read_exact(&mut opening).expect("the first delimiter");
        reader
    };
    let mut slow = join();
    let mut crowd: Vec<_> = (0..CROWD).map(|_| join()).collect();
    for reader in &mut crowd {
        assert!(part(reader) == picture(0));
    }
    let pid = hub.running.id();
    for number in 1..4 {
        publisher.send_jpeg(number.into(), &picture(number));
        for reader in &mut crowd {
            let data = part(reader);
            assert!(data == picture(number), "{} bytes of {number}", data.len());
        }
        let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("what the hub has open").flatten();
        let shared = files.filter_map(|file| fs::read_link(file.path()).ok());
        let shared = shared.filter(|file| file.to_string_lossy().contains("memfd:")).count();
        assert!((1..=4).contains(&shared), "{shared} pictures are shared");
    }
    // It reads later than the others.
    assert!(part(&mut slow) == picture(0));
}
