//! Programs, hubs, clients and displays for tests, and waiting with a deadline.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framewire_proto::{Codec, Config, Frame, Name, Times, wire::native::Message};
use internals::{
    clock,
    net::client::{Address, MessageReceiver, MessageSender, Received},
};

/// What the tests use of the library beyond its public API: this is the only place that names it.
pub(crate) mod internals {
    pub(crate) use framewire::internals::{clock, hub, latency, media, net, sink, source, stop};
}

/// The deadline of anything a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A program that is ended when the test is over.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    what: String,
}

/// The program under test.
pub(crate) fn framewire<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framewire"));
    command.args(arguments);
    command
}

/// Another program that the tests need.
pub(crate) fn tool(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).map(|folder| folder.join(name));
    Command::new(
        places.find(|place| place.is_file()).unwrap_or_else(|| panic!("{name} is not there: run scripts/setup test")),
    )
}

/// A file or folder that `scripts/setup test` fetched.
pub(crate) fn deps(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps").join(path);
    assert!(path.exists(), "{} is not there: run scripts/setup test", path.display());
    path.to_str().expect("a UTF-8 path").into()
}

/// The Python that has OpenCV.
pub(crate) fn python<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    python_in("venv", arguments)
}

/// The Python of an environment of `.deps`.
pub(crate) fn python_in<S: AsRef<OsStr>>(environment: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(deps(&format!("{environment}/bin/python")));
    command.args(arguments);
    command
}

/// FFmpeg that prints only errors and asks nothing.
pub(crate) fn ffmpeg(arguments: &[&str]) -> Command {
    let mut command = tool("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]).args(arguments);
    command
}

/// Runs a command that must succeed and returns its standard output.
pub(crate) fn output(command: Command) -> Vec<u8> {
    output_fed(command, Vec::new())
}

/// The same, with these bytes as its standard input.
pub(crate) fn output_fed(command: Command, input: Vec<u8>) -> Vec<u8> {
    let what = format!("{command:?}");
    let output = run_fed(command, input);
    assert!(output.status.success(), "{what}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a command to its end and returns its output.
pub(crate) fn run(command: Command) -> Output {
    run_fed(command, Vec::new())
}

/// The same, with these bytes as its standard input.
pub(crate) fn run_fed(command: Command, input: Vec<u8>) -> Output {
    run_within(command, input, 3 * PATIENCE)
}

/// The same without input, for a command that may take this long.
pub(crate) fn run_for(command: Command, limit: Duration) -> Output {
    run_within(command, Vec::new(), limit)
}

fn run_within(mut command: Command, input: Vec<u8>, limit: Duration) -> Output {
    let what = format!("{command:?}");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect(&what);
    feed(child.stdin.take().expect("a piped stdin"), input, false);
    let outputs = [read_all(child.stdout.take()), read_all(child.stderr.take())];
    let status = wait(&mut child, &what, limit);
    let [stdout, stderr] = outputs.map(|thread| thread.join().expect("a reading thread"));
    Output { status, stdout, stderr }
}

fn read_all(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    let mut stream = stream.expect("a piped stream");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a program's output");
        bytes
    })
}

fn wait(child: &mut Child, what: &str, limit: Duration) -> ExitStatus {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect(what) {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{what}: did not end in {limit:?}");
        }
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Writes bytes, once or repeatedly, until the reader closes its end.
fn feed(mut input: impl Write + Send + 'static, bytes: Vec<u8>, again: bool) {
    thread::spawn(move || while input.write_all(&bytes).is_ok() && again && !bytes.is_empty() {});
}

/// Checks that a command fails with one line of error and status 1; returns the line.
pub(crate) fn fails(command: Command) -> String {
    fails_fed(command, Vec::new())
}

/// The same, with these bytes as its standard input.
pub(crate) fn fails_fed(command: Command, input: Vec<u8>) -> String {
    let what = format!("{command:?}");
    let output = run_fed(command, input);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{what}: {text}");
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("framewire: ")).collect();
    assert_eq!(errors.len(), 1, "{what}: one line of error, not: {text}");
    errors[0].to_owned()
}

impl Running {
    /// Starts a program and reads both of its outputs.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        let (mut running, sender) = Self::spawn(command);
        listen(running.child.stdout.take().expect("a piped stdout"), sender);
        running
    }

    /// The same, with these bytes on its standard input, repeatedly.
    pub(crate) fn start_fed(mut command: Command, bytes: Vec<u8>) -> Self {
        command.stdin(Stdio::piped());
        let (mut running, sender) = Self::spawn(command);
        feed(running.child.stdin.take().expect("a piped stdin"), bytes, true);
        listen(running.child.stdout.take().expect("a piped stdout"), sender);
        running
    }

    /// Starts a program whose standard input and output belong to the test.
    pub(crate) fn start_piped(mut command: Command) -> (Self, ChildStdin, ChildStdout) {
        command.stdin(Stdio::piped());
        let (mut running, _) = Self::spawn(command);
        let (stdin, stdout) = (running.child.stdin.take(), running.child.stdout.take());
        (running, stdin.expect("a piped stdin"), stdout.expect("a piped stdout"))
    }

    fn spawn(mut command: Command) -> (Self, mpsc::Sender<String>) {
        let what = format!("{command:?}");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect(&what);
        let (sender, lines) = mpsc::channel();
        listen(child.stderr.take().expect("a piped stderr"), sender.clone());
        (Self { child, lines, seen: Vec::new(), what }, sender)
    }

    /// Waits for a line with this text.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        self.wait_for_line(text, |line| line.contains(text))
    }

    /// Waits for a line.
    pub(crate) fn wait_for_line(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                panic!(
                    "{}: did not print '{what}', but:
{}",
                    self.what,
                    self.seen.join(
                        "
"
                    )
                );
            };
            self.seen.push(line.clone());
            if is_it(&line) {
                return line;
            }
        }
    }

    /// A line with this text: an earlier one, or the next.
    pub(crate) fn has_printed(&mut self, text: &str) -> String {
        let printed = self.seen.iter().find(|line| line.contains(text)).cloned();
        printed.unwrap_or_else(|| self.wait_for(text))
    }

    /// Its output so far.
    pub(crate) fn printed(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child, &self.what, 3 * PATIENCE);
        let mut printed = std::mem::take(&mut self.seen);
        printed.extend(self.lines.iter());
        (status, printed.join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stream: impl Read + Send + 'static, sender: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
}

