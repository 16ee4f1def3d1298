//! Pictures over HTTP: snapshots, the addresses of other programs, pictures of a size or rate of their own.

use std::io::{BufReader, Read, Write};

use crate::{
    harness::{Hub, Peer, jpeg},
    http::{head, part},
};
use framewire_proto::wire::multipart;

/// The status, the head in lower case and the body of an answer to a GET.
fn get(hub: &Hub, path: &str) -> (u16, String, Vec<u8>) {
    let (status, head, body) = hub.http(&format!("GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"));
    (status, head.to_lowercase(), body)
}

/// The widths and the quantised sharpness of a picture: its width, height and bytes.
fn size(picture: &[u8]) -> (usize, usize) {
    let header = turbojpeg::read_header(picture).expect("a JPEG");
    (header.width, header.height)
}

/// A connection that has asked for MJPEG, behind the response's head and the first delimiter.
fn watch(hub: &Hub, path: &str) -> (BufReader<std::net::TcpStream>, String) {
    let mut stream = hub.connect();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: hub\r\n\r\n").as_bytes()).expect("a request");
    let mut reader = BufReader::new(stream);
    let head = head(&mut reader);
    let mut opening = vec![0; multipart::OPENING.len()];
    reader.read_exact(&mut opening).expect("the first delimiter");
    (reader, head.to_lowercase())
}

#[test]
fn a_snapshot_is_a_picture_of_now_with_its_time_and_number() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240"]);
    let before = now();
    let (status, head, body) = get(&hub, "/streams/scene/snapshot.jpg");
    assert_eq!((status, size(&body)), (200, (320, 240)));
    let picture = turbojpeg::decompress(&body, turbojpeg::PixelFormat::RGB).unwrap();
    assert!(picture.pixels.iter().max() > picture.pixels.iter().min());
    let header =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).expect(&head).to_owned();
    let taken: f64 = header("x-timestamp").parse().expect("seconds");
    assert!((before - 1.0..=now()).contains(&taken), "{taken}, asked at {before}");
    assert!(header("x-sequence").parse::<u64>().is_ok());
}

#[test]
fn a_camera_that_was_asleep_is_given_time_for_its_exposure() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240"]);
    let exposure = |path: &str| {
        let (status, head, _) = get(&hub, path);
        (status, head.lines().find_map(|line| Some(line.strip_prefix("x-exposure: ")?.to_owned())))
    };
    assert_eq!(exposure("/streams/scene/snapshot.jpg"), (200, Some("settled".into())));
    assert_eq!(exposure("/streams/scene/snapshot.jpg"), (200, None), "it is awake");
    assert_eq!(exposure("/streams/scene/snapshot.jpg?wait=0.2"), (200, None));
    assert_eq!(exposure("/streams/scene/snapshot.jpg?wait=11").0, 400);
}

/// Seconds since 1970.
fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs_f64()
}

#[test]
fn the_addresses_of_other_programs_serve_the_first_stream_or_the_one_named() {
    let hub = Hub::start(&[]);
    assert_eq!(get(&hub, "/snapshot").0, 404, "there is no stream yet");
    let [door, yard] = ["door", "yard"].map(|name| Peer::publish(&hub, name));
    door.send_jpeg(0, &jpeg(9));
    yard.send_jpeg(0, &jpeg(200));
    for name in ["door", "yard"] {
        hub.wait_until(name, "has a frame", |info| info["published"] == 1);
    }
    for (path, picture) in [
        ("/?action=snapshot", jpeg(9)),
        ("/?action=snapshot&1595805826022", jpeg(9)),
        ("/snapshot", jpeg(9)),
        ("/snapshot?cb=%zz&x", jpeg(9)),
        ("/snapshot?name=yard", jpeg(200)),
        ("/?1595805826022&action=snapshot&name=yard", jpeg(200)),
    ] {
        // A picture that is older than a second is waited for.
        door.send_jpeg(1, &jpeg(9));
        yard.send_jpeg(1, &jpeg(200));
        let (status, head, body) = get(&hub, path);
        assert!(status == 200 && body == picture && head.contains("content-type: image/jpeg"), "{path}: {head}");
    }
    for (path, picture) in
        [("/?action=stream&1595", jpeg(9)), ("/stream", jpeg(9)), ("/stream?name=yard&_=1", jpeg(200))]
    {
        let (mut reader, head) = watch(&hub, path);
        assert!(part(&mut reader) == picture && head.contains("x-accel-buffering: no"), "{path}: {head}");
    }
    assert_eq!(get(&hub, "/stream?name=gate").0, 404);
}

#[test]
fn a_streams_name_opens_the_page() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240"]);
    let page = get(&hub, "/").2;
    let ask = |path: &str, accept: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: hub\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        let (status, _, body) = hub.http(&request);
        (status, body)
    };
    assert_eq!(ask("/scene", "*/*"), (200, page.clone()));
    // The page says that the stream is not there, and how to send it; a program gets a sentence.
    assert_eq!(ask("/yard", "text/html,*/*;q=0.8"), (404, page));
    let (status, text) = ask("/yard", "*/*");
    assert!(status == 404 && text.starts_with(b"there is nothing at /yard, and there is no stream 'yard'"));
}

