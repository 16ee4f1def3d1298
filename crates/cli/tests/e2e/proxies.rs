//! The hub behind the proxies of docs/proxies.md, which run the recipes that stand there.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    browser,
    harness::{Hub, PATIENCE, Running, Scratch, eventually, output, tool},
};

/// The upstream's address in the recipes.
const UPSTREAM: &str = "127.0.0.1:7070";

/// The nth recipe of the page in this language.
fn recipe(language: &str, nth: usize) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/proxies.md")).expect("the page");
    let fence = format!("```{language}\n");
    let text = page.split(&fence).nth(nth + 1).unwrap_or_else(|| panic!("recipe {nth} for {language}"));
    text.split("```").next().expect("an end").to_owned()
}

/// Replaces a part of a recipe, which must be there.
fn with(recipe: &str, part: &str, by: &str) -> String {
    assert!(recipe.contains(part), "{part} stands in {recipe}");
    recipe.replace(part, by)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// A proxy, and what curl needs to reach it.
struct Proxy {
    _running: Running,
    _files: Scratch,
    base: String,
    resolve: Vec<String>,
}

impl Proxy {
    /// Runs nginx with these lines of its `http` block.
    fn nginx(name: &str, files: Scratch, port: u16, base: String, lines: &str) -> Self {
        let at = files.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {at}/{what};"))
            .join("\n");
        let whole = format!(
            "user root;\ndaemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\n\
             events {{ worker_connections 64; }}\nhttp {{\naccess_log off;\n{temporary}\n{lines}\n}}\n"
        );
        fs::write(files.file("nginx.conf"), whole).expect("a file");
        let mut command = tool("nginx");
        command.arg("-p").arg(files.path()).arg("-c").arg(files.file("nginx.conf"));
        Self::start(name, command, files, port, base)
    }

    fn start(name: &str, command: Command, files: Scratch, port: u16, base: String) -> Self {
        let mut running = Running::start(command);
        eventually(&format!("{name} listens"), || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        assert!(!running.printed().contains("emerg"), "{}", running.printed());
        let resolve = vec!["--resolve".into(), format!("cams.example:{port}:127.0.0.1")];
        Self { _running: running, _files: files, base, resolve }
    }

    /// The status and the body of an answer.
    fn curl(&self, path: &str, arguments: &[&str]) -> (String, Vec<u8>) {
        let mut command = tool("curl");
        command.args(["-sk", "--max-time", "3", "-w", "\n%{http_code}"]).args(&self.resolve).args(arguments);
        command.arg(format!("{}{path}", self.base));
        // An endless answer ends with the time: that is no failure.
        let answer = crate::harness::run(command).stdout;
        let end = answer.iter().rposition(|byte| *byte == b'\n').expect("a status");
        (String::from_utf8_lossy(&answer[end + 1..]).into_owned(), answer[..end].to_vec())
    }

    fn socket(&self, origin: &str) -> String {
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let headers = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key];
        let origin = format!("Origin: {origin}");
        let arguments: Vec<&str> = headers.iter().chain([&origin.as_str()]).flat_map(|header| ["-H", header]).collect();
        self.curl("streams/scene/ws", &[&["--http1.1"][..], &arguments].concat()).0
    }

    /// Checks that the page, its WebSocket, pictures and MJPEG get through, by the origin of a page there.
    fn passes_everything(&self, origin: &str) {
        let (status, page) = self.curl("", &[]);
        assert!(status == "200" && String::from_utf8_lossy(&page).contains("src=\"app.js\""), "{status}");
        for path in ["app.js", "streams", "scene", "streams/scene/snapshot.jpg"] {
            assert_eq!(self.curl(path, &[]).0, "200", "{path}");
        }
        assert_eq!(self.socket(origin), "101");
        assert_eq!(self.socket("https://evil.example"), "403");
        let (status, video) = self.curl("streams/scene/mjpeg", &[]);
        let pictures = video.windows(13).filter(|bytes| bytes.eq_ignore_ascii_case(b"X-Timestamp: ")).count();
        assert!(status == "200" && pictures > 5, "{status}: {pictures} pictures");
    }
}

fn hub(flags: &[&str]) -> Hub {
    Hub::start(&[&["--source", "scene=pattern#size=320x240#fps=10"], flags].concat())
}

#[test]
fn nginx_passes_everything() {
    let (hub, port) = (hub(&[]), free_port());
    let lines = with(&recipe("nginx", 0), UPSTREAM, &hub.address.to_string());
    let lines = with(&lines, "listen 80 ", &format!("listen 127.0.0.1:{port} "));
    let proxy = Proxy::nginx("nginx", Scratch::new("nginx"), port, format!("http://127.0.0.1:{port}/"), &lines);
    proxy.passes_everything(&format!("http://127.0.0.1:{port}"));
}

#[test]
fn nginx_passes_everything_under_a_path_with_tls() {
    let (hub, port, files) = (hub(&["--host-name", "cams.example"]), free_port(), Scratch::new("nginx-tls"));
    let (key, certificate) = (files.file("key"), files.file("certificate"));
    let mut openssl = tool("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=cams.example", "-keyout", &key, "-out", &certificate]);
    output(openssl);
    let lines = with(&recipe("nginx", 1), UPSTREAM, &hub.address.to_string());
    let lines = with(&lines, "listen 443 ", &format!("listen 127.0.0.1:{port} "));
    let lines = with(&with(&lines, "/etc/ssl/cams.example.key", &key), "/etc/ssl/cams.example.crt", &certificate);
    let base = format!("https://cams.example:{port}/cams/");
    let proxy = Proxy::nginx("nginx with TLS", files, port, base, &lines);
    proxy.passes_everything(&format!("https://cams.example:{port}"));
}

