//! Who may ask the hub over HTTP for what: names, proxies and pages of other sites.

use std::io::{Read, Write};

use crate::harness::{Hub, fails, framewire};

/// The status and the text of an answer to a GET with these headers.
fn get(hub: &Hub, path: &str, headers: &str) -> (u16, String, String) {
    let (status, head, body) = hub.http(&format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"));
    (status, head.to_lowercase(), String::from_utf8_lossy(&body).into_owned())
}

/// The status of a request for a WebSocket with these headers.
fn socket(hub: &Hub, headers: &str) -> String {
    let mut stream = hub.connect();
    let request = format!(
        "GET /streams/scene/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    String::from_utf8_lossy(&status[9..]).into_owned()
}

fn state(hub: &Hub) -> String {
    hub.stream("scene").expect("the stream")["state"].as_str().expect("a state").to_owned()
}

#[test]
fn requests_by_a_foreign_name_are_refused() {
    let hub = Hub::start(&["--host-name", "gate.example"]);
    let ask = |host: &str| get(&hub, "/streams", &format!("Host: {host}\r\n"));
    let machine = crate::internals::net::machine_name();
    let short = machine.split('.').next().unwrap();
    let local = format!("{short}.local:7070");
    for ours in
        ["127.0.0.1", "localhost:7070", "localhost.", "[::1]", "192.168.7.9", "gate.example", &machine, &local, "hub"]
    {
        assert_eq!(ask(ours).0, 200, "{ours}");
    }
    // The name is not resolved: this one is this machine's address wherever it is asked for.
    for foreign in ["evil.example", "127.0.0.1.nip.io:7070", "localtest.me", "localhost.evil.example", "other.local"] {
        let (status, _, text) = ask(foreign);
        let name = foreign.split(':').next().unwrap();
        assert!(status == 403 && text.contains(&format!("--host-name {name}")), "{foreign}: {status} {text}");
    }
    assert_eq!(ask("user@127.0.0.1").0, 400);
    assert_eq!(hub.http("GET /streams HTTP/1.0\r\n\r\n").0, 200, "a program of old on this machine");
    assert_eq!(hub.http("GET /streams HTTP/1.1\r\nConnection: close\r\n\r\n").0, 400);
}

#[test]
fn a_page_of_another_origin_may_not_open_the_websocket() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240", "--host-name", "cams.example"]);
    let host = format!("Host: {}\r\n", hub.address);
    let ask = |origin: &str| socket(&hub, &format!("{host}Origin: {origin}\r\n"));
    assert_eq!(socket(&hub, &host), "101");
    assert_eq!(ask(&format!("http://{}", hub.address)), "101");
    assert_eq!(ask("https://cams.example"), "101");
    assert_eq!(
        socket(&hub, "Host: cams.example\r\nOrigin: https://cams.example:8443\r\n"),
        "101",
        "a proxy drops the port"
    );
    for foreign in ["http://evil.example", "null", "http://127.0.0.1:9", "https://cams.example:9"] {
        assert_eq!(ask(foreign), "403", "{foreign}");
    }
    // A page asks why.
    let (status, _, text) = get(&hub, "/streams/scene/ws?origin=https://gate.example", &host);
    assert!(status == 403 && text.contains("--host-name gate.example"), "{status} {text}");
    let (status, _, text) = get(&hub, "/streams/scene/ws?origin=https://cams.example", &host);
    assert!(status == 426 && text.contains("proxy_http_version"), "{status} {text}");
}

#[test]
fn only_a_named_proxy_speaks_for_its_clients() {
    let headers = "Host: 127.0.0.1:1\r\nX-Forwarded-Host: cams.example:8443\r\nX-Forwarded-Proto: https\r\n\
                   Origin: https://cams.example:8443\r\n";
    let named = ["--source", "scene=pattern#size=320x240", "--host-name", "cams.example"];
    assert_eq!(socket(&Hub::start(&named), headers), "403");
    assert_eq!(socket(&Hub::start(&[&named[..], &["--proxy", "10.0.0.0/8"]].concat()), headers), "403");
    assert_eq!(
        socket(&Hub::start(&[&named[..], &["--proxy", "10.0.0.0/8", "--proxy", "127.0.0.1"]].concat()), headers),
        "101"
    );
    // A page of a site whose name was rebound to this machine gets nothing by way of the proxy either.
    let proxied = Hub::start(&[&named[..2], &["--proxy", "127.0.0.0/8"]].concat());
    let (status, _, text) = get(&proxied, "/streams", "Host: 127.0.0.1\r\nX-Forwarded-Host: evil.example\r\n");
    assert!(status == 403 && text.contains("evil.example"), "{status} {text}");
}

#[test]
fn another_sites_page_sees_nothing_and_wakes_no_camera() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240"]);
    let host = format!("Host: {}\r\n", hub.address);
    for page in [
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Referer: http://evil.example/page\r\n",
    ] {
        for path in ["/streams/scene/mjpeg", "/streams/scene/snapshot.jpg", "/stream", "/?action=snapshot"] {
            let (status, head, text) = get(&hub, path, &format!("{host}{page}"));
            assert!(status == 403 && text.contains("--allow-embed"), "{path} {page}: {status} {text}");
            assert!(!head.contains("access-control-allow"), "{head}");
        }
        assert_eq!(socket(&hub, &format!("{host}{page}Origin: http://evil.example\r\n")), "403");
    }
    assert_eq!(state(&hub), "idle");
    // A link that somebody followed shows the picture by itself.
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    assert_eq!(get(&hub, "/snapshot", &format!("{host}{link}")).0, 200);
}

