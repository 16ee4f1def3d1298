//! The hub over HTTP, as browsers, curl and Prometheus call it.

use std::io::{Read, Write};

use crate::harness::{Hub, Peer, jpeg};

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
    let machine = framewire::net::machine_name();
    for ours in ["127.0.0.1", "localhost:7070", "[::1]", "192.168.7.9", "gate.example", &machine] {
        assert_eq!(ask(ours), 200, "{ours}");
    }
    for foreign in ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example"] {
        assert_eq!(ask(foreign), 403, "{foreign}");
    }
    assert_eq!(hub.http("GET /streams HTTP/1.0\r\n\r\n").0, 400);
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
fn a_snapshot_is_a_picture_of_now() {
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