/// A hub on a port of its own.
pub(crate) struct Hub {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
}

impl Hub {
    /// A hub with these flags.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::at("127.0.0.1:0", flags)
    }

    /// A hub at this address.
    pub(crate) fn at(listen: &str, flags: &[&str]) -> Self {
        let mut running = Running::start(framewire([&["serve", "--listen", listen], flags].concat()));
        let line = running.wait_for("the hub listens on");
        let address = line.rsplit(' ').next().and_then(|text| text.parse().ok()).expect(&line);
        Self { running, address }
    }

    /// A stream's address on the native wire.
    pub(crate) fn fw(&self, name: &str) -> String {
        format!("fw://{}/{name}", self.address)
    }

    /// A URL of the hub.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The answer to a GET: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        let (status, _, body) = self.http(&head);
        (status, body)
    }

    /// The answer to these bytes: status, head and body. Ask in a way that needs no transfer coding: the body is returned raw.
    pub(crate) fn http(&self, request: &str) -> (u16, String, Vec<u8>) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("a request is taken");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(&head);
        (status, head, answer[end + 4..].to_vec())
    }

    /// A plain connection with deadlines.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the hub accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        stream.set_write_timeout(Some(PATIENCE)).expect("a deadline");
        stream
    }

    /// The figures of a stream.
    pub(crate) fn stream(&self, name: &str) -> Option<serde_json::Value> {
        let (status, body) = self.get(&format!("/streams/{name}"));
        (status == 200).then(|| serde_json::from_slice(&body).expect("JSON"))
    }

    /// Waits until this holds for a stream's figures.
    pub(crate) fn wait_until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let mut last = None;
        eventually(&format!("'{name}' {what}"), || {
            last = self.stream(name);
            last.clone().filter(&holds)
        })
    }
}

/// All bytes that a connection delivers until the hub closes or resets it.
pub(crate) fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            panic!("the hub did not close the connection: {error}")
        }
        _ => bytes,
    }
}