#[test]
fn a_page_that_was_allowed_to_may_embed_pictures_and_the_page() {
    let hub = Hub::start(&[
        "--source",
        "scene=pattern#size=320x240",
        "--allow-embed",
        "http://home.example:8123",
        "https://dash.example",
    ]);
    let host = format!("Host: {}\r\n", hub.address);
    for (ask, origin) in [
        ("Referer: http://home.example:8123/lovelace\r\nSec-Fetch-Site: cross-site\r\n", "http://home.example:8123"),
        ("Origin: https://dash.example\r\n", "https://dash.example"),
    ] {
        let (status, head, _) = get(&hub, "/streams/scene/snapshot.jpg", &format!("{host}{ask}"));
        let expected = format!("access-control-allow-origin: {origin}");
        for header in [&expected, "cross-origin-resource-policy: cross-origin", "vary: origin, referer"] {
            assert!(status == 200 && head.contains(header), "{header}: {head}");
        }
        assert!(!head.contains("x-frame-options"), "{head}");
    }
    for other in ["Origin: http://home.example", "Origin: https://home.example:8123", "Referer: http://dash.example/"] {
        assert_eq!(get(&hub, "/streams/scene/snapshot.jpg", &format!("{host}{other}\r\n")).0, 403, "{other}");
    }
    for path in ["/", "/scene"] {
        let (_, head, _) = get(&hub, path, &host);
        assert!(head.contains("frame-ancestors http://home.example:8123 https://dash.example\r"), "{head}");
        assert!(!head.contains("x-frame-options"), "{head}");
    }
    // All else stays closed.
    for path in ["/streams", "/metrics"] {
        let (_, head, _) = get(&hub, path, &format!("{host}Origin: https://dash.example\r\n"));
        assert!(
            !head.contains("access-control") && head.contains("cross-origin-resource-policy: same-origin"),
            "{head}"
        );
        assert!(head.contains("frame-ancestors 'none'"), "{head}");
    }
    assert_eq!(socket(&hub, &format!("{host}Origin: https://dash.example\r\n")), "403");
}

#[test]
fn a_wrong_rule_is_refused_at_the_start() {
    for (flag, value, told) in [
        ("--host-name", "https://cams.example", "'https://cams.example' is no host name"),
        ("--proxy", "10.0.0.0/33", "'10.0.0.0/33' is no proxy's address"),
        ("--allow-embed", "home.example", "'home.example' is no page's origin"),
    ] {
        let error = fails(framewire(["serve", "--listen", "127.0.0.1:0", flag, value]));
        assert!(error.contains(told), "{error}");
    }
}
