//! Cameras and displays, each of them a tutorial's script or framewire, and a cable between them that can be cut.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
};

use super::scene::Scene;
use crate::{
    harness::{PATIENCE, Running, Scratch, framewire, python_in},
    picture::Rgb,
};

/// One of the tutorials' wires with its scripts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire {
    /// Its URL's scheme, with which its scripts' names begin.
    pub(super) name: &'static str,
    /// The query of framewire's URL for the display.
    query: &'static str,
    /// Width and height of the pictures that the scripts send.
    pub(super) size: (usize, usize),
    /// Whether the camera waits for displays to connect, and not they for it.
    pub(super) camera_listens: bool,
    /// The environment that the scripts run in.
    python: &'static str,
    /// More arguments of the camera's script.
    camera: &'static [&'static str],
    /// More arguments of the display's script.
    display: &'static [&'static str],
}

const ORDINARY: Wire =
    Wire { name: "", query: "", size: (0, 0), camera_listens: false, python: NUMPY_2, camera: &[], display: &[] };
pub(super) const NUMPY_1: &str = "venv-numpy1";
pub(super) const NUMPY_2: &str = "venv";
/// As on a 32-bit system, where the tutorial's server works as it stands.
pub(super) const LHH_32: Wire =
    Wire { name: "lhh", size: (640, 480), camera: &["<lhh"], display: &["<lhh"], python: NUMPY_1, ..ORDINARY };
/// As on a 64-bit system, with the server that someone made work there.
pub(super) const LHH_64: Wire =
    Wire { name: "lhh", size: (640, 480), query: "?long=8", display: &["lhh", "12"], ..ORDINARY };
pub(super) const BASE64: Wire = Wire { name: "base64", size: (480, 315), ..ORDINARY };
pub(super) const STOPWAIT: Wire = Wire { name: "stopwait", size: Scene::SIZE, ..ORDINARY };
/// A 4-byte length, the highest byte first, then a pickled JPEG; the display reads JPEGs.
pub(super) const LENGTH: Wire = Wire { name: "length", size: Scene::SIZE, ..ORDINARY };
/// The scenes' films are as wide as its pictures.
pub(super) const PICKLE: Wire = Wire { name: "pickle", size: Scene::SIZE, camera_listens: true, ..ORDINARY };
pub(super) const PICKLE_NUMPY_1: Wire = Wire { python: NUMPY_1, ..PICKLE };

impl Wire {
    /// Starts both ends, the one that listens first.
    pub(super) fn meet(&self, camera: By, display: By) -> (Camera, Display) {
        let (camera, display, _) = self.meet_over(camera, display, None);
        (camera, display)
    }

    /// The same with a cable between them, that is cut after so many bytes of pictures.
    pub(super) fn meet_over(&self, camera: By, display: By, cut: Option<usize>) -> (Camera, Display, Option<Cable>) {
        let lay = |address| cut.map(|bytes| Cable::lay(self, address, bytes));
        let end = |address, cable: &Option<Cable>| At::Connect(cable.as_ref().map_or(address, |cable| cable.address));
        if self.camera_listens {
            let camera = Camera::start(camera, self, Scene::Day, At::ANY);
            let cable = lay(camera.address);
            let display = Display::start(display, self, end(camera.address, &cable));
            return (camera, display, cable);
        }
        let display = Display::start(display, self, At::ANY);
        let cable = lay(display.address);
        (Camera::start(camera, self, Scene::Day, end(display.address, &cable)), display, cable)
    }

    /// The same scripts in another environment.
    pub(super) fn in_python(self, python: &'static str) -> Self {
        Self { python, ..self }
    }