#[test]
fn who_asks_for_the_head_wakes_no_camera() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240", "--source", "dead=rtsp://127.0.0.1:9/x"]);
    let ask = |path: &str| {
        let (status, head, body) = hub.http(&format!("HEAD {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"));
        assert!(body.is_empty(), "{path}");
        (status, head.to_lowercase())
    };
    for (path, status, kind) in [
        ("/", 200, "text/html"),
        ("/scene", 200, "text/html"),
        ("/?action=stream", 200, "multipart/x-mixed-replace"),
        ("/?action=snapshot", 200, "image/jpeg"),
        ("/stream", 200, "multipart/x-mixed-replace"),
        ("/snapshot", 200, "image/jpeg"),
        ("/streams", 200, "application/json"),
        ("/streams/scene/mjpeg", 200, "multipart/x-mixed-replace"),
        ("/streams/scene/snapshot.jpg", 200, "image/jpeg"),
        ("/streams/dead/snapshot.jpg", 200, "image/jpeg"),
        ("/streams/scene/ws", 426, "text/plain"),
        ("/streams/yard/snapshot.jpg", 404, "text/plain"),
        ("/metrics", 200, "text/plain"),
        ("/healthz", 200, "text/plain"),
    ] {
        let (answered, head) = ask(path);
        assert!(answered == status && head.contains(&format!("content-type: {kind}")), "{path}: {head}");
    }
    let info = hub.stream("scene").expect("the stream");
    assert_eq!((&info["state"], &info["published"]), (&"idle".into(), &0.into()), "{info}");
}

#[test]
fn a_picture_has_the_width_and_quality_that_its_address_asks_for() {
    let hub = Hub::start(&["--source", "scene=pattern#size=640x360#fps=10"]);
    let snapshot = |query: &str| get(&hub, &format!("/streams/scene/snapshot.jpg{query}")).2;
    let (whole, small, coarse) = (snapshot(""), snapshot("?width=320"), snapshot("?quality=10"));
    assert_eq!([&whole, &small, &coarse].map(|picture| size(picture)), [(640, 360), (320, 180), (640, 360)]);
    assert!(coarse.len() * 2 < whole.len(), "{} of {}", coarse.len(), whole.len());
    assert_eq!(size(&snapshot("?width=2000")), (640, 360), "none is made larger");
    let (mut reader, _) = watch(&hub, "/stream?width=160&quality=50&fps=5");
    assert_eq!([part(&mut reader), part(&mut reader)].map(|picture| size(&picture)), [(160, 90); 2]);
    for wrong in ["?fps=0", "?width=abc", "?quality=101"] {
        let (status, _, text) = get(&hub, &format!("/streams/scene/mjpeg{wrong}"));
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(status == 400 && text.contains("expected"), "{status} {text}");
    }
}

#[test]
fn viewers_who_ask_for_the_same_share_it_and_a_stream_has_few_of_them() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240#fps=10"]);
    let mut same = [watch(&hub, "/stream?width=160").0, watch(&hub, "/stream?width=160").0];
    let _others = ["?width=80", "?quality=30", "?width=80&quality=30"].map(|query| {
        let mut reader = watch(&hub, &format!("/stream{query}")).0;
        part(&mut reader);
        reader
    });
    assert_eq!(same.each_mut().map(|reader| size(&part(reader))), [(160, 120); 2]);
    // Two viewers of one rendition are one viewer of the stream.
    hub.wait_until("scene", "is watched by each rendition", |info| info["viewers"] == 4);
    let (status, _, text) = get(&hub, "/streams/scene/snapshot.jpg?width=64");
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(status == 503 && text.contains("the limit") && text.contains("width=80&quality=30"), "{status} {text}");
    assert_eq!(get(&hub, "/snapshot?width=160").0, 200);
    drop(same);
    hub.wait_until("scene", "has a rendition less", |info| info["viewers"] == 3);
    assert_eq!(get(&hub, "/snapshot?width=64").0, 200);
}

#[test]
fn a_rate_is_kept_without_encoding() {
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(9));
    hub.wait_until("door", "has a frame", |info| info["published"] == 1);
    let (mut reader, _) = watch(&hub, "/stream?fps=4");
    let begun = std::time::Instant::now();
    let mut sequence = 0;
    let mut pictures = 0;
    while pictures < 4 {
        sequence += 1;
        publisher.send_jpeg(sequence, &jpeg((sequence % 250) as u8));
        hub.wait_until("door", "has it", |info| info["published"].as_u64() == Some(sequence + 1));
        if !reader.buffer().is_empty() || peek(reader.get_ref()) {
            assert_eq!(size(&part(&mut reader)), (64, 48));
            pictures += 1;
        }
    }
    // The first comes at once.
    assert!(begun.elapsed().as_millis() >= 700, "{:?}", begun.elapsed());
    assert!(sequence > 4);
}

/// Whether something has arrived.
fn peek(stream: &std::net::TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a mode");
    let arrived = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).expect("a mode");
    arrived
}