#[test]
fn caddy_passes_everything() {
    for (nth, path) in [(0, ""), (1, "cams/")] {
        let (hub, port, files) = (hub(&[]), free_port(), Scratch::new(&format!("caddy-{nth}")));
        let lines = with(&recipe("caddyfile", nth), UPSTREAM, &hub.address.to_string());
        let lines = with(&lines, "cams.example", &format!("http://127.0.0.1:{port}"));
        fs::write(files.file("Caddyfile"), format!("{{\n\tadmin off\n}}\n{lines}")).expect("a file");
        let mut command = tool("caddy");
        command.args(["run", "--config", &files.file("Caddyfile"), "--adapter", "caddyfile"]);
        command.env("XDG_CONFIG_HOME", files.path()).env("XDG_DATA_HOME", files.path());
        let proxy = Proxy::start("Caddy", command, files, port, format!("http://127.0.0.1:{port}/{path}"));
        proxy.passes_everything(&format!("http://127.0.0.1:{port}"));
    }
}

#[test]
fn behind_nginx_a_slow_viewer_of_mjpeg_sees_the_present() {
    /// Bytes a second, of about 535 000 that the stream has.
    const RATE: f64 = 200_000.0;
    let (hub, port) = (Hub::start(&["--source", "scene=pattern#fps=5"]), free_port());
    let lines = with(&recipe("nginx", 0), UPSTREAM, &hub.address.to_string());
    let lines = with(&lines, "listen 80 ", &format!("listen 127.0.0.1:{port} "));
    let _proxy = Proxy::nginx("nginx", Scratch::new("nginx-slow"), port, String::new(), &lines);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("a small buffer");
    socket.connect(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).expect("nginx accepts");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    stream.write_all(b"GET /streams/scene/mjpeg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").expect("a request");
    let (begun, mut got, mut text, mut ages) = (Instant::now(), 0.0, Vec::new(), Vec::new());
    let mut bytes = [0; 8 << 10];
    while begun.elapsed() < Duration::from_secs(15) {
        let read = stream.read(&mut bytes).expect("bytes");
        assert!(read > 0, "nginx closed the connection");
        got += read as f64;
        text.extend_from_slice(&bytes[..read]);
        while let Some((age, end)) = next_age(&text) {
            ages.push(age);
            text.drain(..end);
        }
        // The link's rate.
        thread::park_timeout(Duration::from_secs_f64(got / RATE).saturating_sub(begun.elapsed()));
    }
    let oldest = ages.iter().copied().fold(0.0, f64::max);
    assert!(ages.len() > 15 && oldest <= 2.0, "{} pictures, the oldest {oldest:.2} s", ages.len());
}

/// The age of the next picture by its X-Timestamp, in seconds, and where that ends.
fn next_age(text: &[u8]) -> Option<(f64, usize)> {
    const NAME: &[u8] = b"X-Timestamp: ";
    let from = text.windows(NAME.len()).position(|bytes| bytes == NAME)? + NAME.len();
    let length = text[from..].iter().position(|byte| *byte == b'\r')?;
    let taken: f64 = std::str::from_utf8(&text[from..from + length]).ok()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some((now - taken, from + length))
}

#[test]
fn without_websockets_the_page_shows_motion_jpeg_and_says_why() {
    let (hub, port) = (hub(&[]), free_port());
    // What most people write: no Host and no Upgrade.
    let lines = format!("server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{}; }} }}", hub.address);
    let base = format!("http://127.0.0.1:{port}/");
    let _proxy = Proxy::nginx("nginx", Scratch::new("nginx-plain"), port, base.clone(), &lines);
    let printed = browser::run("refused.mjs", &[&base, "scene"], "refused");
    assert!(printed.contains(&format!("--host-name 127.0.0.1:{port}")), "{printed}");
}

#[test]
fn another_sites_page_embeds_the_stream_where_it_is_allowed_to() {
    let (closed, port) = (hub(&[]), free_port());
    let embed = |hub: &Hub, name| browser::run("embedded.mjs", &[&hub.url("/"), "scene", &port.to_string()], name);
    let printed = embed(&closed, "embedded-not");
    assert!(printed.contains("picture: no, video: no, fetch: no, frame: no"), "{printed}");
    assert_eq!(closed.stream("scene").expect("the stream")["published"], 0, "no camera was opened");
    let open = hub(&["--allow-embed", &format!("http://home.test:{port}")]);
    let printed = embed(&open, "embedded");
    assert!(printed.contains("picture: yes, video: yes, fetch: yes, frame: yes"), "{printed}");
}