    /// The same with these arguments of the camera's script.
    pub(super) fn with_camera(self, camera: &'static [&'static str]) -> Self {
        Self { camera, ..self }
    }

    /// Whether the camera's script has these arguments.
    pub(super) fn has_camera(&self, camera: &[&str]) -> bool {
        self.camera == camera
    }

    /// The same with this argument of the display's script, and this query of framewire's URL.
    pub(super) fn with_display(self, display: &'static [&'static str], query: &'static str) -> Self {
        Self { query, display, ..self }
    }

    /// An address on this wire.
    pub(super) fn url(&self, address: impl std::fmt::Display) -> String {
        format!("{}://{address}", self.name)
    }

    fn script(&self, role: &str, at: At, arguments: &[&str]) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tutorials");
        let mut command = python_in(self.python, ["-B"]);
        command.arg(folder.join(format!("{}_{role}.py", self.name)));
        command.args([at.address().ip().to_string(), at.address().port().to_string()]).args(arguments);
        command
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{} {} in {}", self.name, self.query, self.camera.join(" "), self.python)
    }
}

/// The program at an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Script,
    Framewire,
}

/// How an end meets the other.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    Listen(SocketAddr),
    Connect(SocketAddr),
}

impl At {
    /// Listens on a port that the system chooses.
    pub(super) const ANY: Self = Self::Listen(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0));

    fn address(self) -> SocketAddr {
        match self {
            Self::Listen(address) | Self::Connect(address) => address,
        }
    }

    /// The address, once the program has chosen it if it listens.
    fn settled(self, running: &mut Running) -> SocketAddr {
        match self {
            Self::Listen(_) => listening(running, "listens on "),
            Self::Connect(address) => address,
        }
    }
}

/// Where a program listens, from a line of its output with this text.
pub(super) fn listening(running: &mut Running, text: &str) -> SocketAddr {
    let line = running.has_printed(text);
    line.rsplit(' ').next().and_then(|text| text.parse().ok()).expect(&line)
}

/// A camera.
pub(super) struct Camera {
    pub(super) running: Running,
    /// Where it listens, or has connected to.
    pub(super) address: SocketAddr,
}

impl Camera {
    /// A scene's film on this wire: played once by a script, again and again by framewire.
    pub(super) fn start(by: By, wire: &Wire, scene: Scene, at: At) -> Self {
        match by {
            By::Script => Self::script(wire, scene, at, 60),
            By::Framewire => Self::framewire(wire, &[&scene.film(), "--loop"], at),
        }
    }

    /// The script, with so many pictures a second.
    pub(super) fn script(wire: &Wire, scene: Scene, at: At, fps: u32) -> Self {
        let (film, fps) = (scene.film(), fps.to_string());
        Self::new(wire.script("camera", at, &[&[film.as_str(), &fps], wire.camera].concat()), at)
    }

    /// `framewire send` of a source, with flags after it.
    pub(super) fn framewire(wire: &Wire, source: &[&str], at: At) -> Self {
        let to = wire.url(at.address()) + wire.query;
        let mut send = framewire([&["send", source[0], &to], &source[1..]].concat());
        // It logs where it listens even with --stats.
        send.env("FRAMEWIRE_LOG", "framewire=info");
        Self::new(send, at)
    }

    fn new(command: Command, at: At) -> Self {
        let mut running = Running::start(command);
        let address = at.settled(&mut running);
        Self { running, address }
    }
}

/// A display and its pictures.
pub(super) struct Display {
    pub(super) running: Running,
    /// Where it listens, or has connected to.
    pub(super) address: SocketAddr,
    shown: Shown,
}

/// Where a display puts its pictures.
enum Shown {
    /// On framewire's standard output, in this size.
    Pipe(Receiver<Vec<u8>>, (usize, usize)),
    /// In a file for each of a script's windows.
    Windows(Scratch, HashMap<String, File>),
}

impl Display {
    /// A display on this wire.
    pub(super) fn start(by: By, wire: &Wire, at: At) -> Self {
        match by {
            By::Script => Self::script(wire, at),
            By::Framewire => Self::record(&wire.url(at.address()), wire.size, at),
        }
    }

    /// A display of a hub's stream, whose pictures have this size.
    pub(super) fn of(url: &str, size: (usize, usize)) -> Self {
        let authority = url.split('/').nth(2).and_then(|text| text.parse().ok()).expect(url);
        Self::record(url, size, At::Connect(authority))
    }

