//! Passwords in addresses: they reach the camera as they were meant, and are printed nowhere.

use std::fs;

use crate::harness::{Hub, Running, Scratch, fails, framewire, jpeg, python, run};

/// A camera that sends Motion JPEG to who knows the password, by Basic or Digest (RFC 7617, RFC 7616 with MD5).
const CAMERA: &str = r#"
import base64, hashlib, http.server, re, sys, time
kind, password, jpeg = sys.argv[1], sys.argv[2], open(sys.argv[3], "rb").read()
md5 = lambda text: hashlib.md5(text.encode()).hexdigest()
class Camera(http.server.BaseHTTPRequestHandler):
    def allowed(self):
        given = self.headers.get("Authorization", "")
        if kind == "Basic":
            return given == "Basic " + base64.b64encode(f"user:{password}".encode()).decode()
        part = dict(re.findall(r'(\w+)="?([^",]*)"?', given))
        secret, asked = md5(f"user:door:{password}"), md5("GET:" + self.path)
        return part.get("response") == md5(f"{secret}:7:{part.get('nc')}:{part.get('cnonce')}:auth:{asked}")
    def do_GET(self):
        if not self.allowed():
            self.send_response(401)
            self.send_header("WWW-Authenticate", kind + ' realm="door", nonce="7", qop="auth"')
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
        self.end_headers()
        while True:
            time.sleep(0.05)
            head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
print("port", server.server_port, flush=True)
server.serve_forever()
"#;

/// A camera with a password, and its port.
fn camera(kind: &str, password: &str, scratch: &Scratch) -> (Running, u16) {
    let picture = scratch.file("picture.jpg");
    fs::write(&picture, jpeg(90)).unwrap();
    let mut camera = Running::start(python(["-c", CAMERA, kind, password, &picture]));
    let line = camera.wait_for("port ");
    (camera, line["port ".len()..].parse().unwrap())
}

#[test]
fn odd_passwords_reach_the_camera_written_plainly_or_percent_encoded() {
    let scratch = Scratch::new("odd-passwords");
    for (number, (password, written)) in [
        ("p@ss#w/rd", "p@ss#w/rd"),
        ("p@ss#w/rd", "p%40ss%23w%2Frd"),
        ("two words", "two words"),
        ("grün:100%", "grün:100%"),
        ("a+b&c=d?#fps=1", "a+b&c=d?#fps=1"),
    ]
    .into_iter()
    .enumerate()
    {
        for kind in ["Basic", "Digest"] {
            let (_camera, port) = camera(kind, password, &scratch);
            let address = format!("http://user:{written}@127.0.0.1:{port}/live#fps=5");
            let file = scratch.file(&format!("{kind}-{number}.mkv"));
            let recorded = run(framewire(["-vv", "record", &address, &file, "--duration", "1"]));
            let printed = String::from_utf8_lossy(&recorded.stderr).into_owned();
            assert!(recorded.status.success(), "{kind} {written}: {printed}");
            assert!(printed.contains(&format!("http://user:***@127.0.0.1:{port}/live")), "{printed}");
            is_told_nowhere(password, &printed);
        }
    }
}

/// Neither the password nor a form in which it was given is in the text.
fn is_told_nowhere(password: &str, text: &str) {
    let encoded: String = password
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    for secret in [password, &encoded] {
        assert!(!text.contains(secret), "'{secret}' is told: {text}");
    }
}

#[test]
fn no_command_prints_a_password_however_it_ends() {
    const SECRET: &str = "tr0ub4dor";
    let scratch = Scratch::new("no-passwords");
    let (_camera, port) = camera("Basic", SECRET, &scratch);
    let hub = Hub::start(&[]);
    let good = format!("http://user:{SECRET}@127.0.0.1:{port}");
    let wrong = format!("http://user:{SECRET}-wrong@127.0.0.1:{port}/x?token={SECRET}");
    let gone = format!("rtsp://user:{SECRET}@127.0.0.1:1/user=a_password={SECRET}_channel=1.sdp");
    let (file, to) = (scratch.file("o.mkv"), hub.fw("x"));
    for arguments in [
        &["send", &wrong, &to][..],
        &["send", &gone, &to],
        &["send", &format!("{good}#nonsense"), &to],
        &["send", "pattern", &good],
        &["send", "pattern", &to, &good],
        &["send", "pattern", &to, "--size", &good],
        &["record", &gone, &file],
        &["record", "pattern", &good],
        &["record", &format!("http://user:{SECRET}@x/{SECRET}@y"), &file],
        &["view", &wrong],
        &["list", &good],
        &["list", &format!("fw://user:{SECRET}@127.0.0.1:1")],
        &["doctor", &wrong],
        &["doctor", &good, "--duration", "1"],
        &["doctor", &good, "--duration", "1", "--json"],
        &["record", &good, &file, "--duration", "1", "--stats", "json"],
        &["record", &good, &file, "--duration", "1", "--stats", "text", "--overwrite"],
        &["serve", "--source", &format!("a={good}#fps=x")],
        &["serve", "--source", &good],
        &["serve", "--listen", &good],
    ] {
        let ended = run(framewire([&["-vv"], arguments].concat()));
        let printed = [ended.stdout, ended.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        assert!(!printed.contains(SECRET), "{arguments:?}: {printed}");
        assert!(!printed.trim().is_empty(), "{arguments:?} says nothing");
    }
}

#[test]
fn a_hub_tells_nobody_the_passwords_of_its_cameras() {
    const SECRET: &str = "tr0ub4dor";
    let scratch = Scratch::new("hub-passwords");
    let (_camera, port) = camera("Digest", SECRET, &scratch);
    let good = format!("good=http://user:{SECRET}@127.0.0.1:{port}/");
    let bad = format!("bad=http://user:{SECRET}-wrong@127.0.0.1:{port}/");
    let mut hub = Hub::start(&["-vv", "--source", &good, "--source", &bad]);
    let file = scratch.file("o.mkv");
    assert!(run(framewire(["record", &hub.fw("good"), &file, "--duration", "1"])).status.success());
    let error = fails(framewire(["record", &hub.fw("bad"), &file, "--duration", "1", "--overwrite"]));
    let pages = ["/streams", "/streams/bad", "/metrics"].map(|path| String::from_utf8(hub.get(path).1).unwrap());
    let listed = run(framewire(["list", &hub.address.to_string(), "--json"]));
    hub.running.has_printed("http://user:***@127.0.0.1");
    let told =
        [&pages[..], &[error, String::from_utf8(listed.stdout).unwrap(), hub.running.printed()]].concat().concat();
    assert!(told.contains("good") && !told.contains(SECRET), "{told}");
}