/// Waits until `find` returns something.
pub(crate) fn eventually<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out: {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// A client on the native wire.
pub(crate) struct Peer {
    pub(crate) client: MessageSender,
    pub(crate) incoming: MessageReceiver,
}

impl Peer {
    /// Publishes a stream of the hub, and was accepted.
    pub(crate) fn publish(hub: &Hub, name: &str) -> Self {
        let mut peer = Self::ask(hub, Message::Publish { name: name.parse().expect("a name"), passthrough: false });
        // The hub's ping comes first and is answered here, so both clocks are known.
        peer.wait_for("a Demand", |message| matches!(message, Message::Demand { .. }));
        peer
    }

    /// Watches a stream of the hub, and was accepted.
    pub(crate) fn watch(hub: &Hub, name: &str) -> Self {
        let name: Name = name.parse().expect("a name");
        let mut peer = Self::ask(hub, Message::Subscribe { name, wait: false, every: false, jpegs: false });
        peer.wait_for("an Accepted", |message| matches!(message, Message::Accepted { .. }));
        peer
    }

    /// Connects and sends its request.
    pub(crate) fn ask(hub: &Hub, request: Message) -> Self {
        Self::say(hub, &greeting(request))
    }

    /// Connects and sends these messages.
    pub(crate) fn say(hub: &Hub, messages: &[Message]) -> Self {
        let address: Address = format!("fw://{}", hub.address).parse().expect("an address");
        let (client, incoming) =
            MessageSender::connect(&address, messages, &internals::stop::Stop::default()).expect("the hub accepts");
        Self { client, incoming }
    }

    /// Waits until the hub has closed the connection.
    pub(crate) fn is_closed(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.incoming.receive(PATIENCE).is_ok() {
            assert!(Instant::now() < deadline, "the hub did not close the connection");
        }
    }

    /// Waits for a message.
    pub(crate) fn wait_for(&mut self, what: &str, is_it: impl Fn(&Message) -> bool) -> Message {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.incoming.receive(PATIENCE) {
                Ok(Received::Message(message)) if is_it(&message) => return message,
                Ok(Received::Message(Message::Ping { sent })) => {
                    let now = clock::now();
                    let _ = self.client.send(&Message::Pong { pinged: sent, received: now, sent: now });
                }
                Ok(_) => {}
                Err(error) => panic!("no {what}: {error:#}"),
            }
            assert!(Instant::now() < deadline, "no {what}");
        }
    }

    /// Waits for a frame.
    pub(crate) fn frame(&mut self) -> Frame {
        match self.wait_for("a frame", |message| matches!(message, Message::Frame(_))) {
            Message::Frame(frame) => frame,
            other => unreachable!("{other:?}"),
        }
    }

    /// Sends a JPEG's configuration and the JPEG.
    pub(crate) fn send_jpeg(&self, sequence: u64, jpeg: &Bytes) {
        // One without a size, or with a wrong one, is announced in the size of `jpeg`.
        let (width, height) = framewire_proto::jpeg::size(jpeg).unwrap_or((64, 48));
        let config = Config::new(Codec::Jpeg, width, height, 30_000);
        let now = clock::now();
        let times = Times { captured: now, encoded: now, sent: now, ..Times::default() };
        let frame = Frame { sequence, keyframe: true, times, data: jpeg.clone() };
        self.client.send(&Message::Config(config)).expect("the hub takes it");
        self.client.send(&Message::Frame(frame)).expect("the hub takes it");
    }
}

/// What a client sends first, up to its Publish or Subscribe.
pub(crate) fn greeting(request: Message) -> [Message; 3] {
    [Message::Hello { software: "a test".into() }, Message::Ping { sent: clock::now() }, request]
}

/// A small JPEG of one grey.
pub(crate) fn jpeg(grey: u8) -> Bytes {
    let image = turbojpeg::Image {
        pixels: vec![grey; 64 * 48],
        width: 64,
        height: 48,
        pitch: 64,
        format: turbojpeg::PixelFormat::GRAY,
    };
    let jpeg = turbojpeg::compress(image.as_deref(), 90, turbojpeg::Subsamp::Gray).expect("a JPEG");
    Bytes::from(jpeg.to_vec())
}

/// A JPEG that is longer by these bytes, in comments (ITU-T T.81, section B.2.4.5).
pub(crate) fn padded(jpeg: &Bytes, padding: &[u8]) -> Bytes {
    const LONGEST: usize = 65_533;
    let comments = padding.chunks(LONGEST).flat_map(|text| {
        let length = u16::try_from(text.len() + 2).expect("two bytes").to_be_bytes();
        [&[0xff, 0xfe][..], &length, text].concat()
    });
    let (start, rest) = jpeg.split_at(2);
    start.iter().copied().chain(comments).chain(rest.iter().copied()).collect()
}

/// An X server without a monitor.
pub(crate) struct Display {
    _server: Running,
    name: String,
}

impl Display {
    /// A screen of this size (`640x480`), on a display that is free.
    pub(crate) fn start(size: &str) -> Self {
        let mut command = tool("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", &format!("{size}x24"), "-nolisten", "tcp", "-noreset"]);
        let mut server = Running::start(command);
        let name = format!(":{}", server.wait_for_line("a display's number", |line| line.parse::<u32>().is_ok()));
        Self { _server: server, name }
    }

    /// The same command on this display.
    pub(crate) fn on(&self, mut command: Command) -> Command {
        command.env("DISPLAY", &self.name).env_remove("WAYLAND_DISPLAY").env_remove("SDL_VIDEODRIVER");
        command
    }
}

/// A folder that is removed with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder for the test of this name.
    pub(crate) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("framewire-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a UTF-8 path").into()
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