    fn script(wire: &Wire, at: At) -> Self {
        static SCREENS: AtomicU32 = AtomicU32::new(0);
        let folder = Scratch::new(&format!("screen-{}", SCREENS.fetch_add(1, Ordering::Relaxed)));
        let role = if wire.camera_listens { "viewer" } else { "server" };
        let arguments = [&[folder.path().to_str().expect("a UTF-8 path")], wire.display].concat();
        let mut running = Running::start(wire.script(role, at, &arguments));
        let address = at.settled(&mut running);
        Self { running, address, shown: Shown::Windows(folder, HashMap::new()) }
    }

    fn record(url: &str, size: (usize, usize), at: At) -> Self {
        let (mut running, _, mut out) = Running::start_piped(framewire(["record", url, "-", "--format", "bgr24"]));
        let address = at.settled(&mut running);
        let (sender, pictures) = mpsc::sync_channel(8);
        thread::spawn(move || {
            let mut picture = vec![0; size.0 * size.1 * 3];
            while out.read_exact(&mut picture).is_ok() && sender.send(picture.clone()).is_ok() {}
        });
        Self { running, address, shown: Shown::Pipe(pictures, size) }
    }

    /// Waits for the next picture; returns the name of its window too.
    pub(super) fn next(&mut self) -> (String, Rgb) {
        let (window, (width, height), mut pixels) = match &mut self.shown {
            Shown::Pipe(pictures, size) => {
                let pixels = pictures.recv_timeout(PATIENCE);
                let no_more = |error| panic!("no picture ({error}): {}", self.running.printed());
                (String::new(), *size, pixels.unwrap_or_else(no_more))
            }
            Shown::Windows(folder, files) => {
                let line = self.running.wait_for(" shows ");
                let (window, size) = line.split_once(" shows ").expect(&line);
                let size =
                    size.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?))).expect(&line);
                let path = folder.file(&format!("{window}.bgr"));
                let file = files.entry(window.into()).or_insert_with(|| File::open(path).expect("a window's file"));
                let mut pixels = vec![0; size.0 * size.1 * 3];
                file.read_exact(&mut pixels).expect("the picture that was announced");
                (window.into(), size, pixels)
            }
        };
        pixels.chunks_exact_mut(3).for_each(|bgr| bgr.swap(0, 2));
        (window, Rgb { width, height, pixels })
    }
}

/// A relay to the other end, which stops forwarding the first connection after this many bytes of pictures but keeps it open
/// until one of its ends closes. Later connections are forwarded whole.
pub(super) struct Cable {
    /// What is to be connected to.
    pub(super) address: SocketAddr,
    cut: Receiver<()>,
}

impl Cable {
    /// A cable to this address. Bytes of pictures are counted in the direction from the wire's camera.
    pub(super) fn lay(wire: &Wire, to: SocketAddr, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (sender, cut) = mpsc::channel();
        let camera_listens = wire.camera_listens;
        thread::spawn(move || {
            let mut rest = bytes;
            for near in listener.incoming().map_while(Result::ok) {
                // If the other end is missing, close the connection.
                let Ok(far) = TcpStream::connect(to) else { continue };
                let ends = if camera_listens { (far, near) } else { (near, far) };
                let back = (ends.1.try_clone().expect("a socket"), ends.0.try_clone().expect("a socket"));
                let (limit, sender) = (std::mem::replace(&mut rest, usize::MAX), sender.clone());
                thread::spawn(move || pass(&ends.0, &ends.1, limit, || sender.send(()).unwrap_or_default()));
                thread::spawn(move || pass(&back.0, &back.1, usize::MAX, || {}));
            }
        });
        Self { address, cut }
    }

    /// Waits until it is cut.
    pub(super) fn is_cut(&self) {
        self.cut.recv_timeout(PATIENCE).expect("pictures go over the cable until it is cut");
    }
}

/// Forwards this many bytes, then none. When either end closes, both are closed.
fn pass(mut from: &TcpStream, mut to: &TcpStream, mut rest: usize, cut: impl FnOnce()) {
    let (mut cut, mut buffer) = (Some(cut), [0; 4096]);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let passed = read.min(rest);
        if to.write_all(&buffer[..passed]).is_err() {
            break;
        }
        rest -= passed;
        if rest == 0
            && let Some(cut) = cut.take()
        {
            cut();
        }
    }
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}
